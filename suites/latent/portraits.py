"""Pictures of a latent-variable model: its bounds, its latents one by one, and what comes back of an example."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from torchstone.models.checks import space_of
from torchstone.models.model import LatentVariable
from torchstone.models.randomness import draw
from torchstone.suites.context import Context
from torchstone.suites.latent.annealed import Bracket
from torchstone.suites.latent.examples import Examples, Rows
from torchstone.suites.latent.terms import Terms
from torchstone.suites.latent.usage import Usage
from torchstone.suites.metrics.uncertainty import mean
from torchstone.suites.pictures.bounds import (
    Point,
    Rung,
    bound_ladder,
    latent_kl,
    rate_distortion,
    reconstructions,
    traversals,
)

__all__ = ["portraits"]

SHOWN, DRAWS, STEPS, REACH = 8, 3, 9, 3.0


def portraits(
    model: LatentVariable,
    examples: Examples,
    terms: Terms,
    real: Bracket | None,
    simulated: Bracket | None,
    usage: Usage | None,
    context: Context,
) -> Mapping[str, bytes]:
    """PNG files by name; those of images only for images, and those of latents only where each has a KL of its own."""
    rungs = _rungs(terms, real, simulated, examples)
    found = {"bound-ladder": bound_ladder(rungs)} if rungs else {}
    rate, distortion = float(terms.rate.value.mean()), -float(terms.reconstruction.value.mean())
    if math.isfinite(rate) and math.isfinite(distortion):
        found["rate-distortion"] = rate_distortion([Point("this model", rate, distortion)])
    rows = examples.first(SHOWN)
    pictures = rows.x.ndim in (3, 4)
    if (
        usage is not None
        and usage.kl is not None
        and bool(usage.kl.isfinite().all() & usage.variances.isfinite().all())
    ):
        found["latent-kl"] = latent_kl(usage.kl, usage.variances)
        if pictures and (images := _traversed(model, rows, usage.kl)) is not None:
            found["traversals"] = traversals(images, usage.kl, range(len(usage.kl)))
    if pictures and (pair := _returned(model, rows, context)) is not None:
        found["reconstructions"] = reconstructions(rows.x.cpu(), *pair)
    return found


def _rungs(terms: Terms, real: Bracket | None, simulated: Bracket | None, examples: Examples) -> list[Rung]:
    """Those of real examples all on the ones that were annealed, so that one axis serves them."""
    n = len(examples) if real is None else len(real.lower)
    found = [_rung("ELBO", "lower", terms.elbo.value[:n], terms.elbo.variance[:n])]
    found += [
        _rung(f"IWAE, K = {each.samples}", "lower", each.bound[:n], each.variance[:n]) for each in terms.ladder[1:]
    ]
    if real is not None:
        found.append(_rung("AIS", "lower", real.lower + examples.constant, real.lower_variance))
    if simulated is not None:
        found.append(_rung("BDMC, forward", "simulated lower", simulated.lower, simulated.lower_variance))
    if simulated is not None and simulated.upper is not None:
        found.append(_rung("BDMC, reverse", "simulated upper", simulated.upper))
    return [rung for rung in found if math.isfinite(rung.nats)]


def _rung(
    label: str, kind: Literal["lower", "simulated lower", "simulated upper"], bounds: Tensor, own: Tensor | None = None
) -> Rung:
    """A mean with the estimator's own error: that of the examples is the same on every rung, and hides the steps."""
    error = math.nan if own is None else float(own.sum().sqrt()) / len(bounds)
    return Rung(label, -mean(-bounds).value, error if math.isfinite(error) else None, kind)


@torch.no_grad()
def _traversed(model: LatentVariable, rows: Rows, kl: Tensor) -> Tensor | None:
    """What is decoded as each latent in turn goes from low to high about the posterior mean of the first example."""
    center = _mean(model.posterior(rows.x[:1], None if rows.y is None else rows.y[:1]))
    if center is None or center.shape != (1, len(kl)):
        return None
    z = center.expand(len(kl) * STEPS, -1).clone().view(len(kl), STEPS, -1)
    steps = torch.linspace(-REACH, REACH, STEPS, dtype=z.dtype, device=z.device)
    latents = torch.arange(len(kl), device=z.device)
    z[latents, :, latents] = steps
    y = None if rows.y is None else rows.y[:1].expand(len(kl) * STEPS)
    decoded = _decoded(model, z.flatten(0, 1), y)
    return None if decoded is None else decoded.view(len(kl), STEPS, *decoded.shape[1:])


@torch.no_grad()
def _returned(model: LatentVariable, rows: Rows, context: Context) -> tuple[Tensor, Tensor] | None:
    """The most probable example at the posterior mean, ``(N, *event)``, and draws by posterior and decoder."""
    posterior = model.posterior(rows.x, rows.y)
    center = _mean(posterior)
    best = None if center is None else _decoded(model, center, rows.y)
    if best is None:
        return None
    drawn = []
    for number in range(DRAWS):
        z = draw(posterior, context.rng("pictures/latents", number))
        drawn.append(draw(model.likelihood(z, rows.y), context.rng("pictures/examples", number)).double().cpu())
    return best, torch.stack(drawn)


def _mean(posterior: Distribution) -> Tensor | None:
    """The mean of a posterior, where torch knows it."""
    try:
        return posterior.mean
    except NotImplementedError:
        return None


def _decoded(model: LatentVariable, z: Tensor, y: Tensor | None) -> Tensor | None:
    """The most probable example at each latent, where the likelihood knows it."""
    try:
        modes = model.likelihood(z, y).mode
    except NotImplementedError:
        return None
    shape = space_of(model).event_shape
    return modes.double().cpu() if modes.shape[1:] == shape and bool(modes.isfinite().all()) else None
