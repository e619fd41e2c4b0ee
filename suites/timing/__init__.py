"""How long things take: clocks, warm-up, calibration, memory, arithmetic, and what a timing may not hide."""
