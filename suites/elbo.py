"""The elbo suite: how tight a bound is, where it is lost, and what the latents carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, final

from annotated_types import Ge

from torchstone.models.checks import space_of
from torchstone.models.model import (
    Encoder,
    ExplicitApproximate,
    ExplicitExact,
    LatentVariable,
    Model,
    ModelError,
    family,
)
from torchstone.results.record import Flat
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.latent.annealed import Annealing, Bracket, annealed, bracketed
from torchstone.suites.latent.examples import Examples
from torchstone.suites.latent.gaps import Optimum, best_posteriors
from torchstone.suites.latent.portraits import portraits
from torchstone.suites.latent.scores import Sheet
from torchstone.suites.latent.terms import Terms, ask_parts, ask_terms
from torchstone.suites.latent.usage import Usage, ask_reliance, ask_usage
from torchstone.suites.questions import check_support, refusal, validated
from torchstone.suites.suite import Evaluation, Suite

__all__ = ["EvidenceBounds"]


@final
@dataclass(frozen=True)
class EvidenceBounds(Suite):
    """Bounds on the log-density of models that give no exact one, and what lies between them.

    All is derived from the model's own prior, posterior and likelihood, always with weight one on the rate, whatever
    weight it was trained with. Bounds on real examples are lower bounds; an upper one exists only for examples that the
    model itself simulated, and says so.

    Attributes:
        split: which split is measured.
        importance_samples: the draws of the ladder, all of which serve every rung.
        draws: how often a model that gives a bound and no distributions is asked.
        temperatures: intervals T of the annealed path, on a sigmoid schedule.
        chains: annealed chains of each example.
        leapfrog: steps of each Hamiltonian proposal.
        annealed_examples: how many of the examples are annealed, and searched for their best posterior.
        simulated_examples: how many are simulated and bounded from both sides.
        usage_examples: how many training examples the aggregated posterior is made of.
        block: examples per stochastic question; part of what defines the random numbers.
    """

    name: ClassVar[str] = "elbo"
    version: ClassVar[int] = 2
    default_models: ClassVar[tuple[str, ...]] = ("vae", "hierarchical_vae", "vq_transformer", "autoencoder")
    metrics: ClassVar[Mapping[str, str]] = {
        "elbo": "evidence lower bound, nats per example, rate at weight one",
        "reconstruction": "expected log-likelihood under the posterior",
        "rate": "expected log-ratio of posterior and prior",
        "iwae": "importance-weighted bound with K draws",
        "ais": "annealed importance sampling, a stochastic lower bound",
        "elbo_gap": "best lower bound minus elbo: at least so much is lost",
        "approximation_gap": "what the best posterior of the family still loses",
        "amortisation_gap": "what the encoder loses against it, at least",
        "bdmc_lower": "annealed lower bound on simulated examples",
        "bdmc_upper": "annealed upper bound on the same",
        "bdmc_gap": "their distance: the error of annealing, at most, on simulated examples",
        "mutual_information": "between example and latent, from below",
        "mutual_information_upper": "the same from above",
        "marginal_kl": "from aggregated posterior to prior, from above",
        "marginal_kl_lower": "the same from below",
        "active_units": "latents whose posterior mean varies by more than 0.01 of the prior's variance",
        "active_units_0.001": "the same at 0.001",
        "collapsed_latents": "share of the latents that carry less than 0.01 nats",
        "decoder_reliance": "nats by which an example prefers its own latent to another's",
    }
    standard: ClassVar[Mapping[str, object]] = {
        "temperatures": 1000, "chains": 16, "annealed_examples": 1000, "simulated_examples": 100,
    }  # fmt: skip

    split: Literal["test", "validation", "train"] = "test"
    importance_samples: Annotated[int, Ge(1)] = 5000
    draws: Annotated[int, Ge(1)] = 10
    temperatures: Annotated[int, Ge(1)] = 300
    chains: Annotated[int, Ge(1)] = 8
    leapfrog: Annotated[int, Ge(1)] = 10
    annealed_examples: Annotated[int, Ge(0)] = 20
    simulated_examples: Annotated[int, Ge(0)] = 20
    usage_examples: Annotated[int, Ge(2)] = 10_000
    block: Annotated[int, Ge(1)] = 50

    def skip(self, model: Model, data: Dataset) -> str | None:
        """Models that bound nothing, and data that the model's support cannot hold."""
        if isinstance(model, ExplicitApproximate):
            return refusal(model, data, self.split)
        name = type(model).__name__
        if isinstance(model, ExplicitExact):
            return f"{name} is {family(model)}: its density is exact, and suite=density measures it."
        if isinstance(model, Encoder):
            return (
                f"{name} gives features and no density: an error of reconstruction is no bound on a likelihood; "
                "model=vae has one."
            )
        return f"{name} is {family(model)} and bounds no density; the elbo suite needs an explicit-approximate model."

    def evaluate(self, model: Model, data: Dataset, context: Context) -> Evaluation:
        """Scores from ``elbo`` to ``decoder_reliance``; per-example columns of every bound."""
        assert isinstance(model, ExplicitApproximate)
        examples, sheet = Examples(model, data, self.split, self.block, context), Sheet()
        figures: Mapping[str, bytes] = {}
        with validated():
            if isinstance(model, LatentVariable):
                few = examples.first(1)
                check_support(model, few.x, few.y, context.rng("support"))
                terms = ask_terms(model, examples, self.importance_samples, context)
                sheet.bounds(terms, examples)
                real = self._annealed(model, examples, terms, sheet, context)
                simulated = self._simulated(model, examples, sheet, context)
                usage = self._usage(model, data, examples, sheet, context)
                try:
                    figures = portraits(model, examples, terms, real, simulated, usage, context)
                except (ArithmeticError, RuntimeError, ValueError) as error:  # no picture is worth the numbers
                    sheet.note(f"Its pictures could not be drawn: {str(error)[:100]}.")
            else:
                terms = ask_parts(model, examples, self.draws, context)
                sheet.bounds(terms, examples)
                sheet.note(
                    f"{type(model).__name__} gives a bound and no distributions: importance weights, annealing, gaps "
                    "and the use of its latents are not applicable."
                )
        return Evaluation(
            tuple(sheet.scores), self._contract(model, data, examples), examples.ids, sheet.columns, tuple(sheet.notes),
            figures=figures,
        )  # fmt: skip

    def _annealed(
        self, model: LatentVariable, examples: Examples, terms: Terms, sheet: Sheet, context: Context
    ) -> Bracket | None:
        """Annealing of some examples, and the gaps that it shows."""
        rows = examples.first(self.annealed_examples) if self.annealed_examples else None
        if rows is None:
            return None
        bracket: Bracket | None = None
        context.progress("anneal", 0, 1)
        try:
            bracket = annealed(model, rows, self._how, context, "annealed")
            sheet.annealed(bracket, self._how, examples)
        except ModelError as error:
            sheet.note(f"Annealing is not applicable: {error}")
        context.progress("best posteriors", 0, 1)
        found = best_posteriors(model, rows, context)
        if isinstance(found, Optimum):
            sheet.gaps(terms, bracket, found, len(rows), examples)
        else:
            sheet.gaps(terms, bracket, None, len(rows), examples)
            sheet.note(f"Approximation and amortisation gaps are not applicable: {found}")
        return bracket

    def _simulated(self, model: LatentVariable, examples: Examples, sheet: Sheet, context: Context) -> Bracket | None:
        """Both bounds on examples that the model simulates."""
        n = min(self.simulated_examples, len(examples))
        if not n:
            return None
        context.progress("simulate", 0, 1)
        try:
            bracket = bracketed(model, n, examples.first(n).y, self._how, context)
        except ModelError as error:
            sheet.note(f"Bounds on simulated examples are not applicable: {error}")
            return None
        sheet.bracketed(bracket, self._how, n, examples)
        return bracket

    def _usage(
        self, model: LatentVariable, data: Dataset, examples: Examples, sheet: Sheet, context: Context
    ) -> Usage | None:
        """What the latents carry, over training examples: there are more of them."""
        context.progress("latents", 0, 1)
        if len(examples) > 1:
            sheet.reliance(ask_reliance(model, examples, self.usage_examples, context), len(examples))
        train = Examples(model, data, "train", self.block, context).first(self.usage_examples)
        usage = ask_usage(model, train, context)
        if usage is not None:
            sheet.usage(usage, len(train))
        else:
            sheet.note(
                "Mutual information, marginal KL and active units are not applicable: the prior depends on the label, "
                "and posteriors of different labels have no prior in common."
            )
        return usage

    @property
    def _how(self) -> Annealing:
        return Annealing(self.temperatures, self.chains, self.leapfrog)

    def _contract(self, model: Model, data: Dataset, examples: Examples) -> Flat:
        return {
            **data.contract(self.split),
            "quantity": "log p",
            "conditional": space_of(model).classes is not None,
            "dequantisation": "uniform" if examples.dequantised else "none",
        }
