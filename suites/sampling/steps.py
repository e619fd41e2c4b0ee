"""An iterative sampler at several numbers of steps: what the approximation by few steps costs in quality."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, final

from torchstone.models.model import ImplicitIterative
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.features.cache import extract
from torchstone.suites.features.extractor import Extractor
from torchstone.suites.sampling.drawn import draw_samples
from torchstone.suites.sampling.references import Reference
from torchstone.suites.sampling.sheet import Sheet

__all__ = ["Rung", "walk"]


@final
class Rung(NamedTuple):
    """Quality and cost at one number of steps."""

    steps: int
    evaluations: float
    seconds: float
    distance: float
    stderr: float


def walk(
    sheet: Sheet,
    model: ImplicitIterative,
    data: Dataset,
    extractor: Extractor,
    reference: Reference,
    n: int,
    steps: tuple[int, ...],
    block: int,
    context: Context,
) -> Iterator[Rung]:
    """The Fréchet distance of ``n`` samples at each of ``steps``, drawn by the same seeds; refusals are noted."""
    for count in sorted(set(steps)):
        try:
            drawn = draw_samples(model, n, data, context, block=block, steps=count)
        except Exception as error:  # whatever the sampler raises costs this rung and no other number
            sheet.note(f"At {count} steps: {' '.join(str(error).split())[:200] or type(error).__name__}")
            continue
        features = extract(extractor, drawn.x, data.space, context, f"samples at {count} steps")
        assert drawn.evaluations is not None
        found = sheet.at_steps(features, reference, count, drawn.evaluations, drawn.seconds)
        yield Rung(count, drawn.evaluations, drawn.seconds, found.value, found.stderr or 0.0)
