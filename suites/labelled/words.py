"""What is said beside the numbers about labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchstone.suites.labelled.densities import ClassDensities, Given
from torchstone.suites.labelled.posterior import Posterior

__all__ = ["about_densities", "cannot_reject", "impossible", "inconsistency"]

INCONSISTENT = 1e-4  # relative to 1 + |log p|: what single precision may miss a marginal by


def cannot_reject(name: str) -> str:
    """What a classifier is not asked for."""
    return (
        f"{name} has no density, and cannot reject an input: it spreads a probability of one over its labels "
        "whatever it is shown. It is refused where it is uncertain, never where an input is unlikely."
    )


def about_densities(given: Given, y: Tensor, log_prior: Tensor, how: ClassDensities) -> list[str]:
    """What is odd about the densities that were answered, and what they are not."""
    notes = []
    if given.undefined:
        notes.append(f"{given.undefined} log-densities were NaN or infinitely large; each is worth minus infinity.")
    lost = int((given.nats.gather(1, y[:, None])[:, 0] == -math.inf).sum())
    if lost:
        notes.append(f"{lost} of {len(y)} examples are impossible given their own label: the mean cost is infinite.")
    missing = (log_prior == -math.inf).nonzero()[:, 0].tolist()
    if missing:
        notes.append(
            f"p(y) is zero for {_named(missing)}, of which there is no training example: no example is ever given to "
            "them; suite.prior=uniform gives each class the same."
        )
    if how.stochastic:
        notes.append(
            "The densities are bounds, asked with the same noise for every label: the label with the highest is a fair "
            "choice, and what is computed from their differences is no calibrated probability."
        )
    return notes


def _named(classes: list[int]) -> str:
    shown = ", ".join(map(str, classes[:5]))
    return f"class {shown}" if len(classes) == 1 else f"classes {shown}{' and others' if len(classes) > 5 else ''}"


def inconsistency(own: Tensor, posterior: Posterior, name: str) -> list[str]:
    """A warning where a model's own log p(x) is not the sum over labels that its densities give."""
    assert posterior.marginal is not None
    off = (own - posterior.marginal).abs()
    off = torch.where((own == posterior.marginal), 0.0, off).nan_to_num(math.inf)
    worst = int(off.argmax())
    if float(off[worst]) <= INCONSISTENT * (1 + abs(float(posterior.marginal[worst]))):
        return []
    return [
        f"{name} states log p(x) = {float(own[worst]):.6g} of an example, and its p(y) p(x|y) add up to "
        f"{float(posterior.marginal[worst]):.6g}: they are of no one joint density, and bits_per_dim is of the sum."
    ]


def impossible(posterior: Posterior) -> list[str]:
    """A warning where examples are impossible given every label."""
    if not (lost := int(posterior.impossible.sum())):
        return []
    return [
        f"{lost} of {len(posterior.impossible)} examples are impossible given every label: they count as wrong, and "
        "the cost of their label as infinite."
    ]
