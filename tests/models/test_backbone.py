from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from torchstone.models import Budget, Continuous, Discrete, ModelError, Space, Split
from torchstone.models.encoders.backbone import Backbone
from torchstone.models.encoders.pretraining import pretrain
from torchstone.models.randomness import generator, seeded
from torchstone.models.training import reset

SHAPES = [(8, 8), (28, 28), (3, 8, 8), (3, 32, 32), (1, 8, 8), (3, 5, 9), (2, 2), (7,), (2, 2, 2, 2)]


def examples(space: Space, n: int = 6) -> torch.Tensor:
    assert isinstance(space.support, Discrete)
    return torch.randint(space.support.levels, (n, *space.event_shape), generator=generator(0, "examples"))


@pytest.mark.parametrize("shape", SHAPES)
def test_one_vector_for_each_example_which_no_other_example_moves(shape):
    space = Space(shape, Discrete(17))
    backbone = Backbone(space, width=8, features=12).double()
    x = examples(space)
    together = backbone(x)
    assert together.shape == (6, 12) and together.dtype == torch.float64
    for training in (False, True):
        backbone.train(training)
        assert torch.cat([backbone(x[i : i + 1]) for i in range(6)]).allclose(together, atol=1e-12)


def test_numbers_are_levels_from_minus_one_to_one_with_channels_first():
    x = torch.tensor([[[0, 16], [8, 4]]], dtype=torch.uint8)
    numbers = Backbone(Space((2, 2), Discrete(17)), width=8, features=4).numbers(x)
    assert torch.equal(numbers, torch.tensor([[[[-1.0, 1.0], [0.0, -0.5]]]]))
    u = torch.rand((2, 3, 4, 4))
    assert torch.equal(Backbone(Space((3, 4, 4), Continuous()), width=8, features=4).numbers(u), u)
    v = torch.randn((2, 5))
    assert torch.equal(Backbone(Space((5,), Continuous(-math.inf, math.inf)), width=8, features=4).numbers(v), v)


def test_images_of_other_sizes_have_features_too():
    backbone = Backbone(Space((8, 8), Discrete(17)), width=8, features=4)
    assert backbone.embed(torch.zeros(2, 1, 4, 4)).shape == (2, 4)


@pytest.mark.parametrize("shape", [(8, 8), (3, 32, 32), (7,)])
def test_reset_draws_every_parameter_and_buffer_anew(shape):
    backbone = Backbone(Space(shape, Discrete(17)), width=8, features=12)
    changed = copy.deepcopy(backbone)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.fill_(3.0)
    for network in (backbone, changed):
        with seeded(generator(0, "random")):
            reset(network)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, changed.state_dict()[name]), name


@pytest.mark.parametrize("shape", [(8, 8), (3, 32, 32), (7,)])
def test_gradients(shape, check_gradients):
    space = Space(shape, Discrete(17))
    backbone = Backbone(space, width=8, features=12)
    check_gradients(backbone, backbone(examples(space)).square().sum())


class TestPretraining:
    train = Split(torch.arange(40).view(20, 2) / 40, torch.arange(20), torch.arange(20))

    def test_takes_all_steps_and_calls_back(self):
        model, calls, done = nn.Linear(2, 1), [], []

        def loss(x: torch.Tensor) -> torch.Tensor:
            calls.append("loss")
            return model(x).square().mean()

        pretrain(
            model,
            loss,
            self.train,
            Budget(3, lambda step, total: done.append((step, total))),
            rng=generator(0, "fit"),
            batch=4,
            before=lambda: calls.append("before"),
            after_step=lambda step: calls.append(f"after {step}"),
        )
        assert calls == ["before", "loss", "after 0", "loss", "after 1", "loss", "after 2"]
        assert done == [(1, 3), (2, 3), (3, 3)] and not model.training

    def test_learns_from_a_fresh_start(self):
        """Weights that were there before do not matter, and a linear map is found."""
        found = []
        for value in (0.0, 100.0):
            model = nn.Linear(2, 1)
            nn.init.constant_(model.weight, value)
            pretrain(
                model,
                lambda x, model=model: (model(x)[:, 0] - x.sum(1) - 1).square().mean(),
                self.train,
                Budget(600),
                rng=generator(0, "fit"),
                learning_rate=0.1,
                weight_decay=0.0,
            )
            found.append(model.state_dict())
        assert torch.equal(found[0]["weight"], found[1]["weight"])
        assert found[0]["weight"].sum().item() == pytest.approx(2, abs=0.05)
        assert found[0]["bias"].item() == pytest.approx(1, abs=0.05)

    def test_a_loss_that_is_not_finite_is_told(self):
        model = nn.Linear(2, 1)
        with pytest.raises(ModelError, match=r"diverged at step 0 \(loss nan\): lower model.learning_rate"):
            pretrain(model, lambda x: model(x).mean() * math.nan, self.train, Budget(2), rng=generator(0, "fit"))

    @pytest.mark.parametrize("steps", [1, 2, 19, 20, 100])
    def test_the_learning_rate_warms_up_and_falls(self, steps, monkeypatch):
        model, rates = nn.Linear(2, 1), []
        step = torch.optim.AdamW.step

        def spy(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return step(self, closure)

        monkeypatch.setattr(torch.optim.AdamW, "step", spy)
        pretrain(
            model, lambda x: model(x).mean(), self.train, Budget(steps), rng=generator(0, "fit"), learning_rate=1.0
        )
        warm = max(1, steps // 20)
        cosine = [0.5 * (1 + math.cos(math.pi * k / max(1, steps - warm))) for k in range(steps - warm)]
        rising = [1 / warm + (1 - 1 / warm) * k / warm for k in range(warm)]
        assert rates == pytest.approx([*rising, *cosine], abs=1e-9)
