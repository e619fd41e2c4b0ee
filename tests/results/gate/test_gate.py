"""The gate: its error rates, its verdicts, and what it does with records that are not as they should be."""

import dataclasses
import json
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from torchstone.results import Kind, Score, Status, Store
from torchstone.results.comparison.differences import exactly, over_seeds, paired
from torchstone.results.gate.findings import Verdict
from torchstone.results.gate.judging import gate, holm
from torchstone.results.gate.margins import Margins, margin
from torchstone.results.reading.examples import Examples
from torchstone.results.reading.groups import groups
from torchstone.results.reading.measurements import Measurement, Value
from torchstone.results.reading.sources import Source, source
from torchstone.results.record import canonical

BITS = 1 / (64 * math.log(2))
N = 297


class Kept:
    """A store in memory, for simulations: records and their arrays by id."""

    folder = Path()

    def __init__(self, written):
        self.written = {record.id: (record, arrays) for record, arrays in written}

    def read(self, path):
        return self.written[path.stem][0]

    def arrays(self, record):
        return next(arrays for kept, arrays in self.written.values() if kept is record)


def told(written) -> Source:
    """What records with arrays have to say, without a disk."""
    kept = [(dataclasses.replace(record, arrays={"rows": 1}), arrays) for record, arrays in written]
    found = [_measurement(record) for record, _ in kept]
    return Source("memory", tuple(groups(found)), (), Examples(Kept(kept)), ())


def _measurement(record) -> Measurement:
    contract = canonical(record.contract).decode()
    values = {
        score.metric: Value(
            value=score.value, stderr=score.stderr, unit=score.unit, kind=score.kind,
            higher_is_better=score.higher_is_better, n=score.n, estimator_stderr=None, nonfinite=None,
            contract=contract, choices=(),
        )
        for score in record.scores
    }  # fmt: skip
    return Measurement(
        record=record.id, suite=record.suite, suite_version=record.suite_version, model=record.model,
        family=record.family, dataset=record.dataset, seed=record.seed, started=record.started,
        settings=canonical(record.settings).decode(), code="c", contract=contract, audit=None, values=values,
    )  # fmt: skip


@pytest.fixture
def base():
    """Costs of a plausible model, in nats."""
    return np.random.default_rng(0).normal(85, 10, N)


@pytest.fixture
def stores(tmp_path):
    return Store(tmp_path / "old"), Store(tmp_path / "new")


def judged(stores, *, alpha=0.01, models=(), **margins):
    old, new = (source(store, "a store", models=models) for store in stores)
    return gate(old, new, Margins.parse(margins), alpha)


def verdicts(found):
    return {(each.model, each.metric): each.verdict.value for each in found.findings}


# Error rates


def simulated(rng, measured, worse, *, models=2, lone=False):
    """Baseline and candidate, worse by so many nats on average: pairs with correlated noise, and one pair without."""
    old, new = [], []
    for number in range(models):
        before = rng.normal(85, 10, N)
        after = before + worse + rng.standard_t(5, N) * 0.5
        for side, values in ((old, before), (new, after)):
            record, arrays = measured(values, model=f"model-{number}")
            side.append((record, arrays))
    for side, more in () if lone else ((old, 0.0), (new, worse)):
        score = Score("nll", rng.normal(85 + more, 0.4), "nats/example", Kind.EXACT, False, 0.4, None, N)
        side.append(measured(np.zeros(N), model="alone", scores=(score,)))
        side[-1] = side[-1][0], {"id": np.arange(N)}
    return told(old), told(new)


@pytest.mark.parametrize(("worse", "alpha"), [(0.0, 0.01), (0.44, 0.01), (0.44, 0.05)])
def test_the_false_alarms_of_500_comparisons_are_no_more_than_alpha(measured, worse, alpha):
    """Five metrics of three models, four of them paired. None is worse than its margin: not at all, or by all of it.

    The second is the hardest case there is. The bound is the 99 % point of the binomial law.
    """
    rng, margins = np.random.default_rng(3), Margins.parse({"nll": 0.44, "bits_per_dim": 0.44 * BITS})
    alarms = sum(gate(*simulated(rng, measured, worse), margins, alpha).failed for _ in range(500))
    print(f"false alarms at a degradation of {worse} nats, alpha {alpha}: {alarms} of 500")
    assert alarms <= stats.binom(500, alpha).ppf(0.99)


def test_without_holm_there_would_be_more_false_alarms_than_alpha(measured):
    """The mutant that takes each p-value by itself: with forty metrics it cries wolf."""
    rng, margins = np.random.default_rng(4), Margins.parse({"nll": 0.0, "bits_per_dim": 0.0})
    alarms = 0
    for _ in range(40):
        found = gate(*simulated(rng, measured, 0.0, models=20, lone=True), margins, 0.05)
        alarms += any(each.p_value <= 0.05 for each in found.findings)
    assert alarms > stats.binom(40, 0.05).ppf(0.9999)


