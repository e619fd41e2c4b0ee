"""Ten thousand records: as one table, beside the least that any reader must do; and as an index."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pandas as pd
import pytest

from torchstone.results import Environment, Kind, Record, Score, Status, Store
from torchstone.results.reading.frame import frame
from torchstone.results.tables.render import render

RECORDS = 10_000
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


def record(number: int) -> Record:
    return Record(
        identity=f"{number:064x}",
        suite="density",
        suite_version=1,
        model=f"model-{number % 40}",
        family="explicit-exact",
        dataset="digits",
        seed=number // 160,
        settings={
            "suite": {"split": "test", "block": 50, "replicates": 10},
            "model": {"width": number // 40 % 4, "rate": 1e-5},
            "budget": "quick",
        },
        contract=CONTRACT,
        status=Status.COMPLETED,
        reason="",
        scores=tuple(score(metric, number) for metric in METRICS),
        environment=ENVIRONMENT,
        started=f"2026-01-{number % 28 + 1:02d}T00:00:00+00:00",
        seconds=12.5,
        fingerprints={"data": "d" * 64, "weights": f"{number:064x}", "code": "c" * 64},
        arrays={"sha256": "e" * 64, "columns": ["id", "nll"], "rows": 297},
    )


def score(metric: str, number: int) -> Score:
    unit, factor = METRICS[metric]
    value = (1.8 + number / 7e4) * factor
    parameters = {"nonfinite": 0, "replicates": 10, "estimator_stderr": 1e-3 / (number + 1)}
    interval = (value - 0.1 * factor, value + 0.1 * factor)
    return Score(metric, value, unit, Kind.EXACT, False, 3.7e-5 * factor, interval, 297, parameters)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("store")
    for number in range(RECORDS):
        one = record(number)
        (folder / f"{one.id}.json").write_text(one.to_json(), encoding="utf-8")
    return folder


def bare(folder: Path) -> pd.DataFrame:
    """The least: parse every file, keep nine values of each score, verify nothing."""
    rows = []
    for name in os.listdir(folder):
        with open(folder / name, "rb") as file:
            raw = orjson.loads(file.read())
        shared = (raw["id"], raw["model"], raw["dataset"], raw["seed"], raw["status"])
        rows += [(*shared, score["metric"], score["value"], score["stderr"], score["kind"]) for score in raw["scores"]]
    return pd.DataFrame(rows)


@pytest.mark.benchmark(group="10,000 records as a table", min_rounds=3)
def test_bare_loop(benchmark, folder):
    assert len(benchmark(bare, folder)) == 3 * RECORDS


@pytest.mark.benchmark(group="10,000 records as a table", min_rounds=3)
def test_frame(benchmark, folder):
    table = benchmark(frame, folder)
    assert len(table) == 3 * RECORDS
    assert table.attrs["problems"] == []


@pytest.mark.benchmark(group="10,000 records", min_rounds=3)
def test_index(benchmark, folder):
    assert len(benchmark(Store(folder).index)) == RECORDS


@pytest.mark.benchmark(group="10,000 records", min_rounds=3)
def test_render(benchmark, folder):
    assert "model-39" in benchmark(render, frame(folder), "markdown")


@pytest.mark.benchmark(group="10,000 records as a report, start-up included", min_rounds=3)
@pytest.mark.parametrize("options", [(), ("--columns", "nll"), ("--history", "nll")])
def test_report(benchmark, folder, options):
    command = [str(Path(sys.executable).parent / "bench"), "report", "--results", str(folder), *options]
    ended = benchmark(subprocess.run, command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.benchmark(group="one record")
def test_write(benchmark, tmp_path):
    store, one, arrays = Store(tmp_path), record(1), {"id": range(297), "nll": [1.0] * 297}
    assert store.read(benchmark(store.write, one, arrays).id).seed == one.seed
