"""The linear probe: an optimum by its gradient, scikit-learn's own, and what must not change it."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from torchstone.suites.data.embedded import digits
from torchstone.suites.metrics.logistic import Logistic, fit_logistic, fit_logistics

F64 = torch.float64
SWEEP = torch.logspace(-6, 5, 12, dtype=F64)


def problem(n=300, d=12, classes=4, scale=1.0, seed=0):
    """Correlated features around the mean of each class."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % classes
    x = torch.randn(n, d, generator=rng, dtype=F64) + scale * torch.randn(classes, d, generator=rng, dtype=F64)[y]
    x = x @ (torch.randn(d, d, generator=rng, dtype=F64) * torch.arange(1, d + 1) ** -0.7)
    return (x - x.mean(0)) / x.std(0), y


def cost(x, y, c, weight, bias):
    """Written out once more: mean cross-entropy, and the penalty over C N."""
    return torch.nn.functional.cross_entropy(x @ weight.T + bias, y) + weight.square().sum() / (2 * c * len(x))


def gradient(x, y, c, weight, bias):
    leaves = [each.clone().requires_grad_() for each in (weight, bias)]
    cost(x, y, c, *leaves).backward()
    return max(float(each.grad.abs().max()) for each in leaves)


@pytest.mark.parametrize(
    ("n", "d", "scale"), [(300, 12, 0.3), (300, 12, 8.0), (60, 100, 1.0)], ids=["overlap", "separable", "wide"]
)
def test_the_gradient_vanishes_at_every_strength(n, d, scale):
    x, y = problem(n, d, scale=scale)
    found = fit_logistic(x, y, SWEEP, 4)
    assert bool(found.converged.all()) and float(found.gradient.max()) < 1e-8
    for i, c in enumerate(SWEEP.tolist()):
        assert gradient(x, y, c, found.weight[i], found.bias[i]) < 1e-8
        assert float(found.objective[i]) == pytest.approx(
            float(cost(x, y, c, found.weight[i], found.bias[i])), rel=1e-9
        )
    assert float(found.weight.sum(1).abs().max()) < 1e-9 and float(found.bias.sum(1).abs().max()) < 1e-9


@pytest.mark.parametrize(("scale", "d"), [(0.3, 12), (8.0, 12), (1.0, 100)])
def test_it_is_scikit_learns_optimum(scale, d):
    """Where the penalty pins the coefficients to 1e-4: a gradient of g leaves up to g C N of doubt in each."""
    x, y = problem(200, d, scale=scale)
    strengths = torch.logspace(-6, 2, 5, dtype=F64)
    found = fit_logistic(x, y, strengths, 4)
    for i, c in enumerate(strengths.tolist()):
        peer = LogisticRegression(C=c, tol=1e-10, max_iter=100_000).fit(x.numpy(), y.numpy())
        weight, bias = torch.tensor(peer.coef_), torch.tensor(peer.intercept_)
        assert float(found.objective[i]) <= float(cost(x, y, c, weight, bias)) * (1 + 1e-12) + 1e-13
        assert float((found.weight[i] - weight).abs().max()) < 1e-4
        assert float((found.bias[i] - (bias - bias.mean())).abs().max()) < 1e-4


def test_the_same_strength_is_chosen():
    x, y = problem(400, 30, scale=0.4)
    held, labels = x[300:], y[300:]
    found = fit_logistic(x[:300], y[:300], SWEEP, 4).credits(held, labels).mean(1)
    peer = [
        LogisticRegression(C=c, tol=1e-10, max_iter=100_000)
        .fit(x[:300].numpy(), y[:300].numpy())
        .score(held.numpy(), labels.numpy())
        for c in SWEEP.tolist()
    ]
    assert found.tolist() == pytest.approx(peer, abs=1e-12)


def test_two_classes_are_the_binary_regression_of_twice_the_strength():
    """Softmax weights +-v cost ||v||^2, where the vector w = 2 v of the logistic function costs ||w||^2 / 2."""
    x, y = problem(200, 5, classes=2, scale=0.3)
    found = fit_logistic(x, y, torch.tensor([0.5], dtype=F64), 2)
    w, b = (2 * each[0, 1] for each in (found.weight, found.bias))
    error = torch.sigmoid(x @ w + b) - y
    assert float((x.T @ error / 200 + w / (2 * 0.5 * 200)).abs().max()) < 1e-8
    assert abs(float(error.mean())) < 1e-8


