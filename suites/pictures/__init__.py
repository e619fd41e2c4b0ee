"""Pictures of what suites measure, as PNG files in memory; matplotlib is imported where one is drawn."""
