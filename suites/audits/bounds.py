"""The order of bounds: what is called lower does not lie above what is exact, or called upper."""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
from torch import Tensor

from torchstone.models.model import Discrete, ExplicitApproximate, ExplicitExact, LatentVariable, ModelError
from torchstone.suites.audits.arithmetic import computing_in
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.simulation import Simulation, simulated
from torchstone.suites.audits.subject import Subject, draws_nothing
from torchstone.suites.latent.annealed import Annealing, Bracket, sandwiched
from torchstone.suites.latent.examples import Rows
from torchstone.suites.metrics.bounds import importance_weighted_bound
from torchstone.suites.metrics.evidence import average, log_bet, p_value, undefined, worth
from torchstone.suites.questions import ask_elbo, ask_importance_weighted, ask_log_prob
from torchstone.suites.supports import log_prob_within

__all__ = ["BoundOrdering"]

WEIGHTS = 16
STAKES = (1.0, 0.5, 0.1)
ROUNDING = {True: 1e-9, False: 1e-5}  # relative, in float64 and not
REPEATS = 32
HOW = Annealing(temperatures=40, chains=4, leapfrog=5, stops=8)
FEWEST, MOST = 4, 32  # simulated examples that are annealed
VALUES = 2**19  # probabilities in one question of all their chains
SURE = 6.0  # standard errors
VISIBLE = 1e-2  # a p-value that is evidence
ROUNDED = "It could not be asked in double precision, and this may be rounding."


@final
class BoundOrdering(Audit):
    r"""A latent-variable model's weights, on data simulated from the model itself, between a lower and an upper bound.

    Whoever simulates an example knows one exact draw :math:`z^*` from its posterior. The reciprocal of the weight there
    has the mean :math:`1 / p(x)`, and independent weights of draws from the encoder have the mean :math:`p(x)`, so that
    the product of both has a mean of at most one whatever the encoder is worth: an e-value. It grows where draws of the
    encoder have weights that are too large, because it states more density elsewhere than it draws from there. On some
    of the examples both bounds are annealed as well, from the prior and back to it, and the encoder's lower bound is
    held against the annealed upper one, which does not depend on the encoder. The evidence is the mean of the three. It
    rests on draws of prior and likelihood that follow their stated densities: where they do not, that is what fails.
    Two lower bounds are never held against each other.

    Where the same model also gives an exact density the weights are held against that. On every set of weights the
    bound of all is at least the mean of the bounds of the halves.

    Source: Grosse, Ghahramani and Adams, "Sandwiching the marginal likelihood using bidirectional Monte Carlo", 2015,
    arXiv:1511.02543; with the encoder for its path, and annealed as there.
    """

    name: ClassVar[str] = "bound ordering"
    claim: ClassVar[str] = "What bounds the density from below does not lie above it."

    def audit(self, subject: Subject) -> Finding:
        """Compare the bounds."""
        model = subject.model
        if not isinstance(model, ExplicitApproximate):
            return Finding.not_applicable("The model gives no bound.")
        if isinstance(model, LatentVariable):
            violation, broken = _nesting(subject)
            if violation > ROUNDING[True]:
                witness = f"The bound of all weights lies {violation:.3g} of itself below the mean bound of halves."
                return Finding(Verdict.FAIL, Grade.PROVED, witness, violation)
        else:
            broken = 0
        if isinstance(model, ExplicitExact):
            return _exact(subject).counting(broken)
        if isinstance(model, LatentVariable):
            return _simulated(subject).counting(broken)
        return Finding.not_applicable("The model has neither latents nor an exact density to hold its bound to.")


def _nesting(subject: Subject) -> tuple[float, int]:
    """The largest ``(L_K + L'_K) / 2 - L_2K`` over test examples, relative to it: above 0 by rounding at most.

    With it the number of weights that are NaN or infinite.
    """
    x, y = subject.test(min(16, subject.examples))
    weights = torch.stack([subject.log_density(x, y, f"bound ordering/nesting/{k}") for k in range(2 * WEIGHTS)])
    whole = importance_weighted_bound(weights)
    halves = importance_weighted_bound(weights.view(2, WEIGHTS, -1), dim=1).mean(0)
    excess = (halves - whole) / whole.abs().clamp_min(1.0)
    known = excess.isfinite()
    return float(excess[known].amax()) if bool(known.any()) else 0.0, undefined(weights)


