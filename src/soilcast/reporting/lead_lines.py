"""Scores against the lead: which numbers a figure shows, of which models, and how their lines are drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import matplotlib.ticker
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soilcast.reporting import html
from soilcast.reporting.artifacts import leads
from soilcast.reporting.figures import DEEP, LOOK, PLAIN_NUMBERS, log_ticks, svg
from soilcast.reporting.over_cells import means, medians
from soilcast.reporting.scores import baselines, networks, ordered, targets
from soilcast.reporting.style import palette, pretty_units
from soilcast.reporting.wording import target_words

Values = npt.NDArray[np.float64]

_WIDE, _HIGH = 5.6, 3.2  # inch
_LEFT, _BOTTOM, _TOP = 0.72, 0.48, 0.1
_LETTER, _LINE = 0.076, 0.155  # inch: width of a letter and height of a line of a name
_LETTERS, _LINES = 26, 4  # of a name: letters of a line, and lines; what is longer has its middle left out
_LETTERS_OF_AXIS = 30  # of a line of the name of the vertical axis
_STEEP = 20.0
"""Ratio of the largest to the least value from which an axis is logarithmic."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES = ("-", (0, (4, 2)), (0, (1, 1.6)), (0, (5, 1.5, 1, 1.5)))
_GREY = "#6b7280"


@dataclass(frozen=True)
class Look:
    """How the line of a model is drawn: networks by hue and marker, baselines grey, by their dashes."""

    colour: str
    marker: str
    dashes: str | tuple[int, tuple[float, ...]]


@dataclass(frozen=True)
class Frame:
    """What a figure of lines against the lead has beside its lines.

    Parameters
    ----------
    label
        Of the vertical axis, with its unit.
    level
        A value to draw a thin line at: no skill, the nominal coverage.
    band
        A range to shade.
    zero
        Whether the axis begins at 0 where it is linear.
    logarithmic
        Whether it may be logarithmic, where values differ much.
    """

    label: str
    level: float | None = None
    band: tuple[float, float] | None = None
    zero: bool = False
    logarithmic: bool = False


def looks(networks: Sequence[str], baselines: Sequence[str]) -> dict[str, Look]:
    """Give every model its look."""
    hues = palette(networks, baselines)
    inside = {label: Look(hues[label], _MARKERS[at % len(_MARKERS)], "-") for at, label in enumerate(networks)}
    return inside | {label: Look(_GREY, "", _DASHES[at % len(_DASHES)]) for at, label in enumerate(baselines)}


def lead_lines(leads: Sequence[int], lines: Mapping[str, Values], look: Mapping[str, Look], frame: Frame) -> str | None:
    """Draw one line a model against the lead.

    Parameters
    ----------
    leads
        The leads [d], ``(lead,)``.
    lines
        Label -> values ``(lead,)``, NaN where there is none; a label without any is left out.
    look
        Label -> how it is drawn.
    frame
        The axis.

    Returns
    -------
    The figure as a data URI; None if there is nothing to draw.
    """
    drawn = {label: values for label, values in lines.items() if np.isfinite(values).any()}
    if not drawn:
        return None
    with matplotlib.rc_context(LOOK):
        names = {label: _wrapped(label) for label in drawn}
        high = max(_HIGH, _BOTTOM + _TOP + sum(map(_height, names.values())))
        figure = Figure(figsize=(_WIDE, high))
        right = 0.2 + _LETTER * max(len(line) for name in names.values() for line in name.split("\n"))
        figure.subplots_adjust(_LEFT / _WIDE, _BOTTOM / high, 1 - right / _WIDE, 1 - _TOP / high)
        axes = figure.subplots()
        if frame.band:
            axes.axhspan(*frame.band, color="#dbe7f1", linewidth=0, zorder=0)
        if frame.level is not None:
            axes.axhline(frame.level, color="#9aa1ab", linewidth=0.9, zorder=1)
        for label, values in drawn.items():
            line = look[label]
            dot, size = (line.marker, 4) if line.marker else ("_" if len(leads) == 1 else "", 14)
            axes.plot(
                leads, values, color=line.colour, linestyle=line.dashes, linewidth=1.5, marker=dot, markersize=size
            )
        _scale(axes, np.concatenate(list(drawn.values())), frame)
        lead_axis(axes, leads)
        axes.set_ylabel(textwrap.fill(frame.label, _LETTERS_OF_AXIS))
        _name_ends(axes, leads, drawn, look, names)
        return svg(figure)


def lead_axis(axes: Axes, leads: Sequence[int]) -> None:
    """Set the horizontal axis to whole days of lead."""
    margin = 0.03 * (leads[-1] - leads[0]) or 0.5
    axes.set_xlim(leads[0] - margin, leads[-1] + margin)
    if len(leads) == 1:
        axes.set_xticks(list(leads))
    else:
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(10, integer=True))
    axes.set_xlabel("days ahead")


