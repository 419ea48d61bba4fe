"""Open the forecast of an issue day, as a page of the coming days needs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from soilcast.cube import VARIABLES
from soilcast.errors import SoilcastError
from soilcast.products.indices import CLASS_NAMES
from soilcast.products.variables import DROUGHT_CLASS
from soilcast.reporting.artifacts import check_cells, check_dims, check_leads, json_attribute, loaded
from soilcast.reporting.wording import target_words

_AGAIN = "forecast again"
_BY_LEAD = ("cell", "lead")
_ROOT_ZONE = "root_zone"
_PRODUCTS: dict[str, tuple[str, ...]] = {
    "anomaly": _BY_LEAD,
    "percentile": _BY_LEAD,
    "drought": _BY_LEAD,
    "days_to_dry": ("cell",),
    "drought_probability": (*_BY_LEAD, DROUGHT_CLASS),
}

_FEW_CELLS = 6
"""So many cells at most are drawn as fan charts."""

ISSUE_DAYS = "issue_days_in_file"
"""Attribute of an opened forecast: how many issue days the file holds, of which the last one is shown."""


def load_forecast(opened: xr.Dataset, file: Path) -> xr.Dataset:
    """Load the last issue day of an opened forecast and check that a page can be made of it.

    Parameters
    ----------
    opened
        A forecast ``(cell, time, lead)``; closed here.
    file
        Where it is from, for messages.

    Returns
    -------
    Layers and products ``(cell, lead)``, quantiles ``(cell, lead, quantile)``, ascending, probabilities of drought
    ``(cell, lead, drought_class)``, ``days_to_dry`` ``(cell,)``, all as floats, NaN where missing; ``time``, the issue
    day, and ``valid_time(lead)``. Percentiles are 0 .. 100 [%].

    Raises
    ------
    SoilcastError
        It is damaged, or no cell has a forecast from that day.
    """
    issued = opened.sizes.get("time", 0)
    if not issued or "time" not in opened.coords or opened["time"].dtype.kind != "M":
        opened.close()
        raise SoilcastError(f"{file}: no issue day: the file is damaged; {_AGAIN}")
    forecast = loaded(opened.isel(time=-1), file, _AGAIN)
    opened.close()
    forecast = forecast.transpose("cell", "lead", "quantile", DROUGHT_CLASS, ..., missing_dims="ignore")
    names = layers(forecast)
    required: dict[str, tuple[str, ...]] = {"lead": ("lead",), "area": ("cell",), "lat": ("cell",), "lon": ("cell",)}
    required |= dict.fromkeys(names, _BY_LEAD)
    optional = {f"{name}_quantile": (*_BY_LEAD, "quantile") for name in names} | {
        f"{name}_{suffix}": dims for name in names for suffix, dims in _PRODUCTS.items()
    }
    check_dims(forecast, file, required | {name: dims for name, dims in optional.items() if name in forecast}, _AGAIN)
    check_cells(forecast, file, _AGAIN)
    if DROUGHT_CLASS in forecast.dims and forecast[DROUGHT_CLASS].to_numpy().tolist() != list(CLASS_NAMES):
        raise SoilcastError(f"{file}: {DROUGHT_CLASS} is not {', '.join(CLASS_NAMES)}: the file is damaged; {_AGAIN}")
    check_leads(forecast, file, _AGAIN)
    if not names:
        raise SoilcastError(f"{file}: attribute targets names no layer: the file is damaged; {_AGAIN}")
    for name in ("config", "provenance"):
        json_attribute(forecast, name, _AGAIN)
    forecast = _in_order(forecast)
    if not any(np.isfinite(forecast[name]).any() for name in names):
        day = np.datetime_as_string(forecast["time"].to_numpy(), "D")
        raise SoilcastError(
            f"{file}: no cell has a forecast from {day}: check that the cube has the newest observations and the "
            "weather of the run, and forecast again"
        )
    for name in names:
        # Classes are stored as integers, in which a number outside of them is a missing value.
        for suffix, lowest, highest in (("drought", -1, 4), ("days_to_dry", -1, np.inf)):
            product = f"{name}_{suffix}"
            if product in forecast:
                forecast[product] = forecast[product].where(
                    (forecast[product] >= lowest) & (forecast[product] <= highest)
                )
        percentile = f"{name}_percentile"
        if percentile in forecast and forecast[percentile].attrs.get("units") == "1":
            forecast[percentile] = (100 * forecast[percentile]).assign_attrs(
                forecast[percentile].attrs | {"units": "%"}
            )
    return forecast.assign_attrs({ISSUE_DAYS: issued})


def layers(forecast: xr.Dataset) -> list[str]:
    """Names of the layers that are forecast, and of the root zone if it is there."""
    names = [name.strip() for name in str(forecast.attrs.get("targets", "")).split(",") if name.strip()]
    return [*names, _ROOT_ZONE] if names and _ROOT_ZONE in forecast else names


def layer_words(forecast: xr.Dataset, name: str) -> str:
    """Long name of a layer, and its short name in brackets."""
    words = str(forecast[name].attrs.get("long_name", "")).strip()
    return target_words(name) if name in VARIABLES or not words else f"{words} ({name})"


def has_product(forecast: xr.Dataset, target: str, suffix: str) -> bool:
    """Whether a product is there for a layer, with any value."""
    name = f"{target}_{suffix}"
    return name in forecast and bool(np.isfinite(forecast[name]).any())


def fan_cells(forecast: xr.Dataset) -> list[int]:
    """Choose the cells whose forecast is drawn: all if they are few, else evenly from the driest to the wettest.

    Dry is by the last lead of the first layer: by its percentile, or where there is none by the forecast.

    Returns
    -------
    Positions along cell.
    """
    names, cells = layers(forecast), forecast_cells(forecast)
    if len(cells) <= _FEW_CELLS:
        return cells
    by = f"{names[0]}_percentile" if has_product(forecast, names[0], "percentile") else names[0]
    values = forecast[by].isel(lead=-1).to_numpy()[cells]
    order = [cells[index] for index in np.argsort(values, kind="stable")]  # NaN comes last
    ordered = order[: int(np.isfinite(values).sum())] or order
    return [ordered[round(rank)] for rank in np.linspace(0, len(ordered) - 1, min(_FEW_CELLS, len(ordered)))]


def forecast_cells(forecast: xr.Dataset) -> list[int]:
    """Positions of the cells with a forecast."""
    has_forecast = forecast[layers(forecast)].to_dataarray().notnull().any(("variable", "lead"))
    return [int(cell) for cell in np.flatnonzero(has_forecast)]


def _in_order(forecast: xr.Dataset) -> xr.Dataset:
    """Leads and levels ascending, valid days where they are not given, counts of days as numbers."""
    forecast = forecast.sortby("lead")
    if "quantile" in forecast.coords:
        forecast = forecast.sortby("quantile")
    if "valid_time" not in forecast.coords or forecast["valid_time"].dims != ("lead",):
        days = forecast["time"].to_numpy() + forecast["lead"].to_numpy() * np.timedelta64(1, "D")
        forecast = forecast.assign_coords(valid_time=("lead", days))
    for name, values in forecast.data_vars.items():
        if values.dtype.kind == "m":  # xarray reads some units of days as time differences
            forecast[name] = values / np.timedelta64(1, "D")
    return forecast