@pytest.mark.parametrize(("metrics", "least"), [(1, 450), (2, stats.binom(500, 0.9).ppf(0.01))])
def test_a_metric_four_standard_errors_beyond_its_margin_fails_nine_times_in_ten(measured, metrics, least):
    """With two metrics, between which Holm shares alpha, the power is so close to it that chance is allowed for."""
    rng, failed, allowed = np.random.default_rng(5), 0, 0.44
    for _ in range(500):
        before = rng.normal(85, 10, N)
        noise = rng.normal(0, 0.8, N)
        after = before + allowed + 4 * 0.8 / math.sqrt(N) + noise
        written = [measured(values) for values in (before, after)]
        cut = [(dataclasses.replace(record, scores=record.scores[:metrics]), arrays) for record, arrays in written]
        failed += gate(told(cut[:1]), told(cut[1:]), Margins.parse({}), 0.01).failed
    print(f"power at four standard errors with {metrics} metrics, alpha 0.01: {failed / 500:.3f}")
    assert failed >= least


def test_a_model_worsened_by_a_twentieth_of_a_bit_fails_and_an_unchanged_one_passes_a_hundred_times(measured):
    rng, outcomes = np.random.default_rng(6), {"unchanged": [], "worse": []}
    for _ in range(100):
        before = rng.normal(85, 10, N)
        after = before + 0.05 / BITS + rng.normal(0, 0.8, N)
        old = told([measured(before)])
        outcomes["unchanged"].append(gate(old, told([measured(before.copy())]), Margins(), 0.01))
        outcomes["worse"].append(gate(old, told([measured(after)]), Margins(), 0.01))
    assert all(found.failed for found in outcomes["worse"])
    assert all({each.verdict for each in found.findings} == {Verdict.PASSED} for found in outcomes["unchanged"])


def test_a_model_worse_by_more_than_its_margin_is_cleared_as_seldom_as_alpha(measured):
    """What passes is claimed to be within its margin: at the margin itself that is false once in a hundred, at most."""
    rng, cleared = np.random.default_rng(7), 0
    for _ in range(500):
        before = rng.normal(85, 10, N)
        written = [measured(before), measured(before + 0.44 + rng.normal(0, 0.8, N))]
        cut = [(dataclasses.replace(record, scores=record.scores[:1]), arrays) for record, arrays in written]
        found = gate(told(cut[:1]), told(cut[1:]), Margins.parse({"nll": 0.44}), 0.01)
        cleared += found.findings[0].verdict is Verdict.PASSED
    assert cleared <= stats.binom(500, 0.01).ppf(0.99)


@pytest.mark.parametrize("share", [0.1, 1.0])
@pytest.mark.parametrize("up", [False, True])
def test_a_margin_that_is_a_share_is_as_uncertain_as_the_baseline(measured, share, up):
    """At the margin itself one alarm in a hundred; the mutant that takes the measured share as known has more."""
    rng, margins, alarms, mutant = np.random.default_rng(12), Margins.parse({"cost": f"{share * 50}%"}), 0, 0
    cleared, runs, truth = 0, 800, 100 * (1 - share / 2 if up else 1 + share / 2)
    arrays = {"id": np.arange(N)}
    for _ in range(runs):
        sides = []
        for mean in (100, truth):
            score = Score("cost", rng.normal(mean, 4), "nats", Kind.ESTIMATE, up, 4.0, None, None)
            sides.append(told([(measured(np.zeros(N), scores=(score,))[0], arrays)]))
        (finding,) = gate(*sides, margins, 0.01).findings
        alarms += finding.verdict is Verdict.FAILED
        cleared += finding.verdict is Verdict.PASSED
        mutant += stats.norm.sf((finding.degradation - finding.margin) / finding.stderr) <= 0.01
        assert (finding.lower > finding.margin) == (finding.verdict is Verdict.FAILED)
    bound = stats.binom(runs, 0.01).ppf(0.999)
    assert alarms <= bound and cleared <= bound
    if share == 1 and not up:
        assert mutant > bound


def test_a_share_of_a_baseline_below_zero_allows_what_is_worse(stores, measured, base):
    """A cost may be below zero, as a differential entropy is, and its margin is a share of its size."""
    for name, mean in (("negative", -100.0), ("zero", 0.0)):
        for store, more in zip(stores, (0.0, 5.0), strict=True):
            values = base - base.mean() + mean + more
            store.write(*measured(values, model=name))
    for share, expected in (("6%", "passed"), ("4%", "failed")):
        found = {each.model: each for each in judged(stores, nll=share).findings if each.metric == "nll"}
        assert found["negative"].verdict.value == expected
        assert found["negative"].margin == pytest.approx(float(share[:-1]), rel=1e-9)
        assert found["zero"].verdict is Verdict.FAILED and found["zero"].margin == pytest.approx(0.0, abs=1e-9)


def test_holm_is_the_textbooks_and_no_weaker_than_bonferroni():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06], rel=1e-9)
    assert holm([]) == [] and holm([0.5]) == [0.5] and holm([0.9, 0.8]) == [1.0, 1.0]


