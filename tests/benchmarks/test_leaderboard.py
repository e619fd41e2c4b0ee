"""A page of a thousand records and of ten thousand, with all that it links to."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from torchstone.results import Environment, Kind, Record, Score, Status, Store
from torchstone.results.leaderboard.page import FIRST, leaderboard

VERSIONS = dict.fromkeys(("torch", "torchvision", "numpy", "scipy", "sklearn", "zuko", "pyarrow", "pandas"), "2.6.0")
ENVIRONMENT = Environment(
    "0.1.0", "3.11.7", "Linux-6.1", VERSIONS, "a" * 40, False, "cpu", "cpu", 2, "float32", True, "highest", 128, 0
)  # fmt: skip
CONTRACT = {
    "data": "d" * 64, "dataset": "digits", "split": "test", "examples": 297, "dims": 64, "support": "discrete-17",
    "quantity": "nll", "conditional": False, "kind": "exact", "dequantisation": "none", "estimator": "exact",
    "importance_samples": None,
}  # fmt: skip
METRICS = {"nll": ("nats/example", 44.361), "bits_per_dim": ("bits/dim", 1.0), "excess_bits_per_dim": ("bits/dim", 0.1)}
MODELS = 40  # for each of them a table's worth of settings and seeds
WITH_EXAMPLES = 400  # records that have per-example values


def record(number: int) -> Record:
    nats = examples(number).mean()
    return Record(
        identity=f"{number:064x}",
        suite="density",
        suite_version=1,
        model=f"model-{number % MODELS}",
        family="explicit-exact",
        dataset="digits",
        seed=number // 160 % 5,
        settings={"suite": {"split": "test", "block": 50}, "model": {"width": number // 800, "rate": number // 40 % 4}},
        contract=CONTRACT,
        status=Status.COMPLETED,
        reason="",
        scores=tuple(
            Score(metric, nats / 44.361 * factor, unit, Kind.EXACT, False, 0.012 * factor, None, 297, {"nonfinite": 0})
            for metric, (unit, factor) in METRICS.items()
        ),
        environment=ENVIRONMENT,
        started=f"2026-01-{number % 28 + 1:02d}T00:00:00+00:00",
        seconds=1.0 + number % 100,
        fingerprints={"data": "d" * 64, "weights": f"{number:064x}", "code": "c" * 64},
    )


def examples(number: int) -> np.ndarray:
    return 80 + number / 100 + np.random.default_rng(number).normal(0, 10, 297)


@pytest.fixture(scope="module", params=[1_000, 10_000])
def folder(tmp_path_factory, request) -> Path:
    folder: Path = tmp_path_factory.mktemp("store")
    store = Store(folder)
    for number in range(request.param):
        one = record(number)
        if number < WITH_EXAMPLES:
            store.write(one, {"id": np.arange(297), "nll": examples(number)})
        else:
            (folder / f"{number}.json").write_text(one.to_json(), encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.benchmark(group="leaderboard")
def test_a_page(benchmark, folder, tmp_path, request):
    places = (tmp_path / f"board-{number}" for number in itertools.count())
    made = benchmark.pedantic(leaderboard, setup=lambda: ((folder, next(places)), {}), rounds=5)
    assert made.records == request.node.callspec.params["folder"]
    page = made.index.read_text(encoding="utf-8")
    assert page.count("<tr>") >= min(FIRST, made.records // 5)
    assert len(list((made.index.parent / "records").iterdir())) == made.records
