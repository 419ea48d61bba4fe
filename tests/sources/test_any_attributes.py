"""Whatever unit, sign, packing, calendar and stamps files have, of which each has its own: the same cube."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.sources.table import table
from tests.helpers.table_data import gridded_data, saved, write_recipe

DAY = np.timedelta64(1, "D")

# Variable -> unit, and what a value of the test's own file is multiplied with and added to for it.
UNITS: dict[str, list[tuple[str, float, float]]] = {
    "sm": [("%", 1, 0), ("m3 m-3", 0.01, 0), ("m³/m³", 0.01, 0), ("unitless", 0.01, 0), ("vol %", 1, 0)],
    "temp": [("degC", 1, 0), ("K", 1, 273.15), ("degF", 1.8, 32), ("°C", 1, 0), ("deg C", 1, 0)],
    "rain": [("mm", 1, 0), ("m", 1e-3, 0), ("kg m-2 s-1", 1 / 86400, 0), ("mm/day", 1, 0), ("cm d-1", 0.1, 0)],
    "evap": [("mm d-1", 1, 0), ("m of water equivalent", 1e-3, 0), ("kg/m2/s", 1 / 86400, 0), ("mm H2O", 1, 0)],
}


@st.composite
def written(draw: st.DrawFn) -> dict[str, Any]:
    """How one file is written."""
    return {
        "units": {name: draw(st.sampled_from(units)) for name, units in UNITS.items()},
        "packed": draw(st.booleans()),
        "fill": draw(st.sampled_from(["none", "_FillValue", "missing_value"])),
        "stamp": draw(st.sampled_from(["begin", "noon", "end with bounds", "end in words", "noon with bounds"])),
        "calendar": draw(st.sampled_from(["standard", "proleptic_gregorian", "gregorian"])),
        "epoch": draw(st.sampled_from(["days since 1950-01-01", "hours since 1900-01-01", "seconds since 1970-01-01"])),
    }


def write(data: xr.Dataset, path: Path, how: dict[str, Any]) -> Path:
    made = data.copy(deep=True)
    encoding: dict[str, Any] = {}
    for name, (unit, scale, offset) in how["units"].items():
        values = made[name].to_numpy().astype(np.float64) * scale + offset
        made[name] = (made[name].dims, values, {"units": unit})
        low, high = np.nanmin(values), np.nanmax(values)
        encoding[name] = {"dtype": "f4", "_FillValue": None}
        if how["packed"]:
            step = (high - low) / 60_000
            encoding[name] = {"dtype": "i2", "scale_factor": step, "add_offset": low + 30_000 * step}
        if how["packed"] or how["fill"] != "none":
            key = how["fill"] if how["fill"] != "none" else "_FillValue"
            encoding[name] = {**encoding[name], "_FillValue": None, key: np.dtype(encoding[name]["dtype"]).type(-32767)}
    begin = made["time"].to_numpy()
    shift = {"begin": 0, "noon": 12, "noon with bounds": 12}.get(how["stamp"], 24)
    words = {"long_name": "time at end of the averaging period"} if how["stamp"] == "end in words" else {}
    made = made.assign_coords(time=("time", begin + np.timedelta64(shift, "h"), words))
    times = {"units": how["epoch"], "calendar": how["calendar"], "dtype": "f8"}
    encoding["time"] = times
    if "bounds" in how["stamp"]:
        made["time"].attrs["bounds"] = "time_bnds"
        made["time_bnds"] = (("time", "nv"), np.stack([begin, begin + DAY], axis=1))
        encoding["time_bnds"] = times
    made.to_netcdf(path, engine="h5netcdf", encoding=encoding)
    return path


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, xr.Dataset]:
    folder = tmp_path_factory.mktemp("truth")
    data = gridded_data()[["sm", "temp", "evap", "rain"]].isel(time=slice(0, 30))
    data["rain"].attrs["units"] = "mm"
    recipe = write_recipe(folder, variables__tp="rain")
    return data, table([saved(data, folder / "a.nc")], mapping=recipe).compute()


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(files=st.lists(written(), min_size=1, max_size=3))
def test_any_files_give_the_same_cube(
    files: list[dict[str, Any]], truth: tuple[xr.Dataset, xr.Dataset], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data, expected = truth
    folder = tmp_path_factory.mktemp("any")
    parts = np.array_split(np.arange(data.sizes["time"]), len(files))
    paths = [
        write(data.isel(time=days), folder / f"{number}.nc", how)
        for number, (days, how) in enumerate(zip(parts, files, strict=True))
    ]
    found = table(paths, mapping=write_recipe(folder, variables__tp="rain"))
    np.testing.assert_array_equal(found["time"], expected["time"])
    for name in ("swvl1", "t2m", "tp", "e"):
        # Sixteen bits of each file's own range.
        step = float(np.ptp(expected[name].to_numpy())) / 30_000 if any(how["packed"] for how in files) else 0.0
        np.testing.assert_allclose(found[name], expected[name], rtol=3e-6, atol=step + 1e-9, err_msg=name)