# Verdicts


def test_passed_failed_and_inconclusive_with_their_reasons(stores, measured, base):
    rng = np.random.default_rng(8)
    small, large = rng.normal(0, 0.5, N), rng.normal(0, 10, N)
    cases = {"same": base, "alike": base + small, "worse": base + 3 + small, "noisy": base + large, "better": base - 3}
    for name, values in cases.items():
        stores[0].write(*measured(base, model=name))
        stores[1].write(*measured(values, model=name))
    found = judged(stores)
    assert {model: verdict for (model, metric), verdict in verdicts(found).items() if metric == "nll"} == {
        "same": "passed",
        "alike": "passed",
        "worse": "failed",
        "noisy": "inconclusive",
        "better": "passed",
    }
    reasons = {each.model: each.reason for each in found.findings if each.metric == "nll"}
    assert reasons["same"] == "Unchanged: every example has the same value."
    assert reasons["alike"].startswith("Worse by at most 0.")
    assert reasons["better"].startswith("Better by at least 3")
    assert "where 0.44 is allowed" in reasons["worse"] and reasons["worse"].startswith("Worse by at least")
    assert "the noise is too large" in reasons["noisy"]
    assert found.failed and found.inconclusive and found.says_no()
    assert "Where there is a single training seed" in " ".join(found.notes)


def test_where_higher_is_better_lower_is_worse(stores, measured, base):
    for store, value in zip(stores, (0.9, 0.5), strict=True):
        score = Score("auroc", value, "share", Kind.ESTIMATE, True, 0.01, None, N)
        store.write(*measured(base, scores=(score,)))
    (finding,) = judged(stores).findings
    assert finding.verdict is Verdict.FAILED and finding.degradation == pytest.approx(0.4, rel=1e-9)
    assert not finding.paired and "Unpaired: " in finding.notes[0]
    assert [each.verdict.value for each in judged(stores[::-1]).findings] == ["passed"]


def test_an_example_without_a_finite_gain_makes_the_candidate_worse_and_not_better(stores, measured, base):
    """What is high where it is good: such an example is worth minus infinity, whatever stands in its place."""
    for name, bad in (("nan", math.nan), ("high", math.inf), ("low", -math.inf)):
        for store, first, mean in ((stores[0], -base[0], -base.mean()), (stores[1], bad, -math.inf)):
            score = Score("gain", mean, "nats/example", Kind.EXACT, True, 0.5, None, N)
            record, arrays = measured(base, model=name, scores=(score,))
            store.write(record, {"id": arrays["id"], "gain": np.append(first, -base[1:])})
    found = judged(stores)
    assert {each.model: each.verdict.value for each in found.findings} == dict.fromkeys(
        ("nan", "high", "low"), "failed"
    )
    assert all(each.paired and each.degradation == math.inf for each in found.findings)


def test_the_bounds_of_a_degradation_are_one_sided_at_alpha(stores, measured, base):
    values = base + np.random.default_rng(2).normal(0.1, 2, N)
    stores[0].write(*measured(base))
    stores[1].write(*measured(values))
    for alpha in (0.01, 0.1):
        finding = judged(stores, alpha=alpha).findings[0]
        for bound, side in ((finding.lower, "greater"), (finding.upper, "less")):
            test = stats.ttest_rel(values, base, alternative=side).confidence_interval(1 - alpha)
            assert bound == pytest.approx(test.low if side == "greater" else test.high, rel=1e-9)


def test_inconclusive_says_no_only_where_one_is_strict(stores, measured, base):
    stores[0].write(*measured(base))
    stores[1].write(*measured(base + np.random.default_rng(0).normal(0, 20, N)))
    found = judged(stores)
    assert found.inconclusive and not found.failed
    assert not found.says_no() and found.says_no(strict=True)


def test_a_metric_that_disappears_is_inconclusive_and_one_that_is_new_is_listed(stores, measured, base):
    """Otherwise a candidate that stops reporting what became worse would pass, strict or not."""
    for store, names in zip(stores, (("nll", "gain"), ("nll", "other")), strict=True):
        scores = [Score(name, 1.0, "nats/example", Kind.EXACT, name == "gain", 0.1, None, N) for name in names]
        store.write(*measured(base, scores=tuple(scores)))
    found = judged(stores)
    gone = next(each for each in found.findings if each.metric == "gain")
    assert gone.verdict is Verdict.INCONCLUSIVE and gone.reason == "The candidate does not have it."
    assert not found.says_no() and found.says_no(strict=True)
    assert [(each.metric, each.reason) for each in found.absent] == [("other", "The baseline does not have it.")]


def test_a_relative_margin_is_of_the_baselines_value(stores, measured, base):
    stores[0].write(*measured(base))
    stores[1].write(*measured(base * 1.05))
    assert not judged(stores, nll="6%", bits_per_dim="6%").failed
    assert judged(stores, nll="4%", bits_per_dim="4%").failed
    assert judged(stores, nll="6%").findings[0].margin == pytest.approx(0.06 * base.mean(), rel=1e-9)


