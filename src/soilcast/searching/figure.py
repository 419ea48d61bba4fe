"""Trials as parallel coordinates: an axis a config key and one of the objective, a line a trial."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soilcast.experiments.searches import Range, Search, space_index
from soilcast.reporting.figures import WIDE, png, print_look
from soilcast.searching.journal import Trial, best_of

_WIDTH, _HEIGHT = 1.35, 3.4
"""Width for an axis, and height [inch]."""

_BEST, _PRUNED, _LINE = "#D55E00", "#c3c8cf", "#6b7280"
_LONGEST, _MOST, _FEW = 14, 16, 8
"""Letters of a label, labels of an axis (more are not told apart), and steps of a range that are all labelled."""

_FAR = 10.0
"""Ratio of the worst to the best objective above which its axis is logarithmic."""

OBJECTIVES: dict[str, str] = {
    "ratio": "RMSE over that\nof persistence",
    "validation_loss": "validation\nloss",
}
"""What an objective is called under its axis."""


def draw_trials(search: Search, done: Sequence[Trial]) -> bytes:
    """Draw the trials of a search.

    Parameters
    ----------
    done
        Trials; those that failed are left out, those that were pruned end before the objective.

    Returns
    -------
    A PNG.
    """
    keys = list(search.search)
    best = best_of(done)
    values = [one.value for one in done if one.value is not None]
    objective = _objective(values)
    spaces = [*search.search.values(), objective]
    with print_look():
        figure = Figure(figsize=(max(WIDE, _WIDTH * (len(keys) + 1)), _HEIGHT))
        figure.subplots_adjust(left=0.06, right=1 - 0.75 / figure.get_figwidth(), top=0.96, bottom=0.24)
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_xlim(-0.01, len(keys) + 0.01)
        axes.set_ylim(-0.02, 1.02)
        for position, (name, space) in enumerate(zip([*keys, search.objective], spaces, strict=True)):
            _draw_axis(axes, position, OBJECTIVES.get(name, name.replace(".", ".\n")), space)
        for trial in sorted(done, key=lambda one: -np.inf if one.value is None else -one.value):
            if trial.status == "failed":
                continue
            heights = [_height(spaces[number], trial.parameters[key]) for number, key in enumerate(keys)]
            style: dict[str, Any] = {"color": _PRUNED, "linewidth": 0.7, "zorder": 1}
            if trial.value is not None:
                share = _height(objective, trial.value)
                heights.append(share)
                style = {"color": colormaps["cividis"](0.9 * share), "linewidth": 0.9, "alpha": 0.85, "zorder": 2}
            if trial is best:
                style = {"color": _BEST, "linewidth": 2.2, "zorder": 3}
            axes.plot(range(len(heights)), heights, **style)
        _draw_legend(axes, best, pruned=any(one.status == "pruned" for one in done))
    return png(figure)


def _draw_axis(axes: Axes, position: int, name: str, space: Range | tuple[Any, ...]) -> None:
    axes.plot([position, position], [0, 1], color=_LINE, linewidth=0.8, zorder=4)
    axes.text(position, -0.07, name, ha="center", va="top", fontsize=7.5)
    for value, text in _ticks(space):
        height = _height(space, value)
        axes.plot([position, position + 0.03], [height, height], color=_LINE, linewidth=0.8, zorder=4)
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
        axes.text(position + 0.05, height, text, va="center", fontsize=6.5, color="#4b5563", zorder=5, bbox=box)


def _draw_legend(axes: Axes, best: Trial | None, *, pruned: bool) -> None:
    if best is not None:
        axes.plot([], [], color=_BEST, linewidth=2.2, label=f"best: trial {best.trial}")
        axes.plot([], [], color=colormaps["cividis"](0.4), linewidth=0.9, label="others: the darker the better")
    if pruned:
        axes.plot([], [], color=_PRUNED, linewidth=0.7, label="pruned")
    if best is not None or pruned:
        axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.19), ncols=3, fontsize=7)


def _objective(values: Sequence[float]) -> Range:
    """Give the axis of the objective: logarithmic where the worst trial is many times the best."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    high = high if high > low else low + max(abs(low), 1.0) * 1e-6
    return Range(low=low, high=high, log=low > 0 and high > _FAR * low)


def _height(space: Range | tuple[Any, ...], value: Any) -> float:
    """Place a value from 0 to 1 along its axis."""
    if not isinstance(space, Range):
        return space_index(space, value) / (len(space) - 1)
    low, high, at = (np.log(one) if space.log else one for one in (space.low, space.high, float(value)))
    return float((at - low) / (high - low))


def _ticks(space: Range | tuple[Any, ...]) -> list[tuple[Any, str]]:
    if not isinstance(space, Range):
        texts = [_text(value) for value in space]
        if any(len(text) > _LONGEST for text in texts):
            texts = [f"{number}: {text[: _LONGEST - 3]}…" for number, text in enumerate(texts, start=1)]
        return list(zip(space, texts, strict=True))[:: -(-len(space) // _MOST)]
    if space.count <= _FEW:
        return [(one, f"{one:.6g}") for one in np.linspace(space.low, space.high, int(space.count))]
    linear = matplotlib.ticker.MaxNLocator(5, steps=[1, 2, 5, 10], integer=space.whole)
    locator = matplotlib.ticker.LogLocator(subs=(1, 2, 5)) if space.log else linear
    values = [float(one) for one in locator.tick_values(space.low, space.high) if space.low <= one <= space.high]
    if space.log and len(values) > _MOST // 2:
        values = [one for one in values if f"{one:e}".startswith("1.0")]
    return [(one, f"{one:.6g}") for one in values]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)
