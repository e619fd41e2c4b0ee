"""The one training loop of the models that are fitted by gradient descent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from torchstone.models.model import Budget, ModelError, Split
from torchstone.models.randomness import seeded

__all__ = ["minimise", "out_of_reach", "reset"]

Loss = Callable[[Tensor, Tensor | None], Tensor]


@runtime_checkable
class _Resettable(Protocol):
    def reset_parameters(self) -> None: ...


def reset(model: nn.Module) -> None:
    """Initialise every layer afresh, from the global generator, by torch's own ``reset_parameters``."""
    for module in model.modules():
        if isinstance(module, _Resettable):
            module.reset_parameters()


def out_of_reach(model: nn.Module) -> tuple[str, ...]:
    """The names of the parameters that `reset` may leave as they are, since no module in charge of them can reset.

    A module is in charge of its own parameters and of those of the modules in it.
    """
    held = {id(p) for m in model.modules() if isinstance(m, _Resettable) for p in m.parameters()}
    return tuple(name for name, p in model.named_parameters() if id(p) not in held)


def minimise(
    model: nn.Module,
    nats: Loss,
    train: Split,
    validation: Split,
    budget: Budget,
    *,
    rng: torch.Generator,
    batch: int = 32,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.3,
    averaging: float = 0.1,
    checks: int = 25,
    patience: int = 10,
) -> None:
    """Train ``model`` from scratch, and leave in it the averaged weights that did best on ``validation``.

    AdamW on minibatches; the learning rate warms up over a twentieth of the budget and falls as a half cosine;
    gradients are clipped to norm 1. An exponential moving average of the weights is what is validated and kept.

    Args:
        model: the module whose parameters are trained, from a fresh initialisation drawn by ``rng``.
        nats: the loss of each example in nats, ``(N,)``; it may draw from the global generator, which ``rng`` seeds.
        train: minibatches are drawn from it with replacement.
        validation: the first 512 examples choose among the weights.
        budget: the number of optimiser steps; training stops early after ``patience`` checks without a better one.
        rng: a generator on the CPU, the only source of randomness.
        batch: examples in a minibatch.
        learning_rate: its largest value.
        weight_decay: the decoupled weight decay of matrices; vectors are not decayed.
        averaging: how far back the moving average of the weights reaches, as a share of the budget.
        checks: how many times ``validation`` is looked at.
        patience: how many checks in a row may bring nothing better.

    Raises:
        ModelError: if the loss stops being finite.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    device, dims = parameters[0].device, train.x[0].numel()
    noise = torch.Generator(device).manual_seed(_seed(rng))
    seed = _seed(rng)
    with seeded(noise):
        reset(model)
        optimiser = _adamw(parameters, learning_rate, weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, budget.steps))
        average, best = _copy(parameters), _copy(parameters)
        lowest, idle = math.inf, 0
        model.train()
        for step in budget:
            x, y = train.minibatch(batch, rng)
            loss = nats(x.to(device), None if y is None else y.to(device)).mean() / dims
            if not torch.isfinite(loss):
                raise ModelError(f"Training diverged at step {step} (loss {loss.item()}): lower the learning rate.")
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            _towards(average, parameters, max(1 / max(1.0, averaging * budget.steps), 9 / (10 + step)))
            if (step + 1) % max(1, budget.steps // checks) and step + 1 < budget.steps:
                continue
            current = _copy(parameters)
            _assign(parameters, average)
            score = _mean(model, nats, validation, 4 * batch, torch.Generator(device).manual_seed(seed))
            _assign(parameters, current)
            lowest, idle, best = (score, 0, _copy(average)) if score < lowest else (lowest, idle + 1, best)
            if idle >= patience:
                break
        _assign(parameters, best)
        model.eval()


@torch.no_grad()
def _mean(model: nn.Module, nats: Loss, split: Split, batch: int, noise: torch.Generator) -> float:
    """The mean loss over at most 512 examples, with the same noise at every call."""
    model.eval()
    total, n = 0.0, min(len(split), 512)
    with seeded(noise):
        for start in range(0, n, batch):
            x, y = split.batch(start, min(start + batch, n))
            total += nats(x.to(noise.device), None if y is None else y.to(noise.device)).double().sum().item()
    model.train()
    return total / n


def _rate(step: int, steps: int) -> float:
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _adamw(parameters: list[nn.Parameter], learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    matrices = [p for p in parameters if p.dim() > 1]
    vectors = [p for p in parameters if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99), fused=True)


def _seed(rng: torch.Generator) -> int:
    return int(torch.randint(2**63 - 1, (), generator=rng))


def _copy(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [p.detach().clone() for p in parameters]


@torch.no_grad()
def _towards(average: list[Tensor], parameters: list[nn.Parameter], weight: float) -> None:
    for mean, parameter in zip(average, parameters, strict=True):
        mean.lerp_(parameter, weight)


@torch.no_grad()
def _assign(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