def test_the_usual_margin_is_the_same_in_nats_and_in_bits(stores, measured, base):
    for store in stores:
        store.write(*measured(base))
    nll, bits = judged(stores).findings
    assert bits.margin == 0.01 and nll.margin == pytest.approx(0.01 * 64 * math.log(2), rel=1e-9)


def test_what_describes_is_not_judged_until_it_has_a_margin(stores, measured, base):
    for store, rate in zip(stores, (5.0, 9.0), strict=True):
        scores = (
            Score("elbo", -90.0, "nats/example", Kind.LOWER_BOUND, True, 0.1, None, N),
            Score("rate", rate, "nats/example", Kind.ESTIMATE, False, 0.1, None, N),
        )
        store.write(*measured(base, scores=scores))
    found = judged(stores)
    assert [each.metric for each in found.findings] == ["elbo"]
    assert any(note.startswith("Not judged") and "rate" in note for note in found.notes)
    assert verdicts(judged(stores, rate=1))[("mixture", "rate")] == "failed"


def test_a_margin_is_for_one_of_several_of_a_metric_or_for_all(stores, measured, base):
    for store, worse in zip(stores, (0.0, 1.0), strict=True):
        scores = [
            Score("iwae", -90.0 - worse, "nats/example", Kind.LOWER_BOUND, True, 0.01, None, N, {"K": draws})
            for draws in (10, 100)
        ]
        store.write(*measured(base, scores=tuple(scores)))
    assert set(verdicts(judged(stores)).values()) == {"failed"}
    assert set(verdicts(judged(stores, iwae=2)).values()) == {"passed"}
    one = judged(stores, **{"iwae K=10": 2})
    assert verdicts(one) == {("mixture", "iwae K=10"): "passed", ("mixture", "iwae K=100"): "failed"}


# Seeds


def test_several_seeds_are_averaged_and_their_noise_counts(stores, measured, base):
    """The same change that a single seed is failed for is no more than another training makes, with three."""
    rng = np.random.default_rng(9)
    for seed, (before, after) in enumerate([(0.0, 4.0), (4.0, 1.0), (1.0, 3.0)]):
        stores[0].write(*measured(base + before + rng.normal(0, 0.3, N), seed=seed))
        stores[1].write(*measured(base + after + rng.normal(0, 0.3, N), seed=seed))
    found = judged(stores)
    assert {each.verdict for each in found.findings} == {Verdict.INCONCLUSIVE}
    assert found.findings[0].seeds == (3, 3) and found.findings[0].seed_stderr > 1
    assert not found.notes


@pytest.mark.parametrize("seeds", [2, 3])
def test_the_seeds_of_a_trained_model_are_no_false_alarm(seeds):
    """Two or three trainings of each, no worse in truth, of which the seeds differ by a few standard errors."""
    rng, alarms, runs = np.random.default_rng(13), 0, 1000
    for _ in range(runs):
        base = rng.normal(0, 1, N)
        old, new = base + rng.normal(0, 0.3, (2, seeds, N)) + rng.normal(0, 0.1, (2, seeds, 1))
        found = paired(new.mean(0), old.mean(0))
        alarms += over_seeds(found, list(new.mean(1)), list(old.mean(1)), matched=True).p_above(0.0) <= 0.01
    assert alarms <= stats.binom(runs, 0.01).ppf(0.99)


def test_seeds_of_older_code_are_not_averaged_with_those_of_the_newest(stores, measured, base):
    for seed in range(3):
        stores[0].write(*measured(base, seed=seed))
        prints = {"data": "d" * 64, "weights": "w" * 64, "code": ("n" if seed == 2 else "c") * 64}
        stores[1].write(*measured(base + 9 * (seed == 2), seed=seed, fingerprints=prints))
    nll = judged(stores).findings[0]
    assert nll.seeds == (1, 1) and nll.degradation == pytest.approx(9.0, rel=1e-9)
    assert nll.verdict is Verdict.FAILED


def test_of_the_baselines_seeds_only_those_count_that_the_candidate_has(stores, measured, base):
    """Otherwise an unchanged model with one seed would be compared with the mean of others."""
    for seed in range(3):
        stores[0].write(*measured(base + 3 * seed, seed=seed))
    stores[1].write(*measured(base + 3, seed=1))
    found = judged(stores)
    assert set(verdicts(found).values()) == {"passed"}
    assert found.findings[0].reason == "Unchanged: every example has the same value."
    assert "Of the baseline only seed 1 counts, which both have." in found.findings[0].notes


def test_the_latest_record_of_a_seed_counts_and_older_code_does_not(stores, measured, base):
    stores[0].write(*measured(base))
    stores[1].write(*measured(base + 9, fingerprints={"code": "old"}))
    stores[1].write(*measured(base + 9, seed=1, fingerprints={"code": "old"}))
    stores[1].write(*measured(base, fingerprints={"code": "new"}))
    found = judged(stores)
    assert set(verdicts(found).values()) == {"passed"} and found.findings[0].seeds == (1, 1)


