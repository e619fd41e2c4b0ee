"""The best posterior of a family, example by example."""

import math

import pytest
import torch
from torch.distributions import (
    Beta,
    Categorical,
    Gamma,
    Independent,
    Laplace,
    LogNormal,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
    TransformedDistribution,
    Uniform,
    constraints,
)
from torch.distributions.transforms import ExpTransform
from torchstone_extension import honest

from torchstone.suites.supports import unvalidated
from torchstone.suites.variational_family import Family, family_refusal, log_weights, optimise

F64 = torch.float64
MODEL = honest.LinearGaussianVAE()
X = torch.tensor([[0.9, -0.4, 1.2]], dtype=F64)
TRUTH, FIRST, BEST = -3.545899506493611, -4.623879416314, -3.5461462525352596
APPROXIMATION, AMORTISATION = 2.467460e-4, 1.077733163779


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def log_joint(z):
    return MODEL.prior().log_prob(z) + MODEL.likelihood(z).log_prob(X)


def encoder(n=1):
    mean, variance = torch.tensor([[0.2, -0.3]], dtype=F64), torch.tensor([[0.3, 0.2]], dtype=F64)
    return Independent(Normal(mean.expand(n, 2), variance.sqrt().expand(n, 2)), 1)


def elbo(q):
    """In closed form, of a posterior with independent latents."""
    mean, variances = q.base_dist.loc, q.base_dist.scale**2
    residual = X - MODEL.b - mean @ MODEL.w.T
    spread = (variances[:, None] * MODEL.w**2).sum((1, 2))
    reconstruction = -1.5 * math.log(2 * math.pi * 0.25) - 0.5 * (residual.square().sum(1) + spread) / 0.25
    return reconstruction - 0.5 * (mean**2 + variances - 1 - variances.log()).sum(1)


def test_the_optimum_is_the_best_mean_field_posterior():
    """Gaps of known size: of the family, and of the encoder."""
    with unvalidated():
        found = optimise(encoder(2), log_joint, seeded(0))
    assert bool(found.converged.all())
    q = found.posterior
    assert float((q.mean - torch.tensor([0.763250447, -0.332140433], dtype=F64)).abs().max()) < 2e-3
    assert float((q.variance / torch.tensor([0.181159420, 0.106382979], dtype=F64) - 1).abs().max()) < 1e-2
    assert elbo(encoder()).tolist() == pytest.approx([FIRST], rel=1e-9)
    for value in elbo(q).tolist():
        assert -1e-12 <= BEST - value < 1e-5
        assert TRUTH - value == pytest.approx(APPROXIMATION, abs=1e-5)
        assert value - FIRST == pytest.approx(AMORTISATION, abs=1e-5)


def test_the_best_posterior_there_is_has_the_known_bound():
    q = Independent(
        Normal(torch.tensor([[0.7632504473375701, -0.3321404331461713]], dtype=F64),
               torch.tensor([[0.18115942028985504, 0.10638297872340423]], dtype=F64).sqrt()), 1)  # fmt: skip
    assert elbo(q).tolist() == pytest.approx([BEST], rel=1e-9)
    assert TRUTH - float(elbo(q)) == pytest.approx(APPROXIMATION, rel=1e-6)


def test_a_family_that_holds_the_truth_leaves_no_gap():
    """A full covariance: every draw has the same weight, p(x)."""
    start = MultivariateNormal(torch.zeros(1, 2, dtype=F64), torch.eye(2, dtype=F64)[None])
    with unvalidated():
        found = optimise(start, log_joint, seeded(1))
    log_w = log_weights(found.posterior, log_joint, seeded(2), 1000)
    assert float(log_w.mean()) == pytest.approx(TRUTH, abs=1e-5)
    assert float(log_w.std()) < 1e-3


def test_bounds_are_measured_on_fresh_noise():
    """The mutant judges a posterior on the very draws that it was fitted to, and beats the truth."""
    torch.manual_seed(0)
    noise = torch.randn(2, 1, 2, dtype=F64)
    mean, log_scale = (torch.zeros(1, 2, dtype=F64, requires_grad=True) for _ in range(2))
    optimiser = torch.optim.Adam([mean, log_scale], 0.05)
    for _ in range(400):
        optimiser.zero_grad()
        q = Independent(Normal(mean, log_scale.exp()), 1)
        z = mean + log_scale.exp() * noise
        fitted = (log_joint(z) - q.log_prob(z)).mean()
        (-fitted).backward()
        optimiser.step()
    assert float(fitted.detach()) > TRUTH + 0.1
    log_w = log_weights(Independent(Normal(mean.detach(), log_scale.detach().exp()), 1), log_joint, seeded(3), 4000)
    assert float(log_w.mean()) < TRUTH
    found = optimise(encoder(), log_joint, seeded(0), samples=2, evaluation=20, most_blocks=6)
    log_w = log_weights(found.posterior, log_joint, seeded(3), 4000)
    assert float(log_w.mean()) - TRUTH < 4 * float(log_w.std()) / math.sqrt(4000)


