"""Whatever comes later moves no conditional of an honest model, and some conditional of a dishonest one."""

import math

import pytest
import torch
from torchstone_extension import invariants
from torchstone_extension.data import dataset

from torchstone.models import Continuous, Space
from torchstone.models.exact.pixelcnn import PixelCNN
from torchstone.models.exact.transformer import Transformer
from torchstone.suites.audits.causality import BlindSpots, Causality


@pytest.mark.parametrize("order", [None, [7, 6, 5, 4, 3, 2, 1, 0], [0, 4, 1, 5, 2, 6, 3, 7]])
def test_a_mask_is_causal_in_the_order_that_it_declares(look, images, order):
    assert look(Causality(), invariants.Masked(order=order), images).finding.verdict == "pass"


@pytest.mark.parametrize("model", [Transformer, PixelCNN])
def test_reference_models_are_causal_untrained_and_with_labels(look, images, model):
    labelled = dataset(images.split("test").x, 4, y=torch.arange(150) % 3, classes=3)
    for data, conditional in ((images, False), (labelled, True)):
        finding = look(Causality(), model(data.space, width=8, conditional=conditional), data).finding
        assert finding.verdict == "pass" and finding.grade == "C" and "tiny instance" in finding.witness


@pytest.mark.parametrize(
    "mutant",
    [
        invariants.Peeking,
        invariants.Shifted,
        invariants.Whisper,
        invariants.WrongChannels,
        invariants.NormalisedOverPositions,
        invariants.NormalisedOverSpace,
    ],
)
def test_a_leak_is_a_counter_example(look, images, mutant):
    finding = look(Causality(), mutant(images.space), images).finding
    assert finding.verdict == "fail" and finding.grade == "A"
    assert "moves by" in finding.witness and finding.statistic > 1e-9


def test_the_leak_of_one_part_in_ten_thousand_is_seen_as_small_as_it_is(look, images):
    finding = look(Causality(), invariants.Whisper(images.space), images).finding
    assert 1e-7 < finding.statistic < 1e-2


def test_an_order_that_is_no_permutation_breaks_the_contract(look, images):
    finding = look(Causality(), invariants.NoOrder(images.space), images).finding
    assert finding.verdict == "fail" and "no permutation of 0 to 7" in finding.witness


def real_data():
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return dataset(x, None, support=Continuous(-math.inf, math.inf))


def test_real_numbers_without_bounds_are_moved_about_the_data(look):
    data = real_data()
    finding = look(Causality(), invariants.Chain(data.space), data).finding
    # 0 * NaN is NaN: the product with a mask lets the poison through, and that is no fault
    assert finding.verdict == "flag" and "NaN" in finding.witness


def test_a_model_of_real_numbers_that_sees_itself_fails(look):
    data = real_data()
    model = invariants.Chain(data.space)
    model.weights = model.weights + 1e-4 * torch.eye(5)
    assert look(Causality(), model, data).finding.verdict == "fail"


def test_a_model_without_an_order_is_not_asked(look, images):
    for audit in (Causality(), BlindSpots()):
        assert look(audit, invariants.Factorised(images.space), images).finding.verdict == "not-applicable"


def test_blind_spots_are_reported_with_their_share_and_a_picture(look, images):
    class Blind(invariants.Masked):
        def mask(self):
            seen = super().mask()
            seen[:, 0] = 0
            return seen

    finding = look(BlindSpots(), Blind(), images).finding
    assert finding.verdict == "pass"
    assert finding.statistic == pytest.approx(7 / 28)
    assert "1 of 7 values reach no later" in finding.witness
    assert finding.pictures["causality"].startswith(b"\x89PNG")
    assert look(BlindSpots(), invariants.Masked(), images).finding.statistic == 0


def test_one_position_alone_has_no_past(look):
    x = torch.randint(4, (40, 1))
    data = dataset(x, 4)
    model = invariants.Masked(Space((1,), data.space.support))
    assert look(Causality(), model, data).finding.verdict == "pass"
    assert look(BlindSpots(), model, data).finding.verdict == "pass"
