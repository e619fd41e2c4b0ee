"""Detection of outliers: closed forms, identities, intervals that cover, and a score that is never turned round."""

import math

import pytest
import torch
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from torchstone.models.randomness import generator
from torchstone.suites.metrics.detection import auroc, auroc_stderr, average_precision, detect, fpr_at_95_tpr

F64 = torch.float64


def normals(n, seed, *, mean=0.0, sd=1.0):
    return mean + sd * torch.randn(n, generator=generator(seed, "scores"), dtype=F64)


def tied(seed=0, *, n=50, m=70):
    """Scores on a few levels, many of them equal."""
    rng = generator(seed, "levels")
    return torch.randint(0, 9, (n,), generator=rng).double(), torch.randint(2, 11, (m,), generator=rng).double()


def labelled(inside, outside):
    return [0] * len(inside) + [1] * len(outside), torch.cat([inside, outside]).numpy()


@pytest.mark.parametrize("seed", range(5))
def test_the_numbers_are_those_of_scikit_learn(seed):
    for inside, outside in (tied(seed), (normals(40, seed), normals(90, seed + 100, mean=0.7))):
        truth, scores = labelled(inside, outside)
        assert auroc(inside, outside) == pytest.approx(roc_auc_score(truth, scores), rel=1e-12)
        assert average_precision(inside, outside) == pytest.approx(average_precision_score(truth, scores), rel=1e-12)
        false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
        assert fpr_at_95_tpr(inside, outside) == pytest.approx(false[true >= 0.95][0], rel=1e-12)


def test_two_normals_have_the_area_of_the_closed_form():
    """``Phi((mu_1 - mu_2) / sqrt(s_1^2 + s_2^2))``; four standard errors: one false alarm in 16,000 seeds."""
    exact = stats.norm.cdf((1 - 0) / math.sqrt(1**2 + 2**2))
    assert exact == pytest.approx(0.6726395769907115, rel=1e-12)
    inside, outside = normals(4000, 0, sd=2.0), normals(4000, 1, mean=1.0)
    assert auroc(inside, outside) == pytest.approx(exact, abs=4 * auroc_stderr(inside, outside))


def squares(x):
    """``-log p`` under N(0, I_64), nats."""
    return 0.5 * x.square().sum(1) + 32 * math.log(2 * math.pi)


def test_the_pathology_of_a_small_sphere_inside_of_a_large_one():
    """Outliers N(0, I/4) have 24 nats more density than the data N(0, I): -log p is blind, typicality is not."""
    entropy = 32 * (1 + math.log(2 * math.pi))
    assert entropy == pytest.approx(90.812, abs=1e-3)
    inside = squares(torch.randn(4000, 64, generator=generator(0, "in"), dtype=F64))
    outside = squares(0.5 * torch.randn(4000, 64, generator=generator(0, "out"), dtype=F64))
    assert float(outside.mean()) == pytest.approx(66.812, abs=0.1)
    assert stats.f.sf(4.0, 64, 64) == pytest.approx(5.0666e-8, rel=1e-4)  # the share of pairs in order
    assert auroc(inside, outside) < 1e-5
    q, cut = torch.linspace(0.0, 200.0, 400_001, dtype=F64).numpy(), 64.0
    far = abs(q / 4 - cut)  # an outlier's distance from the mean, where its squared length is q / 4
    nearer = stats.chi2.cdf(cut + far, 64) - stats.chi2.cdf(cut - far, 64)
    exact = float((stats.chi2.pdf(q, 64) * nearer).sum() * (q[1] - q[0]))
    assert exact == pytest.approx(0.99975715, abs=2e-8)
    scores = [(costs - entropy).abs() / 64 for costs in (inside, outside)]
    assert auroc(*scores) == pytest.approx(exact, abs=4 * auroc_stderr(*scores))


