"""The gate of continuous integration: margins, verdicts, and how they are written."""
