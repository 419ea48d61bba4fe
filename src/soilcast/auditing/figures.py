"""Figures of an audit: responses by day of run and cube, drying by climate, and what forecasts depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from soilcast.auditing.findings import Curve, Row
from soilcast.auditing.subject import Array, Indices
from soilcast.reporting.figures import LOOK, canvas, svg
from soilcast.reporting.style import OBSERVED

COLOURS = {"run": "#0072B2", "cube": OBSERVED}
"""Who is drawn in which colour."""

LAYERS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""Colours of the layers, from the surface down."""

_SIZE = (5.6, 2.9)
_BAR = 0.26


def draw_curve(curve: Curve, limits: tuple[float, float]) -> str:
    """Response by days since the rain, of run and cube, with twice the standard error shaded, within ``limits``."""
    with matplotlib.rc_context(LOOK):
        figure, axes = canvas(*_SIZE)
        for name, values, errors in (
            ("cube", curve.cube, curve.cube_error),
            ("run", curve.run, curve.run_error),
        ):
            _line(axes, curve.since, values, errors, COLOURS[name])
        _day_axis(axes)
        axes.set_ylim(*limits)
        axes.set_ylabel("m³ m⁻³ per 10 mm")
        return svg(figure)


def draw_depth(curves: Mapping[str, tuple[Array, Array]], colours: Mapping[str, str]) -> str:
    """Responses of all layers, relative to the largest of the first: layer -> days and values."""
    with matplotlib.rc_context(LOOK):
        figure, axes = canvas(*_SIZE)
        for layer, (since, values) in curves.items():
            axes.plot(since, values, color=colours[layer], linewidth=1.8, marker="o", markersize=3)
        _day_axis(axes)
        axes.set_ylabel("relative to the first layer")
        return svg(figure)


def draw_rows(rows: Sequence[Row], label: str) -> str:
    """Numbers of run and cube side by side by group, with twice the standard error."""
    with matplotlib.rc_context(LOOK):
        figure, axes = canvas(*_SIZE)
        for order, (name, colour) in enumerate(COLOURS.items()):
            values = np.array([getattr(row, name) for row in rows])
            errors = np.nan_to_num([getattr(row, f"{name}_error") for row in rows])
            values = np.where(np.isfinite(values), values, np.nan)
            at = np.arange(len(rows)) + (order - 0.5) * 0.18
            axes.errorbar(at, values, 2 * errors, color=colour, linestyle="", marker="o", markersize=5, capsize=2)
        axes.set_xticks(range(len(rows)), [row.group.replace(" ", "\n", 1) for row in rows], fontsize=8.5)
        axes.set_xlim(-0.6, len(rows) - 0.4)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.set_ylabel(label)
        axes.grid(visible=False, axis="x")
        return svg(figure)


def draw_bars(rows: Sequence[Row], label: str, scale: float = 1.0) -> str:
    """Give horizontal bars of inputs, largest first, with twice the standard error."""
    ordered = sorted(rows, key=lambda row: abs(row.run))
    with matplotlib.rc_context(LOOK):
        figure, axes = canvas(_SIZE[0], 0.8 + _BAR * len(ordered))
        values = [scale * row.run for row in ordered]
        errors = 2 * scale * np.nan_to_num([row.run_error for row in ordered])
        axes.barh(
            range(len(ordered)),
            values,
            0.72,
            xerr=errors,
            color=COLOURS["run"],
            error_kw={"ecolor": OBSERVED, "elinewidth": 1},
        )
        axes.axvline(0, color="#9aa1ab", linewidth=0.9)
        axes.set_yticks(range(len(ordered)), [row.about for row in ordered])
        axes.set_xlabel(label)
        axes.grid(visible=False, axis="y")
        return svg(figure)


def _line(axes: Axes, since: Indices, values: Array, errors: Array, colour: str) -> None:
    axes.plot(since, values, color=colour, linewidth=1.8, marker="o", markersize=3.5)
    spread = 2 * np.nan_to_num(errors)
    axes.fill_between(since, values - spread, values + spread, color=colour, alpha=0.16, linewidth=0)


def _day_axis(axes: Axes) -> None:
    axes.axhline(0, color="#9aa1ab", linewidth=0.9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("days since the rain")
