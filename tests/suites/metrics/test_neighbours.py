"""Precision, recall, density and coverage: known answers, ties, nulls, and torch-fidelity's own numbers."""

import math

import pytest
import torch

from torchstone.suites.metrics import neighbours
from torchstone.suites.metrics.neighbours import expected_coverage, nearest, neighbourhoods

F64 = torch.float64


def line(*values):
    return torch.tensor(values, dtype=F64)[:, None]


def means(*args, **kwargs):
    return tuple(float(each.double().mean()) for each in neighbourhoods(*args, **kwargs))


def normals(n, d, seed, scale=1.0, dtype=F64):
    return (torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=F64) * scale).to(dtype)


def test_the_known_answer_on_a_line():
    found = means(line(0, 1, 2.2, 4, 8), line(0.5, 2.5, 3.1, 20), k=2, k_density=2)
    assert found == pytest.approx((0.75, 1.0, 1.125, 1.0), abs=1e-12)


def test_a_ball_holds_its_border():
    """On a lattice this decides: without its border precision would be 0 in place of 2/3."""
    found = means(line(0, 1, 2, 3), line(-1, 4, 5), k=1, k_density=1)
    assert found == pytest.approx((2 / 3, 1.0, 2 / 3, 0.5), abs=1e-12)


def test_an_example_is_no_neighbour_of_itself_and_a_twin_is():
    assert means(line(0, 0, 5), line(0, 1, 1), k=1, k_density=1)[0] == pytest.approx(1.0)  # 5 reaches to 0
    assert means(line(0, 0, 1, 1), line(0.5, 0.5, 0.5), k=1, k_density=1)[0] == 0.0


@pytest.mark.parametrize("block", [7, 64, 10_000])
def test_blocks_change_nothing(monkeypatch, block):
    real, samples = normals(150, 5, 0), normals(130, 5, 1, 0.8)
    whole = neighbourhoods(real, samples)
    near = nearest(samples, real)
    monkeypatch.setattr(neighbours, "BLOCK", block)
    assert all(torch.equal(a, b) for a, b in zip(whole, neighbourhoods(real, samples), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(near, nearest(samples, real), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("dims", [2, 64])
def test_precision_and_recall_are_torch_fidelitys(dims, dtype):
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, samples = normals(600, dims, 0, dtype=dtype), normals(500, dims, 1, 0.8, dtype=dtype)
    peer = prc_features_to_metric(samples, real, verbose=False)
    precision, recall, *_ = means(real, samples)
    assert precision == pytest.approx(peer["precision"], rel=1e-4)
    assert recall == pytest.approx(peer["recall"], rel=1e-4)


def test_density_and_coverage_are_counted_one_by_one():
    real, samples = normals(40, 3, 0), normals(30, 3, 1)
    distances = torch.cdist(real, real).fill_diagonal_(math.inf)
    radii = distances.kthvalue(5, 1).values
    inside = torch.cdist(samples, real) <= radii
    found = neighbourhoods(real, samples)
    assert torch.equal(found.density * 5, inside.sum(1).float())
    assert torch.equal(found.coverage, inside.any(0))


def test_of_one_law_density_is_one_and_coverage_its_null():
    """Of 100 pairs of 100: within four standard errors; the null at 10,000 is 1 - 2^-5 nearly."""
    found = torch.tensor([means(normals(100, 3, 2 * s), normals(100, 3, 2 * s + 1)) for s in range(100)], dtype=F64)
    error = 4 * found.std(0) / 10
    assert abs(float(found[:, 2].mean()) - 1) < error[2]
    assert abs(float(found[:, 3].mean()) - expected_coverage(100, 100, 5)) < error[3]
    for n, known in ((100, 0.971069718), (1000, 0.968984140), (10_000, 0.968773435)):
        assert expected_coverage(n, n, 5) == pytest.approx(known, rel=1e-8)


def test_a_null_is_no_limit():
    """Samples that shrink towards the middle are denser than the data, and copy none of it."""
    real, samples = normals(300, 64, 0), normals(300, 64, 1, 0.9)
    found = means(real, samples)
    assert found[2] > 2 and found[3] > 0.99


def test_equal_distances_are_equal_whatever_the_rounding():
    """A copy of the nearest neighbour lies on the border of the ball, far from zero and in many dimensions."""
    real = normals(50, 512, 0) + 1000
    samples = real.flip(0)
    assert means(real, samples, k=1, k_density=1)[:2] == (1.0, 1.0)
    only = torch.cdist(real, real).fill_diagonal_(math.inf).min(1)
    pair = torch.stack([real[only.indices[0]]] * 2)
    found = neighbourhoods(real, pair, k=1, k_density=1)
    assert bool(found.precision.all()) and bool(found.coverage[0])


def test_the_nearest_is_found_with_its_distance():
    rows, others = normals(20, 4, 0), normals(33, 4, 1)
    distances, which = nearest(rows, others)
    assert torch.allclose(distances, torch.cdist(rows, others).min(1).values)
    assert torch.equal(which, torch.cdist(rows, others).min(1).indices)
    assert float(nearest(others + 1e6, others + 1e6)[0].max()) == 0.0


def test_sets_that_are_too_small_or_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="too few for the 5-th"):
        neighbourhoods(normals(5, 2, 0), normals(9, 2, 1))
    with pytest.raises(ValueError, match="Expected features"):
        neighbourhoods(normals(9, 2, 0), normals(9, 3, 1))