def test_a_score_is_never_turned_round():
    inside, outside = tied()
    area = auroc(inside, outside)
    assert area > 0.6 and auroc(-inside, -outside) == pytest.approx(1 - area, rel=1e-12)
    assert auroc(outside, inside) == pytest.approx(1 - area, rel=1e-12)
    assert detect(-inside, -outside, 100, generator(0, "b"))["auroc"].value == pytest.approx(1 - area, rel=1e-12)


def turned_round(inside, outside):
    """A mutant: the better of the two orientations."""
    return max(auroc(inside, outside), auroc(-inside, -outside))


def by_strict_comparison(inside, outside):
    """A mutant: ties count for nothing."""
    return float((outside[:, None] > inside).double().mean())


def by_positions(inside, outside):
    """A mutant: ranks in the order of the sort, so that ties go to whoever stands last."""
    ranks = torch.cat([inside, outside]).argsort(stable=True).argsort().double() + 1
    m, n = len(outside), len(inside)
    return float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))


@pytest.mark.parametrize("mutant", [turned_round, by_strict_comparison, by_positions])
def test_mutants_break_the_identity_of_both_orientations_and_ours_does_not(mutant):
    inside, outside = tied()

    def broken(area):
        return abs(area(inside, outside) + area(-inside, -outside) - 1) > 1e-9

    assert broken(mutant) and not broken(auroc)


def test_what_is_monotone_changes_nothing():
    inside, outside = normals(80, 0), normals(60, 1, mean=0.5)
    before = [value(inside, outside) for value in (auroc, average_precision, fpr_at_95_tpr)]
    for change in (torch.exp, torch.atan, lambda s: 3 * s - 7):
        assert [value(change(inside), change(outside)) for value in (auroc, average_precision, fpr_at_95_tpr)] == before


def test_equal_scores_say_nothing():
    same = torch.full((30,), 2.5)
    found = detect(same, same[:20], 200, generator(0, "b"))
    assert found["auroc"].value == 0.5 and found["auroc"].stderr == 0 and found["auroc"].ci95 == (0.5, 0.5)
    assert found["aupr"].value == pytest.approx(20 / 50) and found["fpr95"].value == 1.0


def test_infinite_scores_sort_and_nan_has_no_place():
    inside, outside = torch.tensor([0.0, 1.0, math.inf]), torch.tensor([math.inf, 2.0])
    assert auroc(inside, outside) == pytest.approx((2.5 + 2) / 6)
    assert auroc(-inside, -outside) == pytest.approx(1 - 4.5 / 6)
    with pytest.raises(ValueError, match="1 of the outliers have the score NaN"):
        auroc(inside, torch.tensor([math.nan, 1.0]))
    for empty in (torch.zeros(0), torch.zeros(2, 2)):
        with pytest.raises(ValueError, match=r"shape \(N,\)"):
            auroc(inside, empty)


def test_the_standard_error_is_that_of_repetitions():
    """500 pairs of samples; a ratio of standard deviations within 0.15 of one: five standard errors of theirs."""
    runs = [(normals(40, 2 * s), normals(60, 2 * s + 1, mean=1.0)) for s in range(500)]
    areas = torch.tensor([auroc(*run) for run in runs], dtype=F64)
    errors = torch.tensor([auroc_stderr(*run) for run in runs], dtype=F64)
    assert float(errors.square().mean().sqrt() / areas.std()) == pytest.approx(1.0, abs=0.15)
    z = (areas - stats.norm.cdf(1 / math.sqrt(2))) / errors
    assert 0.85 < float(z.std()) < 1.15


@pytest.mark.parametrize("paired", [True, False])
def test_pairs_that_go_together_are_known_better_and_it_takes_the_pairs_to_see_it(paired):
    """Outlier i is inlier i and a half, with some noise: independent samples of this size spread three times as far."""
    areas, errors = [], []
    for seed in range(400):
        inside = normals(50, seed)
        outside = inside + 0.5 + normals(50, seed + 1000, sd=0.2)
        areas.append(auroc(inside, outside))
        errors.append(auroc_stderr(inside, outside, paired=paired))
    ratio = float(torch.tensor(errors).square().mean().sqrt() / torch.tensor(areas).std())
    assert ratio == pytest.approx(1.0, abs=0.2) if paired else ratio > 2


