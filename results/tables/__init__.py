"""Records as tables, in five formats, and over time."""
