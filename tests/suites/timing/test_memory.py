"""Peaks of memory from calls that take a known amount."""

import torch
from torch import nn

from torchstone.suites.timing.memory import peak_memory

MIB, CPU = 2**20, torch.device("cpu")


def test_the_peak_is_that_of_the_weights_and_of_the_most_that_was_held_at_once():
    """Weights of 4 MiB and a buffer of 1; 16 MiB are taken and given back, then 2, which are kept."""
    model = nn.Linear(1024, 1024, bias=False)
    model.register_buffer("more", torch.zeros(MIB // 4))

    def call():
        del_me = torch.ones(4 * MIB)
        del del_me
        return torch.ones(MIB // 2)

    found = peak_memory(model, call, CPU)
    assert abs(found.allocated - 21) < 0.2, found.allocated  # decimal megabytes would be 22
    assert found.reserved is None


def test_what_is_no_module_has_no_weights():
    assert abs(peak_memory(object(), lambda: torch.ones(2 * MIB), CPU).allocated - 8) < 0.1
