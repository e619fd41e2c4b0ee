"""What the harness adds to the model's own work, in time and in memory.

``pytest tests/benchmarks --benchmark-only`` prints each ratio in its column; nothing is asserted about time.
"""

import statistics
import time
import tracemalloc

import pytest
import torch
from torchstone_extension import honest
from torchstone_extension.data import dataset

from torchstone.models import Discrete, Space
from torchstone.models.exact.transformer import Transformer
from torchstone.suites.context import Context
from torchstone.suites.density import Density

SPACE = Space((8, 8), Discrete(17))
BATCH = 256


def images(n):
    return dataset(torch.randint(17, (n, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8), 17)


def bare(model, x):
    """The loop that a careful user would write."""
    total, kept = 0.0, []
    with torch.no_grad():
        for start in range(0, len(x), BATCH):
            log_prob = model.log_prob(x[start : start + BATCH].long()).double()
            total += float(log_prob.sum())
            kept.append(log_prob)
    return -total / len(x)


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_the_suite_takes_little_more_than_a_bare_loop_over_the_same_batches(benchmark):
    """Interleaved rounds on as many examples as keep the bare loop busy for five seconds; the median ratio."""
    torch.manual_seed(0)
    model = Transformer(SPACE).eval()
    few = images(2 * BATCH)
    rate = len(few.split("test")) / seconds(lambda: bare(model, few.split("test").x))
    data = images(int(5 * rate) if benchmark.enabled else BATCH)
    x = data.split("test").x

    def suite():
        return Density().evaluate(model, data, Context(batch_size=BATCH)).scores[0].value

    assert suite() == pytest.approx(bare(model, x), rel=1e-12)
    ratios = []
    for _ in range(7 if benchmark.enabled else 1):
        peer = seconds(lambda: bare(model, x))
        ratios.append(seconds(suite) / peer)
    benchmark.extra_info["ratio to a bare loop, median"] = round(statistics.median(ratios), 4)
    benchmark.pedantic(suite, rounds=1)
    print(f"\nsuite / bare loop: median {statistics.median(ratios):.4f} of {[round(r, 4) for r in ratios]}")


def test_memory_does_not_grow_with_the_examples_beyond_64_bytes_each():
    """Peak of all that torch and Python hold during an evaluation, for 10 and for 20 batches."""
    model = honest.Uniform(SPACE, discrete=True)

    def peak(n):
        data = images(n)
        assert data.fingerprint  # computed once per dataset, before anything is measured
        with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            tracemalloc.start()
            Density().evaluate(model, data, Context(batch_size=BATCH))
            _, python = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return python + _peak_of(seen)

    small, large = (peak(n) for n in (20 * BATCH, 40 * BATCH))
    assert large - small <= 64 * 20 * BATCH


def _peak_of(seen):
    held = most = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most
