"""What all pictures share: one width, one look, and the way from a figure to a PNG file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BLACK", "BLUE", "GREY", "ORANGE", "RED", "encoded", "figure"]

P = ParamSpec("P")

# Colours that differ for every eye, and in greyscale by their lightness; what matters differs in shape as well.
# Source: Color Universal Design (Masataka Okabe and Kei Ito, 2008). https://jfly.uni-koeln.de/color/
BLACK, BLUE, RED, ORANGE, GREY = "#111111", "#0072B2", "#C44E00", "#E69F00", "#8A8A8A"

WIDTH = 7.0  # inches; at a hundred pixels an inch the smallest text is 12 pixels high
DOTS = 140

_LOOK = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titlelocation": "left",
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": BLACK,
    "hatch.linewidth": 0.6,
    "lines.linewidth": 1.8,
}


def encoded(draw: Callable[P, Figure]) -> Callable[P, bytes]:
    """Turn a function that draws a figure into one that returns it as a PNG file; ``__wrapped__`` is the drawing.

    Nobody's own settings of matplotlib play a part, and equal figures give equal bytes.
    """

    @wraps(draw)
    def picture(*args: P.args, **kwargs: P.kwargs) -> bytes:
        with _look():
            drawn, sink = draw(*args, **kwargs), io.BytesIO()
            drawn.savefig(sink, format="png", dpi=DOTS, metadata={"Software": None})
        return sink.getvalue()

    return picture


def figure(height: float) -> Figure:
    """An empty figure of the common width, ``height`` inches high, that no window and no global state knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(made)
    return made


@contextmanager
def _look() -> Iterator[None]:
    import matplotlib

    look: dict[Any, Any] = {
        k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith(("backend", "tool"))
    }
    with matplotlib.rc_context(look | _LOOK):
        yield