def _simulated(subject: Subject) -> Finding:
    n = subject.examples
    found = simulated(subject, n, "bound ordering/simulated")
    upper, lower = _at_truth(subject, found), _lower(subject, found.x, found.y)
    usable = lower.isfinite() & upper.isfinite()
    broken = undefined(lower) + undefined(-upper)  # an upper bound of infinity says nothing, and is one
    if not bool(usable.any()):
        return Finding.inconclusive("No example that the model simulates has a finite weight.").counting(broken)
    evidence = [_bet(lower, upper)]
    slack = float((upper - lower)[usable].mean())
    words = (
        f"On {n} examples simulated from the model the lower bound of {WEIGHTS} weights lies {slack:.4g} nats below "
        "the upper bound of one exact posterior draw, on average."
    )
    bracket, seen = _annealed(subject, found), n
    if isinstance(bracket, str):
        words = f"{words} {bracket}"
    else:
        few, above = len(bracket.lower), bracket.upper
        assert above is not None
        seen = few
        evidence += [_bet(bracket.lower, above), _bet(lower[:few], above)]
        gap = float((above - bracket.lower).mean())
        words = f"{words} Annealed bounds of {few} of them are {gap:.4g} nats apart."
    statistic = average(evidence)
    return Finding.tested(
        p_value(statistic),
        statistic,
        words,
        f"Would see bounds that are {max(slack, 0.0) + _visible(n, len(evidence)):.3g} nats per example too near or "
        f"crossed, at n = {n}, and annealed ones {_visible(seen, len(evidence)):.3g} beyond their distance, at {seen}.",
    ).counting(broken)


def _visible(n: int, bets: int) -> float:
    """How many nats per example an excess must have for one of so many bets to show it at level 0.0001."""
    return (math.log(1e4) + math.log(bets * len(STAKES))) / n


def _bet(lower: Tensor, upper: Tensor) -> float:
    """The evidence that lower bounds lie above upper ones; what is not finite shows nothing."""
    usable = lower.isfinite() & upper.isfinite()
    return log_bet(torch.where(usable, lower, -math.inf), torch.where(usable, upper, 0.0), STAKES)


