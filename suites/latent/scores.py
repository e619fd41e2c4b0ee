"""From bounds per example to scores: each with its kind, its standard errors and its warnings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from torchstone.results.record import Flat, Kind, Scalar, Score
from torchstone.suites.latent.annealed import Annealing, Bracket
from torchstone.suites.latent.examples import Examples
from torchstone.suites.latent.gaps import Optimum
from torchstone.suites.latent.terms import Estimate, Terms
from torchstone.suites.latent.usage import Usage
from torchstone.suites.metrics.bounds import Rung
from torchstone.suites.metrics.latents import active_units, collapsed
from torchstone.suites.metrics.uncertainty import mean

__all__ = ["Sheet"]

NATS = "nats/example"
SIMULATED: Flat = {"data": "simulated by the model"}
LARGE, OFTEN, RISING, EMPTY = 0.5, 0.05, 0.5, 0.1  # when weights are too uneven, a ladder still rises, a rate is none


@final
class Sheet:
    """Scores, columns and notes as they come in.

    Attributes:
        scores: in the order of the table.
        columns: per-example values; NaN where an example was not asked.
        notes: warnings, and what was not applicable and why.
    """

    def __init__(self) -> None:
        self.scores: list[Score] = []
        self.columns: dict[str, Tensor] = {}
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        """Keep a warning or a reason."""
        self.notes.append(sentence)

    def bounds(self, terms: Terms, examples: Examples) -> None:
        """The ELBO, its terms and the ladder above it."""
        self._add("elbo", Kind.LOWER_BOUND, terms.elbo)
        self._add("reconstruction", Kind.ESTIMATE, terms.reconstruction)
        self._add("rate", Kind.ESTIMATE, terms.rate, up=False)
        for name, part in terms.parts.items():
            self._add(f"part_{name}", Kind.ESTIMATE, part, up=False)
        for rung in terms.ladder[1:]:
            found: dict[str, Scalar] = {"K": rung.samples, "effective_samples": _mean_of(rung.effective_samples)}
            self._add("iwae", Kind.LOWER_BOUND, Estimate(rung.bound, rung.variance), parameters=found)
            self.columns[f"iwae_{rung.samples}"] = rung.bound
        self.columns |= {"elbo": terms.elbo.value, "rate": terms.rate.value}
        if terms.ladder:
            top = terms.ladder[-1]
            self.columns |= {"effective_samples": top.effective_samples, "largest_weight": top.largest_weight}
            self.notes += _unconverged(terms.ladder)
        if terms.kl is not None:
            self.notes += _disagreement(terms.rate, terms.kl)
        if float(terms.rate.value.mean()) < EMPTY and terms.ladder:
            self.note(
                f"The posterior has collapsed: its rate is {float(terms.rate.value.mean()):.3g} nats, so the latents "
                "say nothing about the examples."
            )

    def annealed(self, bracket: Bracket, how: Annealing, examples: Examples) -> None:
        """The annealed lower bound on real examples."""
        n = len(bracket.lower)
        lower = Estimate(bracket.lower + examples.constant, bracket.lower_variance)
        self._add("ais", Kind.LOWER_BOUND, lower, parameters=_chains(how, bracket), contract={"examples": n})
        self.columns["ais"] = _padded(lower.value, len(examples))
        if n < len(examples):
            self.note(f"Annealed bounds and gaps are those of {n} of the {len(examples)} examples.")
        if bracket.refusal:
            self.note(f"Annealing: {bracket.refusal}")
        behind = float((self.columns["elbo"][:n] - lower.value).mean())
        if not behind <= 0:
            self.note(
                f"The annealed bound lies {behind:.3g} nats below the ELBO of the same examples: its chains have not "
                "arrived; give them more temperatures."
            )

    def gaps(self, terms: Terms, bracket: Bracket | None, optimum: Optimum | None, n: int, examples: Examples) -> None:
        """How far the ELBO is below the best lower bound, and its two parts, on the same examples."""
        elbo, ladder = terms.elbo.value[:n], terms.ladder[-1].bound[:n]
        best, of = ladder, f"iwae, K = {terms.ladder[-1].samples}"
        if bracket is not None and _unconverged(terms.ladder):  # and not where it is larger: that would be by chance
            best, of = bracket.lower + examples.constant, "ais"
        few: Flat = {"examples": n}
        self._paired("elbo_gap", Kind.LOWER_BOUND, best - elbo, {"against": of}, few)
        if optimum is None:
            return
        reached = optimum.elbo + examples.constant
        self._paired("approximation_gap", Kind.ESTIMATE, best - reached, {"against": of}, few)
        self._paired("amortisation_gap", Kind.LOWER_BOUND, reached - elbo, {}, few)
        if not float((reached - elbo).mean()) > -1:
            self.note(
                "The search for the best posterior ended below the encoder's own: it has failed, and its gaps with it."
            )
        self.columns["best_posterior_elbo"] = _padded(reached, len(examples))
        if optimum.converged < 1:
            self.note(
                f"The search for the best posterior did not end by itself for {1 - optimum.converged:.0%} of the "
                "examples: the amortisation gap may be larger."
            )

    def bracketed(self, bracket: Bracket, how: Annealing, n: int, examples: Examples) -> None:
        """Both bounds on examples that the model simulated, on its own support: no constant of dequantisation."""
        assert bracket.upper is not None
        contract = {**SIMULATED, "examples": n}
        if examples.dequantised:
            contract |= {"support": "continuous", "dequantisation": "none"}
        lower, found = Estimate(bracket.lower, bracket.lower_variance), _chains(how, bracket)
        self._add("bdmc_lower", Kind.LOWER_BOUND, lower, parameters=found, contract=contract)
        self._paired("bdmc_upper", Kind.UPPER_BOUND, bracket.upper, _settings(how), contract, up=True)
        self._paired("bdmc_gap", Kind.UPPER_BOUND, bracket.upper - bracket.lower, _settings(how), contract)
        self.note(
            "The gap between annealed bounds is measured on examples that the model simulated; on real examples it is "
            "assumed to be of the same size, and no upper bound is known there."
        )
        if bracket.refusal:
            self.note(f"Annealing of simulated examples: {bracket.refusal}")
        gap = mean(bracket.upper - bracket.lower)
        if gap.stderr is not None and gap.value < -4 * gap.stderr:
            self.note(
                f"The upper bound is {-gap.value:.3g} nats below the lower one, beyond four standard errors: prior, "
                "likelihood and their draws do not belong together, and no annealed number is to be believed."
            )

    def reliance(self, reliance: Tensor, n: int) -> None:
        """What the decoder makes of the latents, on some of ``n`` examples."""
        self._paired("decoder_reliance", Kind.ESTIMATE, reliance, {}, {"examples": len(reliance)}, up=True)
        self.columns["decoder_reliance"] = _padded(reliance, n)

    def usage(self, usage: Usage, n: int) -> None:
        """What the latents carry, over ``n`` training examples."""
        train: Flat = {"split": "train", "examples": n}
        both = usage.aggregate
        for metric, kind, values in (
            ("mutual_information", Kind.LOWER_BOUND, both.information_lower),
            ("mutual_information_upper", Kind.UPPER_BOUND, both.information_upper),
            ("marginal_kl", Kind.UPPER_BOUND, both.marginal_kl_upper),
            ("marginal_kl_lower", Kind.LOWER_BOUND, both.marginal_kl_lower),
        ):
            self._paired(metric, kind, values, {}, train, up=metric.startswith("mutual"))
        if both.saturated:
            self.note(
                f"The mutual information is within one nat of ln {n} = {math.log(n):.2f}, the most that {n} examples "
                "can show from below; the true one may be much larger."
            )
        self._count("active_units", float(active_units(usage.variances)), len(usage.variances), train)
        self._count("active_units_0.001", float(active_units(usage.variances, 1e-3)), len(usage.variances), train)
        if usage.kl is not None:
            share = collapsed(usage.kl[None])
            self._count("collapsed_latents", share, len(usage.kl), train, unit="share", up=False)

    def _add(
        self,
        metric: str,
        kind: Kind,
        estimate: Estimate,
        *,
        up: bool = True,
        parameters: Mapping[str, Scalar] | None = None,
        contract: Flat | None = None,
    ) -> None:
        own = (
            None
            if bool(estimate.variance.isnan().any())
            else float(estimate.variance.sum().sqrt()) / len(estimate.value)
        )
        found = {**(parameters or {}), "estimator_stderr": own}
        self._paired(metric, kind, estimate.value, found, contract or {}, up=up)

    def _paired(
        self,
        metric: str,
        kind: Kind,
        values: Tensor,
        parameters: Mapping[str, Scalar],
        contract: Flat,
        *,
        up: bool = False,
    ) -> None:
        """The mean of values per example. One that is not finite makes a bound say nothing, on its own side."""
        sign = {Kind.LOWER_BOUND: -1.0, Kind.UPPER_BOUND: 1.0}.get(kind, -1.0 if up else 1.0)
        costs = mean(sign * values)
        interval = costs.ci95
        if interval is not None and sign < 0:
            interval = -interval[1], -interval[0]
        found = {**parameters, "nonfinite": costs.nonfinite}
        self.scores.append(
            Score(metric, sign * costs.value, NATS, kind, up, costs.stderr, interval, costs.n, found, contract)
        )

    def _count(
        self, metric: str, value: float, of: int, contract: Flat, *, unit: str = "latents", up: bool = True
    ) -> None:
        self.scores.append(Score(metric, value, unit, Kind.ESTIMATE, up, parameters={"latents": of}, contract=contract))


def _unconverged(ladder: tuple[Rung, ...]) -> list[str]:
    """Signs that the ladder has not reached its end."""
    top, notes = ladder[-1], []
    uneven = float((top.largest_weight > LARGE).double().mean())
    if top.samples > 1 and uneven > OFTEN:
        notes.append(
            f"On {uneven:.0%} of the examples one of the {top.samples} weights outweighs all others: the "
            "importance-weighted bound has not converged."
        )
    if len(ladder) > 1:
        rise = float((ladder[-1].bound - ladder[-2].bound).mean())
        if rise > RISING:
            notes.append(
                f"The bound still rises by {rise:.3g} nats from K = {ladder[-2].samples} to {top.samples}: it has not "
                "converged."
            )
    return notes


def _disagreement(rate: Estimate, kl: Tensor) -> list[str]:
    """A warning where the mean rate over draws is not the closed form that it estimates, by five standard errors."""
    off = float((rate.value - kl).mean())
    error = float(rate.variance.sum().sqrt()) / len(kl)
    slack = 1e-4 * float(kl.abs().mean())  # rounding of densities in float32
    if not math.isfinite(off) or abs(off) > 5 * error + slack:
        return [
            f"The rate over draws is {off:+.3g} nats off its closed form, {abs(off) / max(error, 1e-300):.1f} standard "
            "errors: draws and densities of posterior or prior do not belong together."
        ]
    return []


def _settings(how: Annealing) -> dict[str, Scalar]:
    return {"T": how.temperatures, "chains": how.chains, "leapfrog": how.leapfrog}


def _chains(how: Annealing, bracket: Bracket) -> dict[str, Scalar]:
    """The settings of the chains and how they moved."""
    found: dict[str, Scalar] = dict(_settings(how))
    if bracket.acceptance.numel():
        found["acceptance"] = round(float(bracket.acceptance.mean()), 4)
        found["acceptance_lowest"] = round(float(bracket.acceptance.min()), 4)
        found["acceptance_by_temperature"] = " ".join(f"{each:.2f}" for each in bracket.acceptance.tolist())
    return found


def _mean_of(values: Tensor) -> float | None:
    average = float(values.mean())
    return average if math.isfinite(average) else None


def _padded(values: Tensor, n: int) -> Tensor:
    whole = torch.full((n,), math.nan, dtype=torch.float64)
    whole[: len(values)] = values
    return whole
