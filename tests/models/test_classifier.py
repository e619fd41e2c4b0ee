from __future__ import annotations

import pytest
import torch

from torchstone.models import Budget, Continuous, Discrete, ModelError, Space
from torchstone.models.checks import check_model
from torchstone.models.discriminative.classifier import Classifier
from torchstone.models.randomness import generator
from torchstone.suites.data.embedded import digits

SPACE = Space((2, 2), Discrete(5), classes=3)


def build(space: Space = SPACE) -> Classifier:
    return Classifier(space, width=16, batch=16)


def test_it_answers_as_the_contract_says():
    assert check_model(build()) == ("space is declared", "label probabilities sum to one")


@pytest.mark.parametrize(
    "space", [SPACE, Space((3, 4, 4), Discrete(256), 10), Space((7,), Continuous(), 2), Space((5,), Discrete(2), 2)]
)
def test_it_reads_data_of_any_shape(space):
    x = torch.zeros((6, *space.event_shape), dtype=torch.long if isinstance(space.support, Discrete) else torch.float)
    answer = build(space).log_prob_label(x)
    assert answer.shape == (6, space.classes) and answer.dtype == torch.float64
    assert torch.allclose(answer.logsumexp(1), torch.zeros(6, dtype=torch.float64), atol=1e-12)


def test_gradients(check_gradients):
    model = build()
    check_gradients(model, -model.log_prob_label(torch.arange(8).view(2, 2, 2) % 5)[:, 0].sum())


def test_fit_is_deterministic_and_kept(check_fit, make_split):
    train = make_split(SPACE, 60)
    check_fit(build, lambda model: model.log_prob_label(train.batch(0, 9)[0]), train)


def test_training_lowers_the_cost_of_the_labels(make_split):
    train = make_split(SPACE, 300)
    x, y = train.batch(0, 300)
    model = build()

    def cost() -> float:
        return float(-model.log_prob_label(x).gather(1, y[:, None]).mean().detach())

    before = cost()
    model.fit(train, train, Budget(200), rng=generator(0, "fit"))
    assert cost() < before - 0.1


def test_data_without_labels_are_refused(make_split):
    with pytest.raises(ModelError, match="these data have none: choose data that have"):
        Classifier(Space((2,), Discrete(3)))
    unlabelled = make_split(Space((2, 2), Discrete(5)), 20)
    with pytest.raises(ModelError, match="give the training split its y"):
        build().fit(unlabelled, unlabelled, Budget(1), rng=generator(0, "fit"))


def test_it_cannot_refuse_noise():
    """A probability of one is spread over its labels whatever it is shown: there is nothing else that it could say."""
    noise = torch.randint(5, (50, 2, 2), generator=generator(0, "noise"))
    assert torch.allclose(build().log_prob_label(noise).exp().sum(1), torch.ones(50, dtype=torch.float64))


def test_it_knows_digits():
    data = digits()
    model = Classifier(data.space)
    model.fit(data.split("train"), data.split("validation"), Budget(700), rng=generator(0, "fit"))
    x, y = data.split("test").batch(0, 1000)
    assert float((model.log_prob_label(x).argmax(1) == y).double().mean()) > 0.96
