"""A diffusion model of perceptrons, on discrete data."""

from __future__ import annotations

from typing import Annotated, Literal, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from torchstone.models.implicit.chain import (
    Chain,
    cosine_signal,
    ddim_step,
    discretised_gaussian,
    linear_signal,
    prior_rate,
    respaced,
    reverse_variance,
    transition_rate,
)
from torchstone.models.implicit.denoiser import Denoiser
from torchstone.models.model import (
    Budget,
    DiffusionChain,
    Discrete,
    Elbo,
    Enumerable,
    ImplicitIterative,
    ModelError,
    Space,
    Split,
    Trainable,
)
from torchstone.models.randomness import generator, seeded
from torchstone.models.spaces import labels, levels_of, narrowed
from torchstone.models.training import minimise

__all__ = ["Diffusion"]

ROWS = 4096  # noisy examples that the network is asked about at once
LEAST, MOST = -12.0, 6.0  # the network's correction of a log-variance


@final
class Diffusion(nn.Module, ImplicitIterative, DiffusionChain, Trainable, Enumerable):
    r"""Gaussian noise that is taken away step by step, and a bound on the density of what comes out.

    .. math:: p(x) = \int N(x_T; 0, I)\ \prod_{t=2}^{T} p(x_{t-1} \mid x_t)\ p(x \mid x_1)\ dx_1 \dots dx_T

    The levels of the data lie evenly on [-1, 1]. From :math:`x_t` the network gives mean and variance of each dimension
    of x: it corrects those of a Gaussian with the training data's own mean and deviation, and what it corrects them by
    has the same size at every step (the preconditioning of Karras et al.). The step :math:`p(x_{t-1} \mid x_t)` is the
    Gaussian that has the moments which follow, and :math:`p(x \mid x_1)` is a Gaussian discretised to the levels, whose
    outermost ones have its tails. Training minimises the bound itself, one step of the chain for each example.

    The sampler ``ddpm`` with all steps draws from the very model that is bounded: its last step is a draw from
    :math:`p(x \mid x_1)`. Fewer steps, or the sampler ``ddim``, whose last step rounds to the nearest level, are other
    distributions, and the bound says nothing of them.

    References: Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models", 2020, arXiv:2006.11239; Nichol and
    Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021, arXiv:2102.09672, for learned variances; Song,
    Meng and Ermon, "Denoising Diffusion Implicit Models", 2021, arXiv:2010.02502; Kingma et al., "Variational Diffusion
    Models", 2021, arXiv:2107.00630, for training on the bound; Karras et al., "Elucidating the Design Space of
    Diffusion-Based Generative Models", 2022, arXiv:2206.00364.

    Args:
        space: discrete data of any shape.
        timesteps: the steps T of the chain; models with different ones are different models.
        schedule: how noise grows along the chain.
        first_noise: that of the first step of the cosine schedule, in units of the distance of two levels.
        variance: of the reverse steps: from the network, or fixed to that of a step or to that of q(x_{t-1} | x_t, x).
        sampler: how samples are drawn.
        eta: the noise of ``ddim``: 0 draws none after the beginning, 1 as much as q(x_{t-1} | x_t, x) has.
        terms: at how many steps the bound of an example is evaluated, besides the first; T - 1 at most. Fewer are
            spread evenly over the chain from a random start, which leaves the bound's mean as it is.
        width: features of the hidden layers.
        blocks: how many residual perceptrons.
        dropout: probability of dropping a feature in training.
        batch: examples in a minibatch.
        conditional: whether labels are given.
    """

    network: Denoiser
    signal: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        space: Space,
        *,
        timesteps: Annotated[int, Ge(1)] = 100,
        schedule: Literal["cosine", "linear"] = "cosine",
        first_noise: Annotated[float, Gt(0)] = 0.4,
        variance: Literal["learned", "beta", "posterior"] = "learned",
        sampler: Literal["ddpm", "ddim"] = "ddpm",
        eta: Annotated[float, Interval(ge=0, le=1)] = 0.0,
        terms: Annotated[int, Ge(1)] = 100,
        width: Annotated[int, Ge(1)] = 256,
        blocks: Annotated[int, Ge(1)] = 3,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1,
        batch: Annotated[int, Ge(1)] = 256,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        self.levels = levels_of(space, "diffusion")
        self.space = narrowed(space, Discrete(self.levels), conditional)
        self.timesteps, self.terms, self.batch = timesteps, min(terms, timesteps - 1), batch
        self.variance, self.sampler, self.eta = variance, sampler, eta
        spacing, dims = 2 / (self.levels - 1), space.dims
        self.network = Denoiser(dims, 2 * dims, self.space.classes or 1, width=width, blocks=blocks, dropout=dropout)
        noise = min(first_noise * spacing, 0.5)
        signal = cosine_signal(timesteps, noise) if schedule == "cosine" else linear_signal(timesteps)
        self.register_buffer("signal", signal, persistent=False)
        self.register_buffer("centre", torch.zeros(dims, dtype=torch.float64))
        self.register_buffer("spread", torch.full((dims,), 0.5, dtype=torch.float64))
        self.eval()

    def denoise(self, noisy: Tensor, step: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """What is held of the clean examples, given noisy ones: mean and variance, ``(N, dims)`` each, on [-1, 1].

        ``step`` counts from 0, the first of the chain, ``(N,)``.
        """
        signal = self.signal[step][:, None]
        prior = self.spread.square()
        total = signal * prior + 1 - signal
        offset = noisy - signal.sqrt() * self.centre
        asked = (offset / total.sqrt()).to(self.network.read.weight)
        answer: Tensor = self.network(asked, (step + 1) / self.timesteps, label).double()
        shift, scale = answer.chunk(2, -1)
        variance = (1 - signal) * prior / total
        mean = self.centre + signal.sqrt() * prior / total * offset + variance.sqrt() * shift
        return mean.clamp(-1, 1), variance * scale.clamp(LEAST, MOST).exp()

    def elbo(self, x: Tensor, y: Tensor | None = None, *, rng: torch.Generator) -> Elbo:
        """The bound of each example, its parts L_T, L_t (the steps between added up) and L_0, ``(N,)`` nats each.

        The reconstruction is ``-L_0`` and the rate ``L_T + L_t``. Every step has noise of its own.
        """
        n, terms, device = len(x), self.terms, self.signal.device
        label = labels(self.space, y, n, device)
        start = torch.rand((n, 1), generator=rng, device=rng.device, dtype=torch.float64).to(device)
        between = (start + torch.arange(terms, device=device)) * ((self.timesteps - 1) / max(1, terms))
        steps = torch.cat([torch.zeros_like(start), 1 + between.floor()], 1).long().clamp(max=self.timesteps - 1)
        rows = torch.arange(n, device=device).repeat_interleave(1 + terms)
        found = torch.empty(n * (1 + terms), dtype=torch.float64, device=device)
        for first in range(0, len(rows), ROWS):
            row, step = rows[first : first + ROWS], steps.flatten()[first : first + ROWS]
            found[first : first + ROWS] = self._term(x[row], step, label[row], self._noise(len(row), rng))
        each = found.view(n, 1 + terms)
        last = prior_rate(self.signal[-1], self._numbers(x).square()).sum(1)
        inner = each[:, 1:].sum(1) * ((self.timesteps - 1) / max(1, terms))
        return Elbo(-each[:, 0], last + inner, {"L_T": last, "L_t": inner, "L_0": each[:, 0]})

    def _term(self, x: Tensor, step: Tensor, label: Tensor, noise: Tensor) -> Tensor:
        """One term of the bound for each example in nats, ``(N,)``: L_0 at step 0, a divergence at the others."""
        chain, clean, signal = Chain(self.signal), self._numbers(x), self.signal[step][:, None]
        mean, error = self.denoise(signal.sqrt() * clean + (1 - signal).sqrt() * noise, step, label)
        variance, first = reverse_variance(chain, self.variance, step, error), step == 0
        posterior = chain.posterior_variance[step].masked_fill(first, 1.0)[:, None]
        square = (chain.clean_weight[step][:, None] * (mean - clean)).square()
        between = transition_rate(posterior, variance, square).sum(1)
        decoder = discretised_gaussian(x.flatten(1)[first], mean[first], variance[first].sqrt(), self.levels)
        return between.masked_scatter(first, -decoder.sum(1))

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator, steps: int | None = None) -> Tensor:
        """``n`` events, int64, ``(n, *event)``, in ``steps`` evaluations of the network: all of the chain, or fewer."""
        count = self.timesteps if steps is None else steps
        if not 1 <= count <= self.timesteps:
            raise ModelError(
                f"steps={count} is none of the 1 to {self.timesteps} steps of this chain: pass one of them."
            )
        kept = respaced(self.timesteps, count).to(self.signal.device)
        chain, label = Chain(self.signal[kept]), labels(self.space, y, n, self.signal.device)
        x = self._noise(n, rng)
        for position in reversed(range(count)):
            mean, error = self.denoise(x, kept[position].expand(n), label)
            noise = self._noise(n, rng)
            if self.sampler == "ddim":
                x = ddim_step(x, mean, chain.signal[position], chain.before[position], noise, self.eta)
            else:
                variance = reverse_variance(chain, self.variance, torch.full_like(label, position), error)
                x = chain.clean_weight[position] * mean + chain.noisy_weight[position] * x + variance.sqrt() * noise
        nearest = ((x + 1) * ((self.levels - 1) / 2)).round().long().clamp(0, self.levels - 1)
        return nearest.view(n, *self.space.event_shape)

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Minimise the bound, at one step of the chain for each example, spread evenly over a minibatch."""
        clean = self._numbers(train.batch(0, len(train))[0])
        self.centre.copy_(clean.mean(0))
        self.spread.copy_(clean.std(0).clamp_min(1 / (self.levels - 1)))

        def nats(x: Tensor, y: Tensor | None) -> Tensor:
            n = len(x)
            place = (torch.randperm(n, device=x.device) + torch.rand(n, device=x.device)) / n
            step = (place * self.timesteps).long().clamp(max=self.timesteps - 1)
            noise = torch.randn((n, self.space.dims), device=x.device, dtype=torch.float64)
            return self.timesteps * self._term(x, step, labels(self.space, y, n, x.device), noise)

        minimise(self, nats, train, validation, budget, rng=rng, batch=self.batch, learning_rate=4e-3)

    def _noise(self, n: int, rng: torch.Generator) -> Tensor:
        noise = torch.randn((n, self.space.dims), generator=rng, device=rng.device, dtype=torch.float64)
        return noise.to(self.signal.device)

    def _numbers(self, x: Tensor) -> Tensor:
        """Flat examples with their levels spread from -1 to 1: ``(N, dims)``, float64."""
        return x.flatten(1).double() * (2 / (self.levels - 1)) - 1

    @classmethod
    def tiny(cls) -> Diffusion:
        """Two ternary dimensions and four steps."""
        with seeded(generator(0, "tiny")):
            model = cls(Space((2,), Discrete(3)), timesteps=4, width=8, blocks=1)
            nn.init.normal_(model.network.write.weight, std=0.3)
        return model
