"""What the tests of the suites share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from torchstone.models import Model
from torchstone.suites.context import Context
from torchstone.suites.data import Dataset
from torchstone.suites.density import Density
from torchstone.suites.suite import Evaluation


@pytest.fixture
def measure() -> Callable[..., Evaluation]:
    """Measures density in small batches, with any settings of the suite."""

    def measured(
        model: Model, data: Dataset, *, batch_size: int = 7, seed: int = 0, **settings: int | str
    ) -> Evaluation:
        suite = Density(**settings)  # type: ignore[arg-type]
        assert suite.skip(model, data) is None
        return suite.evaluate(model, data, Context(batch_size=batch_size, seed=seed))

    return measured
