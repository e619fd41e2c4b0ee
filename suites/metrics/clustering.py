"""What lies in features without any label: clusters, and a density."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from torchstone.suites.metrics.uncertainty import Mean, paired_difference

__all__ = ["cluster_agreement", "mixture_gain"]

STARTS = 10  # of k-means, of which the tightest is taken
DIMS = 16  # principal components that a mixture is fitted to
RIDGE = 1e-2  # added to the variances of a component, where that of the features is one
ROUNDING = 1e-6  # of the largest spread: directions below it hold none


def cluster_agreement(train: Tensor, test: Tensor, test_y: Tensor, clusters: int, rng: torch.Generator) -> float:
    """The adjusted Rand index of clusters of test features and their labels: 0 by chance, 1 where they are the same.

    Centres are those of k-means on the training features; labels have no part in them.

    Source: Comparing Partitions (Hubert and Arabie, 1985); scikit-learn's KMeans and adjusted_rand_score.

    Args:
        train: ``(M, D)`` features.
        test: ``(N, D)`` features.
        test_y: ``(N,)`` labels.
        clusters: how many centres there are; no more than there are different training features are made.
        rng: on the CPU.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    known = train.double().numpy()
    k = min(clusters, len(torch.unique(train, dim=0)))
    found = KMeans(k, n_init=STARTS, random_state=_seed(rng)).fit(known).predict(test.double().numpy())
    return float(adjusted_rand_score(test_y.numpy(), found))


def mixture_gain(train: Tensor, test: Tensor, components: int, rng: torch.Generator) -> Mean:
    """The held-out log-density of a mixture of Gaussians on features minus that of a single one, nats per example.

    Both are fitted to at most sixteen principal components of the training features, each with variance one, so that
    the difference does not depend on scale and little on width. It is near zero where features are Gaussian, and may
    fall below it; clusters raise it.

    Source: scikit-learn's GaussianMixture, with full covariances.

    Args:
        train: ``(M, D)`` features.
        test: ``(N, D)`` features.
        components: of the mixture; fewer where there are fewer than two training examples for each.
        rng: on the CPU.

    Returns:
        The mean over test examples, with its standard error; zero where nothing varies.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    known, asked = _whitened(train, test)
    k = min(components, len(train) // 2)
    if known.shape[1] == 0 or k < 2:
        return Mean(0.0, None, len(test))
    seed = _seed(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fit that was stopped is a density all the same
        log_prob = [
            GaussianMixture(n, reg_covar=RIDGE, random_state=seed, max_iter=300).fit(known).score_samples(asked)
            for n in (k, 1)
        ]
    return paired_difference(*(torch.from_numpy(each) for each in log_prob))


def _whitened(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the leading principal components of ``train``, each with variance one."""
    mean = train.double().mean(0)
    centred = train.double() - mean
    _, size, axes = torch.linalg.svd(centred, full_matrices=False)
    spread = size / len(train) ** 0.5
    kept = (spread > ROUNDING * spread[0]) & (torch.arange(len(spread)) < DIMS)
    projection = (axes[kept] / spread[kept, None]).T
    return centred @ projection, (test.double() - mean) @ projection


def _seed(rng: torch.Generator) -> int:
    return int(torch.randint(2**31 - 1, (), generator=rng))
