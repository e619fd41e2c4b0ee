"""The training loop of the encoders with a pretext task, whose losses belong to a batch and not to an example."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from torchstone.models.model import Budget, ModelError, Split
from torchstone.models.randomness import seeded
from torchstone.models.training import reset

__all__ = ["pretrain"]


def pretrain(
    model: nn.Module,
    loss: Callable[[Tensor], Tensor],
    train: Split,
    budget: Budget,
    *,
    rng: torch.Generator,
    batch: int = 128,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.05,
    before: Callable[[], None] | None = None,
    after_step: Callable[[int], None] | None = None,
) -> None:
    """Train ``model`` from scratch on examples without their labels, and leave the last weights in it.

    AdamW on minibatches; the learning rate warms up over a twentieth of the budget and falls as a half cosine to zero;
    gradients are clipped to norm 1. All steps of the budget are taken, and nothing is chosen.

    Args:
        model: the modules that are trained, head and all, from a fresh initialisation drawn by ``rng``.
        loss: one number for a minibatch of examples as stored, ``(batch, *event)``; it may draw from the global
            generators, which ``rng`` seeds.
        train: minibatches are drawn from it with replacement; its labels stay in it.
        budget: the number of optimiser steps.
        rng: a generator on the CPU, the only source of randomness.
        batch: examples in a minibatch.
        learning_rate: its largest value.
        weight_decay: the decoupled weight decay of matrices; vectors are not decayed.
        before: called once, between initialisation and the first step: here a teacher copies its student.
        after_step: called with the number of each step, after it: here a teacher follows its student.

    Raises:
        ModelError: if the loss stops being finite.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    device = parameters[0].device
    with seeded(torch.Generator(device).manual_seed(_seed(rng))):
        reset(model)
        model.train()
        if before is not None:
            before()
        optimiser = _adamw(parameters, learning_rate, weight_decay)
        schedule = _schedule(optimiser, budget.steps)
        for step in budget:
            x, _ = train.minibatch(batch, rng)
            value = loss(x.to(device))
            if not torch.isfinite(value):
                raise ModelError(
                    f"Pretraining diverged at step {step} (loss {value.item()}): lower model.learning_rate."
                )
            optimiser.zero_grad()
            torch.autograd.backward(value)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            if after_step is not None:
                after_step(step)
    model.eval()


def _seed(rng: torch.Generator) -> int:
    return int(torch.randint(2**63 - 1, (), generator=rng))


def _adamw(parameters: list[nn.Parameter], learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    matrices = [p for p in parameters if p.dim() > 1]
    vectors = [p for p in parameters if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99), fused=True)


def _schedule(optimiser: torch.optim.Optimizer, steps: int) -> SequentialLR:
    warm = max(1, steps // 20)
    rising = LinearLR(optimiser, start_factor=1 / warm, total_iters=warm)
    falling = CosineAnnealingLR(optimiser, T_max=max(1, steps - warm))
    return SequentialLR(optimiser, [rising, falling], milestones=[warm])
