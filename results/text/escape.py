"""Names as data: text that means itself in Markdown, HTML and LaTeX."""

from __future__ import annotations

import html
import re

from torchstone.results.text.numbers import printable

__all__ = ["html_text", "latex_text", "markdown_text"]


def markdown_text(text: str) -> str:
    """``text`` for a cell or a line of Markdown: no column, link, code or tag can begin in it."""
    return re.sub(r"([\\`*|<\[])", r"\\\1", printable(text))


def html_text(text: str) -> str:
    """``text`` for the content of an HTML element."""
    return html.escape(printable(text))


def latex_text(text: str) -> str:
    """``text`` for LaTeX, the signs of kinds and uncertainties as mathematics."""
    return "".join(_LATEX.get(character, character) for character in printable(text))


_LATEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "–": "--",
    "[": "{[}",  # after a line's end it would begin an option
    "]": "{]}",
}
