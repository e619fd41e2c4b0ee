"""Models that map examples to features, and have no density."""
