"""The throughput suite on a clock that only models move: the right numbers come out, and mistakes do not hide."""

import os

import pytest
import torch
from torchstone_extension import honest
from torchstone_extension.catalogue import CATALOGUE, Outcome
from torchstone_extension.cheats import timing as cheats
from torchstone_extension.clocks import TICK, Throttled, Ticking
from torchstone_extension.data import dataset

from torchstone.harness import run
from torchstone.models import Continuous, ModelError, Space
from torchstone.models.randomness import generator
from torchstone.results import Status
from torchstone.results.record import ENVIRONMENT_KEYS, Kind
from torchstone.suites.context import Context
from torchstone.suites.throughput import Throughput
from torchstone.suites.timing.checks import CLAIMS
from torchstone.suites.timing.machine import Meter

BEST = 256 / (cheats.EACH_CALL + 256 * cheats.EACH_EXAMPLE + TICK)
ALONE = 1e3 * (cheats.EACH_CALL + cheats.EACH_EXAMPLE + TICK)


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch):
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *arguments, **more: None)


def greys(n=60):
    return dataset(torch.randint(17, (n, 4, 4), generator=generator(0, "greys")), 17, name="greys")


def timed(build, *, clock=None, seed=0, **settings):
    """The model, and what the suite finds of it on its own clock."""
    clock = clock or Ticking()
    model, data, suite = build(clock), greys(), Throughput(**settings)
    assert suite.skip(model, data) is None
    return suite.timed(model, data, Context(seed=seed), clock)


def score(found, metric, **parameters):
    (one,) = [
        each for each in found.scores
        if each.metric == metric and parameters.items() <= each.parameters.items()
    ]  # fmt: skip
    return one


def verdict(found, name):
    (one,) = [each for each in found.audits if each["audit"] == name]
    return one["verdict"], one["witness"]


def known_costs_come_out(found):
    for metric in ("sample_rate", "log_prob_rate", "encode_rate"):
        assert score(found, metric).value == pytest.approx(BEST, rel=1e-9)
        assert score(found, metric).parameters["best_batch"] == 256


def test_known_costs_come_out_and_every_check_passes():
    found = timed(cheats.Costly)
    known_costs_come_out(found)
    assert score(found, "latency_p50").value == pytest.approx(ALONE, rel=1e-9)
    assert score(found, "latency_p95").value == pytest.approx(ALONE, rel=1e-9)
    assert score(found, "time_to_first_sample").value == pytest.approx(ALONE, rel=1e-9)
    assert score(found, "aa_ratio", of="sample").value == pytest.approx(1.0, rel=1e-9)
    assert score(found, "parameters").value == 17 * 16
    assert score(found, "matmul_rate").value == pytest.approx(2 * 512**3 / TICK / 1e9, rel=1e-9)
    assert {each["verdict"] for each in found.audits} == {"pass"} and {each["audit"] for each in found.audits} == set(
        CLAIMS
    )
    assert all("no operation of it is counted" in words for words in found.warnings), found.warnings


def test_the_headline_is_a_rate_and_all_metrics_are_named():
    found = timed(cheats.Costly)
    assert [each.metric for each in found.scores[:3]] == ["sample_rate", "log_prob_rate", "encode_rate"]
    assert {each.metric for each in found.scores} <= set(Throughput.metrics)
    assert all(each.kind is Kind.ESTIMATE and each.stderr is not None for each in found.scores[:5])


def test_the_contract_names_the_environment():
    contract = timed(cheats.Costly).contract
    assert set(contract) >= ENVIRONMENT_KEYS and contract["clock"] == "ticking" and contract["process"] == "shared"
    assert contract["threads"] == torch.get_num_threads() and contract["dtype"] == "float32"
    assert contract["batches"] == "1,4,16,64,256" and contract["split"] == "test"


def test_one_batch_may_be_asked_for():
    found = timed(cheats.Costly, batch=10)
    assert score(found, "sample_rate").value == pytest.approx(10 / (0.02 + TICK), rel=1e-9)
    assert found.contract["batches"] == "10"


def test_the_cost_of_a_call_grows_with_the_batch_by_the_fitted_power():
    """Ten milliseconds and one for each example: nearly flat at first, nearly proportional at last."""
    law = score(timed(cheats.Costly), "batch_exponent", of="sample")
    assert law.value == pytest.approx(0.60, abs=0.05) and law.ci95[0] < law.value < law.ci95[1]


def test_a_batch_that_takes_too_long_is_not_tried():
    found = timed(cheats.Costly, longest_call=0.05)
    assert score(found, "best_batch", of="sample").value == 4  # sixteen might take 0.06 s


def test_the_smallest_batch_that_is_nearly_as_fast_is_the_best():
    class Proportional(cheats.Costly):
        def work(self, n):
            self.clock.advance(0.1 * n)

    assert score(timed(Proportional), "best_batch", of="log_prob").value == 1


