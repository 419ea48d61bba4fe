"""How the forecast from an issue day is added to those of earlier days: the old store or the new one stands, whole."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from soilcast.cube import open_artifact
from soilcast.cube.store import zarr_settings
from soilcast.errors import SoilcastError
from soilcast.files import link_or_copy
from soilcast.forecasting.variables import RESIDUAL

_JOINED = "joined.zarr"
_ALIKE = ("targets", "weights_sha256", "lead_days", "latency_days", "weather", "precision")


def refuse_append(out: Path, requested: Mapping[str, Any], cube: xr.Dataset, issue: np.datetime64) -> None:
    """Raise `SoilcastError` unless the forecast from a day can be added to those of ``out``.

    Parameters
    ----------
    out
        The forecasts that are there.
    requested
        Attributes of the forecast to add.
    cube
        The opened cube that it is of.
    issue
        Its issue day.
    """
    if not out.is_dir():
        raise SoilcastError(f"{out}: --append needs a Zarr folder: give one as --out, or remove --append")
    with open_artifact(out, "forecast") as found:
        for name in _ALIKE:
            if found.attrs.get(name) != requested[name]:
                raise SoilcastError(
                    f"{out}: {name} is {found.attrs.get(name)}, but {requested[name]} of this forecast: give another "
                    "--out"
                )
        if any(not np.array_equal(found[name].to_numpy(), cube[name].to_numpy()) for name in ("lat", "lon")):
            raise SoilcastError(f"{out}: its cells are not those of the cube: give another --out")
        last = found["time"].to_numpy()[-1]
        single = all(
            one.encoding["chunks"][one.dims.index("time")] == 1
            for one in found.data_vars.values()
            if "time" in one.dims
        )
    if issue <= last:
        raise SoilcastError(
            f"{out}: its last issue day is {np.datetime_as_string(last, 'D')}, and only later days can be appended: "
            f"{np.datetime_as_string(issue, 'D')} is not: give another --from or --out"
        )
    if not single:
        raise SoilcastError(f"{out}: a forecast over a period: append to forecasts made with --from")


def joined(out: Path, added: Path, place: Path) -> Path:
    """Make a store of what ``out`` holds and of the forecast from one more day.

    Chunks of the days that are there get a second name and are not written again. No file of ``out`` is changed: all
    that grows is copied first.

    Parameters
    ----------
    out
        The forecasts that are there.
    added
        The store of the forecast to add.
    place
        Folder to work in.

    Returns
    -------
    The path of the new store.
    """
    store = place / _JOINED
    shutil.rmtree(store, ignore_errors=True)
    with xr.open_zarr(out, consolidated=False, chunks=None) as old, zarr_settings():
        by_day = [str(name) for name, one in old.data_vars.items() if "time" in one.dims]
        growing = [str(name) for name, one in old.variables.items() if "time" in one.dims]
        _link(out, store, by_day)
        group, new = zarr.open_group(store, mode="r+"), zarr.open_group(added, mode="r")
        with xr.open_zarr(added, consolidated=False, chunks=None) as extra:
            for name in growing:
                _grow(group[name], old[name], extra[name], new[name])
            days = old["time"].to_numpy()[0], extra["time"].to_numpy()[-1]
            residuals = [one.attrs[RESIDUAL] for one in (old, extra) if RESIDUAL in one.attrs]
        largest = {RESIDUAL: max(residuals)} if residuals else {}
        issue_days = ":".join(np.datetime_as_string(day, "D") for day in days)
        group.attrs.update({**new.attrs, **largest, "issue_days": issue_days})
    return store


def _grow(array: Any, old: xr.DataArray, extra: xr.DataArray, stored: Any) -> None:
    """Add the issue day of a forecast behind the others, in the units in which these are stored."""
    axis = old.dims.index("time")
    shape = list(array.shape)
    shape[axis] += 1
    array.resize(tuple(shape))
    at = tuple(slice(-1, None) if position == axis else slice(None) for position in range(len(shape)))
    if old.dtype.kind == "M":  # days are counted from a day of each store's own
        encoding = {name: old.encoding[name] for name in ("units", "calendar", "dtype")}
        coded = xr.conventions.encode_cf_variable(xr.Variable(extra.dims, extra.to_numpy(), encoding=encoding))
        array[at] = coded.to_numpy()
    else:
        array[at] = stored[:]


def _link(out: Path, store: Path, by_day: list[str]) -> None:
    """Give the chunks of variables with a chunk a day second names, and copy all else."""
    for file in sorted(out.rglob("*")):
        target = store / file.relative_to(out)
        if file.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        first, *others = file.relative_to(out).parts
        if first in by_day and others[0] == "c":
            link_or_copy(file, target)
        else:
            shutil.copyfile(file, target)
