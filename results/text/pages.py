"""Web pages from the templates of this package; what is put into them is text, and never markup."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchstone.results.text.numbers import printable

if TYPE_CHECKING:
    from jinja2 import Environment, Template

__all__ = ["part", "template"]

FOLDER = Path(__file__).parent.parent / "templates"


def template(name: str) -> Template:
    """The template called ``name``. It escapes what is put into it, and writes control characters out."""
    return _environment().get_template(name)


def part(name: str) -> str:
    """The text of a file that belongs inside a page: a style or a script."""
    return (FOLDER / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _shown(value: Any) -> Any:
    from markupsafe import Markup

    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