# What cannot be compared


def test_other_contracts_are_listed_with_what_differs(stores, measured, base):
    stores[0].write(*measured(base, model="vae", contract={"importance_samples": 1000}))
    stores[1].write(*measured(base, model="vae", contract={"importance_samples": 5000}))
    stores[0].write(*measured(base, model="rnn"))
    stores[1].write(*measured(base, model="rnn", suite_version=2))
    stores[1].write(*measured(base, model="new"))
    stores[0].write(*measured(base, model="gone"))
    found = judged(stores)
    assert not found.findings
    reasons = {(each.model, each.metric): each.reason for each in found.absent}
    assert "importance_samples 1000 and 5000" in reasons["vae", "nll"]
    assert "suite version 1 and 2" in reasons["rnn", ""]
    assert reasons["new", ""] == "The baseline has no record of new on digits in the suite density."
    assert "Only in the baseline: gone on digits." in found.notes


def test_examples_that_are_not_the_same_are_compared_unpaired_and_it_is_said(stores, measured, base):
    stores[0].write(*measured(base))
    stores[1].write(*measured(base + 0.1, ids=np.arange(N) + 7))
    (nll, _) = judged(stores).findings
    assert not nll.paired and nll.verdict is Verdict.INCONCLUSIVE
    assert nll.notes[0] == "Unpaired: they were measured on different examples (290 in common of 297 and 297)."
    assert nll.stderr == pytest.approx(math.sqrt(2) * stats.sem(base), rel=1e-9)


def test_ids_in_another_order_are_the_same_examples(stores, measured, base):
    order = np.random.default_rng(0).permutation(N)
    stores[0].write(*measured(base))
    stores[1].write(*measured(base[order], ids=order))
    assert {each.reason for each in judged(stores).findings} == {"Unchanged: every example has the same value."}


def test_arrays_that_are_lost_altered_or_do_not_make_the_score_are_not_believed(stores, measured, base):
    for name in ("lost", "altered", "other"):
        stores[0].write(*measured(base, model=name))
        record, arrays = measured(base + 3, model=name)
        kept = stores[1].write(record, {**arrays, "nll": base} if name == "other" else arrays)
        path = stores[1].folder / f"{kept.id}.parquet"
        if name == "lost":
            path.unlink()
        if name == "altered":
            path.write_bytes(path.read_bytes()[:-1] + b"x")
    found = judged(stores)
    notes = {each.model: each.notes[0] for each in found.findings if each.metric == "nll"}
    assert "cannot be read" in notes["lost"] and "altered or damaged" in notes["altered"]
    assert notes["other"] == "Unpaired: the per-example values do not average to the scores."
    assert not any(each.paired for each in found.findings)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_finite_examples_do_not_hide_a_score_that_is_not(stores, measured, base, value):
    """The baseline's examples beside an infinite score, or one that is no number: not "unchanged"."""
    stores[0].write(*measured(base))
    record, arrays = measured(base)
    scores = tuple(dataclasses.replace(score, value=value) for score in record.scores)
    stores[1].write(dataclasses.replace(record, scores=scores), arrays)
    (nll, _) = judged(stores).findings
    assert nll.verdict is (Verdict.FAILED if math.isinf(value) else Verdict.INCONCLUSIVE)
    assert nll.notes[0] == "Unpaired: the per-example values do not average to the scores."


def test_examples_that_are_missing_or_there_twice_are_not_paired(measured, base):
    """Every value ten times over would make the standard error a third of what it is."""
    sides = []
    for values in (base, base + np.random.default_rng(1).normal(0, 1, N)):
        twice = measured(np.tile(values, 10), ids=np.tile(np.arange(N), 10), model="twice")
        record, arrays = measured(values, model="missing")
        scores = tuple(dataclasses.replace(score, n=2 * N) for score in record.scores)
        sides.append(told([twice, (dataclasses.replace(record, scores=scores), arrays)]))
    notes = {each.model: each.notes[0] for each in gate(*sides, Margins(), 0.01).findings if each.metric == "nll"}
    assert "has several values of nll for one example" in notes["twice"]
    assert f"does not say which {2 * N} examples nll was measured on" in notes["missing"]


def test_the_noise_of_an_estimator_alone_is_noise(stores, measured, base):
    for store, value in zip(stores, (80.0, 81.0), strict=True):
        parameters = {"estimator_stderr": 5.0}
        score = Score("bound", value, "nats", Kind.UPPER_BOUND, False, parameters=parameters)
        store.write(measured(base, scores=(score,))[0])
    (finding,) = judged(stores).findings
    assert finding.verdict is Verdict.INCONCLUSIVE and "standard error" in finding.reason


