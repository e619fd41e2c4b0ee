"""The density suite gives the right number, of the right kind, with the right uncertainty."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torchstone_extension import honest, mutants
from torchstone_extension.data import counts, dataset

from torchstone.models import Continuous, Discrete, ModelError, Space, Split
from torchstone.models.implicit.diffusion import Diffusion
from torchstone.results import Kind
from torchstone.suites.context import Context
from torchstone.suites.data import Dataset
from torchstone.suites.data.embedded import digits, patches
from torchstone.suites.data.synthetic import bernoulli, ising, linear_gaussian, markov, mixture, truth
from torchstone.suites.density import Density
from torchstone.suites.dequantisation import Dequantiser

REALS = Continuous(-math.inf, math.inf)


def score(evaluation, metric):
    return next(s for s in evaluation.scores if s.metric == metric)


# Exact values


def test_a_discretised_logistic_mixture_is_measured_exactly(measure):
    """Fixture: 0.6 L(0.1, e^-3) + 0.4 L(-0.5, e^-2) at the levels 0, 140 and 255."""
    x = torch.tensor([[0], [140], [255]])
    evaluation = measure(honest.DiscretisedLogistics(Space((1,), Discrete(256))), dataset(x, 256))
    known = [-4.607110187626037, -3.7346560765063717, -11.969467854821929]
    assert evaluation.columns["nll"].tolist() == pytest.approx([-v for v in known], rel=1e-9)
    assert score(evaluation, "nll").kind is Kind.EXACT
    assert score(evaluation, "bits_per_dim").value == pytest.approx(-sum(known) / 3 / math.log(2), rel=1e-9)


def test_a_hidden_markov_model_is_measured_exactly(measure):
    evaluation = measure(honest.HMM(), dataset(torch.tensor([[0, 1, 1, 0, 1]]), 2))
    assert score(evaluation, "nll").value == pytest.approx(3.677553238541235, rel=1e-9)


def test_a_hidden_markov_model_sums_to_one_over_its_32_sequences_and_has_its_entropy(measure):
    sequences = torch.cartesian_prod(*[torch.arange(2)] * 5)
    log_prob = -measure(honest.HMM(), dataset(sequences, 2)).columns["nll"]
    assert float(log_prob.exp().sum()) == pytest.approx(1.0, abs=1e-12)
    assert float(-(log_prob.exp() * log_prob).sum()) == pytest.approx(3.40466261287756, rel=1e-9)


def test_an_affine_flow_on_continuous_data_is_exact_in_nats_and_has_no_bits(measure):
    x = torch.ones(1, 2, dtype=torch.float64)
    evaluation = measure(honest.AffineFlow(), dataset(x, 0, support=REALS))
    assert [(s.metric, s.kind) for s in evaluation.scores] == [("nll", Kind.EXACT)]
    assert evaluation.scores[0].value == pytest.approx(4.2386293958836845, rel=1e-9)
    wrong = measure(honest.AffineFlow(sign=-1.0), dataset(x, 0, support=REALS))
    assert wrong.scores[0].value == pytest.approx(3.3621195340213745, rel=1e-9)


@pytest.mark.parametrize("source", [bernoulli, markov, ising, mixture, linear_gaussian])
def test_the_truth_has_no_excess(measure, source):
    """Three standard errors, at fixed data: a right entropy fails 0.3 % of fixed draws."""
    data = source()
    evaluation = measure(truth(source=data.source), data, batch_size=500)
    excess = evaluation.scores[-1]
    assert excess.metric.startswith("excess") and excess.stderr > 0
    assert abs(excess.value) < 3 * excess.stderr


# Units: D is what is stored, bits are nats over ln 2


def test_noise_in_colour_costs_eight_bits_for_every_sub_pixel(measure):
    data = patches()
    evaluation = measure(honest.Uniform(data.space, discrete=True), data, batch_size=500)
    assert score(evaluation, "bits_per_dim").value == pytest.approx(8.0, rel=1e-12)
    assert score(evaluation, "nll").value == pytest.approx(3 * 8 * 8 * math.log(256), rel=1e-12)
    assert evaluation.contract["dims"] == 192


def test_text_is_measured_in_bits_per_byte(measure):
    data = dataset(torch.randint(256, (5, 16), generator=torch.Generator().manual_seed(0)), 256, text=True)
    evaluation = measure(honest.Uniform(data.space, discrete=True), data)
    assert [s.metric for s in evaluation.scores] == ["nll", "bits_per_byte"]
    assert score(evaluation, "bits_per_byte").value == pytest.approx(8.0, rel=1e-12)


def test_a_model_with_its_own_vocabulary_pays_for_every_token_and_the_end_and_for_no_padding(measure):
    """The windows aabb, abcd and aaab have 3, 5 and 4 tokens, each worth ln 513."""
    data = dataset(torch.tensor([list(b"aabb"), list(b"abcd"), list(b"aaab")]), 256, text=True)
    evaluation = measure(honest.Pairs(data.space), data)
    assert evaluation.columns["nll"].tolist() == pytest.approx([n * math.log(513) for n in (3, 5, 4)], rel=1e-12)
    bits = score(evaluation, "bits_per_byte")
    assert bits.value == pytest.approx(12 * math.log2(513) / 12, rel=1e-12)
    assert bits.kind is Kind.UPPER_BOUND, "other tokens may spell the same bytes"
    with pytest.raises(ModelError, match="shorten the windows"):
        measure(honest.Pairs(data.space, length=3), data)
    assert "is no text" in Density().skip(honest.Pairs(data.space), counts())


def test_tokens_that_lose_bytes_are_refused(measure):
    class Lossy(honest.Pairs):
        def detokenise(self, tokens):
            return super().detokenise(tokens).lower()

    data = dataset(torch.tensor([list(b"aAbB")]), 256, text=True)
    with pytest.raises(ModelError, match="loses bytes"):
        measure(Lossy(data.space), data)


# Dequantisation: the harness draws the noise and adds the constant of the map


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.0, 256.0), (-0.5, 0.5)])
def test_noise_costs_eight_bits_whatever_interval_a_model_lives_on(measure, low, high):
    """Kills the forgotten constant, and the constant of another interval."""
    data = patches()
    evaluation = measure(honest.Uniform(data.space, low=low, high=high), data, batch_size=500, replicates=1)
    assert score(evaluation, "bits_per_dim").value == pytest.approx(8.0, rel=1e-12)
    assert score(evaluation, "bits_per_dim").kind is Kind.UPPER_BOUND
    assert evaluation.contract["dequantisation"] == "uniform"


def test_255_bins_are_not_256():
    """The affine map and its constant are checked against each other; a constant for 256 on a map by 255 is refused."""
    with pytest.raises(ModelError, match="one affine map"):
        Dequantiser(mutants.Slope255(0.0, 1.0), 256, 1)
    error = math.log(256 / 255) / math.log(2)
    assert error == pytest.approx(0.005646563141142043, rel=1e-9)
    right = Dequantiser(Continuous(0.0, 256 / 255), 256, 1).log_volume
    assert -right / math.log(2) == pytest.approx(8.0 - error, rel=1e-12)


def test_the_uniform_bound_of_a_normal_has_its_known_value_and_slack(measure):
    """N(2.3, 0.6²) on unit bins; Monte-Carlo within four standard errors (false alarms: 3 in 10,000 for the five)."""
    exact = [-4.195252951428042, -1.2261931964277704, -0.5624874830834412, -2.125533745700473, -6.074903349608158]
    bound = [-5.023853650179422, -1.412742539068311, -0.5794092057349784, -2.5238536501794235, -7.246075872401645]
    x = torch.arange(5)[:, None]
    evaluation = measure(honest.Normal1D(Space((1,), Discrete(5))), dataset(x, 5), replicates=4000)
    for nll, stderr, known, mass in zip(
        evaluation.columns["nll"].tolist(), evaluation.columns["nll_stderr"].tolist(), bound, exact, strict=True
    ):
        assert abs(nll + known) < 4 * stderr
        assert -nll < mass
    edges = stats.norm(2.3, 0.6).cdf(np.arange(6.0))
    assert np.log(np.diff(edges)).tolist() == pytest.approx(exact, rel=1e-9)


def test_the_uniform_bound_is_the_integral_of_the_log_density_over_the_bin():
    """The map of the harness, integrated by Gauss-Legendre quadrature, gives the closed form of the bound."""
    nodes, weights = map(torch.as_tensor, np.polynomial.legendre.leggauss(20))
    support = Continuous(0.0, 5.0)
    model = honest.Normal1D(Space((1,), Discrete(5)))
    constant = Dequantiser(support, 5, 1).log_volume
    for x, known in enumerate([-5.023853650179422, -1.412742539068311, -0.5794092057349784]):
        u = support.dequantise(torch.full((20, 1), x), ((nodes + 1) / 2)[:, None], 5)
        assert float((weights / 2 * (model.log_prob(u) + constant)).sum()) == pytest.approx(known, rel=1e-9)


def test_noise_fills_each_bin_and_comes_back_through_the_floor():
    """No second noise is possible: what reaches the model is in the bin of its level, and uniform there."""
    support = Continuous(-1.0, 1.0)
    x = torch.arange(17).repeat(4000)
    u = Dequantiser(support, 17, 1)(x, torch.Generator().manual_seed(0), torch.float32)
    assert torch.equal(support.quantise(u, 17), x)
    inside = ((u.double() + 1) / 2 * 17 - x).numpy()
    assert stats.kstest(inside, "uniform").pvalue > 1e-3


def test_noise_never_touches_the_limits_of_the_support():
    """The largest noise at the last level would round to the upper limit in float32, where a logit is infinite."""
    support = Continuous(0.0, 1.0)

    x = torch.tensor([0, 16])
    u = support.dequantise(x, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64), 17).to(torch.float32)
    assert u.tolist() == [0.0, 1.0]
    given = Dequantiser(support, 17, 1)(torch.full((100_000,), 16), torch.Generator().manual_seed(1), torch.float16)
    assert float(given.max()) < 1.0 and float(given.min()) > 0.0


def test_spikes_of_density_on_undequantised_values_win_nothing(measure):
    data = patches()
    evaluation = measure(mutants.Lattice(data.space), data, batch_size=500, replicates=1)
    assert score(evaluation, "bits_per_dim").value == pytest.approx(
        8.0, abs=1e-3
    )  # in float32 a few values fall on a spike
    undequantised = mutants.Lattice(data.space).log_prob(data.split("test").x[:1] / 256)
    assert float(undequantised) == pytest.approx(20.0 * 192)


# Bounds of latent-variable models


@pytest.mark.parametrize(
    ("k", "known"),
    [(1, -1.9740398868634286), (2, -1.9101808625275856), (10, -1.878051071228584), (100, -1.8722871131088832)],
)
def test_the_importance_weighted_bound_has_its_known_expectation(measure, k, known):
    """One latent, x = 1.5; Monte-Carlo over 5,000 draws within four standard errors (false alarms 6e-5)."""
    x = torch.full((500, 1), 1.5, dtype=torch.float64)
    evaluation = measure(
        honest.GaussianVAE(), dataset(x, 0, support=REALS), importance_samples=k, batch_size=4000, replicated_bounds=500
    )
    nll = score(evaluation, "nll")
    assert nll.kind is Kind.UPPER_BOUND
    assert abs(nll.value + known) < 4 * nll.parameters["estimator_stderr"]
    assert nll.parameters["importance_samples"] == k
    assert evaluation.contract["importance_samples"] == k


def test_with_the_exact_posterior_every_weight_is_the_density(measure):
    x = torch.tensor([[0.9, -0.4, 1.2]], dtype=torch.float64)
    evaluation = measure(honest.LinearGaussianVAE(), dataset(x, 0, support=REALS), importance_samples=3, replicates=2)
    assert score(evaluation, "nll").value == pytest.approx(3.545899506493611, rel=1e-9)


def test_a_mean_of_elbos_is_no_tighter_than_one(measure):
    """A bare bound is averaged over its draws: its expectation is the ELBO, and nothing tighter."""
    x = torch.full((500, 1), 1.5, dtype=torch.float64)
    evaluation = measure(honest.FreeBound(), dataset(x, 0, support=REALS))
    nll = score(evaluation, "nll")
    assert abs(nll.value - 1.9740398868634286) < 4 * nll.parameters["estimator_stderr"]
    assert evaluation.contract["estimator"] == "elbo" and evaluation.contract["importance_samples"] is None


def test_every_example_is_bounded_with_its_own_latents(measure):
    """With the exact posterior the bound is the density itself, example by example; blocks and pieces are uneven."""
    data = linear_gaussian()
    evaluation = measure(honest.LinearGaussianVAE(), data, importance_samples=60, batch_size=999, replicated_bounds=70)
    x, _ = data.split("test").batch(0, len(data.split("test")))
    assert torch.allclose(-evaluation.columns["nll"], data.source.log_prob(x), rtol=1e-9)


def test_the_error_of_an_example_is_that_of_its_mean(measure):
    """Four times the replicates halve it: on 60 examples the ratio is within a tenth of two."""
    data = counts()
    few, many = (
        measure(honest.Normal1D(Space((2,), Discrete(5))), data, replicates=r).columns["nll_stderr"] for r in (200, 800)
    )
    assert float(few.mean() / many.mean()) == pytest.approx(2.0, abs=0.2)


@pytest.mark.slow
def test_the_reported_standard_error_is_right(measure):
    """Over 200 seeds, z-scores of the bound against its expectation have a standard deviation in [0.85, 1.15]."""
    x = torch.full((50, 1), 1.5, dtype=torch.float64)
    data, z = dataset(x, 0, support=REALS), []
    for seed in range(200):
        evaluation = measure(honest.GaussianVAE(), data, importance_samples=2, seed=seed, batch_size=400)
        nll = score(evaluation, "nll")
        z.append((nll.value - 1.9101808625275856) / nll.parameters["estimator_stderr"])
    assert 0.85 < torch.tensor(z).std() < 1.15
    assert abs(torch.tensor(z).mean()) < 4 / math.sqrt(200)


def test_the_error_over_examples_and_that_of_the_estimator_are_kept_apart(measure):
    data = digits()
    evaluation = measure(honest.Uniform(data.space), data, replicates=3)
    nll = score(evaluation, "nll")
    assert nll.parameters["replicates"] == 3 and nll.parameters["replicated_examples"] == nll.n
    assert nll.parameters["estimator_stderr"] == pytest.approx(0.0, abs=1e-12)
    once = measure(honest.Normal1D(Space((2,), Discrete(5))), counts(), replicates=1)
    assert score(once, "nll").parameters["estimator_stderr"] is None
    twice = measure(honest.Normal1D(Space((2,), Discrete(5))), counts(), replicates=5, replicated_examples=10, block=10)
    nats, bits = (score(twice, metric).parameters["estimator_stderr"] for metric in ("nll", "bits_per_dim"))
    assert 0 < nats < score(twice, "nll").stderr
    assert bits == pytest.approx(nats / (2 * math.log(2)))
    assert score(twice, "nll").parameters["replicated_examples"] == 10
    assert twice.columns["nll_stderr"].isnan().tolist() == [False] * 10 + [True] * 50


# Every example once, whatever the batches


@pytest.mark.parametrize("batch_size", [1, 7, 60, 1000])
def test_every_example_is_asked_once_whatever_the_batches(measure, batch_size):
    data = dataset(torch.arange(60)[:, None], 60)
    asked: list[int] = []

    class Counting(honest.Uniform):
        def log_prob(self, x, y=None):
            asked.extend(x[:, 0].tolist())
            return -x[:, 0].double()

    evaluation = measure(Counting(data.space, discrete=True), data, batch_size=batch_size)
    assert asked[-60:] == list(range(60)) and len(asked) == 60
    assert evaluation.columns["nll"].tolist() == list(range(60)) == evaluation.ids.tolist()
    assert evaluation.contract["examples"] == score(evaluation, "nll").n == 60


def test_the_last_batch_of_sixteen_weighs_no_more_than_its_examples(measure):
    """10,000 examples in batches of 128: a mean of batch means would give 3.0253 where 3.0032 is right."""
    x = torch.zeros(10_000, 1, dtype=torch.long)
    x[9984:] = 1

    class Step(honest.Uniform):
        def log_prob(self, x, y=None):
            return -(3.0 + 2.0 * x[:, 0].double())

    data = dataset(x, 2)
    evaluation = measure(Step(data.space, discrete=True), data, batch_size=128)
    assert score(evaluation, "nll").value == pytest.approx(3.0032, rel=1e-12)
    assert score(evaluation, "nll").n == 10_000


@pytest.mark.parametrize("model", [honest.GaussianVAE, honest.FreeBound])
def test_stochastic_numbers_do_not_depend_on_the_batch_size(measure, model):
    x = torch.linspace(-2, 2, 120, dtype=torch.float64)[:, None]
    data = dataset(x, 0, support=REALS)
    small, large = (measure(model(), data, batch_size=size, importance_samples=70) for size in (3, 1000))
    assert torch.allclose(small.columns["nll"], large.columns["nll"], rtol=1e-12)
    other = measure(model(), data, seed=1, importance_samples=70)
    assert not torch.allclose(small.columns["nll"], other.columns["nll"])


def test_dequantisation_noise_is_the_same_for_every_model(measure):
    seen: list[torch.Tensor] = []

    class Spy(honest.Uniform):
        def log_prob(self, x, y=None):
            seen.append(x.clone())
            return super().log_prob(x)

    data = counts()
    for size in (60, 1000):
        measure(Spy(data.space), data, batch_size=size, replicates=1)
    first, second = torch.cat(seen[: len(seen) // 2]), torch.cat(seen[len(seen) // 2 :])
    assert torch.equal(first, second)


def test_every_block_has_noise_of_its_own(measure):
    data = dataset(torch.full((100, 1), 2), 5)
    nll = measure(honest.Normal1D(data.space), data, replicates=1, block=50).columns["nll"]
    assert not torch.allclose(nll[:50], nll[50:])


@pytest.mark.parametrize("mutant", [5.0, 0.1, -0.5])
def test_probabilities_of_distinct_examples_that_add_to_more_than_one_are_warned_of(measure, mutant):
    """Without knowing the truth; copies of an example count once, so that a point mass is honest."""

    class Constant(honest.Uniform):
        def log_prob(self, x, y=None):
            return torch.full((len(x),), mutant)

    data = counts()
    warnings = measure(Constant(data.space, discrete=True), data).warnings
    assert len(warnings) == 1 and "no probability of discrete data" in warnings[0]
    single = dataset(torch.zeros(50, 2, dtype=torch.long), 5)
    assert bool(measure(Constant(single.space, discrete=True), single).warnings) == (mutant > 0)
    assert measure(honest.Uniform(data.space, discrete=True), data).warnings == ()


def test_a_mean_over_dimensions_is_warned_of_where_the_truth_is_not_known(measure):
    class PerDim(honest.Uniform):
        def log_prob(self, x, y=None):
            return super().log_prob(x) / x[0].numel()

    data = digits()
    assert "no probability" in measure(PerDim(data.space, discrete=True), data, batch_size=300).warnings[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_densities_in_half_precision_are_refused(dtype):
    """The noise of dequantisation would be rounded away, and probabilities would not add to one."""
    from torchstone.models.exact.independent import Independent

    data = counts()
    assert "measure model.float()" in Density().skip(Independent(data.space).to(dtype), data)


def test_a_model_that_works_in_place_harms_nobody_but_itself(measure):
    class InPlace(honest.AffineFlow):
        def log_prob(self, x, y=None):
            answer = super().log_prob(x)
            x -= 100.0
            return answer

    data = dataset(torch.ones(5, 2, dtype=torch.float64), 0, support=REALS)
    first, second = (score(measure(InPlace(), data), "nll").value for _ in range(2))
    assert first == second == pytest.approx(4.2386293958836845)


def test_the_split_that_is_asked_for_is_the_one_that_is_measured(measure):
    """A value that the support cannot hold is looked for in that split, and only there."""
    splits = {
        name: Split(torch.full((n, 1), value), None, torch.arange(n))
        for name, n, value in (("train", 3, 7), ("validation", 4, 1), ("test", 5, 2))
    }
    data = Dataset("three", Space((1,), Discrete(5)), splits, licence="CC0-1.0")

    class Cost(honest.Uniform):
        def log_prob(self, x, y=None):
            return -x[:, 0].double()

    model = Cost(data.space, discrete=True)
    for split, n, value in (("validation", 4, 1.0), ("test", 5, 2.0)):
        evaluation = measure(model, data, split=split)
        assert (score(evaluation, "nll").value, evaluation.contract["split"], len(evaluation.ids)) == (value, split, n)
    assert "(train) has a value outside" in Density(split="train").skip(model, data)


def test_memory_that_runs_out_halves_the_batch_and_nothing_is_lost():
    data = counts()
    context = Context(batch_size=64)
    evaluation = Density().evaluate(mutants.Hungry(data.space), data, context)
    assert score(evaluation, "nll").n == 60 and score(evaluation, "nll").value == 5.0
    assert context.batch_size <= 10 and context.halvings == 3


def test_memory_that_is_never_enough_is_an_error():
    data = counts()
    with pytest.raises(torch.OutOfMemoryError):
        Density().evaluate(mutants.Insatiable(data.space), data, Context())


# What is not finite, and what no density can do


@pytest.mark.parametrize("value", [math.nan, -math.inf, math.inf])
def test_a_log_density_that_is_not_finite_is_counted_and_worth_infinity(measure, value):
    data = counts()

    class Once(honest.Uniform):
        def log_prob(self, x, y=None):
            answer = super().log_prob(x)
            answer[(x == x.max()).all(1)] = value
            return answer

    evaluation = measure(Once(data.space, discrete=True), data)
    lost = int((data.split("test").x == 4).all(1).sum())
    for found in evaluation.scores:
        assert found.value == math.inf and found.stderr is None and found.ci95 is None
        assert found.parameters["nonfinite"] == lost > 0
    assert int(evaluation.columns["nll"].isinf().sum()) == lost
    assert "not finite" in evaluation.warnings[0]


def test_one_replicate_that_is_not_finite_costs_its_example(measure):
    class Sometimes(honest.Uniform):
        def log_prob(self, x, y=None):
            return torch.where(x[:, 0] < 0.02, torch.nan, super().log_prob(x))

    data = counts()
    evaluation = measure(Sometimes(data.space), data, replicates=5)
    lost = score(evaluation, "nll").parameters["nonfinite"]
    assert 0 < lost < 12 and score(evaluation, "nll").value == math.inf  # only the twelve zeros come so low


def test_a_mean_over_dimensions_beats_the_truth_and_is_warned_of(measure):
    """The right shape, a quarter of the size: the e-value against the true source says that it is no density."""
    data = bernoulli()
    evaluation = measure(mutants.MeanOverDims(data.source), data, batch_size=500)
    assert score(evaluation, "excess_bits_per_dim").value < 0
    assert any("does not sum to one" in warning for warning in evaluation.warnings)
    assert measure(data.source, data, batch_size=500).warnings == ()


@pytest.mark.parametrize(
    ("mutant", "sentence"),
    [
        (mutants.Averaged, r"shape \(\) for 7 examples"),
        (mutants.PerDimension, r"shape \(7, 2\) for 7 examples"),
        (mutants.Integers, "torch.int64"),
        (mutants.NotATensor, "returned a list"),
        (mutants.Dependent, "no event shape"),
        (mutants.GaussianOnIntegers, "declare the support that the density is on"),
        (mutants.LooseLikelihood, "likelihood"),
    ],
)
def test_an_answer_of_the_wrong_shape_or_type_is_named(measure, mutant, sentence):
    data = counts()
    with pytest.raises(ModelError, match=sentence):
        measure(mutant(data.space), data)


def test_distributions_check_themselves_even_where_a_library_has_turned_that_off(measure, monkeypatch):
    """Importing zuko does so for the whole process."""
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", False)
    data = counts()
    with pytest.raises(ValueError, match="scale"):
        measure(mutants.Refused(data.space), data)
    assert torch.distributions.Distribution._validate_args is False


# What cannot be measured is refused with a reason


def test_models_that_cannot_hold_the_data_are_refused_with_a_reason():
    discrete, continuous = counts(), dataset(torch.zeros(3, 2), 0, support=REALS)
    suite = Density()
    assert "has no density" in suite.skip(mutants.NoDensity(discrete.space), discrete)
    assert "levels=5" in suite.skip(mutants.FewLevels(discrete.space), discrete)
    assert "shape (3,)" in suite.skip(honest.LinearGaussianVAE(), discrete)
    assert "unbounded" in suite.skip(honest.AffineFlow(), discrete)
    assert "discrete model" in suite.skip(honest.Uniform(discrete.space, discrete=True), continuous)
    assert "reaches from" in suite.skip(honest.Uniform(continuous.space), continuous)
    assert "takes labels" in suite.skip(honest.Labelled(Space((2,), Discrete(5), classes=3)), discrete)


def test_an_example_outside_of_the_declared_support_is_named():
    data = dataset(torch.tensor([[0, 1], [4, 5], [1, 1]]), 5)
    reason = Density().skip(honest.Uniform(data.space, discrete=True), data)
    assert reason.startswith("Example 1 of given (test) has a value outside 0 to 4")


# Conditional models


def test_a_conditional_model_gets_the_true_labels_and_says_so(measure):
    x = torch.arange(6).repeat(2, 1).T.contiguous()
    y = torch.tensor([0, 1, 2, 0, 0, 0])
    data = dataset(x, 6, y=y, classes=3)
    evaluation = measure(honest.Labelled(data.space), data)
    hit, miss = -2 * math.log(0.5 / 6 + 0.5), -2 * math.log(0.5 / 6)
    assert evaluation.columns["nll"].tolist() == pytest.approx([hit, hit, hit, miss, miss, miss])
    assert evaluation.contract["conditional"] is True
    assert measure(honest.Uniform(data.space, discrete=True), data).contract["conditional"] is False


def test_labels_go_with_their_examples_through_replicates_and_samples(measure):
    y = torch.arange(120) % 3
    x = torch.linspace(-2, 2, 120, dtype=torch.float64)[:, None]
    bound = measure(
        honest.LabelledNormal(Space((1,), REALS, 3)),
        dataset(x, 0, support=REALS, y=y, classes=3),
        importance_samples=60,
        replicates=2,
    )
    known = 0.5 * math.log(4 * math.pi) + (x[:, 0] - y) ** 2 / 4
    assert torch.allclose(bound.columns["nll"], known, rtol=1e-9)
    discrete = dataset(torch.zeros(120, 2, dtype=torch.long), 4, y=y, classes=3)
    dequantised = measure(honest.LabelledUniform(discrete.space), discrete, replicates=3)
    assert torch.allclose(dequantised.columns["nll"], y.double() + 2 * math.log(4), rtol=1e-9)


def test_an_unconditional_model_never_sees_a_label(measure):
    class Spy(honest.Uniform):
        def log_prob(self, x, y=None):
            assert y is None
            return super().log_prob(x)

    data = dataset(torch.zeros(9, 2, dtype=torch.long), 4, y=torch.zeros(9, dtype=torch.long), classes=3)
    for discrete in (True, False):
        assert measure(Spy(data.space, discrete=discrete), data).contract["conditional"] is False


def test_a_conditional_number_has_no_excess_and_may_beat_the_entropy_unwarned(measure):
    """Labels carry information: below the entropy of x alone is where a conditional density belongs."""
    source = bernoulli()
    x, _ = source.split("test").batch(0, 200)
    y = x[:, 0]
    data = dataset(x, 2, y=y, classes=2, source=source.source)

    class Better(honest.Labelled):
        def log_prob(self, x, y=None):
            assert y is not None
            return torch.full((len(x),), -0.1)

    evaluation = measure(Better(data.space), data)
    assert [s.metric for s in evaluation.scores] == ["nll", "bits_per_dim"] and evaluation.warnings == ()


def test_the_bound_of_a_diffusion_chain_is_taken_apart_and_says_its_length():
    """Parts are means over replicates, and add up to the cost of each example."""
    model = Diffusion(Space((4, 4), Discrete(5)), timesteps=7, width=16, blocks=1)
    data = dataset(torch.randint(5, (23, 4, 4), generator=torch.Generator().manual_seed(0)), 5)
    found = Density(replicates=3, replicated_examples=10, block=5).evaluate(model, data, Context())
    scores = {score.metric: score for score in found.scores}
    parts = [scores[f"part_{name}"] for name in ("L_T", "L_t", "L_0")]
    assert sum(part.value for part in parts) == pytest.approx(scores["bits_per_dim"].value, rel=1e-9)
    added = sum(found.columns[name] for name in ("L_T", "L_t", "L_0"))
    assert torch.allclose(added, found.columns["nll"], rtol=1e-9)
    assert found.contract["timesteps"] == 7 and {part.unit for part in parts} == {"bits/dim"}
