"""Encoders with a pretext task: the turn, the shuffled patches, the hole."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from torchstone.harness.identity import state_digest
from torchstone.models import Budget, Continuous, Discrete, ModelError, Space, Split, capabilities
from torchstone.models.checks import check_model
from torchstone.models.encoders.images import patched, square_side, unpatched
from torchstone.models.encoders.inpainting import Inpainting, holes
from torchstone.models.encoders.jigsaw import Jigsaw, distant_permutations
from torchstone.models.encoders.random import RandomNetwork
from torchstone.models.encoders.rotation import Rotation, quarter_turns
from torchstone.models.randomness import generator, seeded
from torchstone.models.training import reset
from torchstone.suites.data.embedded import digits

MAKERS = {"rotation": Rotation, "jigsaw": Jigsaw, "inpainting": Inpainting}
GREY, COLOUR = Space((8, 8), Discrete(17), 3), Space((3, 32, 32), Continuous(0.0, 1.0))


def build(name: str, space: Space = GREY):
    torch.manual_seed(0)
    return MAKERS[name](space, width=8, features=8, batch=16)


@pytest.mark.parametrize("space", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("name", MAKERS)
def test_keeps_the_contract_and_is_fitted_on_images_of_either_kind(name, space, make_split):
    model = build(name, space)
    assert "features are vectors" in check_model(model) and capabilities(model) == ("Encoder", "Trainable")
    assert model.space.classes is None and state_digest(model) is not None
    train = make_split(space, 20)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.fit(train, train, Budget(3), rng=generator(0, "fit"))
    assert all(not torch.equal(value, before[key]) for key, value in model.state_dict().items() if value.ndim > 1)
    assert model.encode(train.batch(0, 5)[0]).shape == (5, 8)


@pytest.mark.parametrize("name", MAKERS)
def test_features_of_an_example_are_its_own(name, make_split):
    model = build(name).double()
    x, _ = make_split(GREY, 7).batch(0, 7)
    together = model.encode(x)
    assert torch.equal(together, model.encode(x)) and together.dtype == torch.float64
    assert torch.cat([model.encode(each[None]) for each in x]).allclose(together, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", MAKERS)
def test_fit_is_deterministic_and_kept_and_sees_no_labels(name, check_fit, make_split):
    train = make_split(GREY, 50)
    x, _ = train.batch(0, 5)
    check_fit(lambda: build(name), lambda model: model.encode(x), train, steps=4)
    answers = []
    for split in (Split(train.x, None, train.ids), Split(train.x, train.y.flip(0), train.ids)):
        model = build(name)
        model.fit(split, split, Budget(4), rng=generator(0, "fit"))
        answers.append(model.encode(x))
    assert torch.equal(*answers)


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_reach_every_parameter_of_what_is_kept(name, check_gradients, make_split):
    model = build(name)
    check_gradients(model, model.encode(make_split(GREY, 6).batch(0, 6)[0]).square().sum())


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_no_image_is_refused(name):
    with pytest.raises(ModelError, match=rf"{name} takes images of shape .* an example has shape \(5,\): try"):
        MAKERS[name](Space((5,), Discrete(4)))


@pytest.mark.parametrize("name", ["rotation", "jigsaw"])
def test_what_is_no_square_is_refused(name):
    with pytest.raises(ModelError, match=f"{name} takes square images, and these are 8×6"):
        MAKERS[name](Space((8, 6), Discrete(4)))
    assert check_model(Inpainting(Space((8, 6), Discrete(4)), width=8, features=8))


def test_images_too_small_for_a_puzzle_are_refused():
    with pytest.raises(ModelError, match="at least two pixels, and these images have 4"):
        Jigsaw(Space((4, 4), Discrete(4)), grid=3)


def test_four_quarter_turns_come_round_and_each_is_the_one_before_turned_once_more():
    images = torch.randn((2, 3, 5, 5), dtype=torch.float64)
    turned, turns = quarter_turns(images)
    assert turns.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert torch.equal(turned[:2], images)
    for one, next_one in itertools.pairwise([*turned.split(2), images]):
        assert torch.equal(one.rot90(1, (-2, -1)), next_one)


def test_patches_are_put_together_again_and_come_in_raster_order():
    images = torch.randn((2, 3, 6, 6))
    assert torch.equal(unpatched(patched(images, 3), 3), images)
    assert torch.equal(patched(images, 2)[:, 1], images[..., :3, 3:])
    assert patched(torch.zeros((1, 1, 8, 8)), 3).shape == (1, 9, 1, 2, 2)


def test_the_patch_at_a_place_is_the_one_that_the_order_names():
    model = build("jigsaw")
    patches = torch.arange(4.0).view(1, 4, 1, 1, 1).expand(24, 4, 1, 2, 2)
    shuffled = model.shuffled(patches, torch.arange(24))[:, :, 0, 0, 0].long()
    assert torch.equal(shuffled, model.orders)
    assert sorted(map(tuple, shuffled.tolist())) == sorted(itertools.permutations(range(4)))


def test_orders_of_nine_patches_are_far_apart():
    """Nine that differ everywhere are a Latin square; of 64 no two agree at more than half of the places."""
    nine, many = distant_permutations(9, 9), distant_permutations(9, 64)
    assert torch.equal(nine, many[:9]) and many.shape == (64, 9)
    distance = (many[:, None] != many).sum(-1)
    assert distance[:9, :9].fill_diagonal_(9).min() == 9
    assert distance.fill_diagonal_(9).min() >= 5
    assert torch.equal(many.sort(1).values, torch.arange(9).expand(64, 9))


def test_a_side_of_24_has_three_patches():
    assert build("jigsaw", COLOUR).grid == 3 and len(build("jigsaw", COLOUR).orders) == 64
    assert build("jigsaw").grid == 2 and len(build("jigsaw").orders) == 24


def test_a_hole_is_one_rectangle_of_the_given_share_anywhere():
    found = holes(4000, 8, 6, 0.5, generator(0, "holes"))
    assert found.shape == (4000, 1, 8, 6) and torch.equal(found.sum((1, 2, 3)), torch.full((4000,), 12))
    rows, columns = found.any(3)[:, 0], found.any(2)[:, 0]
    assert torch.equal(found[:, 0], rows[:, :, None] & columns[:, None, :])
    assert torch.equal(rows.sum(1), torch.full((4000,), 4)) and bool((rows.int().diff().abs().sum(1) <= 2).all())
    top = torch.bincount(rows.int().argmax(1), minlength=5).double()  # five places, each as often
    assert ((top - 800).abs() < 4 * math.sqrt(4000 * 0.2 * 0.8)).all()  # four standard errors: once in 3,000 seeds
    assert torch.equal(holes(3, 1, 1, 0.1, generator(0, "holes")), torch.ones((3, 1, 1, 1), dtype=torch.bool))


def test_the_error_of_a_hole_is_counted_within_it_alone(monkeypatch):
    """A network that copies what it sees and says zero in the hole errs by the mean square of what was removed."""
    seen = []

    def one_step(network, loss, train, budget, *, rng, batch, learning_rate):
        seen.append((loss(train.x), rng.get_state()))

    monkeypatch.setattr("torchstone.models.encoders.inpainting.pretrain", one_step)
    monkeypatch.setattr(Inpainting, "_decoder", lambda self: torch.nn.Flatten())
    model = build("inpainting", Space((8, 8), Continuous(0.0, 1.0)))
    monkeypatch.setattr(model.backbone, "embed", lambda images: images)
    x = 1 + torch.rand((5, 8, 8), generator=generator(0, "x"))
    rng = generator(0, "fit")
    model.fit(Split(x, None, torch.arange(5)), Split(x, None, torch.arange(5)), Budget(1), rng=rng)
    again = generator(0, "fit")
    with seeded(again):
        pass
    hole = holes(5, 8, 8, 0.5, again)[:, 0]
    torch.testing.assert_close(seen[0][0], x[hole].square().mean())


def test_square_side_is_that_of_the_images():
    assert square_side(COLOUR, "it") == 32


def few_labels(model, n: int) -> np.ndarray:
    """Accuracies on the test digits of ten probes with ``n`` labels of each class."""
    data = digits()
    train, test = data.split("train"), data.split("test")
    with torch.no_grad():
        x, held = (model.encode(split.batch(0, len(split))[0]).double() for split in (train, test))
    spread = x.std(0).where(x.std(0) > 0, torch.ones(()).double())
    x, held = (x - x.mean(0)) / spread, (held - x.mean(0)) / spread
    found = []
    for draw in range(10):
        order = torch.randperm(len(train), generator=generator(draw, "labels"))
        chosen = torch.cat([order[train.y[order] == label][:n] for label in range(10)])
        probe = LogisticRegression(C=1.0, max_iter=1000).fit(x[chosen].numpy(), train.y[chosen].numpy())
        found.append(probe.score(held.numpy(), test.y.numpy()))
    return np.array(found)


@pytest.mark.slow
def test_inpainting_beats_the_same_network_with_random_weights_on_few_labels():
    """Paired over draws of labels, the gain lies five standard errors above zero, and is more than five points."""
    data = digits()
    torch.manual_seed(0)
    model = Inpainting(data.space)
    model.fit(data.split("train"), data.split("validation"), Budget(700), rng=generator(0, "fit"))
    control = copy.deepcopy(model)
    with seeded(generator(0, "control")):
        reset(control)
    torch.manual_seed(0)
    for other in (control, RandomNetwork(data.space)):
        gain = few_labels(model, 10) - few_labels(other, 10)
        assert gain.mean() > 0.05 and gain.mean() > 5 * gain.std(ddof=1) / math.sqrt(len(gain))
