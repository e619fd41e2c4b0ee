"""How good samples are: against which examples, by which distances, at which cost."""
