"""Two models, or two stores, held against each other."""
