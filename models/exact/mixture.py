"""Mixtures of products of categoricals, fitted by expectation-maximisation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, final

import torch
from annotated_types import Ge
from torch import Tensor, nn

from torchstone.models.exact.gaussian_mixture import GaussianMixture
from torchstone.models.model import Budget, Discrete, Enumerable, ExplicitExact, Sampler, Space, Split, Trainable
from torchstone.models.randomness import generator
from torchstone.models.sampling import choose
from torchstone.models.spaces import labels, levels_of, narrowed

__all__ = ["CategoricalMixture", "mixture"]

SMOOTHINGS = (1.0, 3.0, 10.0, 0.3, 30.0, 0.1)
RUN = 40  # iterations between one random start and the next


def mixture(
    space: Space, *, components: Annotated[int, Ge(1)] = 10, conditional: bool = False
) -> CategoricalMixture | GaussianMixture:
    """A mixture of products of categoricals for discrete data, of Gaussians for continuous ones.

    Args:
        space: data of any shape.
        components: how many, for each class where conditional.
        conditional: whether every class has a mixture of its own.
    """
    if isinstance(space.support, Discrete):
        return CategoricalMixture(space, components=components, conditional=conditional)
    return GaussianMixture(space, components=components, conditional=conditional)


@final
class CategoricalMixture(nn.Module, ExplicitExact, Sampler, Trainable, Enumerable):
    r"""A mixture of products of categoricals.

    .. math:: p(x \mid y) = \sum_k \pi_{yk} \prod_i \theta_{yki}(x_i)

    The maximisation step draws each component towards the marginals of its class, whose probabilities are added to
    the component's counts ``smoothing`` times (the maximum a posteriori under Dirichlet priors).

    Reference: Dempster, Laird and Rubin, "Maximum Likelihood from Incomplete Data via the EM Algorithm", 1977.

    Args:
        space: discrete data of any shape.
        components: how many, for each class where conditional.
        conditional: whether every class has a mixture of its own.
    """

    def __init__(self, space: Space, *, components: Annotated[int, Ge(1)] = 10, conditional: bool = False) -> None:
        super().__init__()
        levels = levels_of(space, "A mixture of categoricals")
        self.space = narrowed(space, Discrete(levels), conditional)
        self.weights = nn.Parameter(torch.zeros(self.space.classes or 1, components))
        self.logits = nn.Parameter(torch.zeros(self.space.classes or 1, components, space.dims, levels))
        self.eval()

    def _joint(self, x: Tensor, y: Tensor) -> Tensor:
        """``log p(x, k | y)`` in nats, ``(N, K)``."""
        theta = self.logits.log_softmax(-1).flatten()
        return self.weights.log_softmax(-1)[y] + theta[self._index(x, y)].sum(-1)

    def _index(self, x: Tensor, y: Tensor) -> Tensor:
        """Where the flat parameters hold the probability of each value in each component, ``(N, K, D)``."""
        _, components, dims, levels = self.logits.shape
        component = y[:, None] * components + torch.arange(components, device=x.device)
        return (component[..., None] * dims + torch.arange(dims, device=x.device)) * levels + x.flatten(1)[:, None]

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The log-probability of each example in nats, ``(N,)``."""
        return self._joint(x, labels(self.space, y, len(x), x.device)).logsumexp(-1)

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` events, int64, ``(n, *event)``."""
        index = labels(self.space, y, n, self.logits.device)
        component = choose(self.weights[index], rng)
        return choose(self.logits[index, component], rng).view(n, *self.space.event_shape)

    @torch.no_grad()
    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Runs of forty iterations from random starts, each with another smoothing; keep the best on ``validation``."""
        marginals = self._marginals(train)
        best, state = math.inf, {name: value.clone() for name, value in self.state_dict().items()}
        for step in budget:
            if step % RUN == 0:
                smoothing = SMOOTHINGS[step // RUN % len(SMOOTHINGS)]
                self._start(train, marginals, rng)
            self.iterate(train, smoothing * marginals)
            if (step + 1) % RUN == 0 or step + 1 == budget.steps:
                nats = -sum(float(self.log_prob(x, y).sum()) for x, y in self._batches(validation))
                if nats < best:
                    best, state = nats, {name: value.clone() for name, value in self.state_dict().items()}
            if step + 1 == 6 * RUN * len(SMOOTHINGS):
                break
        self.load_state_dict(state)

    def _marginals(self, train: Split) -> Tensor:
        """The distribution of each position in each class, ``(C, 1, D, L)``, with one count spread over the levels."""
        dims, levels = self.logits.shape[-2:]
        counts = torch.full_like(self.logits[:, :1], 1 / levels)
        for x, y in self._batches(train):
            row = labels(self.space, y, len(x), x.device)[:, None] * dims + torch.arange(dims, device=x.device)
            counts += torch.bincount((row * levels + x.flatten(1)).flatten(), minlength=counts.numel()).view_as(counts)
        return counts / counts.sum(-1, keepdim=True)

    def _start(self, train: Split, marginals: Tensor, rng: torch.Generator) -> None:
        """Components close to the marginals, perturbed at random."""
        noise = torch.rand(self.logits.shape, generator=rng).to(self.logits)
        self.logits.copy_((marginals * (0.5 + noise)).log())
        self.weights.zero_()

    @torch.no_grad()
    def iterate(self, train: Split, pseudo: Tensor) -> float:
        """One iteration of EM, with pseudo-counts; returns the objective before it, which never falls.

        The objective is the log-likelihood plus the log-density of the Dirichlet priors, up to a constant, in nats.
        """
        weights, logits = torch.ones_like(self.weights), pseudo.expand_as(self.logits).clone()
        objective = float((logits * self.logits.log_softmax(-1)).sum() + self.weights.log_softmax(-1).sum())
        for x, y in self._batches(train):
            label = labels(self.space, y, len(x), x.device)
            joint = self._joint(x, label)
            objective += float(joint.logsumexp(-1).sum())
            share = joint.softmax(-1)
            weights.index_add_(0, label, share)
            index = self._index(x, label)
            logits.view(-1).index_add_(0, index.flatten(), share[..., None].expand(index.shape).flatten())
        self.weights.copy_(weights.log())
        self.logits.copy_(logits.clamp_min(1e-30).log())
        return objective

    def _batches(self, split: Split) -> Iterator[tuple[Tensor, Tensor | None]]:
        for start in range(0, len(split), 500):
            x, y = split.batch(start, start + 500)
            yield x.to(self.logits.device), y

    @classmethod
    def tiny(cls) -> CategoricalMixture:
        """Three ternary positions and two components."""
        model = cls(Space((3,), Discrete(3)), components=2)
        for parameter in model.parameters():
            nn.init.normal_(parameter, generator=generator(0, "tiny"))
        return model
