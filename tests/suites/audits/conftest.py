"""What the tests of the audits share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torchstone_extension.data import dataset

from torchstone.models import Model
from torchstone.models.randomness import generator
from torchstone.suites.audits.audit import Audit
from torchstone.suites.audits.battery import Judged, judge
from torchstone.suites.audits.state import pristine
from torchstone.suites.audits.subject import Subject
from torchstone.suites.context import Context
from torchstone.suites.data import Dataset
from torchstone.suites.questions import validated


@pytest.fixture
def images() -> Dataset:
    """Distinct random colour images of two by two pixels, with four levels."""
    x = torch.randint(4, (150, 2, 2, 2), generator=generator(0, "images"))
    return dataset(x, 4, name="images")


@pytest.fixture
def look() -> Callable[..., Judged]:
    """Holds one audit of a model as the battery does, with a copy that nothing has been asked of."""

    def looked(audit: Audit, model: Model, data: Dataset, *, seed: int = 0, examples: int = 60) -> Judged:
        untouched = pristine(model)
        subjects = (Subject(model, data, Context(seed=s), examples, untouched) for s in (seed, seed + 1000))
        with validated(), torch.random.fork_rng(devices=[]):
            (judged,) = judge((audit,), *subjects, alpha=1e-3)
        return judged

    return looked
