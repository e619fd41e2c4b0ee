"""How features are asked for, probed, and held against controls."""