def test_what_only_the_baseline_has_is_named_and_so_is_a_seed_that_differs(stores, measured, base):
    for width in (16, 32):
        stores[0].write(*measured(base, settings={"model": {"width": width}}))
    stores[1].write(*measured(base, settings={"model": {"width": 16}}, seed=1))
    found = judged(stores)
    assert "Only in the baseline: mixture width=32 on digits." in found.notes
    assert found.findings[0].notes == ("No seed is in both (baseline 0, candidate 1): these are other trainings.",)


def test_a_record_under_the_name_of_another_is_not_asked_for_its_examples(stores, measured, base):
    stores[0].write(*measured(base))
    record, other = (stores[1].write(*measured(base, seed=seed)) for seed in (0, 1))
    paths = [stores[1].folder / f"{each.id}.json" for each in (record, other)]
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, contents[::-1], strict=True):
        path.write_bytes(content)
    assert Examples(stores[1]).record(record.id) is None
    assert not any(each.paired for each in judged(stores).findings)


def test_infinite_means_fail_where_they_are_new_and_are_never_dropped(stores, measured, base):
    broken = np.where(np.arange(N) == 5, math.inf, base)
    other = np.where(np.arange(N) == 6, math.nan, base)
    cases = {"new": (base, broken), "mended": (broken, base), "both": (broken, other), "same": (broken, broken)}
    for name, (before, after) in cases.items():
        stores[0].write(*measured(before, model=name))
        stores[1].write(*measured(after, model=name))
    found = judged(stores)
    assert {model: verdict for (model, metric), verdict in verdicts(found).items() if metric == "nll"} == {
        "new": "failed",
        "mended": "passed",
        "both": "inconclusive",
        "same": "passed",
    }
    reasons = {each.model: each.reason for each in found.findings}
    assert "mean is infinite: some example has no finite value" in reasons["new"]
    assert "Both means are infinite" in reasons["both"] and "Unchanged" in reasons["same"]
    for form in ("markdown", "summary", "junit", "json"):
        found.text(form)


@pytest.mark.parametrize("stderr", [None, math.nan, math.inf])
def test_a_standard_error_that_is_missing_or_not_finite_is_inconclusive_in_words(stores, measured, base, stderr):
    for store, value in zip(stores, (0.1, 0.9), strict=True):
        store.write(*measured(base, scores=(Score("ece", value, "share", Kind.ESTIMATE, False, stderr, None, N),)))
    (finding,) = judged(stores).findings
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == "Neither value has a standard error that is a finite number."


def test_a_value_that_is_no_number_is_inconclusive(stores, measured, base):
    for store, value in zip(stores, (0.1, math.nan), strict=True):
        store.write(*measured(base, scores=(Score("ece", value, "share", Kind.ESTIMATE, False, 0.1, None, N),)))
    (finding,) = judged(stores).findings
    assert finding.verdict is Verdict.INCONCLUSIVE and "not a number" in finding.reason


def test_a_model_that_crashes_now_is_inconclusive_and_one_that_is_skipped_is_listed(stores, measured, make, base):
    for name in ("crashed", "skipped"):
        stores[0].write(*measured(base, model=name))
        stores[1].write(*measured(base, model=name))
    stores[1].write(make(model="crashed", status=Status.FAILED, reason="It ran out of memory.", scores=()))
    stores[1].write(make(model="skipped", status=Status.SKIPPED, reason="It has no density.", scores=()))
    found = judged(stores)
    assert [(each.model, each.verdict.value, each.reason) for each in found.findings] == [
        ("crashed", "inconclusive", "It failed: It ran out of memory.")
    ]
    assert [each.reason for each in found.absent] == ["It was skipped: It has no density."]
    ElementTree.fromstring(found.text("junit"))


def test_an_audit_that_fails_now_fails_the_gate(stores, measured, base):
    for store, failed in zip(stores, (0.0, 1.0), strict=True):
        scores = (Score("failed", failed, "audits", Kind.EXACT, False, n=12),)
        store.write(*measured(base, suite="audit", scores=scores))
    (finding,) = judged(stores).findings
    assert finding.verdict is Verdict.FAILED and finding.margin == 0.0


def test_changed_settings_are_matched_where_there_is_no_doubt_and_said(stores, measured, base):
    stores[0].write(*measured(base, settings={"model": {"width": 32}, "batch_size": 9, "seed": 0}))
    stores[1].write(*measured(base, settings={"model": {"width": 16}, "batch_size": 1, "seed": 4}))
    (nll, _) = judged(stores).findings
    assert nll.notes == ("The settings differ: model.width 32 and 16 (baseline and candidate).",)
    stores[0].write(*measured(base, settings={"model": {"width": 64}, "batch_size": 9}))
    found = judged(stores)
    assert not found.findings and "other settings, and more than once: width=32; width=64" in found.absent[0].reason


# Speeds


