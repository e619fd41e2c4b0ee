"""Features of hidden layers: of any module, of the transformer and of the diffusion's denoiser."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from torchstone.harness.identity import state_digest
from torchstone.models import Budget, Continuous, Discrete, ModelError, Space, Split, capabilities
from torchstone.models.checks import check_model
from torchstone.models.encoders.generative import DiffusionFeatures, TransformerFeatures
from torchstone.models.encoders.hidden import LayerFeatures, pooled
from torchstone.models.randomness import generator, seeded
from torchstone.models.training import reset

SPACE, FLAT = Space((4, 4), Discrete(5), 3), Space((6,), Continuous(0.0, 1.0))
MAKERS = {
    "transformer": lambda space: TransformerFeatures(space, width=8),
    "diffusion": lambda space: DiffusionFeatures(space, width=16, blocks=2, block=2, batch=16),
}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 4)
        self.pair, self.idle = Pair(), nn.Linear(1, 1)

    def forward(self, x):
        self.pair(x)
        return self.second(self.first(x).relu())


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def network() -> Network:
    torch.manual_seed(0)
    return Network().double().eval()


def build(name: str, space: Space = SPACE):
    torch.manual_seed(0)
    return MAKERS[name](space)


def test_features_are_those_of_a_forward_by_hand():
    module, x = network(), torch.rand((7, 6), dtype=torch.float64)
    assert torch.equal(LayerFeatures(module, FLAT, layer="first").encode(x), module.first(x))
    assert torch.equal(LayerFeatures(module, FLAT, layer="second").encode(x), module(x))
    assert torch.equal(LayerFeatures(module, FLAT, layer="").encode(x), module(x))


def test_the_module_is_run_as_it_is_asked_to_be_and_no_hook_stays():
    module, x = network(), torch.randint(5, (3, 6))
    model = LayerFeatures(module, SPACE, layer="first", ask=lambda m, examples: m(examples.double() / 4))
    assert torch.equal(model.encode(x), module.first(x.double() / 4))
    assert not module.first._forward_hooks
    with pytest.raises(RuntimeError):
        LayerFeatures(module, FLAT, layer="second").encode(torch.rand((2, 9)).double())
    assert not module.second._forward_hooks


def test_layer_features_keep_the_contract_and_gradients_pass():
    model = LayerFeatures(network().float(), FLAT, layer="first")
    assert "features are vectors" in check_model(model) and capabilities(model) == ("Encoder", "Pretrained")
    model.encode(torch.rand((3, 6))).square().sum().backward()
    assert model.module.first.weight.grad is not None
    assert state_digest(model) is not None and copy.deepcopy(model).module is not model.module


def test_sequences_and_maps_are_pooled_to_vectors():
    sequence, images = torch.rand((2, 3, 4)), torch.rand((2, 4, 3, 3))
    assert torch.equal(pooled(sequence, "mean"), sequence.mean(1))
    assert torch.equal(pooled(sequence, "first"), sequence[:, 0])
    assert torch.equal(pooled(sequence, "last"), sequence[:, 2])
    assert torch.equal(pooled(images, "flatten"), images.view(2, 36))
    torch.testing.assert_close(pooled(images, "mean"), images.mean((2, 3)))


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("fist", "Network has no layer 'fist'; near it are first"),
        ("idle", "layer 'idle' of Network was not called"),
        ("pair", "layer 'pair' of Network gives a tuple and not a tensor"),
    ],
)
def test_what_is_no_answer_of_a_layer_is_said(layer, said):
    with pytest.raises(ModelError, match=said):
        LayerFeatures(network(), FLAT, layer=layer).encode(torch.rand((2, 6)).double())


def test_what_cannot_be_pooled_is_said():
    with pytest.raises(ModelError, match="pooling=first takes a position of a sequence"):
        pooled(torch.rand((2, 4, 3, 3)), "first")
    with pytest.raises(ModelError, match=r"gives torch.int64 of shape"):
        pooled(torch.ones((2, 3), dtype=torch.long), "mean")
    whole = LayerFeatures(nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (1, -1))), FLAT, layer="1")
    with pytest.raises(ModelError, match="gave 1 rows for 2 examples"):
        whole.encode(torch.rand((2, 6)))


@pytest.mark.parametrize("name", MAKERS)
def test_generative_features_keep_the_contract(name, make_split):
    model = build(name)
    assert "features are vectors" in check_model(model) and capabilities(model) == ("Encoder", "Trainable")
    assert model.space.classes is None and state_digest(model) is not None
    model = model.double()
    x, _ = make_split(SPACE, 5).batch(0, 5)
    together = model.encode(x)
    assert torch.equal(together, model.encode(x)) and together.dtype == torch.float64
    assert torch.cat([model.encode(each[None]) for each in x]).allclose(together, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", MAKERS)
def test_generative_features_are_fitted_without_labels_and_kept(name, check_fit, make_split):
    train = make_split(SPACE, 50)
    x, _ = train.batch(0, 5)
    check_fit(lambda: build(name), lambda model: model.encode(x), train, steps=4)
    answers = []
    for split in (Split(train.x, None, train.ids), Split(train.x, train.y.flip(0), train.ids)):
        model = build(name)
        model.fit(split, split, Budget(4), rng=generator(0, "fit"))
        answers.append(model.encode(x))
    assert torch.equal(*answers) and not torch.equal(answers[0], build(name).encode(x))


@pytest.mark.parametrize("name", MAKERS)
def test_the_control_with_random_weights_has_nothing_of_the_fit(name, make_split):
    train = make_split(SPACE, 50)
    controls = []
    for steps in (2, 5):
        model = build(name)
        model.fit(train, train, Budget(steps), rng=generator(steps, "fit"))
        with seeded(generator(0, "control")):
            reset(model)
        controls.append(model.state_dict())
    assert all(torch.equal(value, controls[1][key]) for key, value in controls[0].items())


def test_the_features_of_the_transformer_are_the_output_of_its_block():
    model = build("transformer").double()
    x = torch.randint(5, (3, 4, 4))
    inside = model.transformer
    before = inside.values(x.flatten(1)[:, inside.order[:-1]])
    start = inside.start.weight[:1].expand(3, 1, -1)
    hidden = torch.cat([start, before], 1) + start + inside.positions()
    torch.testing.assert_close(model.encode(x), inside.blocks[0](hidden).mean(1), rtol=1e-9, atol=1e-12)
    model.layer, model.pooling = "blocks.1", "last"
    torch.testing.assert_close(model.encode(x), inside.blocks(hidden)[:, -1], rtol=1e-9, atol=1e-12)


def test_the_features_of_the_diffusion_are_means_over_its_noise():
    model = build("diffusion").double()
    x = torch.randint(5, (3, 4, 4))
    inside, signal = model.diffusion, model.diffusion.signal[model.step]
    time = ((torch.full((3,), model.step) + 1) / inside.timesteps).double()  # the diffusion counts in float32
    total = signal * 0.25 + 1 - signal
    found = []
    for noise in model.vectors:
        noisy = (signal.sqrt() * (x.flatten(1).double() / 2 - 1) + (1 - signal).sqrt() * noise) / total.sqrt()
        angle = time[:, None] * inside.network.frequencies
        embedded = inside.network.time(torch.cat([angle.sin(), angle.cos()], 1)) + inside.network.label.weight[0]
        features = inside.network.read(noisy)
        for block in inside.network.blocks:
            features = block(features, nn.functional.gelu(embedded))
        found.append(features)
    torch.testing.assert_close(model.encode(x), torch.stack(found).mean(0), rtol=1e-9, atol=1e-12)


def test_the_step_of_the_diffusion_is_the_one_nearest_to_the_noise():
    for noise in (0.1, 0.5, 0.9):
        model = DiffusionFeatures(SPACE, width=8, blocks=1, block=1, noise=noise)
        assert abs(1 - model.diffusion.signal[model.step].item() - noise) < 0.02


def test_a_block_that_there_is_not_is_refused():
    with pytest.raises(ModelError, match=r"block=3 is none of the 2 blocks: set model.block=2 or model.depth=3"):
        TransformerFeatures(SPACE, block=3, depth=2)
    with pytest.raises(ModelError, match=r"block=7 is none of the 6 blocks: set model.block=6 or model.blocks=7"):
        DiffusionFeatures(SPACE, block=7)
    with pytest.raises(ModelError, match="applies to discrete data"):
        DiffusionFeatures(FLAT)


def test_images_of_colour_give_features_too():
    space = Space((3, 32, 32), Discrete(256))
    x = torch.randint(256, (2, 3, 32, 32))
    assert DiffusionFeatures(space, width=8, block=1, blocks=1).encode(x).shape == (2, 8)
    assert TransformerFeatures(space, width=8, depth=1, block=1).encode(x).shape == (2, 8)


def test_what_the_module_was_trained_on_is_said_or_said_not_to_be_said():
    space = Space((3,), Continuous(0.0, 1.0))
    silent, told = (
        LayerFeatures(nn.Linear(3, 2), space, layer="", **more) for more in ({}, {"pretraining": "a million faces"})
    )
    assert (silent.pretraining, told.pretraining) == ("not said", "a million faces")
