"""Fan charts: the forecast of each lead with its intervals, beside what was observed where that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soilcast.reporting.figures import LOOK, day_axis, draw_observed, svg
from soilcast.reporting.style import pretty_units

Values = npt.NDArray[np.floating]
Days = npt.NDArray[np.datetime64]

NORMAL = "#6b7280"
_ISSUE = "#9aa1ab"
_DAY = np.timedelta64(1, "D")
_EVERY = 30
"""Days from one fan to the next where the period is long."""

_FEWEST = 4
_ZOOMED = 4
_LONGEST_BEFORE, _SHORTEST_BEFORE = 14, 6
"""Days that are shown before the issue day of a fan that is drawn large, twice its length within these."""

_PREFERRED = (0.9, 0.5)
_SHADES = (0.2, 0.36)
_Y_LABEL = f"soil moisture\n[{pretty_units('m3 m-3')}]"


@dataclass(frozen=True)
class Band:
    """An interval of a forecast: the share of observations it should hold, and its two quantiles as positions."""

    share: float
    low: int
    high: int


def bands(levels: Values) -> list[Band]:
    """Give the intervals to draw: 90 % and 50 % if the levels allow it, else the widest and the one nearest to 50 %.

    Parameters
    ----------
    levels
        Of the quantiles, ``(quantile,)``.

    Returns
    -------
    At most two, the wider first; none where no two levels are symmetric.
    """
    pairs = [
        Band(round(1 - 2 * float(level), 6), low, int(high))
        for low, level in enumerate(levels)
        if level < 0.5
        for high in np.flatnonzero(np.isclose(levels, 1 - level))[:1]
    ]
    if not pairs:
        return []
    wide = next((band for band in pairs if np.isclose(band.share, _PREFERRED[0])), max(pairs, key=lambda b: b.share))
    narrower = [band for band in pairs if band.share < wide.share]
    return [wide, *sorted(narrower, key=lambda band: abs(band.share - _PREFERRED[1]))[:1]]


def band_names(drawn: Sequence[Band]) -> str:
    """Name intervals: 90 % and 50 %."""
    return " and ".join(f"{100 * band.share:g}\N{NO-BREAK SPACE}%" for band in drawn)


def fans_of_pick(scores: xr.Dataset, target: str, pick: int, label: str, colour: str) -> str | None:
    """Draw a picked cell from some issue days: above over the whole period, beneath a few of them large.

    Parameters
    ----------
    scores
        Scores with their series.
    target
        The variable that is forecast.
    pick
        Position along pick.
    label, colour
        Of the model.

    Returns
    -------
    The figure as a data URI; None where the model forecasts no day of the cell.
    """
    centre = scores["predicted"].sel(model=label, target=target).isel(pick=pick).transpose("time", "lead").to_numpy()
    issued = issue_days(np.isfinite(centre).any(axis=1), scores.sizes["lead"])
    if not issued:
        return None
    quantiles, drawn = _quantiles(scores, target, pick, label)
    day, observed = scores["day"].to_numpy(), scores["observed"].sel(target=target).isel(pick=pick).to_numpy()
    time, lead = scores["time"].to_numpy(), scores["lead"].to_numpy()
    before = np.clip(2 * lead[-1], _SHORTEST_BEFORE, _LONGEST_BEFORE) * _DAY
    zoomed = [issued[at] for at in sorted({round(at) for at in np.linspace(0, len(issued) - 1, _ZOOMED)})]
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(11.2, 5.3))
        figure.subplots_adjust(1.0 / 11.2, 0.5 / 5.3, 1 - 0.15 / 11.2, 1 - 0.08 / 5.3, hspace=0.46, wspace=0.1)
        grid = figure.add_gridspec(2, _ZOOMED, height_ratios=[1.15, 1])
        overview = figure.add_subplot(grid[0, :])
        parts = [figure.add_subplot(grid[1, column]) for column in range(len(zoomed))]
        for axes, fans in [(overview, issued), *((part, [at]) for part, at in zip(parts, zoomed, strict=True))]:
            draw_observed(axes, day, observed)
            for at in fans:
                draw_fan(axes, time[at] + lead * _DAY, centre[at], quantiles[at], drawn, colour)
        first, last = min(day.min(), time[issued[0]]), max(day.max(), time[issued[-1]] + lead[-1] * _DAY)
        day_axis(overview, first - 2 * _DAY, last + 2 * _DAY, 12)
        for axes, at in zip(parts, zoomed, strict=True):
            axes.axvline(time[at], color=_ISSUE, linewidth=0.9, linestyle=":")
            axes.set_title(f"issued {np.datetime_as_string(time[at], 'D')}", loc="left", fontsize=9.5, color="#4b5563")
            day_axis(axes, time[at] - before, time[at] + (lead[-1] + 2) * _DAY, 3)
            axes.sharey(parts[0])
            if axes is not parts[0]:
                axes.tick_params(labelleft=False)
        _set_common_range(parts, zoomed, time, lead, before, day, observed, centre, quantiles)
        overview.set_ylabel(_Y_LABEL)
        parts[0].set_ylabel(_Y_LABEL)
        figure.align_ylabels()
        return svg(figure)


def fan(
    valid: Days,
    centre: Values,
    quantiles: Values,
    drawn: Sequence[Band],
    colour: str,
    normal: Values,
    observed: tuple[Days, Values] | None = None,
) -> str:
    """Draw the forecast of one cell.

    Parameters
    ----------
    valid
        The days that are forecast, ``(lead,)``.
    centre
        ``(lead,)`` [m3 m-3].
    quantiles
        ``(lead, quantile)`` [m3 m-3].
    drawn
        The intervals.
    colour
        Of the fan.
    normal
        Soil moisture that is usual on these days ``(lead,)`` [m3 m-3]; NaN where it is not known.
    observed
        The days before, and those since that are known, and what was observed, each ``(day,)`` [m3 m-3].
    """
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(5.6, 3.2))
        figure.subplots_adjust(0.98 / 5.6, 0.5 / 3.2, 1 - 0.12 / 5.6, 1 - 0.08 / 3.2)
        axes = figure.subplots()
        axes.plot(valid, normal, color=NORMAL, linewidth=1.3, linestyle="--", marker="_" if len(valid) == 1 else "")
        draw_fan(axes, valid, centre, quantiles, drawn, colour)
        first, margin = valid[0], np.timedelta64(12, "h")
        if observed is not None:
            draw_observed(axes, *observed)
            axes.axvline(valid[0] - _DAY, color=_ISSUE, linewidth=0.9, linestyle=":")
            first = observed[0][0]
        day_axis(axes, first - margin, valid[-1] + margin, 7)
        axes.set_ylabel(_Y_LABEL)
        return svg(figure)


def draw_fan(axes: Axes, valid: Days, centre: Values, quantiles: Values, drawn: Sequence[Band], colour: str) -> None:
    """Draw the central forecast of an issue day as a line, and its intervals as bands: see `fan`."""
    for band, shade in zip(drawn, _SHADES, strict=False):
        low, high = quantiles[:, band.low], quantiles[:, band.high]
        if len(valid) > 1:
            axes.fill_between(valid, low, high, color=colour, alpha=shade, linewidth=0)
        else:
            axes.vlines(valid, low, high, color=colour, alpha=shade, linewidth=5)
    axes.plot(valid, centre, color=colour, linewidth=1.6, marker="o" if len(valid) == 1 else "", markersize=3.5)


def issue_days(has_forecast: npt.NDArray[np.bool_], leads: int) -> list[int]:
    """Choose the issue days whose fans are drawn: the first with a forecast, then every 30th or so.

    Parameters
    ----------
    has_forecast
        Whether an issue day has a forecast, ``(time,)``.
    leads
        Length of a fan [d]: fans do not overlap.

    Returns
    -------
    Positions along time.
    """
    step = max(leads + 2, min(_EVERY, len(has_forecast) // _FEWEST))
    chosen: list[int] = []
    for at in np.flatnonzero(has_forecast):
        if not chosen or at - chosen[-1] >= step:
            chosen.append(int(at))
    return chosen


def _quantiles(scores: xr.Dataset, target: str, pick: int, label: str) -> tuple[Values, list[Band]]:
    """Quantiles ``(time, lead, quantile)`` of a model, and its intervals: none where it gives none."""
    shape = (scores.sizes["time"], scores.sizes["lead"])
    if "predicted_quantile" not in scores:
        return np.empty((*shape, 0)), []
    selected = scores["predicted_quantile"].sel(model=label, target=target).isel(pick=pick)
    values = selected.transpose("time", "lead", "quantile").to_numpy()
    return values, bands(scores["quantile"].to_numpy()) if np.isfinite(values).any() else []


def _set_common_range(
    parts: Sequence[Axes],
    zoomed: Sequence[int],
    time: Days,
    lead: npt.NDArray[np.integer],
    before: np.timedelta64,
    day: Days,
    observed: Values,
    centre: Values,
    quantiles: Values,
) -> None:
    """Set one vertical range for the large fans, from what they show alone."""
    visible = [centre[list(zoomed)].ravel(), quantiles[list(zoomed)].ravel()]
    for at in zoomed:
        visible.append(observed[(day >= time[at] - before) & (day <= time[at] + (lead[-1] + 2) * _DAY)])
    values = np.concatenate(visible)
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    slack = 0.06 * (high - low) or 0.01
    parts[0].set_ylim(low - slack, high + slack)