def test_a_bound_on_fresh_noise_is_that_of_the_posterior():
    log_w = log_weights(encoder(200), log_joint, seeded(0), 500)
    assert log_w.shape == (500, 200) and log_w.dtype == F64
    assert abs(float(log_w.mean()) - FIRST) < 4 * float(log_w.std()) / math.sqrt(log_w.numel())


def test_examples_stop_one_by_one_and_then_stay_as_they_are():
    """One begins at the optimum, the other far from it: they take different numbers of blocks."""
    mean = torch.tensor([[0.76325, -0.33214], [8.0, -8.0]], dtype=F64)
    scale = torch.tensor([[0.42563, 0.32616], [0.05, 3.0]], dtype=F64)
    with unvalidated():
        found = optimise(
            Independent(Normal(mean, scale), 1), log_joint, seeded(0), block=50, patience=3, learning_rate=0.1
        )
    first, second = found.blocks.tolist()
    assert 3 <= first < second
    assert float((elbo(found.posterior) - BEST).abs().max()) < 1e-2


def test_a_search_that_runs_out_of_blocks_says_so():
    found = optimise(encoder(), log_joint, seeded(0), most_blocks=2, block=5)
    assert found.blocks.tolist() == [2] and found.converged.tolist() == [False]


def test_no_posterior_comes_out_worse_than_it_went_in():
    """A likelihood that is NaN nearly everywhere: what was there at first is kept."""
    found = optimise(
        encoder(), lambda z: log_joint(z) * math.nan, seeded(0), block=2, patience=2, samples=2, evaluation=2
    )
    torch.testing.assert_close(found.posterior.mean, encoder().mean)
    assert found.converged.tolist() == [True]


def test_a_search_depends_on_its_generator_alone():
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(runs))
        runs.append(optimise(encoder(), log_joint, seeded(seed), most_blocks=1, block=5).posterior.mean)
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


FAMILIES = [
    Independent(Normal(torch.randn(4, 2), torch.rand(4, 2) + 0.1), 1),
    Independent(Laplace(torch.randn(4, 2, 3), torch.rand(4, 2, 3) + 0.1), 2),
    Independent(Gamma(torch.rand(4, 2) + 1, torch.rand(4, 2) + 1), 1),
    Independent(Beta(torch.rand(4, 2) + 1, torch.rand(4, 2) + 1), 1),
    Independent(StudentT(torch.full((4, 2), 5.0), torch.randn(4, 2), torch.ones(4, 2)), 1),
    Independent(LogNormal(torch.randn(4, 2), torch.ones(4, 2)), 1),
    MultivariateNormal(torch.randn(4, 2), torch.tensor([[2.0, 0.3], [0.3, 1.0]])),
    LowRankMultivariateNormal(torch.randn(4, 3), torch.randn(4, 3, 1), torch.rand(4, 3) + 0.5),
    Normal(torch.randn(4), 1.0),
]


@pytest.mark.parametrize("q", FAMILIES, ids=lambda q: type(getattr(q, "base_dist", q)).__name__)
def test_a_family_is_rebuilt_from_its_leaves(q):
    family = Family.of(q)
    rebuilt = family.build(family.leaves)
    z = q.sample()
    torch.testing.assert_close(rebuilt.log_prob(z), q.log_prob(z), rtol=1e-4, atol=1e-4)
    assert all(leaf.shape[0] == 4 and not leaf.requires_grad for leaf in family.leaves)
    free = tuple((leaf + 1).requires_grad_() for leaf in family.leaves)
    family.build(free).rsample().sum().backward()
    assert any(leaf.grad is not None and bool(leaf.grad.isfinite().all()) for leaf in free)


class Hierarchy(torch.distributions.Distribution):
    """Two levels in one latent, whose parameters are networks."""

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    has_rsample = True


class Rescaled(Normal):
    """Keeps twice the scale that it was given."""

    def __init__(self, loc, scale):
        super().__init__(loc, 2 * scale)


REFUSED = [
    (Independent(Categorical(torch.ones(4, 2, 3)), 1), "Categorical draws without a gradient"),
    (TransformedDistribution(Normal(torch.zeros(4), 1.0), [ExpTransform()]), "declares no parameters"),
    (Hierarchy(torch.Size((4,)), torch.Size((3,))), "Hierarchy declares no parameters"),
    (MixtureSameFamily(Categorical(torch.ones(4, 2)), Normal(torch.zeros(4, 2), 1.0)), "without a gradient"),
    (Uniform(torch.zeros(4), torch.ones(4)), "depend on each other"),
    (Independent(Normal(torch.zeros(2), 1.0), 1), "batch shape"),
    (Rescaled(torch.zeros(4), torch.ones(4)), "another distribution"),
]


@pytest.mark.parametrize(("q", "sentence"), REFUSED, ids=lambda v: v.split()[0] if isinstance(v, str) else "")
def test_families_that_cannot_be_rebuilt_are_refused_with_a_sentence(q, sentence):
    reason = family_refusal(q)
    assert sentence in reason and reason.endswith(".")
    with pytest.raises(ValueError, match=sentence):
        optimise(q, log_joint, seeded(0))