@pytest.mark.parametrize("paired", [False, True])
def test_the_bootstrap_covers_what_it_says(paired):
    """300 runs: a coverage of 0.95 gives less than 0.90 with a probability of 2e-4."""
    exact, inside = stats.norm.cdf(1 / math.sqrt(2)), 0
    for seed in range(300):
        found = detect(
            normals(50, 2 * seed), normals(50, 2 * seed + 1, mean=1.0), 400, generator(seed, "b"), paired=paired
        )["auroc"]
        inside += found.ci95[0] <= exact <= found.ci95[1]
    assert inside >= 270


def test_at_the_ends_the_interval_is_exact_and_there_is_no_standard_error():
    low, high = torch.arange(20.0), torch.arange(100.0, 150.0)
    best, worst = (detect(*pair, 500, generator(0, "b")) for pair in ((low, high), (high, low)))
    assert best["auroc"].value == 1.0 and best["auroc"].ci95 == (pytest.approx(0.025 ** (1 / 20)), 1.0)
    assert worst["auroc"].value == 0.0 and worst["auroc"].ci95 == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    assert best["auroc"].ci95[0] == pytest.approx(stats.binomtest(20, 20).proportion_ci(0.95).low)
    assert best["fpr95"].value == 0.0 and best["fpr95"].ci95 == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    assert worst["fpr95"].value == 1.0 and worst["fpr95"].ci95 == (pytest.approx(0.025 ** (1 / 50)), 1.0)
    assert best["aupr"].value == 1.0 and best["aupr"].ci95 is None
    assert all(each.stderr is None for found in (best, worst) for each in found.values())
    pairs = detect(low, low + 100, 500, generator(0, "b"), paired=True)["auroc"]
    assert pairs.ci95 == (pytest.approx(0.025 ** (1 / 10)), 1.0)


def test_the_exact_interval_holds_where_the_bootstrap_would_not():
    """An area of 0.93 and five of each: a third of the runs are perfect, and then the bootstrap says [1, 1]."""
    exact, perfect, missed = stats.norm.cdf(2.1 / math.sqrt(2)), 0, 0
    for seed in range(400):
        found = detect(normals(5, 2 * seed), normals(5, 2 * seed + 1, mean=2.1), 50, generator(seed, "b"))["auroc"]
        perfect += found.value == 1.0
        missed += found.value == 1.0 and not found.ci95[0] <= exact <= 1.0
    assert perfect > 60 and missed == 0


def test_a_single_example_has_a_number_and_no_error():
    one, many = torch.tensor([1.0]), torch.arange(4.0)
    found = detect(one, many, 100, generator(0, "b"))
    assert found["auroc"].value == pytest.approx(2.5 / 4) and found["auroc"].stderr is None
    assert found["auroc"].ci95 is None
    assert detect(one, torch.tensor([2.0]), 100, generator(0, "b"))["auroc"].ci95 == (pytest.approx(0.025), 1.0)


def test_resamples_depend_on_the_generator_alone_and_not_on_pieces(monkeypatch):
    inside, outside = tied()
    first, again, other = (detect(inside, outside, 300, generator(seed, "b")) for seed in (0, 0, 1))
    assert first == again and first["aupr"].ci95 != other["aupr"].ci95
    monkeypatch.setattr("torchstone.suites.metrics.detection.PIECE", 1000)
    parts = detect(inside, outside, 300, generator(0, "b"))
    assert parts["auroc"].value == first["auroc"].value
    assert parts["auroc"].ci95 == pytest.approx(first["auroc"].ci95, abs=0.03)


def test_pairs_have_one_size():
    with pytest.raises(ValueError, match="paired sets have one size, and there are 50 inliers and 70 outliers"):
        detect(*tied(), 10, generator(0, "b"), paired=True)
