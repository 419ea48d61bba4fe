"""Drought classes: names, colours, odds, and the share of the cells in each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast import colours
from soilcast.colours import DROUGHT_COLOURS
from soilcast.reporting import html
from soilcast.reporting.maps import scale_of
from soilcast.reporting.over_cells import means
from soilcast.verify.summary import cell_weights

CLASSES = DROUGHT_COLOURS
"""Names and colours of the classes."""

DROUGHT = 1
"""The class from which dryness is called drought."""

SCALE = scale_of(colours.CLASSES)
"""Of maps of the classes."""

ODDS = scale_of(colours.ODDS)
"""Of maps of probabilities."""

ODDS_OF = "D2"
"""The class whose odds a page shows: severe drought or drier."""


def swatch_colours() -> dict[str, str]:
    """Name -> colour, for a legend."""
    return dict(CLASSES.values())


def class_shares(classes: npt.NDArray[np.floating], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Share of the cells in each class.

    Parameters
    ----------
    classes
        ``(cell, lead)``, -1 none, 0 .. 4 for D0 .. D4; anything else has no class and is left out.
    weights
        ``(cell,)``: see `soilcast.verify.summary.cell_weights`.

    Returns
    -------
    ``(class, lead)``, in the order of `CLASSES`, summing to 1; NaN at a lead without any class.
    """
    shares = np.stack([weights @ (classes == number) for number in CLASSES])
    total = shares.sum(axis=0)
    return np.asarray(shares / np.where(total > 0, total, np.nan))


def share_in_drought(forecast: xr.Dataset, target: str) -> npt.NDArray[np.float64]:
    """Share of the cells in drought, D1 or worse, by their weights, ``(lead,)``."""
    shares = class_shares(forecast[f"{target}_drought"].to_numpy(), cell_weights(forecast))
    return np.asarray(shares[list(CLASSES).index(DROUGHT) :].sum(axis=0))


def expected_shares(forecast: xr.Dataset, target: str) -> npt.NDArray[np.float64]:
    """Expected share of the area in each class or a drier one, ``(class, lead)``: the mean of the probabilities."""
    probability = forecast[f"{target}_drought_probability"].transpose("drought_class", "lead", "cell")
    return means(forecast, probability).to_numpy()


def odds_table(forecast: xr.Dataset, target: str) -> html.Markup:
    """Draw a table of a row a class and a column a lead: expected share of the area in it or a drier one [%]."""
    names = [name for number, (name, _) in CLASSES.items() if number >= 0]
    titles = [f"{name} or drier" for name in names[:-1]] + names[-1:]
    rows = zip(titles, expected_shares(forecast, target), strict=True)
    return _table_by_lead(forecast, [("network", title, row) for title, row in rows])


def drought_table(forecast: xr.Dataset, target: str) -> html.Markup:
    """Draw a table of a row a class and a column a lead: share of the area, or of basins or stations [%]."""
    shares = class_shares(forecast[f"{target}_drought"].to_numpy(), cell_weights(forecast))
    rows: list[tuple[str, str, npt.NDArray[np.float64]]] = [
        ("network", html.swatch(colour, name), shares[at]) for at, (name, colour) in enumerate(CLASSES.values())
    ]
    rows.append(("baseline first", "D1 to D4", share_in_drought(forecast, target)))
    return _table_by_lead(forecast, rows)


def _table_by_lead(forecast: xr.Dataset, rows: Sequence[tuple[str, str, npt.NDArray[np.float64]]]) -> html.Markup:
    days = np.datetime_as_string(forecast["valid_time"].to_numpy(), "D")
    heads = [html.Cell(str(lead), day[5:]) for lead, day in zip(forecast["lead"].to_numpy(), days, strict=True)]
    cells = [(row_class, name, [*map(percent, row)]) for row_class, name, row in rows]
    return html.table("Days ahead", heads, cells, sortable=False)


def percent(share: float) -> str:
    """Share [%] as text: a decimal, none at 100; a dash where it is not known."""
    if not np.isfinite(share):
        return "–"
    return f"{100 * share:.1f}" if share < 1 else "100"
