"""A copy of a model in a process of its own answers as the model does, unless it depends on the process."""

import pytest
import torch
from torchstone_extension import invariants
from torchstone_extension.fixtures.honest import FIXTURES

from torchstone.suites.audits.purity import Purity
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