def test_a_vanishing_strength_leaves_the_frequencies_and_no_weights():
    x, _ = problem(100, 3)
    y = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
    found = fit_logistic(x, y, torch.tensor([1e-12], dtype=F64), 3)
    shares = torch.tensor([0.7, 0.2, 0.1], dtype=F64)
    assert torch.allclose(found.log_prob(x)[0].exp(), shares.expand(100, 3), atol=1e-8)


@pytest.mark.parametrize(
    "mutant",
    [
        lambda x, y, c, w, b: cost(x, y, c, w, b) + b.square().sum() / (2 * c * len(x)),
        lambda x, y, c, w, b: cost(x, y, c * len(x), w, b),
        lambda x, y, c, w, b: cost(x, y, c / len(x), w, b),
        lambda x, y, c, w, b: cost(x, y, c / 2, w, b),
    ],
    ids=["the bias is penalised", "C N squared", "no division by N", "twice the penalty"],
)
def test_the_optimum_of_another_objective_is_told_apart(mutant):
    x, y = problem(200, 6, scale=0.5)
    y = torch.where(torch.arange(200) < 60, 0, y)
    found = fit_logistic(x, y, torch.tensor([0.1], dtype=F64), 4)
    leaves = [each[0].clone().requires_grad_() for each in (found.weight, found.bias)]
    mutant(x, y, 0.1, *leaves).backward()
    assert max(float(each.grad.abs().max()) for each in leaves) > 1e-4


def test_turned_features_turn_the_weights():
    x, y = problem()
    turn = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(5), dtype=F64))[0]
    first, second = (fit_logistic(each, y, SWEEP[:9], 4) for each in (x, x @ turn))
    assert torch.allclose(first.weight, second.weight @ turn.T, atol=1e-4)
    assert torch.allclose(first.objective, second.objective, rtol=1e-9)


def test_features_that_are_constant_or_said_twice_are_fine():
    x, y = problem()
    more = torch.cat([x, torch.zeros(300, 1), torch.full((300, 1), 7.0), x[:, :1]], 1).double()
    found = fit_logistic(more, y, SWEEP, 4)
    assert bool(found.converged.all())
    assert float(found.weight[:, :, 12:14].abs().max()) < 1e-9
    assert torch.allclose(found.weight[..., 0], found.weight[..., 14], atol=1e-6), "the norm is least when shared"


def test_no_variation_at_all_leaves_the_biases():
    y = torch.tensor([0, 0, 0, 1])
    found = fit_logistic(torch.ones(4, 3), y, SWEEP, 2)
    assert bool(found.converged.all()) and float(found.weight.abs().max()) == 0
    assert torch.allclose(found.log_prob(torch.ones(1, 3)).exp(), torch.tensor([0.75, 0.25], dtype=F64), atol=1e-7)


@pytest.mark.parametrize(("n", "d"), [(10, 40), (4, 7), (100, 16)])
def test_problems_of_one_shape_are_solved_as_each_would_be(n, d):
    draws = [problem(n, d, seed=seed) for seed in range(5)]
    x, y = (torch.stack(each) for each in zip(*draws, strict=True))
    together = fit_logistics(x, y, SWEEP[:9], 4)
    for found, (features, labels) in zip(together, draws, strict=True):
        alone = fit_logistic(features, labels, SWEEP[:9], 4)
        assert bool(found.converged.all()) and bool(alone.converged.all())
        assert torch.allclose(found.weight, alone.weight, atol=1e-4)


def test_strengths_come_back_in_the_order_they_were_given():
    x, y = problem()
    order = torch.tensor([3, 0, 5, 2])
    assert torch.allclose(fit_logistic(x, y, SWEEP[order], 4).objective, fit_logistic(x, y, SWEEP, 4).objective[order])


def test_credits_come_in_blocks(monkeypatch):
    x, y = problem()
    found = fit_logistic(x, y, SWEEP[:3], 4)
    whole = found.credits(x, y)
    monkeypatch.setattr("torchstone.suites.metrics.logistic.BLOCK", 100)
    assert torch.equal(whole, found.credits(x, y)) and whole.shape == (3, 300)


