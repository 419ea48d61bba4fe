"""Open an outlook of one issue day, as a page of the coming days needs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from soilcast.cube import VARIABLES
from soilcast.errors import SoilcastError
from soilcast.reporting.outlook_scores import check_leads, target_words
from soilcast.reporting.scores import check_dims, check_places, json_attribute, loaded

_AGAIN = "forecast again"
_BY_LEAD = ("cell", "lead")
_ROOT_ZONE = "root_zone"
_PRODUCTS: dict[str, tuple[str, ...]] = {
    "anomaly": _BY_LEAD,
    "percentile": _BY_LEAD,
    "drought": _BY_LEAD,
    "days_to_dry": ("cell",),
}

ISSUE_DAYS = "issue_days_in_file"
"""Attribute of an opened outlook: how many issue days the file holds, of which the last one is shown."""


def load_outlook(opened: xr.Dataset, file: Path) -> xr.Dataset:
    """Load the last issue day of an opened outlook and check that a page can be made of it.

    Parameters
    ----------
    opened
        An outlook ``(cell, time, lead)``; closed here.
    file
        Where it is from, for messages.

    Returns
    -------
    Layers and products ``(cell, lead)``, quantiles ``(cell, lead, quantile)``, ascending, ``days_to_dry`` ``(cell,)``,
    all as floats, NaN where missing; ``time``, the issue day, and ``valid_time(lead)``. Percentiles are 0 .. 100 [%].

    Raises
    ------
    SoilcastError
        It is damaged, or no cell has a forecast from that day.
    """
    issued = opened.sizes.get("time", 0)
    if not issued or "time" not in opened.coords or opened["time"].dtype.kind != "M":
        opened.close()
        raise SoilcastError(f"{file}: it has no issue day: the file is damaged; {_AGAIN}")
    outlook = loaded(opened.isel(time=-1), file, _AGAIN)
    opened.close()
    outlook = outlook.transpose("cell", "lead", "quantile", ..., missing_dims="ignore")
    names = outlook_layers(outlook)
    required: dict[str, tuple[str, ...]] = {"lead": ("lead",), "area": ("cell",), "lat": ("cell",), "lon": ("cell",)}
    required |= dict.fromkeys(names, _BY_LEAD)
    optional = {f"{name}_quantile": (*_BY_LEAD, "quantile") for name in names} | {
        f"{name}_{suffix}": dims for name in names for suffix, dims in _PRODUCTS.items()
    }
    check_dims(outlook, file, required | {name: dims for name, dims in optional.items() if name in outlook}, _AGAIN)
    check_places(outlook, file, _AGAIN)
    check_leads(outlook, file, _AGAIN)
    if not names:
        raise SoilcastError(f"{file}: attribute targets names no layer: the file is damaged; {_AGAIN}")
    for name in ("config", "provenance"):
        json_attribute(outlook, name, _AGAIN)
    outlook = _in_order(outlook)
    if not any(np.isfinite(outlook[name]).any() for name in names):
        day = np.datetime_as_string(outlook["time"].to_numpy(), "D")
        raise SoilcastError(
            f"{file}: no cell has a forecast from {day}: see that the cube holds the newest observation and the "
            "weather that the run asks for, and forecast again"
        )
    for name in names:
        # Classes are whole numbers on the disk, where a number beyond them stands for a missing value.
        for suffix, lowest, highest in (("drought", -1, 4), ("days_to_dry", -1, np.inf)):
            product = f"{name}_{suffix}"
            if product in outlook:
                outlook[product] = outlook[product].where((outlook[product] >= lowest) & (outlook[product] <= highest))
        percentile = f"{name}_percentile"
        if percentile in outlook and outlook[percentile].attrs.get("units") == "1":
            outlook[percentile] = (100 * outlook[percentile]).assign_attrs(outlook[percentile].attrs | {"units": "%"})
    return outlook.assign_attrs({ISSUE_DAYS: issued})


def outlook_layers(outlook: xr.Dataset) -> list[str]:
    """Names of the layers that an outlook forecasts, and of the root zone if it is there."""
    named = [name.strip() for name in str(outlook.attrs.get("targets", "")).split(",") if name.strip()]
    return [*named, _ROOT_ZONE] if named and _ROOT_ZONE in outlook else named


def layer_words(outlook: xr.Dataset, name: str) -> str:
    """Name a layer for people: what it is, and its name in brackets."""
    said = str(outlook[name].attrs.get("long_name", "")).strip()
    return target_words(name) if name in VARIABLES or not said else f"{said} ({name})"


def has_product(outlook: xr.Dataset, target: str, suffix: str) -> bool:
    """Whether a product is there for a layer, with any value."""
    name = f"{target}_{suffix}"
    return name in outlook and bool(np.isfinite(outlook[name]).any())


def _in_order(outlook: xr.Dataset) -> xr.Dataset:
    """Leads and levels ascending, valid days where they are not given, counts of days as numbers."""
    outlook = outlook.sortby("lead")
    if "quantile" in outlook.coords:
        outlook = outlook.sortby("quantile")
    if "valid_time" not in outlook.coords or outlook["valid_time"].dims != ("lead",):
        days = outlook["time"].to_numpy() + outlook["lead"].to_numpy() * np.timedelta64(1, "D")
        outlook = outlook.assign_coords(valid_time=("lead", days))
    for name, values in outlook.data_vars.items():
        if values.dtype.kind == "m":  # xarray reads some units of days as time differences
            outlook[name] = values / np.timedelta64(1, "D")
    return outlook
