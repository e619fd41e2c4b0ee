"""A leaderboard that one can trust and show: a static web page made from records alone."""
