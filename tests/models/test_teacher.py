from __future__ import annotations

import copy

import torch
from torch import nn

from torchstone.models.encoders.teacher import Teacher
from torchstone.models.randomness import generator

MOMENTUM = 0.9


def pair() -> tuple[nn.Module, Teacher]:
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(3, 4), nn.GroupNorm(2, 4), nn.Linear(4, 2)).double()
    return student, Teacher(copy.deepcopy(student), student, MOMENTUM)


def move(student: nn.Module, step: int) -> list[torch.Tensor]:
    rng = generator(step, "weights")
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    return [p.detach().clone() for p in student.parameters()]


def test_after_k_steps_the_weights_are_the_closed_form_of_the_moving_average():
    r"""``m^k theta_0 + (1 - m) sum_i m^(k - i) student_i``."""
    student, teacher = pair()
    expected = [MOMENTUM**7 * p.detach().clone() for p in student.parameters()]
    for step in range(1, 8):
        for total, weights in zip(expected, move(student, step), strict=True):
            total += (1 - MOMENTUM) * MOMENTUM ** (7 - step) * weights
        teacher.follow(step)
    for parameter, total in zip(teacher.network.parameters(), expected, strict=True):
        assert parameter.allclose(total, rtol=1e-9, atol=1e-12)


def test_no_gradient_reaches_it():
    student, teacher = pair()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    answer = teacher(x)
    assert not answer.requires_grad
    (student(x) - answer).square().sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in teacher.network.parameters())
    assert all(p.grad is not None and p.requires_grad for p in student.parameters())


def test_copies_the_student():
    student, teacher = pair()
    move(student, 0)
    x = torch.randn(5, 3, dtype=torch.float64)
    assert not torch.equal(teacher(x), student(x))
    teacher.copy()
    assert torch.equal(teacher(x), student(x))
    move(student, 1)
    assert not torch.equal(teacher(x), student(x))
