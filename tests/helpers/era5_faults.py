"""Copies of files with one fault each: what a reader must refuse or find out."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from tests.helpers.era5_parameters import PARAMETERS, WATER

Change = Callable[[xr.Dataset], xr.Dataset]

_HOURS_OF_DAY = 24.0
_RADIATION = tuple(name for name, one in PARAMETERS.items() if one.units == "J m**-2")


def _scaled(file: xr.Dataset, names: tuple[str, ...], factor: float, added: float = 0.0) -> xr.Dataset:
    """Multiply and shift raw values, packed or not, as if the file had been made of such values."""
    file = file.copy()
    for name in sorted(set(names) & set(file.data_vars)):
        held = file[name]
        if "scale_factor" in held.attrs:
            scale, offset = held.attrs["scale_factor"] * factor, held.attrs["add_offset"] * factor + added
            held.attrs |= {"scale_factor": np.float64(scale), "add_offset": np.float64(offset)}
            continue
        fill = held.attrs.get("_FillValue", np.nan)
        gap = np.isnan(held.to_numpy()) | (held.to_numpy() == fill)
        changed = held.to_numpy().astype(np.float64) * factor + added
        file[name] = held.copy(data=np.where(gap, held.to_numpy(), changed).astype(held.dtype))
    return file


def _said(file: xr.Dataset, names: tuple[str, ...], units: str) -> xr.Dataset:
    file = file.copy()
    for name in sorted(set(names) & set(file.data_vars)):
        file[name].attrs = file[name].attrs | {"units": units}
    return file


def _axis(file: xr.Dataset) -> str:
    return "valid_time" if "valid_time" in file.dims else "time"


def _length(file: xr.Dataset) -> float:
    """Seconds that one period of the file lasts."""
    return 86400.0 if file[_axis(file)].attrs["units"].startswith("days") else 3600.0


def _shifted(file: xr.Dataset) -> xr.Dataset:
    axis = _axis(file)
    day = {"days": 1, "hours": 24, "seconds": 86400}[file[axis].attrs["units"].split()[0]]
    return file.assign_coords({axis: file[axis].copy(data=file[axis].to_numpy() + file[axis].dtype.type(day))})


def _without(file: xr.Dataset, position: int) -> xr.Dataset:
    axis = _axis(file)
    return file.isel({axis: np.delete(np.arange(file.sizes[axis]), position)})


def _repeated(file: xr.Dataset, position: int) -> xr.Dataset:
    axis = _axis(file)
    return file.isel({axis: np.insert(np.arange(file.sizes[axis]), position, position)})


CONTENT_FAULTS: dict[str, Change] = {
    "e_upward": partial(_scaled, names=("e",), factor=-1.0),
    "tp_mean_of_hours": partial(_scaled, names=("tp",), factor=1.0 / _HOURS_OF_DAY),
    "shifted_by_a_day": _shifted,
    "mm_that_says_m": partial(_scaled, names=WATER, factor=1000.0),
    "m_that_says_mm": partial(_said, names=WATER, units="mm"),
    "watts_that_say_joules": lambda file: _scaled(file, _RADIATION, 1.0 / _length(file)),
    "joules_that_say_watts": partial(_said, names=_RADIATION, units="W m**-2"),
    "celsius_that_says_kelvin": partial(_scaled, names=("t2m", "d2m"), factor=1.0, added=-273.15),
    "missing_stamp": partial(_without, position=5),
    "repeated_stamp": partial(_repeated, position=5),
}
"""Name -> change of a NetCDF file that stays well-formed. Stamps are hours, or days in daily files."""

BYTE_FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) * 2 // 3],
    "header_alone": lambda content: content[:64],
    "zeros": lambda content: bytes(len(content)),
    "garbage": lambda content: np.random.default_rng(0).bytes(len(content)),
    "damaged": lambda content: content[: len(content) // 2] + bytes(512) + content[len(content) // 2 + 512 :],
    "empty": lambda content: b"",
}
"""Name -> what is left of the bytes of any file."""


def break_file(source: Path, target: Path, fault: str) -> Path:
    """Write a copy of a file that has one fault of `CONTENT_FAULTS` (NetCDF-3 or NetCDF-4) or `BYTE_FAULTS` (any).

    A fault of content changes the parameters that it concerns, of those that the file has, and nothing else; one that
    would change nothing is refused. Watts are means of the file's hours or days, so that this fault is for files whose
    amounts are not added up since midnight.
    """
    if fault in BYTE_FAULTS:
        target.write_bytes(BYTE_FAULTS[fault](source.read_bytes()))
        return target
    former = source.read_bytes()[:3] == b"CDF"
    engine = "scipy" if former else "h5netcdf"
    with xr.open_dataset(source, engine=engine, decode_cf=False) as opened:
        file = opened.load()
    broken = CONTENT_FAULTS[fault](file)
    assert not broken.identical(file), f"{fault} changes nothing of {source}"
    bare = {name: {"_FillValue": None} for name, held in broken.variables.items() if "_FillValue" not in held.attrs}
    for held in broken.variables.values():
        held.encoding = {}
    broken.to_netcdf(target, engine=engine, format="NETCDF3_64BIT" if former else "NETCDF4", encoding=bare)
    return target


def break_zip(source: Path, target: Path, member: str, fault: str) -> Path:
    """Write a copy of an archive whose member has a fault of `BYTE_FAULTS`."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            copy.writestr(name, BYTE_FAULTS[fault](content) if name == member else content)
    return target
