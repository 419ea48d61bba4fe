"""Line and box plots as SVG: training curves, time series, box plots per climate zone."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.dates
import matplotlib.ticker
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from soilcast.errors import SoilcastError
from soilcast.reporting.scores import PERSISTENCE, networks
from soilcast.reporting.style import OBSERVED, RAIN, colours, pretty_units
from soilcast.reporting.tables import head
from soilcast.verify.climate import CLIMATES, cells_in
from soilcast.verify.metrics import METRICS

_DEEP = -4.0
SKILL_NOTE = "persistence is 0 by definition"
BOXED = ("rmse", "skill", "r", "kge")

# Laid out in the one font that comes with matplotlib; the reader's browser then sets the texts in its own, narrower.
_LAYOUT_FONT = "DejaVu Sans"
_READER_FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"

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


def training_curve(label: str, log: Any, colour: str, where: str) -> tuple[str, str]:
    """Loss of one run by epoch, on a log axis: training as a line, validation as dots.

    Parameters
    ----------
    label
        The model, for the message.
    log
        Records with ``epoch``, ``train_loss`` and ``validation_loss`` (None where it was not validated).
    colour
        Of the model.
    where
        The file, for the message.

    Returns
    -------
    The figure as a data URI, and a caption.

    Raises
    ------
    SoilcastError
        The log is not such a list.
    """
    try:
        epoch = np.array([float(record["epoch"]) for record in log])
        train = np.array([_loss(record.get("train_loss")) for record in log])
        valid = np.array([_loss(record.get("validation_loss")) for record in log])
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise SoilcastError(
            f"{where}: the training log of {label} cannot be read: the file is damaged; evaluate again"
        ) from error
    validated = np.isfinite(valid)
    with matplotlib.rc_context(LOOK):
        figure, axes = _canvas(4.6, 2.8)
        axes.plot(epoch, train, color=colour, alpha=0.55, linewidth=1.4, label="training")
        axes.plot(
            epoch[validated],
            valid[validated],
            color=OBSERVED,
            marker="o",
            markersize=3.5,
            linewidth=0.9,
            label="validation",
            linestyle=":",
        )
        if (_finite(np.concatenate([train, valid])) > 0).any():
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5), numticks=8))
            axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
            axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6, integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
        axes.legend(frameon=False, loc="best")
        picture = svg(figure)
    if not np.isfinite(valid).any():
        return picture, f"{len(epoch)} epochs, without validation"
    lowest = int(np.nanargmin(valid))
    return picture, f"{len(epoch)} epochs; lowest validation loss {valid[lowest]:.4g} at epoch {epoch[lowest]:.0f}"


def time_series(scores: xr.Dataset, pick: int) -> str:
    """Observed and forecast soil moisture of one picked cell, with its rain as bars beneath."""
    time = scores["time"].to_numpy()
    palette = colours(scores)
    wet = "precipitation" in scores
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(11.2, 3.8 if wet else 2.8))
        _margins(figure, left=0.85, bottom=0.34, right=0.25)
        figure.subplots_adjust(hspace=0.12)
        rows = figure.subplots(2 if wet else 1, 1, sharex=True, squeeze=False, height_ratios=[2.6, 1] if wet else [1])[
            :, 0
        ]
        axes: Axes = rows[0]
        axes.plot(time, scores["observed"].isel(pick=pick), color=OBSERVED, linewidth=1.9)
        for label in networks(scores):
            axes.plot(time, scores["predicted"].sel(model=label).isel(pick=pick), color=palette[label], linewidth=1.2)
        axes.set_ylabel(f"soil moisture\n[{pretty_units('m3 m-3')}]")
        if wet:
            rain = scores["precipitation"].isel(pick=pick).to_numpy().astype(np.float64) * 1000
            edges = np.append(time, time[-1:] + np.timedelta64(1, "D")) if len(time) else time
            rows[1].stairs(np.nan_to_num(rain), matplotlib.dates.date2num(edges), fill=True, color=RAIN)  # type: ignore[no-untyped-call]
            rows[1].set_ylim(bottom=0)
            rows[1].set_ylabel(f"rain\n[{pretty_units('mm d-1')}]")
        axis = rows[-1].xaxis
        if len(time):
            axis.set_major_locator(matplotlib.dates.AutoDateLocator(maxticks=12))  # type: ignore[no-untyped-call]
            formatter = matplotlib.dates.ConciseDateFormatter(axis.get_major_locator())  # type: ignore[no-untyped-call]
            axis.set_major_formatter(formatter)
            rows[-1].set_xlim(time[0] - np.timedelta64(2, "D"), time[-1] + np.timedelta64(2, "D"))
        figure.align_ylabels()
        return svg(figure)


def zone_boxes(scores: xr.Dataset, metric: str, labels: Sequence[str]) -> str | None:
    """Box plots of one metric per main climate, the models side by side; None where no cell has a value and a zone.

    Boxes hold the middle half of the cells, whiskers run from the 5th to the 95th percentile. Where they go deep,
    the axis is logarithmic beyond -1 .. 1: where soil moisture hardly moves, skill falls without bound.
    """
    zone = scores["climate_zone"].to_numpy()
    palette = colours(scores)
    groups: dict[str, list[npt.NDArray[np.float64]]] = {}
    for climate in CLIMATES:
        inside = cells_in(climate, zone)
        samples = [_finite(scores[metric].sel(model=label).to_numpy()[inside]) for label in labels]
        if any(len(sample) for sample in samples):
            groups[f"{climate.letter} {climate.name}\n{int(inside.sum())} cells"] = samples
    if not groups:
        return None
    with matplotlib.rc_context(LOOK):
        figure, axes = _canvas(5.6, 3.2)
        draw_boxes(axes, groups, [palette[label] for label in labels])
        axes.set_xticks(range(len(groups)), list(groups), fontsize=8.5)
        if METRICS[metric].units == "1" and axes.get_ylim()[0] < 0:
            axes.axhline(0, color="#9aa1ab", linewidth=0.9)
        if axes.get_ylim()[0] < _DEEP:
            lowest = axes.get_ylim()[0]
            axes.set_yscale("symlog", linthresh=1.0, linscale=1.0)
            axes.set_ylim(2 * lowest, 1.0)
            axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        units = pretty_units(METRICS[metric].units)
        axes.set_ylabel(f"{head(metric)} [{units}]" if units else head(metric))
        return svg(figure)


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


def svg(figure: Figure) -> str:
    """Data URI of a figure as SVG, with texts left as texts."""
    stream = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    drawing = stream.getvalue().replace(f"'{_LAYOUT_FONT}'".encode(), _READER_FONTS.encode())
    return "data:image/svg+xml;base64," + base64.b64encode(drawing).decode("ascii")


def boxed_models(scores: xr.Dataset, metric: str) -> list[str]:
    """Who appears in the box plots: the networks, and persistence except where it is 0 by definition."""
    return networks(scores) if metric == "skill" else [*networks(scores), PERSISTENCE]


def logs_in_order(scores: xr.Dataset, logs: Mapping[str, Any]) -> dict[str, Any]:
    """Training logs of the networks that have one, in the order of the table."""
    return {label: logs[label] for label in networks(scores) if logs.get(label)}


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    _margins(figure, left=0.78, bottom=0.48)
    return figure, figure.subplots()


def _margins(figure: Figure, *, left: float, bottom: float, right: float = 0.08) -> None:
    # Set in inches, not solved for: the texts are of known length, and figures side by side then align.
    width, height = figure.get_size_inches()
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - 0.08 / height)


def _loss(value: Any) -> float:
    return np.nan if value is None else float(value)


def _finite(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return values[np.isfinite(values)]
