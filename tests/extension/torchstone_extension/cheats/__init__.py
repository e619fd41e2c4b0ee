"""Adapters with one mistake each, made from an honest one and named by the mistake."""
