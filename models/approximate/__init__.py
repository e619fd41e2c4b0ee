"""Models that bound their density from below."""
