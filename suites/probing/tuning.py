"""Fine-tuning: the encoder itself is trained on labels, from where the linear probe left off."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchstone.models.model import Model
from torchstone.models.randomness import seeded
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.metrics.classification import credit
from torchstone.suites.metrics.selection import held_out_tenth
from torchstone.suites.probing.features import Standard, encoded, own_numbers
from torchstone.suites.probing.linear import Linear

__all__ = ["Tuned", "fine_tuned"]

BATCH = 64
RATES = (1e-4, 1e-3)  # of learning, of which one is chosen
DECAY = 0.01


@final
@dataclass(frozen=True, slots=True)
class Tuned:
    """Credits of the test examples, ``(N,)``, and the learning rate that was chosen."""

    credits: Tensor
    rate: float


def fine_tuned(
    model: Model, data: Dataset, standard: Standard, linear: Linear, steps: int, context: Context
) -> Tuned | str:
    """Train a copy of the encoder and a linear head on all training labels; or why it cannot be, as a sentence.

    The head begins as the linear probe, so that what the features know is not lost in its first steps. The learning
    rate is chosen on a tenth of the training split; with it the copy is trained again on all of it.

    Source: Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution (Kumar et al., 2022;
    arXiv:2202.10054), for a head that is fitted first.
    """
    name = type(model).__name__
    if not isinstance(model, nn.Module) or not any(p.requires_grad for p in model.parameters()):
        return f"{name} has no weights that could be fine-tuned."
    train, test = data.split("train"), data.split("test")
    assert train.y is not None and test.y is not None
    held = held_out_tenth(train.y, context.rng("fine-tuning/held", device="cpu"))
    best, rate = -1.0, RATES[0]
    for each in RATES:
        tuned = _Network(model, data, standard, linear, context)
        if not tuned.learns(train.x[:2]):
            return f"{name}.encode gives no gradient to its weights, so it cannot be fine-tuned."
        tuned.fit(train.x[~held], train.y[~held], each, steps, "choice")
        right = float(tuned.credits(train.x[held], train.y[held]).mean())
        if right > best:
            best, rate = right, each
    tuned = _Network(model, data, standard, linear, context)
    tuned.fit(train.x, train.y, rate, steps, "all")
    return Tuned(tuned.credits(test.x, test.y), rate)


@final
class _Network:
    """A copy of an encoder with a linear head on its features, on the scale that they had before any tuning."""

    def __init__(self, model: Model, data: Dataset, standard: Standard, linear: Linear, context: Context) -> None:
        self.model, self.data, self.context = copy.deepcopy(model), data, context
        assert isinstance(self.model, nn.Module)
        self.module = self.model
        self.mean, self.scale = (each.float().to(context.device) for each in (standard.mean, standard.scale))
        self.weight = nn.Parameter(linear.weight.float().to(context.device))
        self.bias = nn.Parameter(linear.bias.float().to(context.device))
        self.parameters = [p for p in self.module.parameters() if p.requires_grad] + [self.weight, self.bias]

    def logits(self, x: Tensor) -> Tensor:
        """``(N, C)`` of examples as stored."""
        asked = (x if x.is_floating_point() else x.long()).to(self.context.device)
        features = encoded(self.model, own_numbers(self.model, asked, self.data))
        return functional.linear((features.to(self.weight) - self.mean) / self.scale, self.weight, self.bias)

    def learns(self, x: Tensor) -> bool:
        """Whether a gradient reaches any weight of the encoder."""
        answer = self.logits(x).sum()
        grads = torch.autograd.grad(answer, self.parameters, allow_unused=True)
        return any(grad is not None for grad in grads[:-2])

    def fit(self, x: Tensor, y: Tensor, rate: float, steps: int, purpose: str) -> None:
        """Minimise the cross-entropy of ``y``."""
        rng = self.context.rng(f"fine-tuning/{purpose}", device="cpu")
        optimiser = torch.optim.AdamW(self.parameters, lr=rate, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, max(2, steps))
        self.module.train()
        with seeded(self.context.rng(f"fine-tuning/{purpose}/noise")), torch.enable_grad():
            for step in range(steps):
                rows = torch.randint(len(x), (BATCH,), generator=rng)
                loss = functional.cross_entropy(self.logits(x[rows]), y[rows].to(self.context.device))
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(self.parameters, 1.0)
                optimiser.step()
                schedule.step()
                self.context.progress("fine-tuning", step + 1, steps)
        self.module.eval()

    @torch.no_grad()
    def credits(self, x: Tensor, y: Tensor) -> Tensor:
        """``(N,)``, one where the most probable label is right."""
        parts = [part for _, _, part in self.context.batches(len(x), lambda i, j: self.logits(x[i:j]).cpu())]
        return credit(torch.cat(parts), y)