def _annealed(subject: Subject, found: Simulation) -> Bracket | str:
    """Both bounds of some examples by annealing from the prior, whatever the encoder; or why there are none."""
    model, space = subject.model, subject.space
    assert isinstance(model, LatentVariable)
    levels = space.support.levels if isinstance(space.support, Discrete) else 1
    few = max(FEWEST, min(MOST, len(found.x), VALUES // (HOW.chains * space.dims * levels)))
    rows = Rows(found.x[:few], None if found.y is None else found.y[:few])
    try:
        return sandwiched(model, rows, found.z[:few], HOW, subject.context, "audit/bound ordering/annealed")
    except ModelError as error:
        return f"Annealing is not applicable: {error}"
    except Exception as error:  # the bounds of the encoder stand without it
        return f"Annealing could not be tried: {type(error).__name__}: {' '.join(str(error).split())[:120]}"


def _at_truth(subject: Subject, found: Simulation) -> Tensor:
    """``log p(x, z) - log q(z|x)`` at the latent that each example was simulated from, ``(n,)``."""
    model = subject.model
    assert isinstance(model, LatentVariable)
    with torch.no_grad():
        prior = log_prob_within(model.prior(found.y), found.z).double()
        posterior = log_prob_within(model.posterior(found.x, found.y), found.z).double()
        likelihood = log_prob_within(model.likelihood(found.z, found.y), found.x).double()
    for name, answer in (("prior", prior), ("posterior", posterior), ("likelihood", likelihood)):
        if answer.shape != (len(found.x),):
            raise ModelError(
                f"{type(model).__name__}.{name} gives log-densities of shape {tuple(answer.shape)} for {len(found.x)} "
                "examples; wrap it in torch.distributions.Independent so that it covers the whole event."
            )
    return (prior + likelihood - posterior).cpu()


def _lower(subject: Subject, x: Tensor, y: Tensor | None) -> Tensor:
    """The importance-weighted bound from new draws of the encoder, ``(n,)``."""
    model, context = subject.model, subject.context
    assert isinstance(model, LatentVariable)
    return ask_importance_weighted(model, x, y, WEIGHTS, context.rng("audit/bound ordering/lower"), context)


def _exact(subject: Subject) -> Finding:
    """Any bound against the exact density of the same model, on test examples as the model takes them.

    Both are computed in double precision where the model can be: in single precision either may be off by nats.
    """
    model, device = subject.model, subject.context.device
    assert isinstance(model, ExplicitApproximate) and isinstance(model, ExplicitExact)
    x, labels = subject.test(subject.examples)
    x, y = subject.own(x), None if labels is None else labels.to(device)
    steady = not isinstance(model, LatentVariable) and draws_nothing(
        model, x, y, subject.context.rng("audit/bound ordering/draws")
    )
    answers, bounds, exactly = _side_by_side(subject, x, y, steady)
    exact, broken = worth(answers), undefined(answers) + undefined(bounds)
    possible = exact > -math.inf
    if not bool(possible.any()):
        return Finding.inconclusive("The exact density of every test example is zero.").counting(broken)
    power = f"Would see a bound that is {10 / len(x):.2g} nats per example above the density, at n = {len(x)}."
    if isinstance(model, LatentVariable):
        lower = bounds[0]
        evidence = log_bet(lower[possible], exact[possible], STAKES)
        witness = f"Bounds of {WEIGHTS} weights are {_mean_excess(lower, exact):+.4g} nats above the exact density."
        found = Finding.tested(p_value(evidence), evidence, witness, power)
        if not exactly and found.p_value is not None and found.p_value <= VISIBLE:
            found = Finding(Verdict.FLAG, Grade.INVARIANT, f"{witness} {ROUNDED}", evidence, power=power)
        return found.counting(broken)
    excess = (bounds - exact)[:, possible]
    excess = excess[:, excess.isfinite().all(0)]
    if excess.numel() == 0:
        return Finding.inconclusive("The bound of every test example is infinite.").counting(broken)
    surplus = excess.mean(0) - SURE * excess.std(0) / math.sqrt(len(bounds))
    largest = float(surplus.amax())
    above = largest > ROUNDING[exactly] * max(1.0, float(exact[possible].abs().amax()))
    proved = above and steady and exactly
    words = f"The bound lies {largest:.4g} nats above the exact density of an example, beyond {SURE:g} standard errors."
    return Finding(
        (Verdict.FAIL if proved else Verdict.FLAG) if above else Verdict.PASS,
        Grade.PROVED if proved else Grade.INVARIANT,
        (words if exactly else f"{words} {ROUNDED}")
        if above
        else f"The bound of none of {excess.shape[1]} examples lies above its exact density.",
        largest,
        power="The bound takes no draws: any excess is a proof." if steady else "Draws of a bound can flag, not fail.",
    ).counting(broken)


def _side_by_side(subject: Subject, x: Tensor, y: Tensor | None, steady: bool) -> tuple[Tensor, Tensor, bool]:
    """Exact densities ``(n,)``, bounds ``(repeats, n)``, and whether all was computed in double precision."""
    model = subject.model
    assert isinstance(model, ExplicitApproximate) and isinstance(model, ExplicitExact)

    def asked() -> tuple[Tensor, Tensor]:
        if isinstance(model, LatentVariable):
            return ask_log_prob(model, x, y), _lower(subject, x, y)[None]
        rngs = [subject.context.rng("audit/bound ordering/elbo", repeat) for repeat in range(2 if steady else REPEATS)]
        return ask_log_prob(model, x, y), torch.stack([ask_elbo(model, x, y, rng) for rng in rngs])

    try:
        with computing_in(model, torch.float64) as arithmetic:
            x = x.double() if x.is_floating_point() else x
            return *asked(), arithmetic.pure
    except Exception:
        x = x.to(subject.dtype) if x.is_floating_point() and subject.dtype is not None else x
        return *asked(), False


def _mean_excess(lower: Tensor, exact: Tensor) -> float:
    difference = lower - exact
    return float(difference[difference.isfinite()].mean()) if bool(difference.isfinite().any()) else -math.inf
