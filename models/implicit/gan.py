"""A generative adversarial network of perceptrons."""

from __future__ import annotations

import math
from typing import Annotated, Literal, final

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn.functional import softplus

from torchstone.models.implicit.scaling import Scaling
from torchstone.models.layers import Lookup
from torchstone.models.model import Budget, Implicit, ModelError, Space, Split, Trainable
from torchstone.models.randomness import seeded
from torchstone.models.spaces import continuous_support, labels, narrowed, relax
from torchstone.models.training import reset

__all__ = ["Gan"]

GROUP = 16  # examples whose spread the critic sees together
SLOPE = 0.2
DEFAULTS = {"non_saturating": (1.0, 2e-3), "wgan_gp": (10.0, 1e-3)}  # penalty and learning rate


@final
class Gan(nn.Module, Implicit, Trainable):
    r"""A generator :math:`x = g(z),\ z \sim N(0, I)`, trained against a critic that tells its samples from data.

    With the loss ``non_saturating`` the critic f is the logit of a classifier, and with ``wgan_gp`` its mean difference
    is a distance of Wasserstein's:

    .. math:: \min_f\ E\,\zeta(-f(x)) + E\,\zeta(f(g(z))) + \tfrac{r}{2} E\,\lVert \nabla f(x) \rVert^2,
              \qquad \min_g\ E\,\zeta(-f(g(z)))

    .. math:: \min_f\ E f(g(z)) - E f(x) + r\, E\,(\lVert \nabla f(\hat x) \rVert - 1)^2, \qquad \min_g\ -E f(g(z))

    Here :math:`\zeta` is softplus and :math:`\hat x` lies at random between a sample and an example. The critic sees
    both under noise, so that it cannot win by the lattice of dequantised data, and sees how much the samples of a small
    group spread. What is kept is a moving average of the generator's weights over the last tenth of the training.

    References: Goodfellow et al., "Generative Adversarial Networks", 2014, arXiv:1406.2661; Gulrajani et al., "Improved
    Training of Wasserstein GANs", 2017, arXiv:1704.00028; Mescheder, Geiger and Nowozin, "Which Training Methods for
    GANs do actually Converge?", 2018, arXiv:1801.04406, for the penalty at the data; Sønderby et al., "Amortised MAP
    Inference for Image Super-resolution", 2016, arXiv:1610.04490, for the noise; Karras et al., "Progressive Growing of
    GANs", 2017, arXiv:1710.10196, for the spread of a group; Yazıcı et al., "The Unusual Effectiveness of Averaging in
    GAN Training", 2018, arXiv:1806.04498; Miyato and Koyama, "cGANs with Projection Discriminator", 2018,
    arXiv:1802.05637, for labels.

    Args:
        space: data of any shape; discrete ones are modelled on ``Continuous(0, 1)``, with uniform noise in training.
        loss: what the two players minimise.
        latents: dimensions of z.
        width: features of the hidden layers.
        batch: examples in a minibatch.
        critic_updates: of the critic for each one of the generator, which is one step of the budget.
        penalty: the weight r; None for that of the loss, 1 or 10.
        noise: the standard deviation of what is added for the critic, in standard deviations or halves of the support.
        learning_rate: of both players, at its largest; None for that of the loss, 0.002 or 0.001.
        conditional: whether labels are given, to both players.
    """

    def __init__(
        self,
        space: Space,
        *,
        loss: Literal["non_saturating", "wgan_gp"] = "non_saturating",
        latents: Annotated[int, Ge(1)] = 32,
        width: Annotated[int, Ge(1)] = 192,
        batch: Annotated[int, Ge(2)] = 64,
        critic_updates: Annotated[int, Ge(1)] = 4,
        penalty: Annotated[float, Ge(0)] | None = None,
        noise: Annotated[float, Ge(0)] = 0.1,
        learning_rate: Annotated[float, Gt(0)] | None = None,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        support, self.levels = continuous_support(space)
        self.space = narrowed(space, support, conditional)
        self.loss, self.latents, self.batch, self.noise = loss, latents, batch, noise
        weight, rate = DEFAULTS[loss]
        self.penalty = weight if penalty is None else penalty
        self.critic_updates, self.learning_rate = critic_updates, rate if learning_rate is None else learning_rate
        self.scaling = Scaling(space.dims, support)
        self.generator = _Generator(latents, space.dims, self.space.classes or 1, width)
        self.critic = _Critic(space.dims, self.space.classes or 1, width)
        self.eval()

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` events in the support, ``(n, *event)``."""
        device = self.scaling.scale.device
        z = torch.randn((n, self.latents), generator=rng, device=rng.device).to(self.scaling.scale)
        x = self.scaling.inverse(self._generate(z, labels(self.space, y, n, device)))
        return x.view(n, *self.space.event_shape)

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Train both players; the learning rate warms up and falls as a half cosine. Nothing is chosen on validation.

        Raises:
            ModelError: if a loss stops being finite.
        """
        with seeded(rng):
            reset(self)
            if not self.scaling.support.bounded:
                self.scaling.fit(train.batch(0, len(train))[0])
            players = [_adam(player, self.learning_rate) for player in (self.critic, self.generator)]
            average = [p.detach().clone() for p in self.generator.parameters()]
            self.train()
            for step in budget:
                rate = self.learning_rate * _rate(step, budget.steps)
                for _ in range(self.critic_updates):
                    _update(players[0], self.critic_loss(*self._minibatch(train, rng)), rate, step)
                _update(players[1], self.generator_loss(self._minibatch(train, rng)[1]), rate, step)
                weight = max(1 / max(1.0, 0.1 * budget.steps), 9 / (10 + step))
                for mean, parameter in zip(average, self.generator.parameters(), strict=True):
                    mean.lerp_(parameter.detach(), weight)
            with torch.no_grad():
                for mean, parameter in zip(average, self.generator.parameters(), strict=True):
                    parameter.copy_(mean)
        self.eval()

    def critic_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """What the critic minimises, from flat scaled examples ``(N, dims)`` and classes ``(N,)``."""
        real, fake = self._seen(x), self._seen(self._fake(y).detach())
        if self.loss == "wgan_gp":
            between = torch.lerp(fake, real, torch.rand((len(x), 1), device=x.device)).requires_grad_()
            norm = _slopes(self.critic(between, y), between).norm(dim=1)
            found: Tensor = self.critic(fake, y) - self.critic(real, y) + self.penalty * (norm - 1).square()
            return found.mean()
        real.requires_grad_()
        logit: Tensor = self.critic(real, y)
        squares = _slopes(logit, real).square().sum(1)
        return (softplus(-logit) + softplus(self.critic(fake, y)) + self.penalty / 2 * squares).mean()

    def generator_loss(self, y: Tensor) -> Tensor:
        """What the generator minimises, from one sample for each of the classes ``(N,)``."""
        verdict: Tensor = self.critic(self._seen(self._fake(y)), y)
        return -verdict.mean() if self.loss == "wgan_gp" else softplus(-verdict).mean()

    def _minibatch(self, train: Split, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Flat scaled examples, dequantised afresh, and their classes."""
        x, y = train.minibatch(self.batch, rng)
        scale = self.scaling.scale
        u = relax(x.to(scale.device), self.scaling.support, self.levels, scale.dtype)
        return self.scaling(u), labels(self.space, y, len(x), scale.device)

    def _fake(self, y: Tensor) -> Tensor:
        scale = self.scaling.scale
        return self._generate(torch.randn((len(y), self.latents), device=scale.device, dtype=scale.dtype), y)

    def _generate(self, z: Tensor, y: Tensor) -> Tensor:
        x: Tensor = self.generator(z, y)
        return x.tanh() if self.scaling.support.bounded else x

    def _seen(self, x: Tensor) -> Tensor:
        return x + self.noise * torch.randn_like(x)


@final
class _Generator(nn.Module):
    def __init__(self, latents: int, dims: int, classes: int, width: int) -> None:
        super().__init__()
        self.read, self.label = nn.Linear(latents, width), Lookup(classes, width)
        self.layers = nn.Sequential(*_hidden(width, 2), nn.Linear(width, dims))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        x: Tensor = self.layers(self.read(z) + self.label(y))
        return x


@final
class _Critic(nn.Module):
    """The spread of groups is seen by a last layer; labels are projected on it."""

    def __init__(self, dims: int, classes: int, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(dims, width), *_hidden(width, 2), nn.LeakyReLU(SLOPE))
        self.last = nn.Sequential(nn.Linear(width + 1, width), nn.LeakyReLU(SLOPE))
        self.verdict, self.label = nn.Linear(width, 1), Lookup(classes, width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        features = self.features(x)
        last = self.last(torch.cat([features, _spread(features)], 1))
        verdict: Tensor = self.verdict(last)[:, 0] + (last * self.label(y)).sum(1) / math.sqrt(last.shape[1])
        return verdict


def _hidden(width: int, layers: int) -> list[nn.Module]:
    return [layer for _ in range(layers) for layer in (nn.LeakyReLU(SLOPE), nn.Linear(width, width))]


def _spread(features: Tensor) -> Tensor:
    """The standard deviation over a group of `GROUP` rows, averaged over features, for each row: ``(N, 1)``."""
    groups = (features[first : first + GROUP] for first in range(0, len(features), GROUP))
    spreads = [group.var(0, correction=0).add(1e-8).sqrt().mean().expand(len(group)) for group in groups]
    return torch.cat(spreads)[:, None]


def _slopes(answers: Tensor, x: Tensor) -> Tensor:
    """The gradient of each answer by its own example, itself differentiable."""
    (slopes,) = torch.autograd.grad(answers.sum(), x, create_graph=True)
    return slopes


def _adam(player: nn.Module, learning_rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(player.parameters(), lr=learning_rate, betas=(0.0, 0.99), fused=True)


def _update(optimiser: torch.optim.Adam, loss: Tensor, learning_rate: float, step: int) -> None:
    if not torch.isfinite(loss):
        raise ModelError(f"Training diverged at step {step} (loss {loss.item()}): lower model.learning_rate.")
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
    optimiser.step()


def _rate(step: int, steps: int) -> float:
    """A factor of the learning rate: a twentieth of the steps to warm up, and a half cosine."""
    return min(1.0, 20 * (step + 1) / steps) * 0.5 * (1 + math.cos(math.pi * step / steps))
