"""Models that give the probabilities of labels, alone or composed with a density."""
