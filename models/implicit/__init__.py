"""Models that are known by their samples: generators of one step, and of many."""
