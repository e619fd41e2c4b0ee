"""Models that compute their density exactly."""
