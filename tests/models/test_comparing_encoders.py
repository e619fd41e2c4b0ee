"""What the encoders that compare views have in common."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch

from torchstone.harness.identity import state_digest
from torchstone.models import Budget, Continuous, Discrete, Space, Split, capabilities, family
from torchstone.models.checks import check_model
from torchstone.models.encoders.dino import DINO
from torchstone.models.encoders.moco import MoCo
from torchstone.models.encoders.simclr import SimCLR
from torchstone.models.randomness import generator, seeded
from torchstone.models.training import reset
from torchstone.suites.data.embedded import digits

Compared = SimCLR | MoCo | DINO
SPACE = Space((8, 8), Discrete(5), classes=2)
SPACES = [
    SPACE,
    Space((3, 32, 32), Discrete(256)),
    Space((3, 8, 8), Continuous(0.0, 1.0)),
    Space((5,), Continuous(-math.inf, math.inf)),
    Space((12,), Discrete(3)),
    Space((2, 2), Discrete(5)),
]
every = pytest.mark.parametrize("encoder", [SimCLR, MoCo, DINO])


def build(encoder: Callable[..., Compared], space: Space = SPACE) -> Compared:
    torch.manual_seed(0)
    return encoder(space, features=6, width=4, batch=8)


def examples(space: Space, n: int) -> torch.Tensor:
    rng = generator(0, "examples")
    if isinstance(space.support, Discrete):
        return torch.randint(space.support.levels, (n, *space.event_shape), generator=rng)
    return torch.rand((n, *space.event_shape), generator=rng)


@every
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_keeps_the_contract_and_fits_without_labels(encoder, space):
    model, x = build(encoder, space), examples(space, 20)
    assert "features are vectors" in check_model(model)
    before = model.encode(x)
    model.fit(Split(x, None, torch.arange(20)), Split(x, None, torch.arange(20)), Budget(3), rng=generator(0, "fit"))
    assert model.encode(x).shape == (20, 6) and model.encode(x).isfinite().all()
    assert not torch.equal(model.encode(x), before)


@every
def test_it_is_an_encoder_of_no_classes(encoder):
    assert family(build(encoder)) == "encoder" and capabilities(build(encoder)) == ("Encoder", "Trainable")
    assert build(encoder).space.classes is None
    assert state_digest(build(encoder)) == state_digest(build(encoder)) is not None


@every
def test_labels_do_not_reach_it(encoder, make_split):
    train = make_split(SPACE, 50)
    shuffled = train.y[torch.randperm(50, generator=generator(0, "labels"))]
    fitted = []
    for y in (train.y, shuffled, None):
        model = build(encoder)
        model.fit(Split(train.x, y, train.ids), train, Budget(4), rng=generator(0, "fit"))
        fitted.append(model.encode(train.batch(0, 50)[0]))
    assert torch.equal(fitted[0], fitted[1]) and torch.equal(fitted[0], fitted[2])


@every
def test_validation_does_not_reach_it(encoder, make_split):
    train, fitted = make_split(SPACE, 50), []
    for validation in (train, make_split(SPACE, 9, seed=1)):
        model = build(encoder)
        model.fit(train, validation, Budget(4), rng=generator(0, "fit"))
        fitted.append(model.encode(train.batch(0, 50)[0]))
    assert torch.equal(*fitted)


@every
def test_fit_is_deterministic_and_kept(encoder, check_fit, make_split):
    train = make_split(SPACE, 50)
    x, _ = train.batch(0, 5)
    check_fit(lambda: build(encoder), lambda model: model.encode(x), train)


@every
def test_a_second_fit_begins_anew(encoder, make_split):
    """What was learnt, queue, centre and teacher are of one fit."""
    train = make_split(SPACE, 50)
    x, _ = train.batch(0, 50)
    model = build(encoder)
    answers = []
    for seed in (0, 1, 0):
        model.fit(train, train, Budget(4), rng=generator(seed, "fit"))
        answers.append(model.encode(x))
    assert torch.equal(answers[0], answers[2]) and not torch.equal(answers[0], answers[1])


@every
def test_fits_in_double_precision(encoder, make_split):
    train = make_split(SPACE, 50)
    model = build(encoder).double()
    model.fit(train, train, Budget(3), rng=generator(0, "fit"))
    assert model.encode(train.batch(0, 5)[0]).dtype == torch.float64


@every
def test_keeps_its_network_and_nothing_of_how_it_was_trained(encoder, make_split):
    train, model = make_split(SPACE, 50), build(encoder)
    names = set(model.state_dict())
    model.fit(train, train, Budget(2), rng=generator(0, "fit"))
    assert set(model.state_dict()) == names == {f"backbone.{name}" for name in model.backbone.state_dict()}
    assert all(parameter.requires_grad for parameter in model.parameters())


@every
def test_gradients(encoder, check_gradients):
    model = build(encoder)
    check_gradients(model, model.encode(examples(SPACE, 4)).square().sum())


@every
def test_a_budget_of_no_steps_leaves_a_fresh_network(encoder, make_split):
    train, model = make_split(SPACE, 50), build(encoder)
    model.fit(train, train, Budget(0), rng=generator(0, "fit"))
    assert model.encode(examples(SPACE, 4)).isfinite().all()


@pytest.mark.slow
@every
def test_few_labels_go_further_than_with_random_weights(encoder):
    """Ten labels a class on digits: nearest mean of the class, ten draws of examples, the same for both networks."""
    data = digits()
    train, test = data.split("train"), data.split("test")
    model = encoder(data.space)
    model.fit(train, data.split("validation"), Budget(200), rng=generator(0, "fit"))
    untrained = copy.deepcopy(model)
    with seeded(generator(0, "random")):
        reset(untrained)
    gains = torch.stack([_credit(model, train, test, d) - _credit(untrained, train, test, d) for d in range(10)])
    assert gains.mean() - 4 * gains.std() / math.sqrt(10) > 0


@torch.no_grad()
def _credit(model: Compared, train: Split, test: Split, draw: int) -> torch.Tensor:
    assert train.y is not None and test.y is not None
    order = torch.randperm(len(train), generator=generator(draw, "labelled"))
    chosen = torch.stack([order[train.y[order] == label][:10] for label in range(10)])
    features, asked = (model.encode(split.batch(0, len(split))[0]) for split in (train, test))
    scale = features.std(0).clamp_min(1e-6)
    means = (features[chosen] / scale).mean(1)
    return (torch.cdist(asked / scale, means).argmin(1) == test.y).double().mean()
