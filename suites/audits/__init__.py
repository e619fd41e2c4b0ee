"""Audits: each tests one claim of an adapter, and says what it saw, how surely, and what it could have missed."""
