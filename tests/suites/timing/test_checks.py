"""Verdicts on what a timing may hide, from timings that are written down."""

import pytest
import torch

from torchstone.models import Continuous, Discrete, Space
from torchstone.models.randomness import generator
from torchstone.suites.audits.audit import Verdict
from torchstone.suites.metrics.rates import Centre, ratio
from torchstone.suites.timing import checks
from torchstone.suites.timing.outputs import Outputs
from torchstone.suites.timing.rig import Timing, Warmup

GREY = Space((2, 2), Discrete(4))


def timing(seconds, *, products=None, cpu=1.0, settling=0.0, threads=1, outputs=None):
    seconds = torch.as_tensor(seconds, dtype=torch.float64)
    products = torch.full((12,), 1e-3, dtype=torch.float64) if products is None else products
    return Timing(
        4, seconds, Warmup(1.0, 3, 0.0, True), products, cpu, settling, threads, outputs or Outputs(None)
    )  # fmt: skip


def times(n, seed, scale=1.0):
    return scale * (0.05 * torch.randn(n, generator=generator(seed, "t"), dtype=torch.float64)).exp()


def only(faults):
    (fault,) = faults
    return fault


def apart(value, n=40):
    return Centre(value, value * 0.98, value * 1.02, 0.01, None, n, n)


def test_halves_are_flagged_where_they_differ_twice_to_one_side():
    assert not list(checks.agreement("sample", apart(1.0), None))
    assert not list(checks.agreement("sample", apart(1.1), apart(1.0)))
    assert not list(checks.agreement("sample", apart(1.1), apart(0.9)))
    assert not list(checks.agreement("sample", apart(1.1, n=6), apart(1.1, n=6)))
    assert only(checks.agreement("sample", apart(1.1), apart(1.05))).verdict is Verdict.FLAG


def test_honest_halves_are_hardly_ever_flagged():
    """1,000 pairs of A/A measurements: 1.25 are due at 5 %, twice and to one side; at most 8."""
    flagged = 0
    for seed in range(1000):
        first, second = (ratio(times(20, 4 * seed + k), times(20, 4 * seed + k + 1)) for k in (0, 2))
        flagged += bool(list(checks.agreement("sample", first, second)))
    assert flagged <= 8


def test_calls_that_get_slower_are_flagged_with_the_cause():
    slower = torch.cat([times(15, 0), times(15, 1), times(15, 2, 1.5)])
    alone = only(checks.steadiness("sample", timing(slower)))
    beside = only(checks.steadiness("sample", timing(slower, products=slower.clone())))
    assert "leaks" in alone.words and "throttles" in beside.words
    assert not list(checks.steadiness("sample", timing(slower, cpu=0.6)))  # others had the processor
    assert not list(checks.steadiness("sample", timing(times(45, 0))))


def test_more_processor_time_than_there_are_threads_is_flagged():
    assert "threads of its own" in only(checks.threading("sample", timing(times(9, 0), cpu=1.9), 1)).words
    assert not list(checks.threading("sample", timing(times(9, 0), cpu=1.1), 1))


def test_work_that_is_left_for_later_is_failed():
    late = only(checks.materialisation("sample", timing(times(9, 0), settling=0.5)))
    assert late.verdict is Verdict.FAIL and "left for later" in late.words
    assert not list(checks.materialisation("sample", timing(times(9, 0), settling=0.1)))


def test_time_that_does_not_grow_is_flagged():
    assert only(checks.growth("sample", [1, 4, 64], [1.0, 1.0, 1.1])).verdict is Verdict.FLAG
    assert not list(checks.growth("sample", [1, 4, 64], [1.0, 1.0, 1.3]))
    assert not list(checks.growth("sample", [1, 4], [1.0, 1.0]))


def test_a_new_shape_is_flagged_where_every_new_one_is_dear():
    assert only(checks.shapes("sample", {2: (1.0, 0.1), 3: (1.2, 0.1)})).verdict is Verdict.FLAG
    assert not list(checks.shapes("sample", {2: (1.0, 0.1), 3: (0.1, 0.1)}))
    assert not list(checks.shapes("sample", {2: (0.004, 0.001), 3: (0.004, 0.001)}))  # milliseconds are set-up


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        (torch.zeros(3, 2, 2, dtype=torch.int64), "shape"),
        (torch.zeros(4, 3, 2, dtype=torch.int64), "shape"),
        (torch.zeros(4, 2, 2), "dtype"),
        (torch.full((4, 2, 2), 4), "support"),
        ("no tensor", "type"),
    ],
)
def test_outputs_that_are_not_what_is_due_are_failed(output, kind):
    outputs = Outputs(GREY)
    outputs.take(4, 1, output, output if isinstance(output, torch.Tensor) else None)
    assert list(outputs.faults) == [kind]
    assert only(checks.validity("sample", outputs)).verdict is Verdict.FAIL


