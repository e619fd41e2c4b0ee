"""What all tests share."""

import pytest
import torch

# The models of the tests are small: a second thread wins little, and loses much where another process wants its core.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _weights_that_do_not_depend_on_the_order_of_the_tests() -> None:
    """Models that a test builds draw their weights from the global generator."""
    torch.manual_seed(0)
