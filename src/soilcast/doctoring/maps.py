"""Maps of a water balance: what single days leave over in each cell, and the verdict on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from soilcast.doctoring.diagnosis import Diagnosis
from soilcast.reporting.figures import WIDE, print_look, printed
from soilcast.reporting.maps import Canvas, robust_scale
from soilcast.reporting.maps import Scale as ColourScale
from soilcast.reporting.style import MapStyle

RESIDUAL = MapStyle("viridis", False, "closes", "does not close")

_TALL = 0.8  # height over width from which the maps stand side by side

# Positions in matplotlib's tab10: blue for right, grey for unexplained, then orange, red, purple and so on for faults.
_COLOURS, _OF_VERDICT = "tab10", (7, 0, 1, 3, 4, 5, 6, 8)


def closure_maps(cube: xr.Dataset, diagnosis: Diagnosis, name: str = "closure") -> dict[str, bytes]:
    """Draw two maps: the mean absolute residual of single days, and the verdict, of each cell.

    Parameters
    ----------
    cube
        The cube that was diagnosed: its coordinates are used.
    diagnosis
        What `soilcast.doctoring.diagnosis.diagnose` gives.
    name
        Of the files.

    Returns
    -------
    ``NAME.pdf`` and ``NAME.png``; nothing if the balance cannot be tested.
    """
    closure = diagnosis.closure
    if closure is None:
        return {}
    residual = 1000 * closure.mean_absolute
    scale = robust_scale(residual, RESIDUAL)
    if scale is None:
        return {}
    canvas = Canvas(cube)
    ratio = canvas.shape[0] / canvas.shape[1]
    with print_look():
        rows, columns, wide = (2, 1, 0.72 * WIDE) if ratio < _TALL else (1, 2, WIDE / 2)
        figure = Figure(figsize=(WIDE, rows * (wide * ratio + 0.85)), layout="constrained")
        left, verdicts = figure.subplots(rows, columns)
        canvas.draw(left, residual, scale, width=wide)
        left.set_title("Water balance: mean absolute residual of a day", loc="left")
        colours = ScalarMappable(Normalize(scale.low, scale.high), scale.style.colours)
        figure.colorbar(colours, ax=left, orientation="horizontal", shrink=0.6, aspect=30, label="mm a day")
        _draw_verdicts(verdicts, canvas, diagnosis, wide)
        return printed(figure, name)


def _draw_verdicts(axes: Axes, canvas: Canvas, diagnosis: Diagnosis, width: float) -> None:
    style = MapStyle(_COLOURS, False, "", "")
    labels = ["does not close", "closes as it is", *(f"closes if corrected: {one.name}" for one in diagnosis.findings)]
    kinds = np.minimum(diagnosis.cells, len(_OF_VERDICT) - 1)
    positions = np.where(kinds >= 0, np.array(_OF_VERDICT)[np.maximum(kinds, 0)] + 0.5, np.nan)
    canvas.draw(axes, positions, ColourScale(0.0, 10.0, style), width=width)
    axes.set_title("Verdict", loc="left")
    axes.legend(handles=_patches(labels[: len(_OF_VERDICT)]), loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2)


def _patches(labels: Sequence[str]) -> list[Patch]:
    colours = colormaps[_COLOURS]
    return [Patch(color=colours(_OF_VERDICT[kind]), label=label) for kind, label in enumerate(labels)]
