"""The catalogue of mistakes: each is impossible, failed or flagged, as the table of the documentation says."""

import os
from functools import cache
from pathlib import Path

import pytest
import torch
from torchstone_extension.catalogue import CATALOGUE, Outcome, table
from torchstone_extension.cheats.state import LeftInTraining
from torchstone_extension.fixtures.honest import FIXTURES

from torchstone.suites.audit import AUDITS
from torchstone.suites.audits.battery import judge
from torchstone.suites.audits.state import pristine
from torchstone.suites.audits.subject import Subject
from torchstone.suites.context import Context
from torchstone.suites.metrics.evidence import monte_carlo_p_value
from torchstone.suites.probing.checks import CLAIMS as PROBED
from torchstone.suites.questions import validated
from torchstone.suites.sampling.checks import CLAIMS as SAMPLED
from torchstone.suites.timing.checks import CLAIMS

PAGE = Path(__file__).parents[3] / "docs" / "audits.md"
ALPHA = 1e-3
AUDITED = [entry for entry in CATALOGUE if entry.cheat is not None and entry.suite == "audit"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No picture is drawn, and simulations stop where their p-values are below every level of the battery."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *arguments, **more: None)
    monkeypatch.setitem(monte_carlo_p_value.__kwdefaults__, "most", 59_999)


def verdicts(model, data, names, seed=0):
    """The verdicts of the audits called ``names``, held at no laxer a level than in the whole battery."""
    chosen = [audit for audit in AUDITS if audit.name in names]
    untouched = pristine(model)
    subjects = (Subject(model, data, Context(seed=s), 200, untouched) for s in (seed, seed + 1000))
    with validated(), torch.random.fork_rng(devices=[]):
        judged = judge(chosen, *subjects, ALPHA * len(chosen) / len(AUDITS))
    return {each.audit.name: each.finding for each in judged}


@cache
def parent(name, audit):
    """The verdict of one audit on an honest fixture."""
    fixture = FIXTURES[name]
    return verdicts(fixture.build(), fixture.data(), {audit})[audit]


def test_every_audit_that_is_named_is_there():
    names = {
        "audit": {audit.name for audit in AUDITS}, "throughput": set(CLAIMS), "samples": set(SAMPLED),
        "representation": set(PROBED),
    }  # fmt: skip
    assert all(set(entry.audits) <= names.get(entry.suite, set()) for entry in CATALOGUE)


@pytest.mark.parametrize("entry", [e for e in AUDITED if e.audits], ids=lambda entry: entry.id)
def test_the_mistake_is_found_by_the_audits_that_the_table_names(entry):
    """And not by accident: the honest adapter that it was made from passes the same ones."""
    found = verdicts(entry.cheat(), FIXTURES[entry.honest].data(), set(entry.audits))
    for name in entry.audits:
        assert found[name].verdict == entry.outcome.value, f"{name}: {found[name].witness}"
        assert parent(entry.honest, name).verdict not in ("fail", entry.outcome.value), parent(
            entry.honest, name
        ).witness


def test_training_flags_are_held_against_a_copy_that_nothing_was_asked_of():
    """Whatever was asked before purity: the battery asks a good deal."""
    model, data = LeftInTraining(), FIXTURES["bits"].data()
    untouched = pristine(model)
    model.log_prob(data.split("test").x[:5].long())
    (purity,) = (audit for audit in AUDITS if audit.name == "purity")
    assert purity.audit(Subject(model, data, Context(), 200, untouched)).verdict == "flag"


def test_the_catalogue_has_every_number_once_at_least_and_ids_of_its_own():
    assert {entry.number for entry in CATALOGUE} >= set(range(1, 67))
    assert len({entry.id for entry in CATALOGUE}) == len(CATALOGUE)
    assert all(entry.honest in FIXTURES for entry in AUDITED)


# The tests that hold what other suites make impossible, in the order of the table.
HELD = {
    "samples": (
        "test_too_few_samples_and_those_of_another_shape_or_type_or_value_are_named",
        "test_images_are_compared_as_they_are_drawn_and_a_sampler_that_resizes_them_pays_for_it",
        "test_quality_is_shown_against_evaluations_of_the_network",
    ),
    "representation": (
        "test_a_model_without_classes_is_fitted_without_labels",
        "test_an_encoder_is_fitted_on_examples_in_an_order_that_says_nothing",
        "test_features_are_standardised_by_the_training_split_alone",
        "test_the_test_split_chooses_nothing",
        "test_the_harness_owns_the_probe_and_counts_the_features",
        "test_what_a_model_was_trained_on_is_in_the_contract",
        "test_a_strength_that_was_not_solved_is_never_chosen",
        "test_a_grid_grows_where_its_end_is_best_and_says_where_it_ends",
        "test_the_labelled_examples_are_ten_draws_and_the_same_for_every_model",
    ),
    "outliers": (
        "test_a_detector_that_is_wrong_stays_below_one_half",
        "test_all_that_scores_need_is_fixed_before_there_is_an_outlier",
        "test_a_set_that_is_encoded_otherwise_is_found_by_a_baseline_too",
    ),
    "conditional": (
        "test_the_prior_is_that_of_the_training_split_and_not_of_the_test_split",
        "test_probabilities_of_labels_add_up_to_one",
        "test_a_bound_that_does_not_look_at_the_label_leaves_the_prior_as_it_was",
    ),
}


@pytest.mark.parametrize("suite", HELD)
def test_what_other_suites_make_impossible_is_held_by_their_tests(suite):
    impossible = [e for e in CATALOGUE if e.suite == suite and e.outcome is Outcome.IMPOSSIBLE]
    text = (Path(__file__).parents[1] / f"test_{suite}.py").read_text()
    assert len(impossible) == len(HELD[suite]) and all(f"def {name}(" in text for name in HELD[suite])


def claims():
    """The audits and what they claim, as a Markdown table."""
    return "\n".join(["| audit | claim |", "| --- | --- |", *(f"| {audit.name} | {audit.claim} |" for audit in AUDITS)])


def between(page, name, content):
    before, _, rest = page.partition(f"<!-- {name} -->\n")
    end = f"<!-- end of the {name} -->"
    return f"{before}<!-- {name} -->\n{content}\n{end}{rest.partition(end)[2]}"


def test_the_tables_of_the_documentation_are_these():
    """With REGENERATE=1 in the environment they are written."""
    page = between(between(PAGE.read_text(), "audits", claims()), "catalogue", table())
    if os.environ.get("REGENERATE"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page
