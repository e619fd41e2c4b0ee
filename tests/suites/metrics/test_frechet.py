"""The Fréchet distance is that of its closed form, equals torch-fidelity's, and knows its own error and bias."""

import math

import numpy as np
import pytest
import torch

from torchstone.suites.metrics.frechet import Moments, extrapolate, fid, fid_error, frechet_distance, moments

F64 = torch.float64
A = Moments(
    torch.tensor([0.1, 0.2, 0.3], dtype=F64),
    torch.tensor([[2.0, 0.5, 0.2], [0.5, 1.0, 0.3], [0.2, 0.3, 1.5]], dtype=F64),
)
B = Moments(
    torch.tensor([0.0, 0.5, -0.4], dtype=F64),
    torch.tensor([[1.0, -0.3, 0.1], [-0.3, 2.0, 0.4], [0.1, 0.4, 0.8]], dtype=F64),
)


def normals(n, d, seed, scale=1.0, shift=0.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=F64) * scale + shift


def gaussian(mean, variances):
    return Moments(torch.tensor(mean, dtype=F64), torch.diag(torch.tensor(variances, dtype=F64)))


def test_of_covariances_that_commute_it_is_the_distance_of_their_roots():
    a, b = gaussian([0.0, 0.0], [1.0, 4.0]), gaussian([1.0, -1.0], [4.0, 1.0])
    assert frechet_distance(a, b) == pytest.approx(1 + 1 + (1 - 2) ** 2 + (2 - 1) ** 2, rel=1e-12)


def test_of_covariances_that_do_not_it_is_that_of_the_root_of_their_product():
    roots = np.linalg.eigvals((A.covariance @ B.covariance).numpy()).real
    expected = float((A.mean - B.mean).square().sum() + A.covariance.trace() + B.covariance.trace())
    expected -= 2 * np.sqrt(roots).sum()
    assert frechet_distance(A, B) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(A, B) == pytest.approx(1.284949380020, rel=1e-9)
    assert frechet_distance(A, B) == pytest.approx(frechet_distance(B, A), rel=1e-12)


def test_the_shortcut_over_diagonals_would_be_seen():
    gap = float((A.mean - B.mean).square().sum())
    wrong = gap + float((A.covariance.diag().sqrt() - B.covariance.diag().sqrt()).square().sum())
    assert wrong == pytest.approx(1.042255520487, rel=1e-9) and wrong != pytest.approx(frechet_distance(A, B), rel=0.1)


def test_of_equals_it_is_nothing_and_singular_covariances_are_allowed():
    assert frechet_distance(A, A) < 1e-12
    assert fid(torch.ones(5, 3), torch.ones(9, 3)) == pytest.approx(0, abs=1e-12)
    assert fid(torch.ones(5, 3), torch.zeros(9, 3)) == pytest.approx(3, rel=1e-9)
    few = normals(4, 6, 0)
    assert fid(few, normals(50, 6, 1)) == pytest.approx(
        frechet_distance(moments(few), moments(normals(50, 6, 1))), rel=1e-6
    )


@pytest.mark.parametrize("dims", [1, 2, 40])
def test_that_of_features_is_torch_fidelitys_and_torchmetrics_own(dims):
    a, b = normals(500, dims, 0).float(), normals(700, dims, 1, 1.3, 0.2).float()
    own = frechet_distance(moments(a), moments(b))
    assert fid(a, b) == pytest.approx(own, rel=1e-9)
    if dims > 1:
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
        from torchmetrics.image.fid import _compute_fid

        peer = fid_statistics_to_metric(fid_features_to_statistics(a), fid_features_to_statistics(b), verbose=False)
        assert fid(a, b) == pytest.approx(next(iter(peer.values())), rel=1e-4)
        other = _compute_fid(*(t for m in (moments(a), moments(b)) for t in m))
        assert fid(a, b) == pytest.approx(float(other), rel=1e-4)


