"""How well counts fit probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["g_statistic", "pooled", "visible_divergence"]


def g_statistic(counts: Tensor, probabilities: Tensor) -> Tensor:
    r"""The likelihood-ratio statistic :math:`G = 2 \sum_k c_k \ln\frac{c_k}{n q_k}` of counts, ``(...)``.

    A cell that holds something and has no probability makes it infinite; an empty one adds nothing.

    Args:
        counts: ``(..., cells)``.
        probabilities: ``(cells,)``, which sum to one.

    Raises:
        ValueError: where there is not one probability for each cell.
    """
    if probabilities.ndim != 1 or counts.shape[-1:] != probabilities.shape:
        raise ValueError(
            f"probabilities must hold one number for each cell of counts, got shapes {tuple(probabilities.shape)} and "
            f"{tuple(counts.shape)}."
        )
    observed = counts.double()
    expected = observed.sum(-1, keepdim=True) * probabilities.double()
    return 2 * torch.where(observed > 0, observed * (observed / expected).log(), 0.0).sum(-1)


def pooled(counts: Tensor, probabilities: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Counts and probabilities of at most ``most`` cells, besides one for all states without probability.

    States are ordered by their probability, and neighbours share a cell of about ``1 / most`` of the mass: a sampler
    that is too sharp or too flat still shows.

    Args:
        counts: ``(states,)``.
        probabilities: ``(states,)``, which sum to one.
        most: how many cells; with no more states than that they stay as they are.
    """
    if len(probabilities) <= most:
        return counts, probabilities
    order = probabilities.argsort(descending=True)
    mass = probabilities[order]
    cell = ((mass.cumsum(0) - mass / 2) * most).long().clamp(0, most - 1)
    cell = torch.where(mass > 0, cell, most)
    sums = [values.new_zeros(most + 1).index_add_(0, cell, values) for values in (counts[order], mass)]
    kept = (sums[0] > 0) | (sums[1] > 0)
    return sums[0][kept], sums[1][kept]


def visible_divergence(cells: int, draws: int, level: float = 1e-3, power: float = 0.99) -> float:
    """The divergence KL(sampler‖density), in nats, that a G-test sees with ``power``, by the noncentral chi-square."""
    from scipy.special import chdtri, chndtrinc

    freedom = max(1, cells - 1)
    noncentrality = float(chndtrinc(chdtri(freedom, level), freedom, 1 - power))
    return noncentrality / (2 * draws)