def test_what_is_not_finite_is_flagged():
    outputs = Outputs(Space((2, 2), Continuous()))
    outputs.take(1, 1, torch.full((1, 2, 2), torch.nan), torch.full((1, 2, 2), torch.nan))
    assert only(checks.validity("sample", outputs)).verdict is Verdict.FLAG


def test_equal_answers_of_a_constant_model_are_no_fault():
    """A uniform density is the same for every example, however fresh."""
    outputs = Outputs(None)
    for number in range(9):
        outputs.take(4, number, torch.full((4,), -2.0), torch.full((4,), -2.0))
    assert not list(checks.freshness("log_prob", outputs, None))


def test_equal_answers_that_are_not_constant_are():
    outputs = Outputs(None)
    for number in range(9):
        answer = torch.arange(32.0)
        outputs.take(32, number, answer, answer.clone())
    assert only(checks.freshness("log_prob", outputs, None)).verdict is Verdict.FAIL


def test_an_output_that_changes_after_it_was_returned_is_failed():
    outputs, output = Outputs(None), torch.arange(4.0)
    outputs.take(4, 1, output, output.clone())
    output.add_(1)
    assert "changed after" in only(checks.materialisation("log_prob", timing(times(9, 0), outputs=outputs))).words


def test_a_check_without_a_fault_passes_and_one_that_was_not_made_is_not_applicable():
    fault = checks.Fault("peak", Verdict.FLAG, "odd.")
    unmade = {
        "peak": checks.Fault("peak", Verdict.NOT_APPLICABLE, "Nothing."),
        "growth": checks.Fault("growth", Verdict.NOT_APPLICABLE, "Nothing."),
        "A/A": checks.Fault("A/A", Verdict.INCONCLUSIVE, "Too few."),
    }
    found = {entry["audit"]: entry["verdict"] for entry in checks.entries([fault], unmade)}
    assert found.pop("peak") == "flag" and found.pop("growth") == "not-applicable"
    assert found.pop("A/A") == "inconclusive" and set(found.values()) == {"pass"}


def test_the_worst_that_a_check_saw_is_its_verdict():
    faults = [checks.Fault("peak", each, "odd.") for each in (Verdict.INCONCLUSIVE, Verdict.FLAG, Verdict.FAIL)]
    for seen, worst in ((faults, "fail"), (faults[:2], "flag"), (faults[:1], "inconclusive")):
        assert {"audit": "peak", "verdict": worst}.items() <= dict(checks.entries(seen, {})[6]).items()


def test_what_was_not_looked_at_is_said_with_its_reason():
    made = {"copied": True, "sizes": [[1, 4, 16]], "stepped": False, "counted": True, "halves": [apart(1.0)]}
    assert not checks.untested(**made)
    assert not checks.untested(**{**made, "sizes": [[4]], "stepped": True})
    assert not checks.untested(**{**made, "sizes": [[4], [1, 4, 16]], "halves": [apart(1.0, n=4), apart(1.0)]})
    for changed, name, verdict, words in (
        ({"copied": False}, "timed path", Verdict.NOT_APPLICABLE, "untouched copy"),
        ({"sizes": [[4], [1, 4]]}, "growth", Verdict.NOT_APPLICABLE, "suite.largest_batch"),
        ({"counted": False}, "peak", Verdict.NOT_APPLICABLE, "No arithmetic was counted"),
        ({"halves": [apart(1.0, n=11)]}, "A/A", Verdict.INCONCLUSIVE, "raise suite.calls"),
    ):
        found = checks.untested(**{**made, **changed})
        assert list(found) == [name] and found[name].verdict is verdict and words in found[name].words


def test_more_arithmetic_than_four_times_that_of_the_machine_is_failed():
    assert not list(checks.peak("sample", 1.0))
    assert only(checks.peak("sample", 3.9)).verdict is Verdict.FLAG
    assert only(checks.peak("sample", 4.1)).verdict is Verdict.FAIL
    untold = only(checks.peak("sample", None))
    assert untold.verdict is Verdict.INCONCLUSIVE and "a single matrix product" in untold.words


def test_a_drift_of_a_fifth_is_flagged_and_one_of_a_twentieth_is_not():
    for change, flagged in ((1.2, 1), (1 / 1.2, 1), (1.05, 0)):
        calls = torch.cat([torch.full((15,), each, dtype=torch.float64) for each in (1.0, 1.0, change)])
        assert len(list(checks.steadiness("sample", timing(calls)))) == flagged
