"""The driver: command line, settings, plug-ins, fitting, execution. Importing it loads no torch."""

from torchstone.harness.errors import BenchError, InputError, WorkerError
from torchstone.harness.interface import Results, run
from torchstone.harness.verdicts import check, compare

__all__ = ["BenchError", "InputError", "Results", "WorkerError", "check", "compare", "run"]
