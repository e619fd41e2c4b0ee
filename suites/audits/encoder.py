"""The density that the encoder states is that of the latents it draws."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)

from torchstone.models.model import LatentVariable
from torchstone.models.randomness import draw, seeded
from torchstone.suites.audits.arithmetic import computing_in, gap
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.subject import Subject
from torchstone.suites.metrics.draws import draws_p_value, whitened_p_value
from torchstone.suites.metrics.pit import kolmogorov_p_value
from torchstone.suites.pictures.audits import pit

__all__ = ["EncoderDensity"]

EXAMPLES = 50
DRAWS = 64
MOST_VALUES = 1_000_000  # enumerated at once, of a discrete posterior
EXACT = 1e-6
CELLS = 1e-5


@final
@dataclass(frozen=True, slots=True)
class _Tested:
    """The p-value of one set of draws, how it was had, and transforms to show."""

    p: float
    how: str
    transforms: Tensor | None = None


@final
class EncoderDensity(Audit):
    """Latents are drawn from the posterior object of the adapter, and held against the density that the object states.

    Gaussians are whitened by their own parameters, and their squared lengths follow chi-square; families of numbers
    with a distribution function are transformed by it, discrete ones by their cumulative masses. Everything else that
    is continuous, hierarchies and flows among it, is held against narrower and wider versions of itself by e-values.
    Draws with and without gradient are tested apart. All in double precision.
    """

    name: ClassVar[str] = "encoder density"
    claim: ClassVar[str] = "The stated density of the posterior is the density of its draws."

    def audit(self, subject: Subject) -> Finding:
        """Test the draws of the posteriors of some test examples."""
        model = subject.model
        if not isinstance(model, LatentVariable):
            return Finding.not_applicable("The model has no posterior over latents.")
        try:
            with computing_in(model, torch.float64), torch.no_grad():
                model.posterior(*_examples(subject))
            arithmetic: AbstractContextManager[object] = computing_in(model, torch.float64)
        except ValueError as error:
            return _refused(error)
        except Exception:  # an adapter that cannot compute in double precision
            arithmetic = nullcontext()
        with arithmetic, torch.no_grad():
            return _held(subject, model)


def _held(subject: Subject, model: LatentVariable) -> Finding:
    try:
        posterior = model.posterior(*_examples(subject))
    except ValueError as error:
        return _refused(error)
    found = []
    for name in ("sample", "rsample") if posterior.has_rsample else ("sample",):
        pilot, draws = (
            _drawn(posterior, subject.context.rng(f"audit/encoder/{name}/{part}"), gradient=name == "rsample")
            for part in ("pilot", "draws")
        )
        broken = int((~draws.double().isfinite()).flatten(2).any(2).any(0).sum())
        if broken:
            words = f"The posteriors of {broken} of {draws.shape[1]} examples draw latents that are not finite: "
            return Finding(Verdict.FLAG, Grade.INVARIANT, f"{words}look for a scale that is infinite or NaN.")
        tested = _tested(posterior, pilot, draws, subject.rng(f"encoder/{name}"))
        if isinstance(tested, Finding):
            return tested
        found.append(tested)
    p = min(1.0, len(found) * min(each.p for each in found))
    dims = posterior.event_shape.numel()
    words = f"{DRAWS} latents of {dims} dimensions for each of {posterior.batch_shape[0]} examples, {found[0].how}: "
    words += f"p = {p:.3g}."
    narrower = 5 / (2 * DRAWS * posterior.batch_shape[0]) ** 0.5
    power = f"Would see draws that are about {narrower:.1%} narrower or wider than stated in any dimension."
    if found[0].transforms is None:
        power = "Would see draws that are 5 % narrower or wider than stated in all dimensions, not in a few of many."
    pictures = {"encoder": pit(found[0].transforms)} if found[0].transforms is not None else {}
    return Finding.tested(p, p, words, power, pictures)


def _refused(error: ValueError) -> Finding:
    message = " ".join(str(error).split())[:200]
    return Finding(Verdict.FLAG, Grade.DECLARED, f"The posterior refuses its own parameters: {message}")


def _examples(subject: Subject) -> tuple[Tensor, Tensor | None]:
    x, y = subject.test(EXAMPLES)
    return subject.own(x), None if y is None else y.to(subject.context.device)


def _drawn(posterior: Distribution, rng: torch.Generator, *, gradient: bool) -> Tensor:
    """``(DRAWS, N, *latent)``."""
    if not gradient:
        return draw(posterior, rng, (DRAWS,))
    with seeded(rng):
        return posterior.rsample(torch.Size((DRAWS,))).detach()


def _tested(posterior: Distribution, pilot: Tensor, draws: Tensor, rng: torch.Generator) -> _Tested | Finding:
    leaf = posterior
    while isinstance(leaf, Independent):
        leaf = leaf.base_dist
    white = _whitened(leaf, posterior, draws)
    if white is not None:
        p, squares = whitened_p_value(white)
        return _Tested(p, "whitened by their own parameters, against chi-square", squares)
    if _discrete(leaf):
        return _cells(leaf, draws, rng)
    p = draws_p_value(_Density(posterior, pilot[:1]), pilot.flatten(2), draws.flatten(2), rng)
    transforms = _by_distribution_function(leaf, draws)
    if transforms is None:
        return _Tested(p, "against versions of their own density that are narrower and wider")
    p = min(1.0, 2 * min(p, kolmogorov_p_value(transforms)))
    return _Tested(p, "transformed by their own distribution function", transforms)


def _by_distribution_function(leaf: Distribution, draws: Tensor) -> Tensor | None:
    """Transforms of all numbers, where the family has a distribution function of numbers."""
    try:
        return None if leaf.event_shape else leaf.cdf(draws).double().cpu().flatten()
    except NotImplementedError:
        return None


def _whitened(leaf: Distribution, posterior: Distribution, draws: Tensor) -> Tensor | None:
    """Draws that are standard normal, ``(K, N, d)``, where the stated density is the Gaussian of the parameters."""
    honest: Distribution
    match leaf:
        case Normal():
            honest = Normal(leaf.loc, leaf.scale)
            white = (draws - leaf.loc) / leaf.scale
        case MultivariateNormal() | LowRankMultivariateNormal():
            honest = MultivariateNormal(leaf.loc, scale_tril=leaf.scale_tril)
            white = torch.linalg.solve_triangular(
                leaf.scale_tril.expand(*draws.shape, -1), (draws - leaf.loc)[..., None], upper=False
            )[..., 0]
        case _:
            return None
    stated: Tensor = posterior.log_prob(draws)
    expected: Tensor = honest.log_prob(draws)  # type: ignore[no-untyped-call]
    expected = expected.flatten(stated.ndim).sum(-1) if expected.ndim > stated.ndim else expected
    same = expected.shape == stated.shape and bool((gap(stated, expected) < EXACT).all())
    return white.flatten(2) if same else None


def _discrete(leaf: Distribution) -> bool:
    try:
        support = leaf.support
    except NotImplementedError:
        return False
    return support is not None and bool(support.is_discrete)


def _cells(leaf: Distribution, draws: Tensor, rng: torch.Generator) -> _Tested | Finding:
    """Randomised transforms of draws with finitely many values, by the masses that the density states for them."""
    if not leaf.has_enumerate_support:
        return Finding.not_applicable(f"A posterior of {type(leaf).__name__} has values that cannot be enumerated.")
    values = leaf.enumerate_support()
    if values.numel() * len(draws) > MOST_VALUES:
        draws = draws[: max(1, MOST_VALUES // values.numel())]
    masses = leaf.log_prob(values).double().exp()
    excess = float((masses.sum(0) - 1).abs().max())
    if excess > CELLS:
        words = f"The masses that the posterior states for {len(values)} values add to 1 only within {excess:.3g}."
        return Finding(Verdict.FAIL, Grade.PROVED, words, excess)
    hit = draws[:, None] == values
    hit = hit.flatten(hit.ndim - len(leaf.event_shape)).all(-1) if leaf.event_shape else hit
    at = hit.double().argmax(1)
    upper = masses.cumsum(0).expand(len(draws), *masses.shape).gather(1, at[:, None])[:, 0]
    mass = masses.expand(len(draws), *masses.shape).gather(1, at[:, None])[:, 0]
    uniform = torch.rand(upper.shape, generator=rng, dtype=torch.float64).to(upper.device)
    transforms = (upper - uniform * mass).clamp(0, 1).cpu().flatten()
    return _Tested(kolmogorov_p_value(transforms), "transformed by their own cumulative masses", transforms)


@final
class _Density:
    """The stated log-density of flat latents, minus infinity outside of the support."""

    def __init__(self, posterior: Distribution, inside: Tensor) -> None:
        self.posterior, self.inside = posterior, inside

    def __call__(self, z: Tensor) -> Tensor:
        value = z.view(*z.shape[:2], *self.posterior.event_shape)
        try:
            support = self.posterior.support
        except NotImplementedError:
            support = None
        if support is None:
            return self.posterior.log_prob(value).cpu()
        inside = support.check(value)  # type: ignore[no-untyped-call]
        within = inside.view(*inside.shape, *[1] * len(self.posterior.event_shape))
        return torch.where(inside, self.posterior.log_prob(torch.where(within, value, self.inside)), -torch.inf).cpu()
