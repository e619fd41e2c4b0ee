"""Double precision moves no honest headline, and moves one that was added up in half."""

import pytest
import torch
from torchstone_extension import invariants
from torchstone_extension.data import dataset

from torchstone.models import Discrete, Encoder, Space
from torchstone.suites.audits.precision import Precision

# exp(2.0794) levels of equal probability, 3072 of them: 6387.9 nats
PHOTOGRAPH = Space((3072,), Discrete(8))


@pytest.fixture(scope="module")
def photographs():
    return dataset(torch.randint(8, (3, 3072), generator=torch.Generator().manual_seed(0)), 8, name="photographs")


@pytest.mark.parametrize(("dtype", "shown"), [(torch.float16, 8192.0), (torch.bfloat16, 1024.0)])
def test_half_precision_adds_three_thousand_terms_to_something_else(look, photographs, dtype, shown):
    model = invariants.HalfSum(PHOTOGRAPH, dtype)
    x, _ = photographs.split("test").batch(0, 3)
    assert float(-model.log_prob(x).detach()[0]) == shown
    finding = look(Precision(), model, photographs).finding
    assert finding.verdict == "flag"
    assert finding.statistic == pytest.approx(
        abs(shown - 3072 * 2.0794415416798357) / 3072 / 0.6931471805599453, rel=1e-6
    )


def test_single_precision_is_far_from_harm(look, photographs, images):
    finding = look(Precision(), invariants.HalfSum(PHOTOGRAPH, torch.float32), photographs).finding
    assert finding.verdict == "pass" and finding.statistic < 1e-3
    for model in (invariants.Factorised, invariants.PointMass, invariants.Masked):
        assert look(Precision(), model(images.space), images).finding.verdict == "pass"


def test_a_model_in_half_precision_is_flagged_for_what_it_costs(look, photographs):
    model = invariants.Factorised(PHOTOGRAPH, sharpness=1.0).to(torch.bfloat16)
    assert look(Precision(), model, photographs).finding.verdict == "flag"


def test_a_model_that_coarse_products_of_matrices_move_is_flagged(look, images):
    """As TF32 does on a GPU; here the model itself rounds when it is allowed to, so that any machine shows it."""

    class Rounded(invariants.Factorised):
        def log_prob(self, x, y=None):
            exact = super().log_prob(x, y)
            return exact if torch.get_float32_matmul_precision() == "highest" else exact - 0.1

    before = torch.get_float32_matmul_precision()
    finding = look(Precision(), Rounded(images.space), images).finding
    assert finding.verdict == "flag" and "Coarse products" in finding.witness
    assert finding.statistic == pytest.approx(0.1 / images.space.dims / 0.6931471805599453, rel=1e-5)
    assert torch.get_float32_matmul_precision() == before


def test_weights_come_back_as_they_were(look, images):
    model = invariants.Masked(images.space)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    look(Precision(), model, images)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before)


def test_a_model_without_a_density_is_not_asked(look, images):
    class Plain(Encoder):
        space = images.space

        def encode(self, x):
            return x.double().flatten(1)

    assert look(Precision(), Plain(), images).finding.verdict == "not-applicable"
