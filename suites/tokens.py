"""Text through a model's own vocabulary, so that it can be measured in bits per byte."""

from __future__ import annotations

import torch
from torch import Tensor

from torchstone.models.checks import space_of
from torchstone.models.model import Autoregressive, Model, ModelError, Tokenised
from torchstone.suites.data.dataset import Dataset

__all__ = ["ask_tokens", "token_refusal"]


def token_refusal(model: Model, data: Dataset) -> str | None:
    """Why a model with a vocabulary of its own cannot be measured on ``data``; None where it can."""
    name = type(model).__name__
    if not isinstance(model, Autoregressive):
        return (
            f"{name} is Tokenised and not Autoregressive: padding can only be left out where each token has its "
            "own conditional."
        )
    if not data.text:
        return f"{name} has a vocabulary of its own and {data.name} is no text; use data=text:PATH."
    return None


def ask_tokens(model: Autoregressive, windows: Tensor, y: Tensor | None) -> Tensor:
    """``log p`` of windows of bytes, ``(N, length)``, as their tokens: ``(N,)`` nats in float64, on the CPU.

    Sequences are padded on the right and the padding is not counted; the last token, which ends the sequence, is. Other
    token sequences may spell the same bytes, so that this is a lower bound on the log-probability of the bytes.

    Raises:
        ModelError: where tokens lose bytes, exceed the model's length, or the conditionals have a wrong shape.
    """
    assert isinstance(model, Tokenised)
    sequences = [_tokens(model, bytes(row)) for row in windows.tolist()]
    tokens = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    longest, allowed = tokens.shape[1], space_of(model).dims
    name = type(model).__name__
    if longest > allowed:
        raise ModelError(
            f"{name} takes {allowed} tokens and a window has {longest}; shorten the windows with data.length=…"
        )
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    counted = torch.arange(longest) < lengths[:, None]
    with torch.no_grad():
        given = tokens.to(windows.device)
        terms = model.conditionals(given, y).log_prob(given)
    if terms.shape != tokens.shape:
        raise ModelError(
            f"{name}.conditionals gives log-probabilities of shape {tuple(terms.shape)} for tokens of shape "
            f"{tuple(tokens.shape)}; give one for each token."
        )
    return torch.where(counted, terms.double().cpu(), 0.0).sum(1)


def _tokens(model: Tokenised, data: bytes) -> Tensor:
    tokens = model.tokenise(data)
    if tokens.ndim != 1 or tokens.dtype != torch.int64 or len(tokens) == 0:
        raise ModelError(
            f"{type(model).__name__}.tokenise returned {tokens.dtype} of shape {tuple(tokens.shape)}; "
            "return a LongTensor of one axis that ends with the end-of-sequence token."
        )
    if model.detokenise(tokens) != data:
        raise ModelError(
            f"{type(model).__name__} loses bytes: detokenise(tokenise(data)) is not data for {data[:24]!r}."
        )
    return tokens.cpu()
