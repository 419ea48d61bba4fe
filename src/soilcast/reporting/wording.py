"""Words for what artifacts hold: targets, leads, periods, weather, locations."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import VARIABLES, grid_of
from soilcast.cube.grid import OUTLINE
from soilcast.verify.climate import climate_of

PERCENT = "\N{NO-BREAK SPACE}%"

WEATHER = {
    "none": "none: a forecast knows the weather up to its issue day",
    "observed": "observed weather: the score of a perfect weather forecast",
    "forecast": "a weather forecast",
    "degraded": "observed weather with the errors of a model, not a real weather forecast",
}
"""Weather of the forecast days that a forecast was given, in words."""

_WEATHER_AHEAD = {
    "": "",
    "none": "without weather of the days ahead",
    "observed": "with observed weather of the days ahead (a perfect weather forecast, an upper bound)",
    "forecast": "with a weather forecast of the days ahead",
}

DAYS_ONLY = " (days only)"
"""Behind an interval that omits the variability between trainings, since there is one seed."""


def not_seen(size: str) -> str:
    """State how large a difference would have had to be: see `soilcast.verify.estimates.Estimate`."""
    return f"differences below {size} could not have been seen reliably"


def probability(p: float) -> str:
    """Write a p-value."""
    return "–" if not np.isfinite(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def target_words(name: str) -> str:
    """Long name of a variable, and its short name in brackets."""
    return f"{VARIABLES[name].long_name} ({name})" if name in VARIABLES else name


def ahead(lead: int) -> str:
    """Name a lead: 1 day ahead."""
    return f"{days(lead)} ahead"


def days(count: int) -> str:
    """Name a number of days: 1 day, 2 days."""
    return "1 day" if count == 1 else f"{count} days"


def span(leads: Sequence[int]) -> str:
    """Name the leads that there are: 1 to 10 days."""
    if len(leads) == 1:
        return "1 day" if leads[0] == 1 else f"day {leads[0]}"
    if list(leads) == list(range(leads[0], leads[-1] + 1)):
        return f"{leads[0]} to {leads[-1]} days"
    return f"{', '.join(map(str, leads))} days"


def at_leads(leads: Sequence[int], chosen: npt.NDArray[np.bool_]) -> str:
    """Name the chosen leads: all 10 leads; 4 of 10 leads (1 to 3, 7); no lead."""
    if not chosen.any():
        return "no lead"
    if len(leads) == 1:
        return f"lead {leads[0]}"
    if chosen.all():
        return f"all {len(leads)} leads"
    indices = np.flatnonzero(chosen)
    runs = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    spans = [f"{leads[run[0]]}" if len(run) == 1 else f"{leads[run[0]]} to {leads[run[-1]]}" for run in runs]
    return f"{len(indices)} of {len(leads)} leads ({', '.join(spans)})"


def enumerated(parts: Sequence[str]) -> str:
    """Join texts: a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def newest_observation(latency: str) -> str:
    """Describe the newest observation of a forecast, from its latency [d]."""
    if latency == "0":
        return "that of the issue day"
    return f"that of {'1 day' if latency == '1' else f'{latency} days'} before the issue day" if latency else ""


def weather_ahead(word: str) -> str:
    """Phrase for the weather of the days ahead that a model was given: see `WEATHER`; empty where it is not known."""
    return _WEATHER_AHEAD.get(word, f"with {word} weather of the days ahead")


def bridged_words(text: str) -> str:
    """Say which days before the issue day are of weather forecasts, by the attribute of a forecast; "" without it."""
    try:
        said = json.loads(text)
        days, names = [str(day) for day in said["days"]], ", ".join(map(str, said["variables"]))
        first, last = days[0], days[-1]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return ""
    return f"{first} to {last}: {names or 'no weather'}{' from weather forecasts' if names else ''}"


def weather_words(weather: str) -> str:
    """Describe the weather of the forecast days that forecasts were given: see `WEATHER`; an unknown word is kept.

    Parameters
    ----------
    weather
        A word, or where models differ ``label: word; label: word``.
    """
    return "; ".join(f"{label}{WEATHER.get(word, word)}" for label, word in _weather_parts(weather))


def weather_of(scores: xr.Dataset, label: str) -> str:
    """Word for the weather of the days ahead that a model was given: see `WEATHER`; empty where it is not known."""
    parts = dict(_weather_parts(str(scores.attrs.get("weather", ""))))
    return parts.get(f"{label}: ", parts.get("", ""))


def with_weather(scores: xr.Dataset, label: str) -> str:
    """Label of a model, and the weather of the days ahead that it was given, if any."""
    word = weather_of(scores, label)
    return label if word in ("", "none") else f"{label}, {weather_ahead(word)}"


def period(text: str) -> str:
    """Write a period as a text."""
    return text.replace(":", " to ")


def content(dataset: xr.Dataset) -> str:
    """Name the kind of data: synthetic, land-model output, reanalysis ..."""
    return str(dataset.attrs.get("content", "")).strip() or "of unknown kind"


def cells_text(dataset: xr.Dataset, reason: str) -> str:
    """Explain how maps show the cells, and those without a value: ``reason`` completes "a cell that ..."."""
    if "grid_lat" in dataset.coords:
        return f"Grey: land that {reason}."
    if "regions" in dataset.attrs:
        how = "" if OUTLINE in dataset.coords else "A dot stands for each region; --regions FILE gives outlines. "
        return f"{how}Grey: a region that {reason}."
    return f"The cells form no grid: a dot is at the centre of each, small and grey where it {reason}."


def weighted(dataset: xr.Dataset) -> str:
    """Word before a mean or median over the cells: ``area-weighted`` on a grid, else none."""
    return "" if grid_of(dataset) is None else "area-weighted "


def extent(dataset: xr.Dataset) -> str:
    """Name what shares of cells are of: the area on a grid, else the cells, or the regions."""
    if "regions" in dataset.attrs:
        return "regions"
    return "cells" if grid_of(dataset) is None else "area"


def location_name(cell: xr.Dataset) -> str:
    """Name a region, or the location of one cell, ``lat`` and ``lon`` [degrees] and, if it has one, its name."""
    if "regions" in cell.attrs:
        return str(cell["cell_name"].item())
    lat, lon = float(cell["lat"]), float(cell["lon"])
    coordinates = f"{abs(lat):.2f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.2f}° {'E' if lon >= 0 else 'W'}"
    return f"{cell['cell_name'].item()} ({coordinates})" if "cell_name" in cell.coords else coordinates


def location_of_pick(scores: xr.Dataset, pick: int) -> str:
    """Name the location of an example cell, and its climate."""
    cell = scores.isel(cell=int(scores["pick_cell"].to_numpy()[pick]))
    climate = climate_of(float(cell["climate_zone"])) if "climate_zone" in cell else None
    return location_name(cell) + (f", {climate.letter} {climate.name}" if climate else "")


def _weather_parts(weather: str) -> list[tuple[str, str]]:
    """Label with its colon, empty where one word is of all models, and word, of each part."""
    parts = []
    for part in weather.split("; "):
        label, colon, word = part.rpartition(": ")
        parts.append((f"{label}{colon}", word))
    return parts
