from __future__ import annotations

import torch

from torchstone.models.layers import FeatureDropout, Lookup, Positions, perceptron


def test_positions_add_one_embedding_for_each_axis():
    positions = Positions((3, 2, 2), 4)
    channel, row, column = (axis.weight for axis in positions.axes)
    embedded = positions()
    assert embedded.shape == (12, 4)
    # in raster order the second position is the second channel of the first pixel, the fourth the next pixel
    assert embedded[1].allclose(channel[1] + row[0] + column[0])
    assert embedded[3].allclose(channel[0] + row[0] + column[1])
    assert embedded[11].allclose(channel[2] + row[1] + column[1])
    assert Positions((5,), 4).double()().dtype == torch.float64


def test_lookup_begins_small():
    torch.manual_seed(0)
    assert 0.25 < Lookup(100, 20).weight.std().item() < 0.35


def test_feature_dropout_drops_whole_sequences():
    torch.manual_seed(0)
    layer, ones = FeatureDropout(0.5), torch.ones(4, 6, 50)
    kept = layer(ones)
    assert ((kept == 0) | (kept == 2)).all() and 0.3 < (kept == 0).float().mean() < 0.7
    assert (kept == kept[:, :1]).all()
    assert torch.equal(layer.eval()(ones), ones)


def test_perceptron_takes_features_of_any_leading_shape():
    layers = perceptron(4, 3, 0.5).eval()
    assert layers(torch.ones(5, 2, 4)).shape == (5, 2, 3)
    assert torch.equal(layers(torch.full((4,), -50.0)), layers(torch.full((4,), -80.0))), (
        "it begins with a nonlinearity"
    )