def _scale(axes: Axes, values: Values, frame: Frame) -> None:
    finite = values[np.isfinite(values)]
    least, largest = float(finite.min()), float(finite.max())
    if frame.logarithmic and least > 0 and largest / least > _STEEP:
        log_ticks(axes)
        return
    if least < DEEP:
        axes.set_yscale("symlog", linthresh=1.0)
        axes.set_ylim(2 * least, max(1.0, 1.06 * largest))
        axes.yaxis.set_major_formatter(PLAIN_NUMBERS)
        return
    if frame.zero:
        axes.set_ylim(0, 1.06 * largest or 1)
        return
    limits = [least, largest, *([] if frame.level is None else [frame.level]), *(frame.band or ())]
    slack = 0.06 * (max(limits) - min(limits)) or 0.05
    axes.set_ylim(min(limits) - slack, max(limits) + slack)


def _name_ends(
    axes: Axes, leads: Sequence[int], lines: Mapping[str, Values], look: Mapping[str, Look], names: Mapping[str, str]
) -> None:
    """Write each name beside the last value of its line, moved apart where they would overlap."""
    last_positions = {label: np.flatnonzero(np.isfinite(values))[-1] for label, values in lines.items()}
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = {label: to_axes.transform((leads[at], lines[label][at])) for label, at in last_positions.items()}
    high = axes.get_window_extent().height / axes.figure.dpi
    order = sorted(ends, key=lambda label: float(ends[label][1]))
    heights = [_height(names[label]) / high for label in order]
    middles = spread([float(ends[label][1]) for label in order], heights)
    for label, middle in zip(order, middles, strict=True):
        colour = look[label].colour
        x, y = ends[label]
        axes.annotate(
            names[label],
            xy=(x, y),
            xytext=(1.025, middle),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=colour,
            fontsize=9.5,
            linespacing=1.05,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.6, "shrinkA": 1, "shrinkB": 2},
        )


def spread(positions: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Move the middles of ascending boxes, as little as it takes, until none overlaps another within 0 .. 1.

    Each group of boxes that touch is centred on the mean of where its members wish to be. Boxes that have no room are
    made smaller.
    """
    high = np.asarray(heights, dtype=np.float64)
    high = high / max(high.sum(), 1.0)
    offsets = np.cumsum(high) - high / 2  # middles of boxes that are stacked from 0 on
    groups: list[list[float]] = []  # of where the stack would have to begin
    for wish in np.asarray(positions) - offsets:
        groups.append([float(wish)])
        while len(groups) > 1 and np.mean(groups[-1]) < np.mean(groups[-2]):
            joined = groups.pop()
            groups[-1] += joined
    begins = np.array([float(np.mean(group)) for group in groups for _ in group])
    return [float(middle) for middle in offsets + np.clip(begins, 0.0, 1.0 - high.sum())]


def _wrapped(label: str) -> str:
    """Write a label on lines of few letters."""
    most = _LETTERS * _LINES
    text = label if len(label) <= most else f"{label[: most // 2 - 1]}…{label[-most // 2 + 4 :]}"
    return "\n".join(textwrap.wrap(text, _LETTERS)) or label


def _height(name: str) -> float:
    """Height of a name [inch]."""
    return _LINE * (name.count("\n") + 1) + 0.02


MOISTURE = pretty_units("m3 m-3")
ERROR = Frame(f"RMSE [{MOISTURE}]", zero=True, logarithmic=True)

ByLead = Callable[[xr.Dataset, str], xr.DataArray]


def everyone(scores: xr.Dataset, _target: str) -> list[str]:
    """All models, in the order of the tables."""
    return ordered(scores)


@dataclass(frozen=True)
class Curve:
    """A number by lead that a figure shows: its caption, its axis, and how it follows from the scores.

    Parameters
    ----------
    caption
        Above the figure.
    frame
        The axis.
    values
        ``(scores, target) -> (model, lead)``.
    of
        ``(scores, target) ->`` labels of the models that are drawn.
    """

    caption: str
    frame: Frame
    values: ByLead
    of: Callable[[xr.Dataset, str], list[str]] = everyone


def median_of(name: str) -> ByLead:
    """Area-weighted median of a metric over the cells."""
    return lambda scores, target: medians(scores, scores[name].sel(target=target))


def mean_of(name: str) -> ByLead:
    """Area-weighted mean of a metric over the cells."""
    return lambda scores, target: means(scores, scores[name].sel(target=target))


def draw_curves(scores: xr.Dataset, curves: Sequence[Curve]) -> html.Markup:
    """Draw curves against the lead, target by target, as HTML; a target without any value is left out."""
    parts = []
    look = model_looks(scores)
    for target in targets(scores):
        drawn = []
        for curve in curves:
            values = curve.values(scores, target)
            lines = {label: values.sel(model=label).to_numpy() for label in curve.of(scores, target)}
            uri = lead_lines(leads(scores), lines, look, curve.frame)
            drawn += [html.picture(uri, curve.caption)] if uri else []
        parts.append(html.heading(target_words(target)))
        parts.append(html.panels(drawn) if drawn else html.paragraph("No cell has a value.", note=True))
    return html.joined(parts)


def model_looks(scores: xr.Dataset) -> dict[str, Look]:
    """How the line of every model is drawn."""
    return looks(networks(scores), baselines(scores))
