"""The densities that a latent-variable model states are those of its draws."""

from __future__ import annotations

from collections.abc import Callable
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

from torchstone.models.model import Discrete, LatentVariable
from torchstone.models.randomness import draw, seeded
from torchstone.suites.audits.arithmetic import computing_in, gap
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.subject import Subject
from torchstone.suites.metrics.draws import draws_p_value, whitened_p_value
from torchstone.suites.metrics.pit import kolmogorov_p_value
from torchstone.suites.pictures.audits import pit
from torchstone.suites.supports import log_prob_within, repeats

__all__ = ["EncoderDensity"]

MOST_REPEATS = 1_000  # draws that are looked at for numbers that repeat
EXAMPLES = 50
DRAWS = 64
LATENTS, MOST_PLACES = 8, 64  # of the likelihood: latents, and numbers in each of its draws
MOST_VALUES = 1_000_000  # enumerated at once, of a discrete family
EXACT = 1e-6
CELLS, CELLS_IN_SINGLE = 1e-5, 1e-3


@final
@dataclass(frozen=True, slots=True)
class _Tested:
    """The p-value of one set of draws, how it was had, and transforms to show."""

    p: float
    how: str
    transforms: Tensor | None = None


@final
class EncoderDensity(Audit):
    """Draws from the distribution objects of the adapter are held against the densities that the objects state.

    Latents of the posterior and of the prior, and data of the likelihood given a few latents. Gaussians are whitened by
    their own parameters, and their squared lengths follow chi-square; families of numbers with a distribution function
    are transformed by it, discrete ones by their cumulative masses. Everything else that is continuous, hierarchies and
    flows among it, is held against narrower and wider versions of itself by e-values. Latents of the posterior with and
    without gradient are tested apart. All in double precision, where the adapter can compute in it.
    """

    name: ClassVar[str] = "encoder density"
    claim: ClassVar[str] = "The stated densities of posterior, prior and likelihood are those of their draws."

    def audit(self, subject: Subject) -> Finding:
        """Test the draws for some test examples."""
        model = subject.model
        if not isinstance(model, LatentVariable):
            return Finding.not_applicable("The model has no posterior over latents.")
        try:
            with computing_in(model, torch.float64), torch.no_grad():
                model.posterior(*_examples(subject))
            arithmetic: AbstractContextManager[object] = computing_in(model, torch.float64)
        except ValueError as error:
            return _refused("posterior", error)
        except Exception:  # an adapter that cannot compute in double precision
            arithmetic = nullcontext()
        with arithmetic, torch.no_grad():
            return _held(subject, model)


def _held(subject: Subject, model: LatentVariable) -> Finding:
    """All parts at once (Bonferroni)."""
    x, y = _examples(subject)
    few, rng = _few(subject), subject.context.rng("audit/encoder/latents")

    def likelihood() -> Distribution:
        z = draw(model.posterior(x, y), rng)[:few]
        return model.likelihood(z, None if y is None else y[:few])

    parts: dict[str, Callable[[], Distribution]] = {
        "posterior": lambda: model.posterior(x, y),
        "prior": lambda: model.prior(y),
        "likelihood": likelihood,
    }
    found: dict[str, list[_Tested]] = {}
    skipped = []
    for name, ask in parts.items():
        try:
            answer = _part(subject, name, ask())
        except ValueError as error:
            return _refused(name, error)
        except NotImplementedError:
            answer = f"The {name} cannot be tested: it draws no values, or states no density of them."
        if isinstance(answer, Finding):
            return answer
        if isinstance(answer, str):
            skipped.append(answer)
        else:
            found[name] = answer
    if not found:
        return Finding.not_applicable(" ".join(skipped))
    tested = [each for tests in found.values() for each in tests]
    p = min(1.0, len(tested) * min(each.p for each in tested))
    words = [f"{name}: {tests[0].how}, p = {min(each.p for each in tests):.3g}" for name, tests in found.items()]
    transforms = found["posterior"][0].transforms if "posterior" in found else None
    narrower = 5 / (2 * DRAWS * len(x)) ** 0.5
    power = f"Would see latents that are about {narrower:.1%} narrower or wider than stated in any dimension."
    if transforms is None:
        power = "Would see latents that are 5 % narrower or wider than stated in all dimensions, not in a few of many."
    pictures = {"encoder": pit(transforms)} if transforms is not None else {}
    return Finding.tested(p, p, " ".join([f"Draws of the {'; the '.join(words)}.", *skipped]), power, pictures)


