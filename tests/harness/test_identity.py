"""Identity is of content: whatever moves a number moves a digest, and what cannot be read has none."""

import functools
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torchstone_extension import honest

from torchstone.harness.identity import state_digest, weights_digest
from torchstone.models import Discrete, Space
from torchstone.models.exact.independent import Independent
from torchstone.models.exact.rnn import RNN
from torchstone.models.exact.transformer import Transformer

SPACE = Space((2, 3), Discrete(4))


class Holder:
    def __init__(self, **parts):
        self.__dict__.update(parts)


def outer(captured):
    return lambda x: x + captured


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, 1.0),
        (1, True),
        ("1", 1),
        (None, 0),
        ((1, 2), [1, 2]),
        ([[1], 2], [1, [2]]),
        ({"a": 1}, {"a": 2}),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.tensor(1.0), torch.tensor(2.0)),
        (np.zeros(2), np.ones(2)),
        (Discrete(2), Discrete(3)),
        (functools.partial(max, 1), functools.partial(max, 2)),
        (outer(1), outer(2)),
        (OrderedDict(a=1), OrderedDict(b=1)),
        (Holder(temperature=1.0), Holder(temperature=0.8)),
    ],
)
def test_what_differs_has_another_digest(one, other):
    digests = [state_digest(Holder(part=part)) for part in (one, other)]
    assert None not in digests and digests[0] != digests[1]


@pytest.mark.parametrize("part", [1.5, "text", torch.ones(3), {"b": 1, "a": {2}}, outer(3), Discrete(4), np.ones(2)])
def test_equal_content_has_equal_digests(part):
    assert state_digest(Holder(part=part)) == state_digest(Holder(part=part))


@pytest.mark.parametrize("part", [object(), open, (i for i in range(3)), np.array([object()])])
def test_what_cannot_be_read_has_no_digest_unless_it_is_a_name(part):
    expected_none = part is not open
    assert (state_digest(Holder(part=part)) is None) == expected_none


def test_cycles_end():
    holder = Holder()
    holder.me = holder
    assert state_digest(holder) is not None


@pytest.mark.parametrize("factory", [Independent, Transformer, RNN])
def test_modules_have_digests_of_weights_buffers_and_settings(factory):
    def made(**settings):
        torch.manual_seed(0)
        return factory(SPACE, **settings)

    assert state_digest(made()) == state_digest(made()) is not None
    assert state_digest(made()) != state_digest(factory(Space((2, 3), Discrete(5))))
    model = made()
    changed = made()
    next(iter(changed.state_dict().values())).flatten()[0] += 1
    assert weights_digest(model) != weights_digest(changed) and state_digest(model) != state_digest(changed)


def test_a_plain_attribute_counts():
    one, other = honest.AffineFlow(), honest.AffineFlow()
    other.sign = -1.0
    assert state_digest(one) != state_digest(other)
