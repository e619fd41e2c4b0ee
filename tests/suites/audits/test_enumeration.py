"""Sums over all states, and samples against them."""

import math

import pytest
import torch
from torchstone_extension.audited import BITS, LOWER, Bits, Bounded, DeepBits, Holes, PointMass, Pseudo, RareLoss
from torchstone_extension.data import dataset
from torchstone_extension.honest import Labelled

from torchstone.models import Autoregressive, Discrete, Enumerable, ExplicitExact, ModelError, Sampler, Space
from torchstone.models.exact.independent import Independent
from torchstone.models.exact.transformer import Transformer
from torchstone.suites.audits.enumeration import Enumeration, GoodnessOfFit
from torchstone.suites.data.embedded import digits
from torchstone.suites.data.synthetic import Bernoulli, bernoulli, ising

COPY = torch.full((4,), -6.0, dtype=torch.float64)


@pytest.mark.parametrize(
    ("weights", "bias", "total"),
    [
        (LOWER + LOWER.T, Bernoulli.bias, 1.188522739680),
        (LOWER + 6 * torch.eye(4), Bernoulli.bias, 4.364889474349),
        (12 * torch.eye(4, dtype=torch.float64), COPY, 15.842338082134),
    ],
    ids=["peeking", "self-copy", "pure copy"],
)
def test_a_bit_that_sees_too_much_is_proved_to_be_no_density(look, weights, bias, total):
    finding = look(Enumeration(), Bits(weights, bias), bernoulli()).finding
    assert finding.verdict == "fail" and finding.grade == "A"
    assert finding.statistic == pytest.approx(total, rel=1e-9)
    assert finding.pictures["enumeration"].startswith(b"\x89PNG")


@pytest.mark.parametrize(("side", "total"), [(3, 2.5157624644761887), (4, 5.5203278757103345)])
def test_a_pseudo_likelihood_adds_up_to_its_known_sum(look, side, total):
    finding = look(Enumeration(), Pseudo(side), ising(side=side)).finding
    assert finding.verdict == "fail" and finding.statistic == pytest.approx(total, rel=1e-9)


def test_the_truth_and_untrained_models_add_up_to_one(look):
    for model in (bernoulli().source, Transformer(BITS), Independent(BITS), PointMass(BITS), Bounded()):
        finding = look(Enumeration(), model, bernoulli()).finding
        assert finding.verdict == "pass" and finding.grade == "A", type(model)


def test_half_precision_never_fails(look):
    """Each probability has three digits, so that they add up to too much or too little: the latter may be flagged."""
    model = Independent(BITS)
    torch.nn.init.normal_(model.logits, std=3.0, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float16, torch.bfloat16):
        assert look(Enumeration(), model.to(dtype), bernoulli()).finding.verdict in ("pass", "flag")
        assert model.logits.dtype is dtype


def test_the_tiny_instance_stands_in_where_states_are_many(look):
    finding = look(Enumeration(), Transformer(digits().space), digits(), examples=16).finding
    assert finding.verdict == "pass" and "81 states" in finding.witness and "At full size" in finding.witness


def test_what_is_missing_is_flagged_and_never_failed(look):
    class Lossy(Bits):
        def log_prob(self, x, y=None):
            return super().log_prob(x) - 0.01

    finding = look(Enumeration(), Lossy(), bernoulli()).finding
    assert finding.verdict == "flag" and "lost to the model" in finding.witness
    assert look(Enumeration(), Holes(BITS), bernoulli()).finding.verdict == "pass"


def test_each_class_adds_up_by_itself(look):
    x = torch.randint(3, (40, 2), generator=torch.Generator().manual_seed(0))
    data = dataset(x, 3, y=torch.arange(40) % 2, classes=2)
    finding = look(Enumeration(), Labelled(data.space), data).finding
    assert finding.verdict == "pass" and "each of 2 classes" in finding.witness


class Plain(torch.nn.Module, ExplicitExact):
    """Casts what it is given to single precision, and computes with a linear layer: its mass is e^excess."""

    def __init__(self, excess, *, stubborn):
        super().__init__()
        self.space, self.excess, self.stubborn = BITS, excess, stubborn
        self.layer = torch.nn.Linear(4, 1)
        torch.nn.init.zeros_(self.layer.weight)
        torch.nn.init.constant_(self.layer.bias, excess - 4 * math.log(2))

    def log_prob(self, x, y=None):
        if self.stubborn and self.layer.weight.dtype is not torch.float32:
            raise RuntimeError("mat1 and mat2 must have the same dtype")
        return self.layer(x.float())[:, 0]


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_plain_layer_in_single_precision_with_a_mass_of_e_is_proved(look, stubborn):
    finding = look(Enumeration(), Plain(1.0, stubborn=stubborn), bernoulli()).finding
    assert finding.verdict == "fail" and finding.grade == "A"
    assert finding.statistic == pytest.approx(math.e, rel=1e-5)


