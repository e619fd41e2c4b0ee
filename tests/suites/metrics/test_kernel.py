"""The kernel distance is unbiased for its closed form, equals torch-fidelity's, and its test of equality is exact."""

import math

import pytest
import torch

from torchstone.suites.metrics.kernel import equality_test, kernel_distance, kid, kid_in_blocks

F64 = torch.float64
MEAN, VARIANCES = torch.tensor([0.5, 0.0, -0.5, 0.25], dtype=F64), torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=F64)


def moments(mean, covariance):
    """First to third raw moments of a Gaussian."""
    second = covariance + torch.outer(mean, mean)
    third = torch.einsum("i,j,k->ijk", mean, mean, mean)
    for pattern in ("i,jk->ijk", "j,ik->ijk", "k,ij->ijk"):
        third = third + torch.einsum(pattern, mean, covariance)
    return mean, second, third


def expected_kernel(a, b):
    """``E (x.y/d + 1)^3`` of independent x and y with these moments."""
    d = len(a[0])
    terms = [float((x * y).sum()) / d**power for power, (x, y) in enumerate(zip(a, b, strict=True), 1)]
    return 1 + 3 * terms[0] + 3 * terms[1] + terms[2]


def mmd(a, b):
    return expected_kernel(a, a) + expected_kernel(b, b) - 2 * expected_kernel(a, b)


STANDARD = moments(torch.zeros(4, dtype=F64), torch.eye(4, dtype=F64))
OTHER = moments(MEAN, torch.diag(VARIANCES))


def draw(n, seed, other=False):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return MEAN + x * VARIANCES.sqrt() if other else x


def test_the_closed_form_is_the_known_one():
    assert expected_kernel(STANDARD, STANDARD) == pytest.approx(1.75, rel=1e-12)
    assert mmd(STANDARD, OTHER) == pytest.approx(0.894504547119, rel=1e-9)
    assert mmd(STANDARD, moments(MEAN, torch.eye(4, dtype=F64))) == pytest.approx(0.671848297119, rel=1e-9)


def test_it_is_unbiased_and_its_error_is_its_spread():
    """Of 200 pairs of 500: the mean within four standard errors, the z-scores' spread within 15 % of one."""
    truth = mmd(STANDARD, OTHER)
    found = [kernel_distance(draw(500, seed), draw(500, 1000 + seed, other=True)) for seed in range(200)]
    values = torch.tensor([each.value for each in found])
    assert abs(float(values.mean()) - truth) < 4 * float(values.std()) / math.sqrt(200)
    z = torch.tensor([(each.value - truth) / each.stderr for each in found])
    assert 0.85 < float(z.std()) < 1.15


def test_a_mean_over_all_pairs_with_themselves_would_be_biased():
    a, b = draw(500, 0), draw(500, 1, other=True)
    biased = sum(float(((x @ x.T / 4 + 1) ** 3).mean()) for x in (a, b)) - 2 * float(((a @ b.T / 4 + 1) ** 3).mean())
    assert biased - kernel_distance(a, b).value > 0.02


def test_leaving_out_one_example_at_a_time_is_what_the_error_is_made_of():
    a, b = draw(12, 0), draw(9, 1, other=True)
    parts = [
        [kernel_distance(torch.cat([a[:i], a[i + 1 :]]), b).value for i in range(12)],
        [kernel_distance(a, torch.cat([b[:i], b[i + 1 :]])).value for i in range(9)],
    ]
    variance = sum(
        float((torch.tensor(each, dtype=F64) - torch.tensor(each, dtype=F64).mean()).square().sum())
        * (len(each) - 1)
        / len(each)
        for each in parts
    )
    assert kernel_distance(a, b).stderr == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_it_is_torch_fidelitys_and_torchmetrics_own():
    from torchmetrics.image.kid import poly_mmd

    a, b = draw(300, 0), draw(300, 1, other=True)
    assert kid(a, b, subsets=1, subset=300) == pytest.approx(kernel_distance(a, b).value, rel=1e-9)
    peer = poly_mmd(a, b, degree=3, gamma=None, coef=1.0)
    assert float(peer) == pytest.approx(kernel_distance(a, b).value, rel=1e-4)


def test_in_disjoint_blocks_the_error_is_that_of_their_mean():
    a, b = draw(1000, 0), draw(1000, 1, other=True)
    values = torch.tensor([kernel_distance(a[i : i + 250], b[i : i + 250]).value for i in range(0, 1000, 250)])
    found = kid_in_blocks(a, b, 250)
    assert found.value == pytest.approx(float(values.mean()), rel=1e-6)
    assert found.stderr == pytest.approx(float(values.std()) / 2, rel=1e-5)
    assert kid_in_blocks(a, b, 1000).stderr is None


def test_of_equal_laws_the_p_value_is_uniform_and_of_others_small():
    """Of 100 pairs of one law at most 12 have p <= 0.05 (probability 0.001 of more)."""
    small = sum(
        equality_test(draw(40, 2 * s), draw(40, 2 * s + 1), torch.Generator().manual_seed(s)) <= 0.05
        for s in range(100)
    )
    assert small <= 12
    assert equality_test(draw(300, 0), draw(300, 1, other=True), torch.Generator().manual_seed(0)) == 1 / 1000


def test_one_example_has_no_pairs():
    with pytest.raises(ValueError, match="at least two"):
        kernel_distance(torch.zeros(1, 2), torch.zeros(3, 2))
