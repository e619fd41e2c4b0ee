"""``python -m torchstone.harness``: the same as ``bench``."""

from torchstone.harness.cli import main

main()
