"""A small network as a probe: what features hold that no linear classifier reads out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchstone.models.randomness import seeded
from torchstone.suites.metrics.classification import credit
from torchstone.suites.metrics.selection import held_out_tenth

__all__ = ["mlp_probe"]

WIDTH, STEPS, BATCH, RATE = 256, 500, 128, 2e-3
DECAYS = (1e-2, 1e-1, 1.0)  # of the weights, of which one is chosen


def mlp_probe(train: Tensor, y: Tensor, test: Tensor, classes: int, rng: torch.Generator) -> Tensor:
    """Log-probabilities of labels by a perceptron with one hidden layer of 256, ``(N, C)``.

    AdamW for 500 minibatches of 128, with a learning rate that falls to zero. The decay of the weights is the
    most accurate of three on a held-out tenth of the training examples, the smallest of equals; with it the network is
    trained again on all of them. In single precision; it depends on ``rng`` alone.

    Args:
        train: ``(M, D)`` features, standardised.
        y: ``(M,)`` labels.
        test: ``(N, D)`` features on the same scale.
        classes: how many labels there are.
        rng: on the CPU.

    Raises:
        ValueError: where shapes do not agree, or there are fewer than ten training examples.
    """
    if train.ndim != 2 or test.ndim != 2 or train.shape[1] != test.shape[1] or y.shape != train.shape[:1]:
        raise ValueError(
            f"Expected features (M, D) and (N, D) and labels (M,), got shapes {tuple(train.shape)}, "
            f"{tuple(test.shape)} and {tuple(y.shape)}."
        )
    held, x = held_out_tenth(y, rng), train.float()
    right = [_right(_fitted(x[~held], y[~held], classes, decay, rng), x[held], y[held]) for decay in DECAYS]
    chosen = DECAYS[max(range(len(DECAYS)), key=right.__getitem__)]
    return _log_prob(_fitted(x, y, classes, chosen, rng), test.float())


def _fitted(x: Tensor, y: Tensor, classes: int, decay: float, rng: torch.Generator) -> nn.Sequential:
    with seeded(rng), torch.enable_grad():
        network = nn.Sequential(nn.Linear(x.shape[1], WIDTH), nn.GELU(), nn.Linear(WIDTH, classes))
        optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=decay, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for _ in range(STEPS):
            rows = torch.randint(len(x), (BATCH,), generator=rng)
            loss = functional.cross_entropy(network(x[rows]), y[rows])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    return network


@torch.no_grad()
def _log_prob(network: nn.Sequential, x: Tensor) -> Tensor:
    return torch.cat([network(part).double().log_softmax(1) for part in torch.split(x, 4096)])


def _right(network: nn.Sequential, x: Tensor, y: Tensor) -> float:
    return float(credit(_log_prob(network, x), y).mean())