def test_blocks_of_rows_and_groups_of_strengths_change_nothing(monkeypatch):
    x, y = problem()
    whole = fit_logistic(x, y, SWEEP[:8], 4)
    monkeypatch.setattr("torchstone.suites.metrics.logistic_objective.BLOCK", 999)
    monkeypatch.setattr("torchstone.suites.metrics.logistic_newton.GROUP", 2400)
    assert torch.allclose(whole.weight, fit_logistic(x, y, SWEEP[:8], 4).weight, atol=1e-5)


def test_too_few_steps_are_owned_up_to():
    x, y = problem()
    found = fit_logistic(x, y, SWEEP, 4, iterations=1)
    assert isinstance(found, Logistic) and not bool(found.converged.all())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y, c: (x[:, 0], y, c), "Expected features"),
        (lambda x, y, c: (x, y[:-1], c), "got shapes"),
        (lambda x, y, c: (torch.where(x == x[3, 2], torch.nan, x), y, c), "NaN or infinite"),
        (lambda x, y, c: (x / 0, y, c), "NaN or infinite"),
        (lambda x, y, c: (x, y, -c), "above zero"),
        (lambda x, y, c: (x, y, torch.cat([c, c])), "given twice"),
        (lambda x, y, c: (x, y + 1, c), "Labels are 0"),
        (lambda x, y, c: (x, torch.where(y == 2, 1, y), c), r"Classes \[2\] have no example"),
    ],
)
def test_bad_input_is_a_sentence(change, words):
    x, y = problem(40, 3)
    with pytest.raises(ValueError, match=words):
        fit_logistic(*change(x, y, SWEEP), 4)


def test_classes_that_are_all_but_told_apart_have_an_optimum_too():
    """Digits of four by four pixels beside ten columns of noise: at large C weights are far and the curvature is flat.

    Conjugate gradients alone stop short of it here.
    """
    train, rng = digits().split("train"), torch.Generator().manual_seed(1)
    rows = torch.randperm(1300, generator=rng)[:1000]
    coarse = torch.nn.functional.avg_pool2d(train.x[rows, None].double(), 2).flatten(1)
    noise = torch.randint(10, (1000,), generator=torch.Generator().manual_seed(1))
    x = torch.cat([coarse, torch.nn.functional.one_hot(noise, 10)], 1)
    strengths = torch.logspace(-6, 5, 45, dtype=F64)[-6:]
    found = fit_logistic((x - x.mean(0)) / x.std(0), train.y[rows], strengths, 10)
    assert bool(found.converged.all()) and float(found.gradient.max()) < 1e-8


def test_the_written_hessian_is_the_derivative_of_the_gradient():
    from torchstone.suites.metrics.logistic_objective import Problem, _hessian, curve, evaluate

    x, y = problem(30, 3, classes=3, scale=1.0)
    given = Problem.of(x[None], y[None], 3, torch.tensor([0.1], dtype=F64))
    rng = torch.Generator().manual_seed(0)
    weight, way = (torch.randn(1, 1, 3, 4, generator=rng, dtype=F64) for _ in range(2))
    point, free = evaluate(given, weight, given.penalty), given.free(given.penalty)
    product = _hessian(given.x[0], point.p[0, 0], free[0, 0]) @ way.flatten()
    shared = torch.zeros(3, 4, dtype=F64)
    shared[:, -1] = way[0, 0, :, -1].sum()  # what it adds for biases that all classes share
    torch.testing.assert_close(product.view(3, 4) - shared, curve(given, point.p, free, way)[0, 0])
    ahead, behind = (evaluate(given, weight + e * way, given.penalty).gradient[0, 0] for e in (1e-6, -1e-6))
    torch.testing.assert_close((ahead - behind) / 2e-6, curve(given, point.p, free, way)[0, 0], rtol=1e-6, atol=1e-8)


def test_clusters_that_lie_far_apart_leave_no_curvature_and_are_solved_all_the_same():
    """Probabilities are zero and one to the last digit long before the penalty stops the weights."""
    rng, y = torch.Generator().manual_seed(5), torch.arange(270) % 3
    for apart in (5.0, 50.0):
        x = apart * torch.eye(3, 4, dtype=F64)[y] + torch.randn(270, 4, generator=rng, dtype=F64)
        found = fit_logistic((x - x.mean(0)) / x.std(0), y, torch.logspace(-6, 8, 15, dtype=F64), 3)
        assert bool(found.weight.isfinite().all()) and float(found.gradient.max()) < 1e-8
