"""What figures share: look, margins and box plots; SVG with texts left as texts for a page, PDF and PNG for print."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import matplotlib.dates
import matplotlib.ticker
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from soilcast.ownership import GENERATOR
from soilcast.reporting.style import OBSERVED

DEEP = -4.0
"""Value below which an axis is logarithmic beneath -1: where soil moisture hardly moves, skill falls without bound."""

# Laid out in the one font that comes with matplotlib; the reader's browser then sets the texts in its own, narrower.
_LAYOUT_FONT = "DejaVu Sans"
_READER_FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"

_DAY, _BY_DAY = np.timedelta64(1, "D"), "datetime64[D]"
_FEW_DAYS = 100
"""An axis of so many days at most names days, one of more months."""

_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 600)
"""Numbers of months from one tick to the next."""

LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "soilcast",
    "text.parse_math": False,
    "font.family": _LAYOUT_FONT,
    "font.size": 10.5,
    "axes.edgecolor": "#9aa1ab",
    "axes.labelcolor": "#4b5563",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8eaee",
    "grid.linewidth": 0.8,
    "xtick.color": "#4b5563",
    "ytick.color": "#4b5563",
    "xtick.major.size": 3,
    "ytick.major.size": 3,
}
"""Settings of matplotlib that all figures of a page are drawn with."""


def canvas(width: float, height: float, *, right: float = 0.08) -> tuple[Figure, Axes]:
    """Make a figure of this size [inch] with axes whose left margins are alike."""
    figure = Figure(figsize=(width, height))
    set_margins(figure, left=0.78, bottom=0.48, right=right)
    return figure, figure.subplots()


def set_margins(figure: Figure, *, left: float, bottom: float, right: float = 0.08) -> None:
    """Set the margins of a figure [inch]."""
    # Not solved for: the texts are of known length, and figures side by side then align.
    width, height = figure.get_size_inches()
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - 0.08 / height)


PLAIN_NUMBERS = matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−"))
"""Of an axis that is logarithmic: no powers, and a minus as on the other axes."""


def log_ticks(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5), numticks=8))
    axes.yaxis.set_major_formatter(PLAIN_NUMBERS)
    axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def draw_boxes(axes: Axes, groups: Mapping[str, Sequence[npt.NDArray[np.float64]]], colours: Sequence[str]) -> None:
    """Draw box plots side by side: boxes hold the middle half, whiskers run from the 5th to the 95th percentile.

    Parameters
    ----------
    axes
        Where; its ticks are left to the caller.
    groups
        Name -> one sample a colour; an empty one leaves a gap.
    colours
        One a sample of a group.
    """
    width = 0.8 / len(colours)
    for order, colour in enumerate(colours):
        samples = [group[order] for group in groups.values()]
        centres = np.arange(len(groups)) + (order - (len(colours) - 1) / 2) * width
        drawn = [position for position, sample in enumerate(samples) if len(sample)]
        axes.boxplot(
            [samples[position] for position in drawn],
            positions=[float(centres[position]) for position in drawn],
            widths=width * 0.82,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": colour, "edgecolor": colour, "linewidth": 0.8, "alpha": 0.9},
            medianprops={"color": "white", "linewidth": 1.6},
            whiskerprops={"color": colour, "linewidth": 1.1},
            capprops={"color": colour, "linewidth": 1.1},
        )
    axes.set_xlim(-0.55, len(groups) - 0.45)
    axes.grid(visible=False, axis="x")


def draw_observed(
    axes: Axes, days: npt.NDArray[np.datetime64], values: npt.NDArray[np.floating], *, width: float = 1.5
) -> None:
    """Draw observations as a line, and as points where they have gaps, in which no line runs.

    Parameters
    ----------
    axes
        Where.
    days, values
        ``(day,)`` in order; NaN where nothing was observed, which days that are left out are taken for.
    width
        Of the line [points].
    """
    if not len(days):
        return
    every = np.arange(days[0], days[-1] + _DAY, _DAY)
    observed = np.full(len(every), np.nan)
    observed[((days - days[0]) / _DAY).astype(int)] = values
    axes.plot(every, observed, color=OBSERVED, linewidth=width)
    missing = ~np.isfinite(observed)
    beside_gap = np.zeros_like(missing)
    beside_gap[1:] |= missing[:-1]
    beside_gap[:-1] |= missing[1:]
    at = beside_gap & ~missing
    if at.any():
        axes.plot(every[at], observed[at], color=OBSERVED, linestyle="", marker="o", markersize=1.6 * width)


def day_axis(axes: Axes, first: np.datetime64, last: np.datetime64, most: int) -> None:
    """Set the horizontal axis to days: at most so many ticks, at midnight, with the year beneath where it begins.

    Parameters
    ----------
    axes
        Where.
    first, last
        Ends of the axis.
    most
        Number of ticks; where many days are shown, they are at the beginnings of months.
    """
    axes.set_xlim(first, last)  # type: ignore[arg-type]
    from_day, to_day = (first + _DAY - np.timedelta64(1, "s")).astype(_BY_DAY), last.astype(_BY_DAY)
    count = int((to_day - from_day) / _DAY) + 1
    if count <= _FEW_DAYS:
        ticks = from_day + np.arange(0, count, -(-count // most)) * _DAY
    else:
        months = np.arange(from_day.astype("datetime64[M]"), to_day.astype("datetime64[M]") + 1)
        months = months[months.astype(_BY_DAY) >= from_day]
        step = next(step for step in _MONTHS if -(-len(months) // step) <= most)
        ticks = months[months.astype(int) % step == 0].astype(_BY_DAY)
    dates = ticks.astype(object)
    names = [f"{date:%-d %b}" if count <= _FEW_DAYS else f"{date:%b}" for date in dates]
    # All have two lines, else their first ones would not stand on one line.
    begins = [at == 0 or date.year != dates[at - 1].year for at, date in enumerate(dates)]
    labels = [
        f"{name}\n{date.year if is_new else ' '}" for name, date, is_new in zip(names, dates, begins, strict=True)
    ]
    axes.set_xticks(matplotlib.dates.date2num(ticks), labels)  # type: ignore[no-untyped-call]


def svg(figure: Figure) -> str:
    """Data URI of a figure as SVG, with texts left as texts, and no more bytes than a screen can show.

    Margins in which a text does not fit are widened.
    """
    _fit_margins(figure)
    stream = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    drawing = stream.getvalue().decode()
    # The font once for all texts, places to a hundredth of a point, no turns by nothing, no indents: a quarter less.
    drawing = drawing.replace(f"font-family: '{_LAYOUT_FONT}'; ", "")
    drawing = drawing.replace("<svg ", f'<svg font-family="{_READER_FONTS}" ', 1)
    drawing = re.sub(r' (?:d|x|y)="[^"]*"', lambda match: re.sub(r"(\.\d\d)\d+", r"\1", match[0]), drawing)
    drawing = re.sub(r' transform="rotate\(-?0 [^"]*"', "", drawing)
    drawing = re.sub(r">\s+<", "><", drawing)
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.encode()).decode("ascii")


def _fit_margins(figure: Figure) -> None:
    """Widen margins until no text is cut off."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    width, height = figure.get_size_inches()
    drawn, now = figure.get_tightbbox(renderer), figure.subplotpars
    left, bottom = max(0.0, -drawn.x0) / width, max(0.0, -drawn.y0) / height
    right, top = max(0.0, drawn.x1 - width) / width, max(0.0, drawn.y1 - height) / height
    if max(left, bottom, right, top) > 0:
        figure.subplots_adjust(now.left + left, now.bottom + bottom, now.right - right, now.top - top)


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
    known = {"CreationDate": None, "Creator": GENERATOR, "Producer": None}
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
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": GENERATOR})  # type: ignore[no-untyped-call]
    figure.set_dpi(before)
    return stream.getvalue()
