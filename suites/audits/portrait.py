"""Where a factorised density spends its bits: a picture that belongs to no verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from torchstone.models.model import Autoregressive, Discrete, Tokenised
from torchstone.suites.audits.subject import Subject
from torchstone.suites.pictures.bits import bits_per_position

__all__ = ["bits_by_position"]


def bits_by_position(subject: Subject) -> Mapping[str, bytes]:
    """Bits of each position of some test examples, for images and other events of discrete autoregressive models."""
    model = subject.model
    if not isinstance(model, Autoregressive) or isinstance(model, Tokenised):
        return {}
    if not isinstance(subject.space.support, Discrete):
        return {}
    x, y = subject.test(subject.examples)
    device, spent = subject.context.device, []
    with torch.no_grad():
        for start in range(0, len(x), subject.context.batch_size):
            rows = x[start : start + subject.context.batch_size].to(device)
            labels = None if y is None else y[start : start + subject.context.batch_size].to(device)
            spent.append(-model.conditionals(rows, labels).log_prob(rows).double().cpu() / math.log(2))
    return {"bits-by-position": bits_per_position(x, torch.cat(spent))}