def speeds(
    store, make, typical, *, metric="sample_rate", unit="examples/s", machines=(None,) * 5, spread=0.02, **changes
):
    """Five runs whose rates, or times, spread by so much around the typical one."""
    for seed, (offset, rate) in enumerate(zip((-1.2, -0.4, 0.1, 0.5, 1.0), machines, strict=True)):
        value = typical * (1 + spread * offset)
        scores = (Score(metric, value, unit, Kind.ESTIMATE, unit.endswith("/s"), value / 1000),)
        if rate is not None:
            scores += (Score("matmul_rate", rate, "GFLOP/s", Kind.ESTIMATE, True, rate / 100),)
        store.write(make(suite="throughput", scores=scores, seed=seed, **changes))


def test_speeds_are_compared_within_one_environment(stores, make):
    speeds(stores[0], make, 1000.0)
    speeds(stores[1], make, 800.0)
    (finding,) = judged(stores).findings
    assert finding.verdict is Verdict.FAILED and finding.margin == pytest.approx(100.0, rel=1e-9)
    values = [np.array([-1.2, -0.4, 0.1, 0.5, 1.0]) * 0.02 * size + size for size in (1000.0, 800.0)]
    welch = stats.ttest_ind(0.9 * values[0], values[1], equal_var=False, alternative="greater")
    assert finding.p_value == pytest.approx(welch.pvalue, rel=1e-9)
    assert not judged(stores, sample_rate="30%").failed


def test_a_single_run_of_a_speed_decides_nothing_however_sure_it_is_of_itself(stores, make):
    """What a run says of its own noise is that of calls that all met the same busy machine."""
    for store, rate in zip(stores, (1000.0, 500.0), strict=True):
        score = Score("sample_rate", rate, "examples/s", Kind.ESTIMATE, True, 0.1)
        store.write(make(suite="throughput", scores=(score,)))
    (finding,) = judged(stores).findings
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "a busy machine looks like a slow model" in finding.reason and "seed=0,1,2" in finding.reason


def test_a_busy_machine_is_no_false_alarm_of_a_speed():
    """Three runs, each slower or faster by a quarter as the machine is busy: one false alarm in a hundred, at most."""
    rng, alarms = np.random.default_rng(11), 0
    for _ in range(500):
        found = exactly_spread(*(1000 * np.exp(0.25 * rng.normal(size=3)) for _ in range(2)))
        alarms += found.mirrored().p_above(0.0) <= 0.01
    assert alarms <= stats.binom(500, 0.01).ppf(0.99)


def exactly_spread(a, b):
    return over_seeds(exactly(a.mean(), b.mean()), list(a), list(b), matched=False)


def test_speeds_of_two_machines_are_compared_only_as_ratio_to_their_calibration(stores, make, environment):
    slow = dataclasses.replace(environment, device_name="another", threads=8)
    speeds(stores[0], make, 1000.0)
    speeds(stores[1], make, 500.0, environment=slow)
    found = judged(stores)
    assert not found.findings
    assert found.absent[0].reason == (
        "They were measured on different machines (device_name another and cpu, threads 8 and 2)."
    )
    fast, half = (1e12,) * 5, (5e11,) * 5
    speeds(stores[0], make, 1000.0, machines=fast, model="rate")
    speeds(stores[1], make, 500.0, machines=half, model="rate", environment=slow)
    speeds(stores[0], make, 1.0, machines=fast, model="time", metric="latency_p50", unit="ms")
    speeds(stores[1], make, 4.0, machines=half, model="time", metric="latency_p50", unit="ms", environment=slow)
    rate, time = judged(stores).findings
    assert rate.verdict is Verdict.PASSED and rate.degradation == pytest.approx(0.0, abs=1e-9)
    assert "As ratio to the matmul_rate measured beside it" in rate.notes[0]
    assert time.verdict is Verdict.FAILED and time.degradation == pytest.approx(1.0 * 1.0, rel=1e-9)


@pytest.mark.parametrize("fact", [{"dtype": "bfloat16"}, {"matmul_precision": "high"}])
def test_a_calibration_in_another_arithmetic_is_none(stores, make, environment, fact):
    speeds(stores[0], make, 1000.0, machines=(1e12,) * 5)
    other = dataclasses.replace(environment, **fact)
    speeds(stores[1], make, 1000.0, machines=(8e12,) * 5, environment=other)
    found = judged(stores)
    assert not found.findings and next(iter(fact)) in found.absent[0].reason


def test_a_contract_that_names_its_machine_is_the_machine(stores, make):
    """And what is no speed is compared on any: counts, and the share of what the machine can do."""

    def timed(store, rate, machine):
        for seed in range(3):
            scores = (
                Score("sample_rate", rate + seed / 10, "examples/s", Kind.ESTIMATE, True, rate / 100),
                Score("parameters", 1000.0, "parameters", Kind.EXACT, False),
                Score("peak_fraction", 0.3 + seed / 1000, "of matrix products", Kind.ESTIMATE, True, 0.001),
                Score("peak_memory", rate, "MiB", Kind.ESTIMATE, False),
                Score("matmul_rate", rate, "GFLOP/s", Kind.ESTIMATE, True, 0.001),
            )
            contract = {"device": "cpu", "device_name": machine}
            store.write(make(suite="throughput", scores=scores, contract=contract, seed=seed))

    timed(stores[0], 100.0, "small")
    timed(stores[1], 900.0, "large")
    found = judged(stores)
    assert verdicts(found) == {
        ("mixture", "sample_rate"): "passed",
        ("mixture", "parameters"): "passed",
        ("mixture", "peak_fraction"): "passed",
    }
    (memory,) = found.absent
    assert memory.metric == "peak_memory" and "device_name large and small" in memory.reason


