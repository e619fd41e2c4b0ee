"""Datasets: the plain types, and one file for each kind of origin."""

from torchstone.suites.data.dataset import DataError, Dataset, Source

__all__ = ["DataError", "Dataset", "Source"]
