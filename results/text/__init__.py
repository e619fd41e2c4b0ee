"""Numbers, names and tables as text: digits, escapes, grids, pages."""
