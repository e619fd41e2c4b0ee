from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import NTXentLoss

from torchstone.models import Budget, Discrete, Space
from torchstone.models.encoders import moco
from torchstone.models.encoders.moco import MoCo
from torchstone.models.encoders.teacher import Teacher
from torchstone.models.randomness import generator, seeded

SPACE = Space((8, 8), Discrete(5))
TAU = 0.2


def unit(rows: int, seed: int) -> torch.Tensor:
    drawn = torch.randn((rows, 3), generator=generator(seed, "rows"), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=1)


def criterion(queue: int) -> NTXentLoss:
    with seeded(generator(0, "queue")):
        return NTXentLoss(TAU, memory_bank_size=(queue, 3)).double()


def test_the_loss_is_the_formula_over_the_queue_and_the_queue_is_the_last_keys():
    """Minibatches of 2 in a queue of 4: first random directions, then the keys of the two minibatches before."""
    loss = criterion(4)
    queue = loss.memory_bank.bank.clone()
    assert queue.norm(dim=1).allclose(torch.ones(4, dtype=torch.float64))
    for step in range(5):
        query, key = unit(2, step).requires_grad_(), unit(2, 100 + step)
        positive = (query * key).sum(1) / TAU
        negative = (query @ queue.T / TAU).exp().sum(1)
        expected = (positive.exp() + negative).log() - positive
        assert loss(query, key).item() == pytest.approx(expected.mean().item(), rel=1e-9)
        at = 2 * step % 4
        queue[at : at + 2] = key
    assert queue.allclose(loss.memory_bank.bank, rtol=1e-12)


def test_if_all_are_one_the_loss_is_the_log_of_the_number_of_choices():
    loss = criterion(6)
    loss.memory_bank.bank.copy_(unit(1, 0).expand(6, 3))
    same = unit(1, 0).expand(4, 3)
    assert loss(same, same).item() == pytest.approx(math.log(7), rel=1e-9)


def fitted_with(monkeypatch, make_split, momentum: float, steps: int = 3) -> tuple[list[Teacher], list, list]:
    """The teachers of a fit, the student's weights after its start and after every step, and the teacher's answers."""
    teachers, weights, answers = [], [], []
    copied, followed, called = Teacher.copy, Teacher.follow, Teacher.__call__

    def copy(self):
        copied(self)
        teachers.append(self)
        weights.append([p.detach().clone() for p in self.student.parameters()])

    def follow(self, step):
        followed(self, step)
        weights.append([p.detach().clone() for p in self.student.parameters()])

    def call(self, numbers):
        answers.append(called(self, numbers))
        return answers[-1]

    for name, spy in (("copy", copy), ("follow", follow), ("__call__", call)):
        monkeypatch.setattr(Teacher, name, spy)
    train = make_split(SPACE, 50)
    model = MoCo(SPACE, features=6, width=4, batch=8, momentum=momentum)
    model.fit(train, train, Budget(steps), rng=generator(0, "fit"))
    return teachers, weights, answers


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_the_encoder_of_the_keys_follows_the_moving_average_and_gets_no_gradient(momentum, monkeypatch, make_split):
    teachers, weights, answers = fitted_with(monkeypatch, make_split, momentum)
    (teacher,) = teachers
    assert len(weights) == 4 and len(answers) == 3 and not any(answer.requires_grad for answer in answers)
    expected = weights[0]
    for later in weights[1:]:
        expected = [momentum * old + (1 - momentum) * new for old, new in zip(expected, later, strict=True)]
    for parameter, value in zip(teacher.network.parameters(), expected, strict=True):
        assert parameter.grad is None and not parameter.requires_grad
        assert parameter.allclose(value, atol=1e-6)


def test_queries_and_keys_are_other_views(monkeypatch, make_split):
    seen = []
    view = moco.view

    def spy(numbers, space, strength, rng):
        seen.append(view(numbers, space, strength, rng))
        return seen[-1]

    monkeypatch.setattr(moco, "view", spy)
    train = make_split(SPACE, 50)
    MoCo(SPACE, features=6, width=4, batch=8).fit(train, train, Budget(2), rng=generator(0, "fit"))
    assert len(seen) == 4 and not torch.equal(seen[0], seen[1])