def _few(subject: Subject) -> int:
    """For how many latents the likelihood is looked at."""
    support = subject.space.support
    values = subject.space.dims * (support.levels if isinstance(support, Discrete) else 1)
    return max(1, min(LATENTS, MOST_VALUES // values))


def _part(subject: Subject, name: str, given: Distribution) -> list[_Tested] | Finding | str:
    """The tests of one distribution; or what is proved or odd; or, as a sentence, why it cannot be tested."""
    found = []
    for how in ("sample", "rsample") if name == "posterior" and given.has_rsample else ("sample",):
        purpose = f"encoder/{how}" if name == "posterior" else f"encoder/{name}"
        pilot, draws = (
            _drawn(given, subject.context.rng(f"audit/{purpose}/{part}"), gradient=how == "rsample")
            for part in ("pilot", "draws")
        )
        broken = int((~draws.double().isfinite()).flatten(2).any(2).any(0).sum())
        if broken:
            words = f"The {name} draws values that are not finite, for {broken} of {draws.shape[1]} examples: "
            return Finding(Verdict.FLAG, Grade.INVARIANT, f"{words}look for a scale that is infinite or NaN.")
        tested = _tested(name, given, pilot, draws, subject.rng(purpose))
        if not isinstance(tested, _Tested):
            return tested
        found.append(tested)
    return found


def _refused(name: str, error: ValueError) -> Finding:
    message = " ".join(str(error).split())[:200]
    return Finding(Verdict.FLAG, Grade.DECLARED, f"The {name} refuses its own parameters: {message}")


def _examples(subject: Subject) -> tuple[Tensor, Tensor | None]:
    x, y = subject.test(EXAMPLES)
    return subject.own(x), None if y is None else y.to(subject.context.device)


def _drawn(given: Distribution, rng: torch.Generator, *, gradient: bool) -> Tensor:
    """``(K, N, *event)``; of a distribution without a batch K is as large as all draws of the others, and N is 1."""
    shape = (DRAWS,) if given.batch_shape else (DRAWS * EXAMPLES, 1)
    if not gradient:
        return draw(given, rng, shape)
    with seeded(rng):
        return given.rsample(torch.Size(shape)).detach()


def _tested(
    name: str, given: Distribution, pilot: Tensor, draws: Tensor, rng: torch.Generator
) -> _Tested | Finding | str:
    leaf = given
    while type(leaf) is Independent:  # a subclass may state another density
        leaf = leaf.base_dist
    white = _whitened(leaf, given, draws)
    if white is not None:
        if name == "likelihood" and white.shape[2] > MOST_PLACES:
            white = white[..., torch.randperm(white.shape[2], generator=rng)[:MOST_PLACES].to(white.device)]
        p, squares = whitened_p_value(white)
        return _Tested(p, "whitened by their own parameters, against chi-square", squares)
    if _discrete(leaf):
        return _cells(name, leaf, draws if given.batch_shape else draws[:, 0], rng)
    if repeats(draws.flatten(0, 1)[:MOST_REPEATS]):
        return f"The {name} draws values that repeat and cannot be enumerated: no density over real numbers is tested."
    p = draws_p_value(_Density(given), pilot.flatten(2), draws.flatten(2), rng)
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


def _cells(name: str, leaf: Distribution, draws: Tensor, rng: torch.Generator) -> _Tested | Finding | str:
    """Randomised transforms of draws with finitely many values, by the masses that the density states for them.

    ``draws`` are ``(K, *batch, *event)``; of a likelihood at most `MOST_PLACES` numbers of each are looked at.
    """
    if not leaf.has_enumerate_support:
        return f"A {name} of {type(leaf).__name__} has values that cannot be enumerated."
    values = leaf.enumerate_support()
    masses = leaf.log_prob(values).double().exp()
    total, tolerance = masses.sum(0), CELLS if leaf.log_prob(values).dtype is torch.float64 else CELLS_IN_SINGLE
    words = f"The masses that the {name} states for {len(values)} values add to {float(total.min()):.6g} at least and "
    words += f"{float(total.max()):.6g} at most"
    if float(total.max()) > 1 + tolerance:
        return Finding(Verdict.FAIL, Grade.PROVED, f"{words}.", float(total.max()))
    if float(total.min()) < 1 - tolerance:
        return Finding(
            Verdict.FLAG, Grade.PROVED, f"{words}: what is left over is lost to the model.", float(total.min())
        )
    if not leaf.event_shape:
        values, masses, draws = _places(name, values, masses, draws, rng)
    draws = draws[: max(1, MOST_VALUES // values.numel())]
    hit = draws[:, None] == values
    hit = hit.flatten(hit.ndim - len(leaf.event_shape)).all(-1) if leaf.event_shape else hit
    at = hit.double().argmax(1)
    upper = masses.cumsum(0).expand(len(draws), *masses.shape).gather(1, at[:, None])[:, 0]
    mass = masses.expand(len(draws), *masses.shape).gather(1, at[:, None])[:, 0]
    uniform = torch.rand(upper.shape, generator=rng, dtype=torch.float64).to(upper.device)
    transforms = (upper - uniform * mass).clamp(0, 1).cpu().flatten()
    return _Tested(kolmogorov_p_value(transforms), "transformed by their own cumulative masses", transforms)


def _places(
    name: str, values: Tensor, masses: Tensor, draws: Tensor, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """The same at some of the numbers of a likelihood's data, flat; the whole of everything else."""
    some = LATENTS * MOST_PLACES
    if name != "likelihood" or masses[0].numel() <= some:
        return values.expand_as(masses), masses, draws
    place = torch.randperm(masses[0].numel(), generator=rng)[:some].to(masses.device)
    flat = (each.flatten(1)[:, place] for each in (values.expand_as(masses), masses, draws))
    first, second, third = flat
    return first, second, third


@final
class _Density:
    """The stated log-density of flat values ``(K, N, d)``, minus infinity outside of the support."""

    def __init__(self, given: Distribution) -> None:
        self.given = given

    def __call__(self, z: Tensor) -> Tensor:
        value = z.view(*z.shape[:2], *self.given.event_shape)
        return log_prob_within(self.given, value).cpu()
