"""Outliers: the sets, the scores that are to tell them from the data, and what becomes of both."""
