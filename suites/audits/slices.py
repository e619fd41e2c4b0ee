"""The conditional of one coordinate given all the others, by asking for the density along it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchstone.models.model import Autoregressive, Continuous, Discrete, ExplicitExact
from torchstone.suites.audits.arithmetic import doubled
from torchstone.suites.audits.draws import samples
from torchstone.suites.audits.subject import Subject
from torchstone.suites.metrics.evidence import worth
from torchstone.suites.metrics.pit import Slices
from torchstone.suites.questions import ask_log_prob

__all__ = ["along", "conditionals", "continuous_slices", "discrete_slices", "sequential_slices"]

VALUES = 2**20  # of all dimensions, in the questions of one audit
FEWEST, PILOT = 32, 64
SEQUENTIAL = 2**18  # positions of all passes that generate samples one position after the other
COARSE, FINE = 48, 72
DISAGREEMENT = 0.02


def discrete_slices(subject: Subject) -> Slices:
    """One coordinate of each of the model's samples, with its probability given the others at every level.

    As many samples as the questions allow: up to 4,000 of two levels and 1,000 of more. Where a sample's own value
    seems impossible its row is asked for again in float64.
    """
    support, dims = subject.space.support, subject.space.dims
    assert isinstance(support, Discrete)
    affordable = VALUES // (support.levels * dims)
    n = max(FEWEST, min(4000 if support.levels == 2 else 1000, affordable))
    x, y = samples(subject, n, "conditional PIT")
    position = torch.randint(dims, (n,), generator=subject.rng("conditional PIT/positions"))
    levels = torch.arange(support.levels).expand(n, -1)
    index = x.flatten(1).gather(1, position[:, None])[:, 0]
    log_p = along(subject, x, y, position, levels)
    impossible = log_p.gather(1, index[:, None])[:, 0] == -math.inf
    if bool(impossible.any()):
        rows = impossible.nonzero()[:, 0]
        labels = None if y is None else y[rows]
        again = doubled(subject.model, lambda: along(subject, x[rows], labels, position[rows], levels[rows]))
        log_p[rows] = log_p[rows] if again is None else again
    nowhere = (log_p == -math.inf).all(1)
    shifted = torch.where(nowhere[:, None], 0.0, log_p)
    probabilities = shifted.softmax(1)
    elsewhere = torch.nn.functional.one_hot((index + 1) % support.levels, support.levels).double()
    return Slices(torch.where(nowhere[:, None], elsewhere, probabilities), shifted.log_softmax(1), index)


def sequential_slices(subject: Subject) -> Slices:
    """Every position of some samples of an autoregressive model, with its distribution given those before it.

    Transforms of all of them are independent, since each is uniform whatever came before it: thousands of values are
    had from few samples.
    """
    model, support, dims = subject.model, subject.space.support, subject.space.dims
    assert isinstance(model, Autoregressive) and isinstance(support, Discrete)
    x, y = samples(subject, max(FEWEST // 4, min(4000, SEQUENTIAL // dims**2)), "conditional PIT")
    index, log_p = x.flatten(), conditionals(subject, x, y)
    if bool((log_p.gather(1, index[:, None]) == -math.inf).any()):
        again = doubled(model, lambda: conditionals(subject, x, y))
        log_p = log_p if again is None else again
    scores = log_p.log_softmax(1).nan_to_num(-math.inf, -math.inf, -math.inf)
    return Slices(scores.exp(), scores, index)


def conditionals(subject: Subject, x: Tensor, y: Tensor | None) -> Tensor:
    """``log p`` of every level at every position given those before it, ``(n D, levels)``, of samples or data."""
    model, support, context = subject.model, subject.space.support, subject.context
    assert isinstance(model, Autoregressive) and isinstance(support, Discrete)
    levels, found = support.levels, []
    with torch.no_grad():
        for start in range(0, len(x), context.batch_size):
            part = x[start : start + context.batch_size].to(context.device)
            given = model.conditionals(part, None if y is None else y[start : start + len(part)].to(context.device))
            found.append(
                torch.stack([worth(given.log_prob(torch.full_like(part, v))).cpu() for v in range(levels)], -1)
            )
    return torch.cat(found).view(-1, levels)


def continuous_slices(subject: Subject) -> Slices | str:
    """The same on a continuous support, by quadrature on cells; or, as a sentence, why that cannot be done.

    Only samples strictly inside the support are used: some models move what falls outside to its ends, and inside they
    follow their density nevertheless. Cells are made for each sample from the density along the coordinate alone, not
    from where the sample lies, and a sample whose cells are too coarse is left out: neither choice depends on the value
    that is tested, and so neither can fail an honest model.
    """
    support, dims = subject.space.support, subject.space.dims
    assert isinstance(support, Continuous)
    n = max(FEWEST, min(400, VALUES // ((COARSE + FINE) * dims)))
    x, y = samples(subject, n + PILOT, "conditional PIT")
    x = x.double()
    inside = ((x > support.low) & (x < support.high) & x.isfinite()).flatten(1).all(1)
    low, high = _range(x[:PILOT], support)
    position = torch.randint(dims, (len(x),), generator=subject.rng("conditional PIT/positions"))
    own = x.flatten(1).gather(1, position[:, None])[:, 0]
    low, high = low[position], high[position]
    kept = inside & (own > low) & (own < high) & (torch.arange(len(x)) >= PILOT)
    if int(kept.sum()) < FEWEST // 2:
        return (
            f"Of {n} samples {n - int(kept.sum())} reach the ends of the support, where they need not follow a density."
        )
    x, own, position, low, high = x[kept], own[kept], position[kept], low[kept], high[kept]
    y = None if y is None else y[kept]
    nodes = low[:, None] + (high - low)[:, None] * torch.linspace(0, 1, COARSE + 1, dtype=torch.float64)
    nodes = nodes.clamp(*_open(support, subject.dtype or torch.float64))
    log_p = along(subject, x, y, position, nodes)
    finer = _quantiles(nodes, _masses(nodes, log_p), FINE)
    log_p = torch.cat([log_p, along(subject, x, y, position, finer)], 1)
    nodes, order = torch.cat([nodes, finer], 1).sort(1)
    log_p = log_p.gather(1, order)
    own_log_p = along(subject, x, y, position, own[:, None])[:, 0]
    return _cells(nodes, log_p, own, own_log_p)


def _cells(nodes: Tensor, log_p: Tensor, own: Tensor, own_log_p: Tensor) -> Slices | str:
    """Cells between nodes, where their sum has settled."""
    masses = _masses(nodes, log_p)
    total = masses.sum(1, keepdim=True)
    every_other = _masses(nodes[:, ::2], log_p[:, ::2])
    fine = (masses / total).cumsum(1)[:, 1::2]
    coarse = (every_other / every_other.sum(1, keepdim=True)).cumsum(1)[:, : fine.shape[1]]
    error = (fine[:, : coarse.shape[1]] - coarse).abs().amax(1)
    settled = (error < DISAGREEMENT) & (total[:, 0] > 0)
    missed = own_log_p > log_p.amax(1) + 1.0
    if int(settled.sum()) < FEWEST // 2 or bool((settled & missed).any()):
        return (
            f"The density along a coordinate is too sharp to be integrated on {nodes.shape[1]} points: "
            f"{len(own) - int((settled & ~missed).sum())} of {len(own)} integrals did not settle."
        )
    index = (torch.searchsorted(nodes, own[:, None])[:, 0] - 1).clamp(0, masses.shape[1] - 1)
    scores = (masses / nodes.diff(dim=1).clamp_min(1e-300)).log().clamp_min(-700.0)
    return Slices((masses / total)[settled], scores[settled], index[settled])


def _masses(nodes: Tensor, log_p: Tensor) -> Tensor:
    """Of cells whose log-density is linear, relative to the highest node of each row, ``(n, nodes - 1)``."""
    relative = (log_p - log_p.amax(1, keepdim=True).clamp_min(-1e300)).clamp_min(-700.0)
    slope, left = relative.diff(dim=1), relative[:, :-1]
    flat = slope.abs() < 1e-8
    growth = torch.where(flat, 1 + slope / 2, torch.expm1(slope) / torch.where(flat, 1.0, slope))
    return nodes.diff(dim=1) * left.exp() * growth


def _quantiles(nodes: Tensor, masses: Tensor, count: int) -> Tensor:
    """Places that hold equal shares of a distribution on cells, mixed with some of the uniform one."""
    total = masses.sum(1, keepdim=True)
    flat = torch.full_like(masses, 1 / masses.shape[1])
    share = 0.9 * torch.where(total > 0, masses / total.clamp_min(1e-300), flat) + 0.1 * flat
    cumulative = torch.cat([torch.zeros_like(total), share.cumsum(1)], 1)
    wanted = ((torch.arange(count, dtype=torch.float64) + 0.5) / count).expand(len(nodes), -1).contiguous()
    cell = (torch.searchsorted(cumulative, wanted) - 1).clamp(0, masses.shape[1] - 1)
    part = (wanted - cumulative.gather(1, cell)) / share.gather(1, cell)
    return nodes.gather(1, cell) + part.clamp(0, 1) * nodes.diff(dim=1).gather(1, cell)


def _range(pilot: Tensor, support: Continuous) -> tuple[Tensor, Tensor]:
    """Where each coordinate is integrated, ``(D,)`` twice: the support, or thrice as far as other samples reach."""
    flat = pilot.flatten(1)
    if support.bounded:
        return torch.full_like(flat[0], support.low), torch.full_like(flat[0], support.high)
    middle = flat.median(0).values
    reach = 3 * (flat - middle).abs().amax(0).clamp_min(1e-6)
    return (middle - reach).clamp_min(support.low), (middle + reach).clamp_max(support.high)


def _open(support: Continuous, dtype: torch.dtype) -> tuple[float, float]:
    """The least and the largest number of a type strictly inside a support."""
    low, high = torch.tensor(support.low, dtype=dtype), torch.tensor(support.high, dtype=dtype)
    return float(low.nextafter(high)), float(high.nextafter(low))


def along(subject: Subject, x: Tensor, y: Tensor | None, position: Tensor, values: Tensor) -> Tensor:
    """``log p`` as it counts, ``(n, k)``, of samples with the value at ``position`` replaced by each of ``(n, k)``."""
    model, context = subject.model, subject.context
    assert isinstance(model, ExplicitExact)
    k = values.shape[1]
    rows = max(1, context.batch_size // k)
    found = []
    for start in range(0, len(x), rows):
        flat = x[start : start + rows].flatten(1)
        count = len(flat)
        place = position[start : start + rows, None, None].expand(-1, k, 1)
        changed = flat[:, None].repeat(1, k, 1).scatter_(2, place, values[start : start + rows, :, None].to(flat.dtype))
        questions = changed.view(count * k, *subject.space.event_shape)
        if questions.is_floating_point() and subject.dtype is not None:
            questions = questions.to(subject.dtype)
        labels = None if y is None else y[start : start + rows].repeat_interleave(k).to(context.device)
        found.append(worth(ask_log_prob(model, questions.to(context.device), labels)).view(count, k))
    return torch.cat(found)