def test_an_iterative_sampler_is_counted_and_timed():
    found = timed(cheats.Wandering)
    assert score(found, "evaluations_per_sample").value == 20
    assert score(found, "latency_p50").value == pytest.approx(1e3 * (20 * cheats.EACH_EXAMPLE + TICK), rel=1e-9)
    assert {each["verdict"] for each in found.audits if each["audit"] != "peak"} == {"pass"}
    assert verdict(found, "peak")[0] == "not-applicable"  # an identity and draws do no arithmetic that is counted


def test_evaluations_of_an_autoregressive_sampler_are_its_positions():
    from torchstone.models.exact.independent import Independent

    found = timed(lambda clock: Independent(cheats.GREY), largest_batch=4, seconds=0.0, warmup_seconds=0.0)
    assert score(found, "evaluations_per_sample").value == 16


def test_arithmetic_is_counted_and_held_against_the_machine():
    """A linear layer of 512 by 16: two operations for each weight, beside matrix products of a millisecond."""

    class Linear(cheats.Costly):
        def encode(self, x):
            self.work(len(x))
            return x.flatten(1).double() @ torch.ones(16, 512, dtype=torch.float64)

    found = timed(Linear)
    assert score(found, "flops_per_example", of="encode").value == 2 * 16 * 512
    assert score(found, "flops_per_example", of="encode").kind is Kind.LOWER_BOUND
    expected = BEST * 2 * 16 * 512 / (2 * 512**3 / TICK)
    assert score(found, "peak_fraction", of="encode").value == pytest.approx(expected, rel=1e-6)


def test_a_model_that_can_be_asked_nothing_is_skipped():
    class Nothing(honest.Uniform):
        pass

    model = Nothing(Space((4, 4), Continuous(0.0, 1.0)))
    assert Throughput().skip(model, greys()) is None  # it has a density
    reason = Throughput().skip(cheats.Costly(Ticking()), dataset(torch.zeros(9, 3, dtype=torch.int64), 17))
    assert reason is not None and "shape" in reason


def test_threads_are_pinned_for_the_time_of_the_measurement():
    before = torch.get_num_threads()
    found = timed(cheats.Costly, threads=2)
    assert found.contract["threads"] == 2 and torch.get_num_threads() == before


def test_a_rate_far_above_the_machine_is_failed():
    found = timed(cheats.BeyondTheMachine)
    assert score(found, "peak_fraction", of="encode").value == pytest.approx(10.0, rel=1e-3)
    assert verdict(found, "peak")[0] == "fail"


def test_draws_that_do_not_come_out_again_from_their_seed_are_flagged():
    """An untouched copy that does not agree with itself says nothing of what was timed."""
    torch.manual_seed(0)
    said, witness = verdict(timed(cheats.SeedlessLater), "timed path")
    assert said == "flag" and "do not come out again from the same seed" in witness


def test_what_a_short_run_cannot_tell_is_no_pass():
    found = timed(cheats.Costly, batch=4, calls=4, seconds=0.0, warmup_seconds=0.0)
    assert verdict(found, "growth")[0] == "not-applicable" and verdict(found, "A/A")[0] == "inconclusive"
    assert "raise suite.calls" in verdict(found, "A/A")[1]


def test_a_single_matrix_product_is_no_measure_of_the_machine():
    class Quick(cheats.Costly):
        def work(self, n):
            self.clock.advance(1e-4)

    found = timed(Quick, batch=4, calls=4, seconds=0.0, warmup_seconds=0.0)
    share = score(found, "peak_fraction", of="encode")
    assert share.stderr is None and share.ci95 is None
    said, witness = verdict(found, "peak")
    assert said == "inconclusive" and "a single matrix product" in witness
    assert any("a single matrix product" in words for words in found.warnings)


def test_features_of_no_width_are_refused_in_words():
    with pytest.raises(ModelError, match=r"encode returned torch.float32 of shape \(1, 0\) for 1 examples: return"):
        timed(cheats.NoFeatures)


def test_latency_is_told_by_its_own_quantiles():
    """Calls for one example that take 1 to 100 ms in turn, in an order of their own."""

    class Uneven(cheats.Costly):
        def work(self, n):
            self.calls += 1
            self.clock.advance((1 + 37 * self.calls % 100) * 1e-3 - TICK)

    found = timed(Uneven, batch=1, calls=200, seconds=0.0, warmup_seconds=0.0)
    assert score(found, "latency_p50").value == pytest.approx(50.5, abs=1)
    assert score(found, "latency_p95").value == pytest.approx(95, abs=1)


def test_energy_is_that_of_each_example(monkeypatch):
    """A device that takes seven joules for each call of four examples."""
    model_of = []

    class Metered(cheats.Costly):
        def __init__(self, clock):
            super().__init__(clock)
            model_of.append(self)

    monkeypatch.setattr(Meter, "joules", lambda self: 7.0 * model_of[0].calls)
    found = timed(Metered, batch=4, calls=4, seconds=0.0, warmup_seconds=0.0)
    assert score(found, "energy_per_example").value == pytest.approx(7 / 4, rel=1e-9)