def test_a_small_excess_that_cannot_be_asked_in_double_precision_decides_nothing(look):
    finding = look(Enumeration(), Plain(1e-4, stubborn=True), bernoulli()).finding
    assert finding.verdict == "inconclusive" and "may be rounding" in finding.witness
    assert look(Enumeration(), Plain(1e-4, stubborn=False), bernoulli()).finding.verdict == "fail"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_number_earns_no_pass(look, value):
    class Broken(Bits):
        def log_prob(self, x, y=None):
            return torch.where(x.sum(1) == 4, value, super().log_prob(x))

    for audit in (Enumeration(), GoodnessOfFit()):
        finding = look(audit, Broken(), bernoulli()).finding
        assert finding.verdict in ("flag", "fail")
        assert "NaN or infinite log-densities count as impossible: there were 1." in finding.witness


class Loud(Autoregressive):
    """Conditionals whose levels add up to more than one at one position, at full size only."""

    def __init__(self, space):
        self.space, self.order = space, torch.arange(space.dims)

    def conditionals(self, x, y=None):
        logits = torch.zeros(*x.shape, self.space.support.levels, dtype=torch.float64)
        given = torch.distributions.Categorical(logits=logits)
        return Louder(given)


class Louder(torch.distributions.Distribution):
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, base):
        self.base = base
        super().__init__(base.batch_shape, validate_args=False)

    def log_prob(self, value):
        return self.base.log_prob(value) + 1e-4


def test_conditionals_are_added_up_at_full_size(look):
    finding = look(Enumeration(), Loud(digits().space), digits()).finding
    assert finding.verdict == "fail" and finding.statistic == pytest.approx(1.0001, rel=1e-6)


def test_without_a_tiny_instance_normalisation_is_only_declared(look):
    finding = look(Enumeration(), PointMass(digits().space), digits()).finding
    assert finding.verdict == "inconclusive" and finding.grade == "D" and "no tiny()" in finding.witness


def test_weights_of_latent_variable_models_add_up_to_one_on_average(look):
    honest = look(Enumeration(), DeepBits(), bernoulli()).finding
    assert honest.verdict == "pass" and honest.grade == "B" and honest.p_value == 1.0
    assert look(Enumeration(), DeepBits(inflated=0.2), bernoulli()).finding.verdict == "fail"


def test_a_bound_without_draws_may_not_add_up_to_more_and_draws_of_one_may(look):
    assert look(Enumeration(), RareLoss(), bernoulli()).finding.verdict == "inconclusive"
    for model, verdict in ((OnlyBound(-0.1), "pass"), (OnlyBound(0.1), "fail")):
        assert look(Enumeration(), model, bernoulli()).finding.verdict == verdict


class OnlyBound(RareLoss):
    """A bound without draws, too large by ``excess``."""

    def __init__(self, excess):
        super().__init__()
        self.excess = excess

    def elbo(self, x, y=None, *, rng):
        found = super().elbo(x, y, rng=torch.Generator())
        return type(found)(self.bits.log_prob(x) + self.excess, found.rate)


def test_samples_of_the_truth_fit_and_those_at_another_temperature_do_not(look):
    assert look(GoodnessOfFit(), Bits(), bernoulli()).finding.verdict == "pass"
    assert look(GoodnessOfFit(), PointMass(BITS), bernoulli()).finding.verdict == "pass"
    assert look(GoodnessOfFit(), Holes(BITS), bernoulli()).finding.verdict == "pass"
    assert look(GoodnessOfFit(), Bits(temperature=0.7), bernoulli()).finding.verdict == "fail"


def test_a_sample_that_the_density_holds_for_impossible_fails(look):
    class Stray(Holes):
        def sample(self, n, y=None, *, rng):
            x = super().sample(n, rng=rng)
            x[0] = 0
            return x

    assert look(GoodnessOfFit(), Stray(Space((2,), Discrete(3))), tiny_data()).finding.verdict == "fail"


def test_samples_outside_of_the_support_break_the_contract(look):
    class Outside(Bits):
        def sample(self, n, y=None, *, rng):
            return super().sample(n, rng=rng) + 1

    finding = look(GoodnessOfFit(), Outside(), bernoulli()).finding
    assert finding.verdict == "fail" and "left its discrete support" in finding.witness


def test_a_tiny_instance_of_too_many_states_is_named(look):
    class Large(PointMass, Enumerable):
        def tiny(self):
            return Large(Space((17,), Discrete(2)))

    finding = look(Enumeration(), Large(digits().space), digits()).finding
    assert finding.verdict == "inconclusive" and "too many to enumerate" in finding.witness


def test_what_has_no_density_is_left_alone(look):
    class Draws(Sampler):
        space = BITS

        def sample(self, n, y=None, *, rng):
            return torch.zeros(n, 4, dtype=torch.long)

    for audit in (Enumeration(), GoodnessOfFit()):
        assert look(audit, Draws(), bernoulli()).finding.verdict == "not-applicable"


def tiny_data():
    return dataset(torch.tensor([[1, 2], [2, 2]]), 3)


@pytest.mark.parametrize("seed", range(20))
def test_honest_samples_pass_whatever_the_seed(look, seed):
    assert look(GoodnessOfFit(), Bits(), bernoulli(), seed=seed).finding.p_value > 1e-4


def test_a_wrong_shape_is_one_sentence(look):
    class Flat(Bits):
        def log_prob(self, x, y=None):
            return super().log_prob(x).mean()

    with pytest.raises(ModelError):
        from torchstone.suites.questions import ask_log_prob

        ask_log_prob(Flat(), torch.zeros(2, 4, dtype=torch.long), None)
    assert look(Enumeration(), Flat(), bernoulli()).finding.verdict == "fail"
