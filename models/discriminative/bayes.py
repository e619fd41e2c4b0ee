"""A class-conditional density composed of a classifier and a density, by Bayes' rule."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, final

import torch
from annotated_types import Ge
from torch import Tensor, nn

from torchstone.models.approximate.vae import VAE, vae
from torchstone.models.discriminative.classifier import Classifier
from torchstone.models.exact.gaussian_mixture import GaussianMixture
from torchstone.models.exact.independent import Independent
from torchstone.models.exact.mixture import CategoricalMixture, mixture
from torchstone.models.exact.pixelcnn import PixelCNN
from torchstone.models.exact.rnn import RNN
from torchstone.models.exact.transformer import Transformer
from torchstone.models.model import (
    Budget,
    Continuous,
    Discriminative,
    Elbo,
    Enumerable,
    ExplicitApproximate,
    ImportanceResampler,
    Joint,
    ModelError,
    Space,
    Split,
    Trainable,
)
from torchstone.models.randomness import generator, seeded

__all__ = ["Bayes", "BayesBound", "bayes"]

ExactDensity: TypeAlias = Independent | CategoricalMixture | GaussianMixture | Transformer | PixelCNN | RNN

DRAWS, PIECE = 10_000, 1000  # of P(X), from which p(y) is estimated, and how many at once


def bayes(
    space: Space,
    *,
    density: Literal["independent", "mixture", "transformer", "pixelcnn", "rnn", "vae"] = "mixture",
    candidates: Annotated[int, Ge(1)] = 100,
    width: Annotated[int, Ge(1)] = 256,
) -> Bayes | BayesBound:
    """A class-conditional density by Bayes' rule: of a classifier P(Y|X), a density P(X), and the P(Y) of the two.

    Args:
        space: labelled data of any shape that the density takes.
        density: the model of P(X), with its own defaults; that of a ``vae`` is a bound, and so is what is made of it.
        candidates: how many draws of P(X) there are to choose from for each sample that is asked for.
        width: features of the hidden layers of the classifier.
    """
    classifier = Classifier(space, width=width)
    if density == "vae":
        return BayesBound(vae(space), classifier, candidates)
    return Bayes(_exact(density, space), classifier, candidates)


def _exact(density: Literal["independent", "mixture", "transformer", "pixelcnn", "rnn"], space: Space) -> ExactDensity:
    match density:
        case "independent":
            return Independent(space)
        case "mixture":
            return mixture(space)
        case "transformer":
            return Transformer(space)
        case "pixelcnn":
            return PixelCNN(space)
        case "rnn":
            return RNN(space)


@final
class Bayes(nn.Module, Joint, Discriminative, ImportanceResampler, Trainable, Enumerable):
    r"""A classifier and an exact density, made one joint density.

    .. math:: p(x \mid y) = \frac{p(y \mid x)\ p(x)}{p(y)}, \qquad p(y) = E_{x \sim p(x)}\ p(y \mid x)

    The p(y) is that of the composition. With the training frequencies in its place ``p(x|y)`` would add up to
    ``E p(y|x) / p_train(y)`` over all x, and be no density. How far the two are apart says how far P(X) and P(Y|X)
    contradict each other, for each was fitted to the data by itself: what P(X) draws need not look to the classifier
    as the data do.

    After a fit p(y) is a mean over 10,000 draws of P(X), with a standard error of at most
    ``sqrt((1 - p(y)) / (10,000 p(y)))`` of itself: 3 % for a probability of a tenth. That error is one constant for all
    examples of a class, so that ``p(x|y)`` adds up to one within it; where it is asked by which label an example comes,
    with the p(y) that is stated here, it cancels. Before a fit p(y) is uniform. Of the tiny instance it is the sum over
    all states.

    Samples of a class are chosen among draws of P(X) in proportion to p(y|x), and are the fewer different ones the
    rarer the class is among the draws. A single sample is chosen among ``candidates`` draws only: ten draws of digits
    hold none of a given class a third of the time.

    References: for choosing among draws, Rubin, "Using the SIR Algorithm to Simulate Posterior Distributions", 1988.

    Args:
        density: P(X), which takes no labels.
        classifier: P(Y|X), for examples of the same shape and support.
        candidates: draws of P(X) for each sample that is asked for.
    """

    log_prior: Tensor

    def __init__(self, density: ExactDensity, classifier: Classifier, candidates: int) -> None:
        super().__init__()
        self.density, self.classifier, self.candidates = density, classifier, candidates
        self.space = _joined(density.space, classifier.space)
        self.register_buffer("log_prior", torch.zeros(_classes(self.space), dtype=torch.double).log_softmax(0))
        self.eval()

    def log_prior_label(self) -> Tensor:
        """``log p(y)`` of the composition, ``(C,)`` nats."""
        return self.log_prior

    def log_prob_label(self, x: Tensor) -> Tensor:
        """``log p(y|x)`` of the classifier, ``(N, C)`` nats."""
        return self.classifier.log_prob_label(x)

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """``log p(x|y)``, or ``log p(x)`` where there are no labels: that of P(X), which is the sum over labels."""
        return self.density.log_prob(x) + _log_ratio(self.classifier, self.log_prior, x, y)

    @torch.no_grad()
    def propose(self, n: int, *, rng: torch.Generator) -> Tensor:
        """``n`` draws of P(X)."""
        return _draws(self.density, n, rng)

    def log_weight(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """``log p(y|x)``; zero where there are no labels, for P(X) draws its own samples."""
        return _log_label(self.classifier, x, y)

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Fit the classifier, then the density, each for the whole budget; then see how often P(X) draws each class."""
        self.log_prior.copy_(_fit(self.density, self.classifier, train, validation, budget, rng))

    def tiny(self) -> Bayes:
        """The same density at its own tiny size, where that is discrete, with three labels."""
        density = self.density.tiny()
        with seeded(generator(0, "tiny")):
            classifier = Classifier(Space(density.space.event_shape, density.space.support, 3), width=8, dropout=0.0)
            for parameter in classifier.parameters():
                nn.init.normal_(parameter)
        model = Bayes(density, classifier, self.candidates)
        model.log_prior.copy_(_summed(density, classifier))
        return model


