"""Figures for print: vector PDF and PNG, the same bytes each time they are made."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

WIDE = 7.2
"""Width of a figure over two columns of a journal [inch]."""

_DOTS = 300  # an inch
_DOTS_ON_SCREEN = 150

_LOOK: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#6b7280",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "text.parse_math": False,
}


@contextmanager
def print_look() -> Iterator[None]:
    """Draw with the look of printed figures inside."""
    with matplotlib.rc_context(_LOOK):
        yield


def printed(figure: Figure, name: str) -> dict[str, bytes]:
    """Make the files of a figure: ``NAME.pdf`` and ``NAME.png``."""
    stream = io.BytesIO()
    known = {"CreationDate": None, "Creator": None, "Producer": None}
    FigureCanvasPdf(figure).print_pdf(stream, metadata=known)  # type: ignore[no-untyped-call]
    return {f"{name}.pdf": stream.getvalue(), f"{name}.png": png(figure)}


def on_screen(figure: Figure) -> str:
    """Data URI of a figure for the page."""
    return "data:image/png;base64," + base64.b64encode(png(figure, _DOTS_ON_SCREEN)).decode("ascii")


def png(figure: Figure, dots: int = _DOTS) -> bytes:
    """Make the PNG of a figure, of so many ``dots`` an inch."""
    stream = io.BytesIO()
    before = figure.dpi
    figure.set_dpi(dots)
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})  # type: ignore[no-untyped-call]
    figure.set_dpi(before)
    return stream.getvalue()
