"""Per-example values count where they are those that a mean was taken of, and no more of them are read than is said."""

from __future__ import annotations

import numpy as np
import pytest

from torchstone.results import Store
from torchstone.results.leaderboard.examples import Examples
from torchstone.results.leaderboard.reading import read
from torchstone.results.tables.table import blocks


def values(folder, **limits):
    """The values of each model of the only block."""
    found = {each.measurement.record: each for each in read(folder).current}
    (block,) = blocks([each.measurement for each in found.values()])
    return {block.rows[place].model: own for place, own in Examples(folder, found, **limits).of(block).items()}


def test_seeds_are_averaged_and_ids_ascend(keep, folder, rng):
    first, second, other = rng.normal(5, 1, (3, 20))
    keep(first, seed=0)
    keep(second, seed=1)
    keep(other, model="other")
    own = values(folder)["mixture"]
    assert own.ids.tolist() == list(range(20))
    np.testing.assert_allclose(own.numbers, (first + second) / 2, rtol=1e-15)


def test_gains_may_be_kept_as_costs(make, keep, folder, rng):
    import dataclasses

    costs = rng.normal(5, 1, 20)
    for model in ("a", "b"):
        record = keep(costs, model=model, kept=False)
        (folder / f"{record.id}.json").unlink()
        head = dataclasses.replace(record.scores[0], value=-record.scores[0].value)
        Store(folder).write(dataclasses.replace(record, scores=(head,)), {"id": np.arange(20), "nll": costs})
    np.testing.assert_allclose(values(folder)["a"].numbers, -costs)


@pytest.mark.parametrize("harm", ["altered", "missing", "of another mean"])
def test_what_cannot_be_trusted_is_not_used(keep, folder, rng, harm):
    import dataclasses

    numbers = rng.normal(5, 1, 20)
    keep(numbers, model="whole")
    record = keep(numbers, model="harmed")
    file = folder / f"{record.id}.parquet"
    if harm == "altered":
        file.write_bytes(file.read_bytes()[:-8] + b"altered!")
    elif harm == "missing":
        file.unlink()
    else:
        (folder / f"{record.id}.json").unlink()
        wrong = dataclasses.replace(record.scores[0], value=record.scores[0].value + 0.01)
        Store(folder).write(dataclasses.replace(record, scores=(wrong,)), {"id": np.arange(20), "nll": numbers})
    assert set(values(folder)) == {"whole"}


def test_a_row_alone_is_not_read(keep, folder, rng):
    keep(rng.normal(5, 1, 20))
    assert values(folder) == {}


def test_the_best_rows_are_read_first_and_no_row_in_part(keep, folder, rng):
    base = rng.normal(5, 1, 20)
    for number, model in enumerate("abc"):
        for seed in (0, 1):
            keep(base + number, model=model, seed=seed)
    assert set(values(folder, block_files=5)) == {"a", "b"}
    assert set(values(folder, files=3)) == {"a"}
    assert values(folder, files=0) == {}
