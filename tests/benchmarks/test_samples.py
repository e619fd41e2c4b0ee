"""Distances between samples and data beside torch-fidelity's own, from ready features, and in what memory.

``pytest tests/benchmarks --benchmark-only`` prints each ratio in its column; nothing is asserted about time.
"""

import resource
import statistics
import time

import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from torchstone.suites.metrics.frechet import fid
from torchstone.suites.metrics.kernel import kid
from torchstone.suites.metrics.neighbours import neighbourhoods


def features(n, dims, seed, scale=1.0):
    return torch.randn(n, dims, generator=torch.Generator().manual_seed(seed)) * scale


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(benchmark, ours, theirs, rounds):
    """Interleaved rounds; the median of our time over theirs."""
    ratios = []
    for _ in range(rounds if benchmark.enabled else 1):
        peer = seconds(theirs)
        ratios.append(seconds(ours) / peer)
    benchmark.extra_info["ours over torch-fidelity's"] = round(statistics.median(ratios), 3)
    benchmark.pedantic(ours, rounds=1)


def sizes(benchmark):
    return (10_000, 2048) if benchmark.enabled else (300, 16)


def test_the_frechet_distance(benchmark):
    n, dims = sizes(benchmark)
    a, b = features(n, dims, 0), features(n, dims, 1, 1.1)

    def peer():
        statistics_ = (fid_features_to_statistics(each) for each in (a, b))
        return next(iter(fid_statistics_to_metric(*statistics_, verbose=False).values()))

    compare(benchmark, lambda: fid(a, b), peer, 3)
    assert fid(a[:200], b[:200]) == pytest.approx(
        next(
            iter(fid_statistics_to_metric(*map(fid_features_to_statistics, (a[:200], b[:200])), verbose=False).values())
        ),
        rel=1e-4,
    )


def test_the_kernel_distance(benchmark):
    n, dims = sizes(benchmark)
    a, b = features(n, dims, 0), features(n, dims, 1, 1.1)
    how = {"kid_subset_size": min(1000, n), "verbose": False, "rng_seed": 0}

    def peer():
        return next(iter(kid_features_to_metric(a, b, **how).values()))

    compare(benchmark, lambda: kid(a, b, subset=min(1000, n)), peer, 3)
    assert kid(a, b, subset=min(1000, n)) == pytest.approx(peer(), rel=1e-9)


@pytest.mark.parametrize("dims", [512, 2048])
def test_precision_recall_density_and_coverage_beside_its_precision_and_recall_alone(benchmark, dims):
    n = 10_000 if benchmark.enabled else 300
    real, samples = features(n, dims, 0), features(n, dims, 1, 0.97)
    compare(
        benchmark,
        lambda: neighbourhoods(real, samples),
        lambda: prc_features_to_metric(samples, real, verbose=False),
        5,
    )
    found, peer = neighbourhoods(real, samples), prc_features_to_metric(samples, real, verbose=False)
    assert float(found.precision.double().mean()) == pytest.approx(peer["precision"], abs=1e-4)
    assert float(found.recall.double().mean()) == pytest.approx(peer["recall"], abs=1e-4)


def test_memory_grows_with_the_examples_and_not_with_their_square(benchmark):
    """All distances of 30,000 a side would take 3.6 GB three times over; blocks take a few hundred MB."""
    n = 30_000 if benchmark.enabled else 4_000
    real, samples = features(n, 16, 0), features(n, 16, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    benchmark.pedantic(lambda: neighbourhoods(real, samples), rounds=1)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    benchmark.extra_info["MB beyond the features"] = round(grown / 1e6)
    assert grown < 400e6