@final
class BayesBound(nn.Module, ExplicitApproximate, Discriminative, ImportanceResampler, Trainable):
    r"""A classifier and a density of which only a bound is known: a bound on the class-conditional density.

    .. math:: \log p(x \mid y) \ge \mathrm{ELBO}(x) + \log p(y \mid x) - \log p(y)

    The last two terms are added to the reconstruction; the rate is that of P(X). A conditional density is exact where
    P(X) is, and no sooner. The p(y) is that of the composition, with the error that `Bayes` states.

    Args:
        density: P(X), which takes no labels.
        classifier: P(Y|X), for examples of the same shape and support.
        candidates: draws of P(X) for each sample that is asked for.
    """

    log_prior: Tensor

    def __init__(self, density: VAE, classifier: Classifier, candidates: int) -> None:
        super().__init__()
        self.density, self.classifier, self.candidates = density, classifier, candidates
        self.space = _joined(density.space, classifier.space)
        self.register_buffer("log_prior", torch.zeros(_classes(self.space), dtype=torch.double).log_softmax(0))
        self.eval()

    def log_prob_label(self, x: Tensor) -> Tensor:
        """``log p(y|x)`` of the classifier, ``(N, C)`` nats."""
        return self.classifier.log_prob_label(x)

    def elbo(self, x: Tensor, y: Tensor | None = None, *, rng: torch.Generator) -> Elbo:
        """The bound of P(X), its reconstruction raised by ``log p(y|x) - log p(y)``."""
        if y is None:
            raise ModelError("This model is conditional: give it the label of every example as y.")
        bound = self.density.elbo(x, rng=rng)
        return Elbo(bound.reconstruction + _log_ratio(self.classifier, self.log_prior, x, y), bound.rate)

    @torch.no_grad()
    def propose(self, n: int, *, rng: torch.Generator) -> Tensor:
        """``n`` draws of P(X)."""
        return _draws(self.density, n, rng)

    def log_weight(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """``log p(y|x)``; zero where there are no labels, for P(X) draws its own samples."""
        return _log_label(self.classifier, x, y)

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Fit the classifier, then the density, each for the whole budget; then see how often P(X) draws each class."""
        self.log_prior.copy_(_fit(self.density, self.classifier, train, validation, budget, rng))


def _joined(density: Space, classifier: Space) -> Space:
    """The space of both. Raises ModelError where they are not of the same examples."""
    if density.classes is not None:
        raise ModelError("The density of a composition is P(X) and takes no labels: build it with conditional=false.")
    if (density.event_shape, density.support) != (classifier.event_shape, classifier.support):
        raise ModelError(
            f"The density is of {density.support} in {density.event_shape} and the classifier of {classifier.support} "
            f"in {classifier.event_shape}: build both for one space."
        )
    return Space(density.event_shape, density.support, classifier.classes)


def _classes(space: Space) -> int:
    assert space.classes is not None
    return space.classes


def _log_label(classifier: Classifier, x: Tensor, y: Tensor | None) -> Tensor:
    """``log p(y|x)`` of the labels given, ``(N,)`` nats; zero where there are none."""
    if y is None:
        return torch.zeros(len(x), dtype=torch.double, device=x.device)
    if y.shape != (len(x),):
        raise ModelError(f"This model is conditional and needs labels y of shape ({len(x)},), not {tuple(y.shape)}.")
    return classifier.log_prob_label(x).gather(1, y.to(x.device)[:, None])[:, 0]


def _log_ratio(classifier: Classifier, log_prior: Tensor, x: Tensor, y: Tensor | None) -> Tensor:
    """``log p(y|x) - log p(y)``, ``(N,)`` nats; zero where there are no labels."""
    given = _log_label(classifier, x, y)
    return given if y is None else given - log_prior[y]


def _draws(density: ExactDensity | VAE, n: int, rng: torch.Generator) -> Tensor:
    """``n`` draws of P(X), piece by piece."""
    return torch.cat([density.sample(min(PIECE, n - start), rng=rng) for start in range(0, n, PIECE)])


def _fit(
    density: ExactDensity | VAE,
    classifier: Classifier,
    train: Split,
    validation: Split,
    budget: Budget,
    rng: torch.Generator,
) -> Tensor:
    """Fit both, and return the ``log p(y)`` that they give together."""
    steps = budget.steps
    classifier.fit(train, validation, Budget(steps, lambda done, _: budget.progress(done, 2 * steps)), rng=rng)
    density.fit(train, validation, Budget(steps, lambda done, _: budget.progress(steps + done, 2 * steps)), rng=rng)
    device = next(classifier.parameters()).device
    own = torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=rng)))
    return _estimated(density, classifier, own)


@torch.no_grad()
def _estimated(density: ExactDensity | VAE, classifier: Classifier, rng: torch.Generator) -> Tensor:
    """``log p(y)``, ``(C,)``, from draws of P(X)."""
    each = [classifier.log_prob_label(density.sample(PIECE, rng=rng)) for _ in range(DRAWS // PIECE)]
    return torch.cat(each).logsumexp(0).log_softmax(0)


@torch.no_grad()
def _summed(density: ExactDensity, classifier: Classifier) -> Tensor:
    """``log p(y)``, ``(C,)``, from all states of a discrete P(X); that of a continuous one is estimated."""
    support = density.space.support
    if isinstance(support, Continuous):
        return _estimated(density, classifier, generator(0, "tiny/prior"))
    axes = [torch.arange(support.levels)] * density.space.dims
    states = torch.cartesian_prod(*axes).view(-1, *density.space.event_shape)
    return (density.log_prob(states).double()[:, None] + classifier.log_prob_label(states)).logsumexp(0).log_softmax(0)
