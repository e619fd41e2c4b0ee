"""The Fréchet distance of every sampler in a store against what a sample costs, drawn into quality.png.

    bench run suite=samples model=gan,diffusion,flow_matching,vae
    python examples/quality_against_cost.py [store] [data]

Iterative samplers are curves over their numbers of steps, all others points: the finite number of steps is an
approximation, and here is what it costs in quality. The left panel has those that evaluate a network and state no
density; the right one has the clock for all of them.
"""

import math
import sys
from pathlib import Path

from torchstone.results.record import Record, Score, Status
from torchstone.results.store import Store
from torchstone.suites.pictures.samples import Curve, quality


def curve(record: Record) -> Curve:
    """Of one record: its distance at each number of steps, or at the only cost it has."""
    steps = [score for score in record.scores if score.metric == "fid_at_steps"]
    scores = steps or list(record.scores[:1])
    return Curve(
        tuple(number(score, "evaluations") for score in scores),
        tuple(number(score, "seconds_per_sample") for score in scores),
        tuple(score.value for score in scores),
        tuple(score.stderr or 0.0 for score in scores),
    )


def number(score: Score, name: str) -> float:
    """A parameter of a score, NaN where it has none."""
    return float(score.parameters.get(name, math.nan))


def main(store: str = "bench-results", data: str = "digits") -> None:
    """Read the newest record of each model that shares its contract with the newest of all, and draw."""
    done = [r for r in Store(Path(store)).records() if r.status is Status.COMPLETED]
    found = sorted((r for r in done if (r.suite, r.dataset) == ("samples", data)), key=lambda r: r.started)
    if not found:
        sys.exit(f"{store} has no samples of {data}: make some with bench run suite=samples data={data}")
    newest = {r.model: r for r in found if r.contract == found[-1].contract}
    floors = [float(r.scores[0].parameters["floor"]) for r in newest.values() if "floor" in r.scores[0].parameters]
    level = sum(floors) / len(floors) if floors else None
    Path("quality.png").write_bytes(quality({name: curve(record) for name, record in newest.items()}, level))
    others = {r.model for r in found} - newest.keys()
    print(f"quality.png: {', '.join(newest)}" + (f"; under other contracts: {', '.join(others)}" if others else ""))


if __name__ == "__main__":
    main(*sys.argv[1:])
