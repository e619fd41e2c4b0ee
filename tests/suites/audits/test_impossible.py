"""What the catalogue of mistakes calls impossible is: the right number comes out."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal
from torchstone_extension.catalogue import CATALOGUE, Outcome
from torchstone_extension.cheats import units
from torchstone_extension.data import dataset
from torchstone_extension.fixtures import continuous, discrete, latent
from torchstone_extension.fixtures.honest import FIXTURES, GREYS
from torchstone_extension.mutants import Slope255

from torchstone.harness.fitting import fit
from torchstone.models import Continuous, Discrete, ExplicitExact, ModelError, Space, Trainable
from torchstone.models.randomness import generator
from torchstone.results.record import Kind
from torchstone.suites.context import Context
from torchstone.suites.density import Density
from torchstone.suites.elbo import EvidenceBounds
from torchstone.suites.latent.annealed import Annealing, annealed, bracketed
from torchstone.suites.latent.examples import Rows
from torchstone.suites.questions import ask_importance_weighted


def measured(model, data, **how):
    batch = how.pop("batch_size", 64)
    return Density(**how).evaluate(model, data, Context(batch_size=batch))


def value(evaluation, metric):
    return next(score for score in evaluation.scores if score.metric == metric)


class Spy(ExplicitExact):
    """Uniform on [0, 1], and keeps what it is asked about."""

    def __init__(self, space):
        self.space, self.asked = Space(space.event_shape, Continuous(0.0, 1.0)), []

    def log_prob(self, x, y=None):
        self.asked.append(x.clone())
        return torch.zeros(len(x), dtype=torch.float64)


def the_constant_is_added():
    images = dataset(torch.randint(256, (40, 3, 4, 4), generator=generator(0, "x")), 256)
    forgetful = Spy(images.space)
    assert value(measured(forgetful, images), "bits_per_dim").value == pytest.approx(8.0, rel=1e-12)


def the_constant_is_that_of_the_declared_range():
    data = FIXTURES["flat on [-1, 1]"].data()
    for low in (-1.0, 0.0):
        found = measured(continuous.Flat(GREYS, low=low), data)
        assert value(found, "bits_per_dim").value == pytest.approx(4.0, rel=1e-12)


def a_map_and_a_constant_that_differ_are_refused():
    data = FIXTURES["flat on [0, 1]"].data()
    model = continuous.Flat(GREYS)
    model.space = Space(GREYS.event_shape, Slope255(0.0, 1.0))
    with pytest.raises(ModelError, match="one affine map"):
        measured(model, data)


def the_noise_is_drawn_by_the_harness():
    data = FIXTURES["flat on [0, 1]"].data()
    spy = Spy(data.space)
    measured(spy, data, replicates=2, replicated_examples=50)
    asked = torch.cat(spy.asked).double() * 16
    noise = asked - asked.floor()
    assert 0.45 < float(noise.mean()) < 0.55 and float(noise.var()) == pytest.approx(1 / 12, rel=0.1)
    assert torch.equal(asked[:50].floor().long(), data.split("test").x[:50].long())


def spikes_on_integers_win_nothing():
    found = measured(units.SpikesOnIntegers(GREYS), FIXTURES["flat on [0, 1]"].data())
    assert value(found, "bits_per_dim").value == pytest.approx(4.0, rel=1e-12)


def units_are_the_same_for_one_channel_and_three():
    for shape in ((3, 4, 4), (1, 4, 4), (16,)):
        images = dataset(torch.randint(256, (20, *shape), generator=generator(0, "x")), 256)
        found = measured(discrete.Grey(shape), images)
        assert value(found, "nll").value == pytest.approx(math.prod(shape) * math.log(256), rel=1e-12)
        assert value(found, "bits_per_dim").value == pytest.approx(8.0, rel=1e-12)


def every_example_counts_alike():
    """The toy with 9,984 examples at 3 bits and a last batch of 16 at 5: 3.0032, where batch means give 3.0253."""
    x = torch.zeros(10_000, 1, dtype=torch.int64)
    x[9984:] = 1

    class Toy(ExplicitExact):
        space = Space((1,), Discrete(2))

        def log_prob(self, x, y=None):
            return -math.log(2) * (3.0 + 2.0 * x[:, 0].double())

    found = measured(Toy(), dataset(x, 2), batch_size=128)
    assert value(found, "bits_per_dim").value == pytest.approx(3.0032, rel=1e-12)


def every_example_is_asked_about():
    fixture = FIXTURES["bits"]
    results = [measured(fixture.build(), fixture.data(), batch_size=size) for size in (7, 128, 10_000)]
    ids = fixture.data().split("test").ids
    assert all(torch.equal(found.ids, ids) and value(found, "nll").n == len(ids) for found in results)
    assert value(results[0], "nll").value == pytest.approx(value(results[2], "nll").value, rel=1e-12)


def what_is_not_finite_makes_the_mean_infinite():
    found = measured(units.Undefined(), FIXTURES["bits"].data())
    score = value(found, "nll")
    assert score.value == math.inf and score.parameters["nonfinite"] > 0 and found.warnings


def a_bound_says_that_it_is_one_and_of_how_many_samples():
    fixture = FIXTURES["one latent"]
    score = value(measured(fixture.build(), fixture.data(), importance_samples=10), "nll")
    assert score.kind is Kind.UPPER_BOUND and score.parameters["importance_samples"] == 10


def weights_are_averaged():
    """Expectations of the bound of K samples, by quadrature."""
    x = torch.full((4000, 1), 1.5, dtype=torch.float64)
    for samples, expected in ((1, -1.974039886863), (10, -1.878051071229), (100, -1.872287113109)):
        rng = generator(0, "weights")
        bound = ask_importance_weighted(latent.OneLatent(), x, None, samples, rng, Context(batch_size=4000))
        assert abs(float(bound.mean()) - expected) < 4 * float(bound.std()) / math.sqrt(len(x))


def the_rate_has_weight_one():
    """Whatever an adapter was trained with: the bound of the linear-Gaussian model, in closed form."""

    class Trained(latent.Factor):
        beta, free_bits = 0.1, 3.0

        def posterior(self, x, y=None):
            std = torch.tensor([0.3, 0.2], dtype=torch.float64).sqrt()
            return Independent(Normal(torch.tensor([0.2, -0.3], dtype=torch.float64).expand(len(x), 2), std), 1)

    x = torch.tensor([[0.9, -0.4, 1.2]], dtype=torch.float64).expand(20_000, 3)
    bound = Trained().elbo(x, rng=generator(0, "elbo"))
    for part, expected in ((bound.reconstruction, -3.902174057934), (bound.rate, 0.721705358380)):
        assert abs(float(part.mean()) - expected) < 4 * float(part.std()) / math.sqrt(len(x))


def weights_far_below_what_a_number_can_hold_are_added_up():
    x = 300.0 * torch.tensor([[0.9, -0.4, 1.2]], dtype=torch.float64)
    exact = latent.FactorWithDensity().log_prob(x)
    assert float(exact) < -1e5 and math.exp(float(exact)) == 0
    bound = ask_importance_weighted(latent.Factor(), x, None, 100, generator(0, "far"), Context())
    assert float(bound) == pytest.approx(float(exact), rel=1e-9)


def annealing_brackets_the_truth():
    """From below on examples of the data, and from both sides on simulated ones."""
    model, how, context = latent.Amortised(), Annealing(temperatures=100, chains=4, leapfrog=5), Context()
    x = FIXTURES["amortised"].data().split("test").x[:20].double()
    exact = float(latent.FactorWithDensity().log_prob(x).mean())
    found = annealed(model, Rows(x, None), how, context, "catalogue")
    assert found.refusal is None and exact - 0.2 < float(found.lower.mean()) < exact + 0.05
    both = bracketed(model, 20, None, how, context)
    assert -0.05 < float((both.upper - both.lower).mean()) < 0.5


def an_upper_bound_is_of_simulated_data():
    fixture = FIXTURES["amortised"]
    few = EvidenceBounds(
        importance_samples=5, temperatures=5, chains=2, annealed_examples=0, simulated_examples=4, usage_examples=50
    )
    found = few.evaluate(fixture.build(), fixture.data(), Context())
    upper = value(found, "bdmc_upper")
    assert upper.contract["data"] == "simulated by the model"
    above = [
        s for s in found.scores if s.kind is Kind.UPPER_BOUND and s.unit == upper.unit and "data" not in s.contract
    ]
    assert {score.metric for score in above} <= {"mutual_information_upper", "marginal_kl"}


def fit_never_sees_the_test_split():
    class Curious(torch.nn.Module, ExplicitExact, Trainable):
        def __init__(self, space):
            super().__init__()
            self.space, self.seen = space, set()

        def log_prob(self, x, y=None):
            return torch.zeros(len(x))

        def fit(self, train, validation, budget, *, rng):
            self.seen |= {*train.ids.tolist(), *validation.ids.tolist()}

    data = FIXTURES["bits"].data()
    model = Curious(data.space)
    fit(model, data, 1, 0, lambda *arguments: None)
    assert model.seen and not model.seen & set(data.split("test").ids.tolist())


def an_average_over_mirror_images_is_a_density():
    model = discrete.Mirrored(discrete.FOUR_BITS)
    every = torch.cartesian_prod(*[torch.arange(2)] * 4)
    assert float(model.log_prob(every).exp().sum().detach()) == pytest.approx(1.0, rel=1e-12)


def integers_reach_models_as_int64():
    class Typed(discrete.Grey):
        def log_prob(self, x, y=None):
            assert x.dtype == torch.int64
            assert int((x + 100).max()) > 255
            return super().log_prob(x)

    images = dataset(torch.randint(200, 256, (20, 2, 2), generator=generator(0, "x"), dtype=torch.uint8), 256)
    assert value(measured(Typed((2, 2)), images), "bits_per_dim").value == pytest.approx(8.0, rel=1e-12)


PROOFS = {
    "1-forgets-the-ln-256": the_constant_is_added,
    "2-adds-8-bits-to": the_constant_is_that_of_the_declared_range,
    "3-divides-by-255-and": a_map_and_a_constant_that_differ_are_refused,
    "4-adds-noise-of-its": the_noise_is_drawn_by_the_harness,
    "5-is-measured-without-noise": spikes_on_integers_win_nothing,
    "6-divides-by-pixels-in": units_are_the_same_for_one_channel_and_three,
    "7-averages-batch-means-the": every_example_counts_alike,
    "8-drops-the-last-incomplete": every_example_is_asked_about,
    "9-drops-what-is-not": what_is_not_finite_makes_the_mean_infinite,
    "20-shows-a-bound-of": a_bound_says_that_it_is_one_and_of_how_many_samples,
    "21-does-not-divide-its": weights_are_averaged,
    "22-weighs-the-rate-by": the_rate_has_weight_one,
    "25-adds-up-importance-weights": weights_far_below_what_a_number_can_hold_are_added_up,
    "26-anneals-wrongly:-adapted-steps": annealing_brackets_the_truth,
    "27-reports-an-upper-bound": an_upper_bound_is_of_simulated_data,
    "29-is-measured-on-what": fit_never_sees_the_test_split,
    "34-averages-probabilities-over-mirror": an_average_over_mirror_images_is_a_density,
    "35-adds-noise-to-integers": integers_reach_models_as_int64,
}


@pytest.mark.parametrize("name", PROOFS)
def test_what_the_table_calls_impossible_is_and_the_right_number_comes_out(name):
    PROOFS[name]()


def test_every_impossible_mistake_has_its_test():
    asked = [entry for entry in CATALOGUE if entry.suite == "audit"]
    assert set(PROOFS) == {entry.id for entry in asked if entry.outcome is Outcome.IMPOSSIBLE}
