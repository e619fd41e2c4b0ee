"""Multinomial logistic regression with an L2 penalty, for all strengths of it at once: the linear probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.suites.metrics.classification import credit
from torchstone.suites.metrics.logistic_newton import solve_path
from torchstone.suites.metrics.logistic_objective import Problem

__all__ = ["Logistic", "fit_logistic", "fit_logistics"]

BLOCK = 1 << 22  # log-probabilities that are held at once
NEGLIGIBLE = 1e-12  # variance, over the greatest, of a direction that rounding alone has left


@final
@dataclass(frozen=True)
class Logistic:
    """Fits of one problem at S strengths, float64.

    Attributes:
        weight: ``(S, C, D)``; the weights of the classes sum to zero.
        bias: ``(S, C)``; those of the classes sum to zero.
        objective: ``(S,)`` nats per example, see `fit_logistic`.
        gradient: ``(S,)`` the greatest entry of its gradient.
        iterations: ``(S,)`` Newton steps.
        converged: ``(S,)``; a fit that has not is no measurement.
    """

    weight: Tensor
    bias: Tensor
    objective: Tensor
    gradient: Tensor
    iterations: Tensor
    converged: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """``(S, N, C)`` log-probabilities of the classes for features ``(N, D)``."""
        strengths, classes, width = self.weight.shape
        logits = x.double() @ self.weight.reshape(-1, width).T + self.bias.flatten()
        return logits.view(len(x), strengths, classes).transpose(0, 1).log_softmax(2)

    def credits(self, x: Tensor, y: Tensor) -> Tensor:
        """``(S, N)`` what each answer is worth, as `credit` says it, a block of examples at a time."""
        size = max(1, BLOCK // self.bias.numel())
        blocks = ((x[start : start + size], y[start : start + size]) for start in range(0, len(x), size))
        return torch.cat([torch.stack([credit(one, b) for one in self.log_prob(a)]) for a, b in blocks], 1)


def fit_logistic(
    x: Tensor, y: Tensor, strengths: Tensor, classes: int, *, tolerance: float = 1e-8, iterations: int = 100
) -> Logistic:
    r"""The optimum at each strength, of the mean cross-entropy with a penalty on weights and none on biases.

    .. math:: -\frac{1}{N} \sum_n \log p(y_n | x_n) + \frac{\lVert W \rVert^2}{2 C N}

    This is scikit-learn's objective divided by :math:`C N`. Adding one number to all biases changes nothing, so they
    are made to sum to zero. Newton's method, its systems solved by conjugate gradients behind the blocks of single
    classes of the Hessian; the gradient is in float64 and products with the Hessian are in float32. Directions in which
    the features do not vary get no weight, which is the optimum. Memory beyond the features and the results grows with
    examples times classes, and by no more than 512 MB with the strengths.

    Args:
        x: ``(N, D)`` features, as many or as few as there are; standardise them first.
        y: ``(N,)`` labels, each of 0 to ``classes - 1`` at least once.
        strengths: ``(S,)`` values of C, the inverse of the penalty.
        classes: how many there are, two at least.
        tolerance: the greatest entry of the gradient that counts as none.
        iterations: most Newton steps per strength.

    Raises:
        ValueError: where the shapes do not agree, a number is not finite, or a class has no example.
    """
    return fit_logistics(x[None], y[None], strengths, classes, tolerance=tolerance, iterations=iterations)[0]


def fit_logistics(
    x: Tensor, y: Tensor, strengths: Tensor, classes: int, *, tolerance: float = 1e-8, iterations: int = 100
) -> list[Logistic]:
    """`fit_logistic` of R problems of one shape, all of them together: ``x`` is ``(R, N, D)`` and ``y`` ``(R, N)``."""
    _check(x, y, strengths, classes)
    features = x.double()
    mean = features.mean(1, keepdim=True)
    axes = _axes(features - mean)
    penalty = 1 / (strengths.double() * x.shape[1])
    found = solve_path(Problem.of((features - mean) @ axes, y, classes, penalty), tolerance, iterations)
    weight = found.weight[..., :-1] @ axes.mT[:, None]
    bias = found.weight[..., -1] - (weight @ mean.mT[:, None])[..., 0]
    bias -= bias.mean(2, keepdim=True)
    parts = (weight, bias, found.objective, found.gradient, found.iterations, found.converged)
    return [Logistic(*each) for each in zip(*parts, strict=True)]


def _axes(centred: Tensor) -> Tensor:
    """``(R, D, d)`` orthonormal directions that hold all variation of any of the problems, d at most N and D."""
    _, n, width = centred.shape
    if n >= width:
        values, vectors = torch.linalg.eigh(centred.mT @ centred)
    else:
        values, rows = torch.linalg.eigh(centred @ centred.mT)
        vectors = centred.mT @ rows
    kept = max(1, int((values > NEGLIGIBLE * values[:, -1:].clamp(min=1e-300)).sum(1).max()))
    vectors = vectors[..., -kept:]
    found: Tensor = vectors if n >= width else torch.linalg.qr(vectors)[0]
    return found


def _check(x: Tensor, y: Tensor, strengths: Tensor, classes: int) -> None:
    if x.ndim != 3 or y.shape != x.shape[:2] or 0 in x.shape:
        raise ValueError(
            f"Expected features (N, D) and labels (N,) of at least one example, got shapes {tuple(x.shape[1:])} and "
            f"{tuple(y.shape[1:])}."
        )
    if not bool(x.isfinite().all()):
        raise ValueError("A feature is NaN or infinite: a probe has no optimum there, find out what the encoder did.")
    if strengths.ndim != 1 or not len(strengths) or not bool(((strengths > 0) & strengths.isfinite()).all()):
        raise ValueError(f"Expected strengths (S,) above zero and finite, at least one, got {strengths.tolist()}.")
    if len(strengths.unique()) < len(strengths):  # type: ignore[no-untyped-call]
        raise ValueError("A strength is given twice: give each once.")
    if classes < 2 or int(y.min()) < 0 or int(y.max()) >= classes:
        raise ValueError(f"Labels are 0 to classes - 1 of at least 2 classes, got {int(y.min())} to {int(y.max())}.")
    counts = torch.nn.functional.one_hot(y, classes).sum(1)
    if bool((counts == 0).any()):
        missing = (counts == 0).any(0).nonzero()[:, 0].tolist()
        raise ValueError(
            f"Classes {missing} have no example, and their bias no optimum: fit the classes that are there."
        )
