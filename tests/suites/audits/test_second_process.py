"""A copy of a model in a process of its own answers as the model does, unless it depends on the process."""

import pytest
import torch
from torchstone_extension import invariants
from torchstone_extension.fixtures.honest import FIXTURES

from torchstone.suites.audits.purity import Purity
from torchstone.suites.audits.second_process import Answers, _comparison
from torchstone.suites.audits.subject import Subject
from torchstone.suites.context import Context
from torchstone.suites.questions import validated


def purity(model, data):
    with validated(), torch.random.fork_rng(devices=[]):
        return Purity().audit(Subject(model, data, Context(), 40, None, second_process=True))


@pytest.mark.parametrize("name", ["bits, labelled", "pixels, float32", "codes", "generator"])
def test_honest_models_answer_the_same(name):
    """A density with labels, latents, a bound without draws, samples alone."""
    finding = purity(FIXTURES[name].build(), FIXTURES[name].data())
    assert finding.verdict == "pass" and "A second process answers the same." in finding.witness


def test_answers_that_follow_the_hashes_of_the_process_are_proof(images):
    finding = purity(invariants.AnswersByProcess(images.space), images)
    assert finding.verdict == "fail" and "they depend on the process" in finding.witness


def test_draws_that_follow_them_are_flagged(images):
    finding = purity(invariants.DrawsByProcess(images.space), images)
    assert finding.verdict == "flag" and "draws all of its samples otherwise in a second process" in finding.witness


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (invariants.CannotBeKept, "no copy of it can be kept in a file"),
        (invariants.ForgetsWhenKept, "a copy of it answers otherwise in this very process"),
        (invariants.NotElsewhere, "the second process could not answer (RuntimeError: Nobody is at home here.)"),
    ],
)
def test_what_cannot_be_asked_there_says_why_and_accuses_nobody(images, model, words):
    finding = purity(model(images.space), images)
    assert finding.verdict == "pass" and f"It was not asked in a second process: {words}" in finding.witness


def test_no_process_is_begun_unless_that_is_asked_for(images, look, monkeypatch):
    monkeypatch.setattr("subprocess.run", lambda *arguments, **more: pytest.fail("a process was begun"))
    finding = look(Purity(), invariants.Masked(images.space), images).finding
    assert finding.verdict == "pass" and "second process" not in finding.witness


def test_what_was_learned_into_a_class_is_no_proof_against_the_model(images, monkeypatch):
    """This process differs from all others, and those from none."""
    monkeypatch.setattr(invariants.RemembersInItsClass, "learned", 1.0)
    finding = purity(invariants.RemembersInItsClass(images.space), images)
    assert finding.verdict == "flag" and "they depend on the process" in finding.witness


def answers(own, double):
    one, other = (None if value is None else torch.tensor([[value]], dtype=torch.float64) for value in (own, double))
    return Answers(one, other, None)


@pytest.mark.parametrize(
    ("here", "there", "real", "odd"),
    [
        ((1.0, 1.0), (1.0, 1.0), False, False),
        ((1.0, 1.0), (1.0 + 1e-7, 1.0 + 1e-12), False, False),  # rounding, which shrinks
        ((1.0, 1.0), (1.0 + 1e-3, 1.0 + 1e-8), False, False),  # rounding that is badly conditioned, which shrinks too
        ((1.0, 1.0), (1.0 + 1e-3, 1.0 + 1e-3), True, True),
        ((1.0, None), (1.0 + 1e-3, None), False, True),  # nobody knows
        ((1.0, None), (1.0 + 1e-9, None), False, False),
    ],
)
def test_only_what_stays_in_double_precision_is_real(here, there, real, odd):
    found = _comparison(answers(*there), answers(*here))
    assert (found.real, found.odd) == (real, odd)
