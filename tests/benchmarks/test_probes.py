"""The probes of features beside scikit-learn's own: all strengths at once, and neighbours in blocks.

``pytest tests/benchmarks --benchmark-only`` prints each ratio in its column; nothing is asserted about time. The peer's
sweep at its full size takes minutes.
"""

import resource
import statistics
import time

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from torchstone.suites.metrics.knn import knn_log_prob
from torchstone.suites.metrics.logistic import fit_logistic, fit_logistics

F64 = torch.float64


def features(n, d, scale, seed=0, classes=10):
    """Standardised and correlated: the spectrum falls as i^-0.75, and classes lie in its forty leading directions."""
    rng = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(d, d, generator=rng, dtype=F64))[0]
    means = scale * torch.randn(classes, d, generator=rng, dtype=F64)
    means[:, 40:] = 0
    y = torch.arange(n) % classes
    x = torch.randn(n, d, generator=rng, dtype=F64) + means[y]
    x = (x * torch.arange(1, d + 1, dtype=F64) ** -0.75) @ turn
    return (x - x.mean(0)) / x.std(0), y


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(benchmark, ours, theirs, rounds):
    """Interleaved rounds; the median of the peer's time over ours."""
    ratios = []
    for _ in range(rounds if benchmark.enabled else 1):
        mine = seconds(ours)
        ratios.append(seconds(theirs) / mine)
    benchmark.extra_info["scikit-learn's over ours"] = round(statistics.median(ratios), 2)
    benchmark.pedantic(ours, rounds=1)


@pytest.mark.parametrize("scale", [0.5, 1.5], ids=["overlapping", "separable"])
def test_all_strengths_of_the_linear_probe(benchmark, scale):
    """45 fits to a gradient of 1e-8 beside 45 to scikit-learn's default, 1e-4."""
    n, d = (10_000, 384) if benchmark.enabled else (200, 12)
    x, y = features(n, d, scale)
    strengths = torch.logspace(-6, 5, 45 if benchmark.enabled else 5, dtype=F64)

    def peer():
        for c in strengths.tolist():
            LogisticRegression(C=c, max_iter=100_000).fit(x.numpy(), y.numpy())

    compare(benchmark, lambda: fit_logistic(x, y, strengths, 10), peer, 1)
    assert bool(fit_logistic(x, y, strengths, 10).converged.all())


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_ten_draws_of_few_labels(benchmark, n):
    d, draws = (384, 10) if benchmark.enabled else (12, 2)
    drawn = [features(n, d, 0.5, seed) for seed in range(draws)]
    x, y = (torch.stack(each) for each in zip(*drawn, strict=True))
    strengths = torch.logspace(-6, 5, 45 if benchmark.enabled else 5, dtype=F64)

    def peer():
        for features_, labels in drawn:
            for c in strengths.tolist():
                LogisticRegression(C=c, max_iter=100_000).fit(features_.numpy(), labels.numpy())

    compare(benchmark, lambda: fit_logistics(x, y, strengths, 10), peer, 1)


def test_votes_of_neighbours(benchmark):
    n, m, d = (10_000, 2_000, 384) if benchmark.enabled else (300, 50, 8)
    x, y = features(n + m, d, 0.5)
    x = x.float()
    train, test = x[:n], x[n:]
    peer = KNeighborsClassifier(20, metric="cosine", algorithm="brute", weights=lambda far: np.exp((1 - far) / 0.07))
    peer.fit(train.numpy(), y[:n].numpy())
    expected = torch.from_numpy(peer.predict_proba(test.numpy()))
    ours = knn_log_prob(train, y[:n], test, 10)
    assert torch.allclose(ours[1].exp(), expected.double(), atol=1e-3)
    compare(benchmark, lambda: knn_log_prob(train, y[:n], test, 10), lambda: peer.predict_proba(test.numpy()), 5)


def test_neighbours_are_found_in_the_memory_of_a_block(benchmark):
    """All similarities of 30,000 and 30,000 would take 3.6 GB."""
    n = 30_000 if benchmark.enabled else 4_000
    x = torch.randn(2 * n, 16, generator=torch.Generator().manual_seed(0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    benchmark.pedantic(lambda: knn_log_prob(x[:n], torch.arange(n) % 10, x[n:], 10), rounds=1)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    benchmark.extra_info["MB beyond the features"] = round(grown / 1e6)
    assert grown < 400e6
