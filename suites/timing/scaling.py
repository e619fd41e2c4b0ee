"""What a sample costs at several sizes of an event, and the law in which that grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch

from torchstone.models.model import Sampler, Space
from torchstone.models.randomness import generator, seeded
from torchstone.suites.metrics.power_law import PowerLaw, power_law
from torchstone.suites.timing.arithmetic import flops_of
from torchstone.suites.timing.clock import Clock, clock_for

__all__ = ["Cost", "costs"]


@final
@dataclass(frozen=True, slots=True)
class Cost:
    """Costs of one sample, by the number of its values.

    Attributes:
        sizes: values in a sample.
        seconds: the median over calls for one sample.
        flops: counted operations of one sample, as `flops_of` has them.
        time: the law of the seconds; None for a single size.
        arithmetic: the law of the operations; None for a single size, and where none are counted.
    """

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    flops: tuple[float, ...]
    time: PowerLaw | None
    arithmetic: PowerLaw | None


def costs(
    build: Callable[[Space], Sampler],
    spaces: Sequence[Space],
    *,
    calls: int,
    device: torch.device,
    clock: Clock | None = None,
) -> Cost:
    """Build a model for each of ``spaces`` and draw from it, one sample at a time, in interleaved rounds.

    Rounds go over all sizes, so that what else the machine does falls on all alike. The first call of each is not
    counted.

    Args:
        build: makes a sampler for a space; its weights do not matter.
        spaces: what samples are, smallest first.
        calls: rounds that count.
        device: where the models are put.
        clock: that times; that of the device, where none is given.

    Raises:
        ValueError: where there are no spaces, or no calls.
    """
    if not spaces or calls < 1:
        raise ValueError(f"Expected a space at least, and a call, got {len(spaces)} spaces and calls={calls}.")
    with seeded(generator(0, "scaling")):
        models = [build(space) for space in spaces]
    for model in models:
        if isinstance(model, torch.nn.Module):
            model.to(device).eval()
    clock = clock or clock_for(device)
    seconds: list[list[float]] = [[] for _ in models]
    flops = tuple(_flops(model, device) for model in models)  # which is the first call as well
    for number in range(calls):
        for model, own in zip(models, seconds, strict=True):
            own.append(_once(model, clock, number, device))
    sizes = tuple(space.dims for space in spaces)
    typical = tuple(float(torch.tensor(own, dtype=torch.float64).median()) for own in seconds)
    several = len(set(sizes)) > 1
    return Cost(
        sizes,
        typical,
        flops,
        power_law(sizes, typical) if several else None,
        power_law(sizes, flops) if several and min(flops) > 0 else None,
    )


def _once(model: Sampler, clock: Clock, number: int, device: torch.device) -> float:
    rng = generator(0, "scaling/sample", number, device)
    with torch.no_grad():
        return clock.timed(lambda: model.sample(1, rng=rng))[1]


def _flops(model: Sampler, device: torch.device) -> float:
    return flops_of(lambda: model.sample(1, rng=generator(0, "scaling/first", 0, device)))