def test_the_mean_of_single_precision_features_far_from_zero_is_taken_in_double_precision():
    a, b = (normals(20_000, 2, seed).float() + 4096 for seed in (0, 1))
    exact = frechet_distance(moments(a.double()), moments(b.double()))
    assert fid(a, b) == pytest.approx(exact, rel=1e-9)


def test_few_examples_make_it_too_large_by_the_known_amount():
    """Of 200 sets of 1,000 normals in 16 dimensions against the truth: within four standard errors."""
    truth, n, d = Moments(torch.zeros(16, dtype=F64), torch.eye(16, dtype=F64)), 1000, 16
    found = torch.tensor([frechet_distance(truth, moments(normals(n, d, seed))) for seed in range(200)], dtype=F64)
    expected = d / n + d * (d + 1) / (4 * (n - 1))
    second_order = 0.03 * expected  # what the expansion leaves out
    assert abs(float(found.mean()) - expected) < 4 * float(found.std()) / math.sqrt(200) + second_order


def test_its_error_covers_the_truth_and_a_bootstrap_would_not():
    """Sets of 300 in 16 dimensions, the truth 0.64: the corrected value covers it in 90 % of 100 sets or more."""
    truth, covered, biased = 16 * 0.2**2, 0, 0
    for seed in range(100):
        a, b = normals(300, 16, 2 * seed), normals(300, 16, 2 * seed + 1, shift=0.2)
        error = fid_error(a, b)
        covered += abs(error.corrected - truth) < 1.96 * error.stderr
        biased += abs(fid(a, b) - truth) < 1.96 * error.stderr
    assert covered >= 84  # 94 expected, 2.4 the standard deviation
    assert biased < 20


def test_leaving_out_blocks_one_by_one_is_what_the_error_is_made_of():
    a, b = normals(60, 3, 0), normals(80, 3, 1, 1.5)
    without_a = torch.tensor([fid(torch.cat([a[: 3 * i], a[3 * i + 3 :]]), b) for i in range(20)], dtype=F64)
    without_b = torch.tensor([fid(a, torch.cat([b[: 4 * i], b[4 * i + 4 :]])) for i in range(20)], dtype=F64)
    variance = sum(float((each - each.mean()).square().sum()) * 19 / 20 for each in (without_a, without_b))
    assert fid_error(a, b).stderr == pytest.approx(math.sqrt(variance), rel=1e-6)
    bias = sum(19 * (float(each.mean()) - fid(a, b)) for each in (without_a, without_b))
    assert fid_error(a, b).corrected == pytest.approx(fid(a, b) - bias, rel=1e-6)


def test_at_infinitely_many_samples_the_bias_of_the_samples_is_gone():
    """Against 200,000 examples of the same law in 16 dimensions; five draws of 10,000 samples, four standard errors."""
    reference = normals(200_000, 16, 99)
    lines = [
        extrapolate(normals(10_000, 16, seed), reference, 500, torch.Generator().manual_seed(0)) for seed in range(5)
    ]
    values = torch.tensor([line.value for line in lines], dtype=F64)
    residue = (16 + 16 * 17 / 4) / 200_000  # the reference keeps its own
    assert abs(float(values.mean()) - residue) < 4 * float(values.std()) / math.sqrt(5) + 1e-3
    assert float(torch.tensor([line.slope for line in lines]).mean()) == pytest.approx(84, rel=0.1)
    spread, stated = float(values.std()), sum(line.stderr for line in lines) / 5
    assert 0.4 < stated / spread < 2.5  # of five values
    assert lines[0].sizes[0] == 500 and lines[0].sizes[-1] == 10_000 and len(lines[0].sizes) == 15


@pytest.mark.parametrize("features", [torch.zeros(1, 3), torch.zeros(3), torch.tensor([[0.0], [math.nan]])])
def test_what_has_no_moments_is_refused(features):
    with pytest.raises(ValueError, match=r"at least two examples|finite"):
        fid(features, features)
    with pytest.raises(ValueError, match="smallest subset"):
        extrapolate(torch.zeros(5, 2), torch.zeros(5, 2), 5, torch.Generator())