def test_a_standard_measurement_takes_twenty_calls_and_five_seconds_after_two_of_warm_up():
    effort = Throughput.standard
    assert (effort["calls"], effort["seconds"], effort["warmup_seconds"]) == (20, 5.0, 2.0)


# The catalogue of mistakes, numbers 61 to 66.


def the_first_call_is_told_apart():
    found = timed(cheats.CompilesFirst)
    known_costs_come_out(found)
    assert score(found, "time_to_first_sample").value == pytest.approx(30e3 + ALONE, rel=1e-9)


def what_recurs_with_every_call_is_in_the_rate():
    found = timed(cheats.CompilesEachCall)
    assert score(found, "latency_p50").value == pytest.approx(1e3 + ALONE, rel=1e-9)


def identical_inputs_never_recur():
    found = timed(cheats.CachesInputs)
    assert score(found, "log_prob_rate").value == pytest.approx(BEST, rel=1e-9)


def memory_of_another_phase_is_not_counted():
    found = timed(cheats.HoldsMemory)
    assert score(found, "best_batch", of="sample").value == 256
    assert score(found, "peak_memory", memory="allocated").value < 8


def memory_elsewhere_is_in_the_resident_peak():
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("this system does not let the resident peak be set back")
    few = {"batch": 4, "calls": 4, "seconds": 0.0, "warmup_seconds": 0.0}
    plain, found = (timed(each, **few) for each in (cheats.Costly, cheats.HoldsMemoryElsewhere))
    less, more = (score(each, "peak_memory", memory="resident").value for each in (plain, found))
    assert more > less + 16


IMPOSSIBLE = {
    "62-compiles-in-its-first": the_first_call_is_told_apart,
    "62-compiles-again-in-every": what_recurs_with_every_call_is_in_the_rate,
    "63-answers-inputs-that-it": identical_inputs_never_recur,
    "65-leaves-the-peak-of": memory_of_another_phase_is_not_counted,
    "65-holds-memory-that-the": memory_elsewhere_is_in_the_resident_peak,
}
TIMED = [entry for entry in CATALOGUE if entry.suite == "throughput"]


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_the_table_calls_impossible_is_and_the_right_number_comes_out(name):
    IMPOSSIBLE[name]()


def test_every_impossible_mistake_has_its_test():
    assert set(IMPOSSIBLE) == {entry.id for entry in TIMED if entry.outcome is Outcome.IMPOSSIBLE}


@pytest.mark.parametrize("entry", [e for e in TIMED if e.audits], ids=lambda entry: entry.id)
def test_the_mistake_is_found_by_the_checks_that_the_table_names(entry):
    """And the honest model beside it passes them."""
    found = timed(entry.cheat, clock=Throttled(), calls=40) if entry.cheat is cheats.Costly else timed(entry.cheat)
    for name in entry.audits:
        said, witness = verdict(found, name)
        assert said == entry.outcome.value, witness
        assert any(witness.startswith(words[:40]) for words in found.warnings)


def test_a_throttled_machine_is_not_taken_for_the_model():
    _, witness = verdict(timed(cheats.Costly, clock=Throttled(), calls=40), "A/A")
    assert "so did the matrix products" in witness


def test_no_mistake_is_found_in_an_honest_model_whatever_the_seed():
    for seed in range(5):
        for build in (cheats.Costly, cheats.Wandering):
            found = timed(build, seed=seed)
            assert not [each for each in found.audits if each["verdict"] in ("fail", "flag")], found.audits


# Through the harness.


@pytest.fixture
def small():
    return {"suite.calls": 4, "suite.seconds": 0.0, "suite.warmup_seconds": 0.0, "suite.batch": 4}


def test_it_is_never_answered_from_the_store(tmp_path, small):
    asked = {"suite": "throughput", "data": "bernoulli", "budget": "smoke", "results": tmp_path, "progress": False}
    first, second = (run("independent", settings=small, **asked).records[0] for _ in range(2))
    assert first.status is Status.COMPLETED, first.reason
    assert first.id != second.id and first.identity == second.identity
    assert first.contract["process"] == "shared"


@pytest.mark.slow
def test_every_cell_has_a_process_of_its_own(tmp_path, small, monkeypatch):
    """Named models alone: two cells, two workers, neither of which has fitted anything."""
    seen = tmp_path / "seen"
    (tmp_path / "tells.py").write_text(
        "import os, torch\n"
        "from torchstone.models.exact.independent import Independent\n"
        "def one(space):\n"
        f"    open({str(seen)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        "    return Independent(space)\n"
    )
    records = run(
        f"{tmp_path}/tells.py:one", suite="throughput", data="bernoulli", seed=[0, 1], budget="smoke",
        executor="process", results=tmp_path / "results", settings=small, progress=False,
    ).records  # fmt: skip
    assert [record.status for record in records] == [Status.COMPLETED] * 2, [record.reason for record in records]
    assert {record.contract["process"] for record in records} == {"own"}
    assert len(set(seen.read_text().split())) == 3  # that which planned and fitted, and one for each cell
