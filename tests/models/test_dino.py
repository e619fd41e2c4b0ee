from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import DINOLoss

from torchstone.models import Budget, Discrete, Space
from torchstone.models.encoders.dino import DINO
from torchstone.models.randomness import generator
from torchstone.suites.data.embedded import digits

CENTRING, SHARP, SOFT = 0.9, 1 / 16, 0.1


def criterion(outputs: int, centring: float = CENTRING) -> DINOLoss:
    loss = DINOLoss(outputs, teacher_temp=SHARP, student_temp=SOFT, center_momentum=centring)
    return loss.double()


def logits(seed: int, views: int = 2, outputs: int = 4) -> list[torch.Tensor]:
    drawn = torch.randn((views, 5, outputs), generator=generator(seed, "logits"), dtype=torch.float64)
    return list(0.2 * drawn)


def test_the_loss_is_the_formula_and_the_centre_a_moving_average():
    """Cross-entropy of each view's student from the other view's teacher, which is centred and sharpened."""
    loss, centre = criterion(4), torch.zeros(4, dtype=torch.float64)
    for step in range(4):
        teacher, student = logits(step), logits(100 + step)
        expected = 0.0
        for u, v in ((0, 1), (1, 0)):
            target = ((teacher[u] - centre) / SHARP).softmax(1)
            expected -= (target * (student[v] / SOFT).log_softmax(1)).sum(1).mean().item() / 2
        assert loss(teacher, student).item() == pytest.approx(expected, rel=1e-9)
        centre = CENTRING * centre + (1 - CENTRING) * torch.cat(teacher).mean(0)
        assert loss.center[0, 0].allclose(centre, rtol=1e-9)


def test_one_answer_to_everything_is_a_perfect_score_until_it_is_centred():
    """A constant logit of 1 costs nothing at first; the centre takes it off, and the teacher's answer gets uniform."""
    outputs = 4
    constant = torch.zeros((5, outputs), dtype=torch.float64)
    constant[:, 0] = 2.0
    with_centre, without = criterion(outputs), criterion(outputs, centring=1.0)
    found = [[loss([constant] * 2, [constant] * 2).item() for _ in range(200)] for loss in (with_centre, without)]
    assert found[0][0] < 1e-6 and found[1] == pytest.approx([found[1][0]] * 200)
    uniform = -(constant[0] / SOFT).log_softmax(0).mean().item()
    assert found[0][-1] == pytest.approx(uniform, rel=1e-6) and uniform > 10


def answers(centring: float, monkeypatch) -> torch.Tensor:
    """The share of each prototype among the teacher's answers in the last of 100 steps on digits."""
    shares = []
    forward = DINOLoss.forward

    def spy(self, teacher, student):
        shares.append(((torch.cat(teacher) - self.center[0]) / self.teacher_temp).softmax(1).mean(0))
        return forward(self, teacher, student)

    monkeypatch.setattr(DINOLoss, "forward", spy)
    data = digits()
    model = DINO(data.space, width=8, features=16, prototypes=16, batch=32, centring=centring)
    model.fit(data.split("train"), data.split("validation"), Budget(100), rng=generator(0, "fit"))
    x, _ = data.split("test").batch(0, 50)
    assert model.encode(x).std(0).mean() > 1e-3
    return shares[-1]


def entropy(shares: torch.Tensor) -> float:
    return -(shares * shares.clamp_min(1e-30).log()).sum().item()


def test_centring_keeps_the_answers_apart_and_without_it_they_are_one(monkeypatch):
    assert entropy(answers(CENTRING, monkeypatch)) > 0.85 * math.log(16)
    assert entropy(answers(1.0, monkeypatch)) < 0.5 * math.log(16)


def test_the_teacher_gets_no_gradient(monkeypatch, make_split):
    seen = []
    forward = DINOLoss.forward

    def spy(self, teacher, student):
        seen.append([t.requires_grad for t in teacher] + [s.requires_grad for s in student])
        return forward(self, teacher, student)

    monkeypatch.setattr(DINOLoss, "forward", spy)
    space = Space((8, 8), Discrete(5))
    train = make_split(space, 50)
    DINO(space, features=6, width=4, batch=8).fit(train, train, Budget(2), rng=generator(0, "fit"))
    assert seen == [[False, False, True, True]] * 2
