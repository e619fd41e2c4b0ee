"""A plug-in package for Torchstone: honest models with known answers, mutants of them, and data."""
