"""Torchstone from Python: names and live objects in, records and a table out."""

import pytest
import torch
from torchstone_extension import honest, mutants

from torchstone.harness import InputError, run
from torchstone.models import Discrete, ModelError, Space
from torchstone.results import RecordError, Status

QUIET = {"budget": "smoke", "progress": False}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_records_and_a_table_come_back(tmp_path):
    records, frame = run(["independent", "truth"], data=("markov", "bernoulli"), seed=[0, 1], **QUIET)
    assert len(records) == 8 and {r.status for r in records} == {Status.COMPLETED}
    assert set(frame["metric"]) == {"nll", "bits_per_dim", "excess_bits_per_dim"}
    assert len(frame) == 24 and set(frame["seed"]) == {0, 1}


def test_a_live_model_is_measured_as_it_is_and_never_reused():
    model = honest.Uniform(Space((8, 8), Discrete(17)), discrete=True)
    first, second = (run(model, **QUIET).records[0] for _ in range(2))
    assert first.model == "Uniform" and first.score("bits_per_dim").value == pytest.approx(4.087462841250339, rel=1e-12)
    assert first.identity != second.identity


def test_a_live_trainable_model_is_not_fitted():
    from torchstone.models.exact.independent import Independent

    model = Independent(Space((8, 8), Discrete(17)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run(model, **QUIET)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_settings_reach_suite_model_and_data():
    settings = {"suite.importance_samples": 7, "model.latents": 3}
    (record,), _ = run("vae", settings=settings, **QUIET)
    assert record.score("nll").parameters["importance_samples"] == 7
    assert record.settings["model"]["latents"] == 3 and record.contract["importance_samples"] == 7


def test_standard_size_takes_its_own_defaults_and_what_is_said_wins():
    from torchstone.harness.planning import plan
    from torchstone.harness.request import parse

    def samples(*arguments):
        planned = plan(parse(["model=independent", *arguments]), None, False, (), lambda *_: None)
        return dict(planned.cells[0].suite_settings)["importance_samples"]

    assert (samples(), samples("budget=standard")) == (1000, 5000)
    assert samples("budget=standard", "suite.importance_samples=10") == 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": "transfomer"}, "did you mean 'transformer'"),
        ({"model": honest.HMM(), "executor": "process"}, "cannot be sent to a worker"),
        ({"model": honest.HMM(), "checkpoint": "x.safetensors"}, "one model that is named"),
        ({"model": "vae", "settings": {"latents": 3}}, "model.NAME"),
        ({"model": "vae", "settings": {"model.latnets": 3}}, "did you mean 'latents'"),
        ({"model": "vae", "seed": -1}, "seed=-1"),
        ({"model": "vae", "device": "nowhere"}, "device=nowhere"),
    ],
)
def test_bad_arguments_raise_a_sentence(arguments, words):
    with pytest.raises(InputError, match=words):
        run(**arguments, progress=False)


def test_a_wrapped_model_is_named():
    with pytest.raises(ModelError, match="pass the model itself"):
        run(torch.nn.DataParallel(torch.nn.Linear(1, 1)), progress=False)


def test_a_store_that_cannot_be_written_raises(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RecordError):
        run("independent", results=tmp_path / "file", **QUIET)


def test_a_failed_cell_is_a_record_and_the_others_go_on():
    records, frame = run([mutants.Averaged(Space((8, 8), Discrete(17))), "independent"], **QUIET)
    assert sorted(record.status for record in records) == [Status.COMPLETED, Status.FAILED]
    assert "one log-density in nats per example" in frame.loc[frame.status == "failed", "reason"].item()


def test_global_randomness_is_left_as_it_was():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    run(["rnn", "vae"], settings={"suite.importance_samples": 2}, **QUIET)
    assert torch.equal(torch.rand(3), expected)


def test_the_same_seed_gives_the_same_scores_and_another_seed_others():
    few = {"suite.importance_samples": 2, "suite.replicates": 2}
    first, second, third = (
        run(["flow", "vae"], seed=seed, results=folder, settings=few, **QUIET).records
        for seed, folder in ((0, "a"), (0, "b"), (1, "c"))
    )
    assert [r.scores for r in first] == [r.scores for r in second]
    assert all(a.scores != b.scores for a, b in zip(first, third, strict=True))
    assert [r.fingerprints for r in first] == [r.fingerprints for r in second]
