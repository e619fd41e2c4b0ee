"""What all tests share."""

import torch

# The models of the tests are small: a second thread wins little, and loses much where another process wants its core.
torch.set_num_threads(1)