# Margins


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "ten", "", "1%%", "%"])
def test_a_margin_that_is_none_says_what_is_accepted(text):
    with pytest.raises(ValueError, match=r"margin nll=.*it should be a number of at least 0.*nll=0\.01 or nll=10%"):
        margin("nll", text)


def test_a_misspelt_margin_names_the_nearest_metric(stores, measured, base):
    for store in stores:
        store.write(*measured(base))
    with pytest.raises(ValueError, match=r"margin bits_per_dims: .*did you mean 'bits_per_dim'"):
        judged(stores, bits_per_dims=0.1)
    with pytest.raises(ValueError, match="there is bits_per_dim, nll"):
        judged(stores, zzz=0.1)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 2, math.nan])
def test_alpha_is_a_probability(stores, measured, base, alpha):
    for store in stores:
        store.write(*measured(base))
    with pytest.raises(ValueError, match=r"alpha=.*between 0 and 1"):
        judged(stores, alpha=alpha)


# Outputs

HOSTILE = (
    "<script>alert(1)</script>",
    "a|b`c*[x](y)\n# head",
    "\x00\x1b[31m\u202e\x08",
    "../../etc/passwd",
    "n" * 10_000,
)


@pytest.mark.parametrize("name", HOSTILE, ids=["html", "markdown", "control", "path", "long"])
def test_hostile_names_are_shown_as_text_in_every_form(stores, measured, base, name):
    for store, values in zip(stores, (base, base + 5), strict=True):
        scores = (Score(name, values.mean(), "nats", Kind.EXACT, False, 0.1, None, N),)
        store.write(*measured(base, model=name, scores=scores))
        store.write(*measured(base, model=name, dataset=name, scores=scores, contract={"x": str(store)}))
    found = judged(stores)
    root = ElementTree.fromstring(found.text("junit"))
    cases = root.findall(".//testcase")
    assert len(cases) == 2 and len(root.findall(".//failure")) == 1 and len(root.findall(".//skipped")) == 1
    assert json.loads(found.text("json"))["findings"][0]["model"] == name
    for form in ("markdown", "summary"):
        text = found.text(form)
        assert "<script" not in text.replace("\\<script", "") and "\x1b" not in text and "\u202e" not in text
        assert not any(line.startswith("# ") for line in text.splitlines())
        assert len(text) < 5000


def test_junit_has_a_test_for_each_metric(stores, measured, base):
    noisy = base + np.random.default_rng(0).normal(0, 20, N)
    for name, values in {"good": base, "bad": base + 9, "noisy": noisy}.items():
        stores[0].write(*measured(base, model=name))
        stores[1].write(*measured(values, model=name))
    stores[1].write(*measured(base, model="new"))
    found = judged(stores)
    for strict, failures, skipped in ((False, 2, 3), (True, 4, 1)):
        root = ElementTree.fromstring(found.text("junit", strict=strict))
        suite = root.find("testsuite")
        assert root.tag == "testsuites" and suite is not None and suite.get("tests") == "7"
        assert len(suite.findall("testcase")) == 7
        assert len(suite.findall("testcase/failure")) == failures == int(suite.get("failures"))
        assert len(suite.findall("testcase/skipped")) == skipped == int(suite.get("skipped"))
    case = root.find(".//testcase[@classname='density.digits.bad'][@name='nll']/failure")
    assert case is not None and case.get("message").startswith("failed: Worse by at least 9")


def test_the_table_fits_a_hundred_columns_and_the_summary_shows_what_failed_first(stores, measured, base):
    for name, values in {"good": base, "bad": base + 9 + np.random.default_rng(0).normal(0, 1, N)}.items():
        stores[0].write(*measured(base, model=name))
        stores[1].write(*measured(values, model=name))
    found = judged(stores)
    table = found.text()
    assert table.startswith("**failed: 2 failed, 2 passed; alpha 0.01, by Holm over 4 metrics**")
    assert all(len(line) <= 100 for line in table.splitlines() if line.startswith("|"))
    assert "paired over 297 examples" in table
    summary = found.text("summary")
    assert summary.startswith("### Torchstone: failed")
    assert summary.index("FAILED") < summary.index("<details><summary>2 passed</summary>")
    with pytest.raises(ValueError, match="html"):
        found.text("html")
    content = json.loads(found.text("json"))
    assert content["verdict"] == "failed" and len(content["findings"]) == 4
    assert content["findings"][0]["p_adjusted"] <= 0.01 and content["findings"][0]["paired"]
