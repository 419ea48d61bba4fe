"""The LandBench 1.0 tree as distributed: which file holds which variable, written how, and which files are there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soilcast.cube import PAPER_DYNAMIC, Conversion, conversion
from soilcast.errors import SoilcastError

Reading = Callable[[str, str, Mapping[str, Any], str], tuple[Conversion, str]]
"""From a variable's name, unit, attributes and file to the conversion, and a note where more than the unit was read."""

TARGET = "swvl1"
_REQUIRED = (*PAPER_DYNAMIC, TARGET)


def _as_written(name: str, unit: str, attributes: Mapping[str, Any], where: str) -> tuple[Conversion, str]:
    return conversion(name, unit, where), ""


def _hourly_mean(name: str, unit: str, attributes: Mapping[str, Any], where: str) -> tuple[Conversion, str]:
    """A depth without a time is the mean of hourly amounts, unless the attributes speak of a daily total."""
    found = conversion(name, unit, where)
    said = " ".join(str(attributes.get(key, "")) for key in ("cell_methods", "long_name", "description"))
    if not _is_depth(unit) or re.search(r"time: sum|daily[ _-]?(total|sum|accumulat)", said, re.IGNORECASE):
        return found, ""
    return Conversion(found.scale * 24.0, found.offset), f" ({unit} read as a mean of hourly amounts)"


def _mean_flux(name: str, unit: str, attributes: Mapping[str, Any], where: str) -> tuple[Conversion, str]:
    """The file name says W m-2; a left-over J m-2 from the reanalysis contradicts it and is not guessed at."""
    found = conversion(name, unit, where)
    if found != conversion(name, "W m-2", where):
        raise SoilcastError(
            f"{where}: unit {unit!r} of {name} contradicts the file name, which says W m-2: specify the unit (--unit "
            f"{name}=UNIT)"
        )
    return found, ""


def _is_depth(unit: str) -> bool:
    try:
        conversion("sd", unit, "")
    except SoilcastError:
        return False
    return True


@dataclass(frozen=True)
class File:
    """One line of the distribution.

    Parameters
    ----------
    name
        Name in the contract.
    folder
        ``atmosphere``, ``land_surface`` or ``constants``.
    files
        Names of the file, without ``.nc``, the usual spelling first.
    variable
        Name in the file.
    unit
        Unit that LandBench documents, for a file without a unit attribute; None: such a file's unit is asked for.
    reading
        From a unit attribute to a conversion.
    sign
        -1 where LandBench counts downward as positive.
    """

    name: str
    folder: str
    files: tuple[str, ...]
    variable: str
    unit: str | None = None
    reading: Reading = _as_written
    sign: float = 1.0


# fmt: off
DYNAMIC: tuple[File, ...] = (
    File("t2m", "atmosphere", ("2m_temperature",), "t2m"),
    File("u10", "atmosphere", ("10m_u_component_of_wind",), "u10"),
    File("v10", "atmosphere", ("10m_v_component_of_wind",), "v10"),
    File("tp", "atmosphere", ("precipitation",), "tp", "m", _hourly_mean),
    File("sp", "atmosphere", ("surface_pressure",), "sp"),
    File("q", "atmosphere", ("specific_humidity",), "Q"),
    File("ssrd", "land_surface", ("surface_solar_radiation_downwards_w_m2",), "ssrd", "W m-2", _mean_flux),
    File("strd", "land_surface",
         ("surface_thermal_radiation_downwards_w_m2", "surface_theraml_radiation_downwards_w_m2"),
         "strd", "W m-2", _mean_flux),
    File("e", "land_surface", ("total_evaporation",), "e", sign=-1.0),
    File("ro", "land_surface", ("total_runoff",), "ro"),
    File("sd", "land_surface", ("snow_depth_water_equivalent",), "sd"),
    *(File(f"swvl{n}", "land_surface", (f"volumetric_soil_water_layer_{n}",), f"swvl{n}") for n in (1, 2, 3, 4)),
)
CONSTANTS: tuple[File, ...] = (
    File("soil_water_capacity", "constants", ("soil_water_capacity",), "SC", "mm"),  # SMSC, Xie et al. 2022
    File("landcover", "constants", ("landtype",), "landtype", "1"),
    File("clay", "constants", ("clay_0-5cm_mean",), "Band1"),
    File("sand", "constants", ("sand_0-5cm_mean",), "Band1"),
    File("silt", "constants", ("silt_0-5cm_mean",), "Band1"),
    File("elevation", "constants", ("dem",), "dem", "m"),  # MERIT DEM, Yamazaki et al. 2017
)
# fmt: on
ROWS: dict[str, File] = {row.name: row for row in (*DYNAMIC, *CONSTANTS)}


def resolution_folder(paths: Sequence[Path], resolution: float) -> tuple[Path, Path]:
    """Root of the tree and its folder of a resolution, which may be written ``4`` or ``4.0``.

    Raises
    ------
    SoilcastError
        Not one root, no such folder (those that are there are named), or two of them.
    """
    if len(paths) != 1:
        raise SoilcastError(f"landbench reads the root of one tree, but {len(paths)} paths are given: give one")
    root = Path(paths[0])
    if not root.is_dir():
        raise SoilcastError(f"{root}: no such folder: give the root of the LandBench tree")
    named = [
        folder
        for folder in sorted(root.iterdir())
        if folder.is_dir() and re.fullmatch(r"\d+(\.\d+)?", folder.name, re.ASCII)
    ]
    fitting = [folder for folder in named if float(folder.name) == float(resolution)]
    if not fitting:
        there = ", ".join(folder.name for folder in named) or "none"
        raise SoilcastError(
            f"{root}: no folder of resolution {resolution:g}; there are: {there}: choose one of them (--resolution)"
        )
    if len(fitting) > 1:
        both = " and ".join(folder.name for folder in fitting)
        raise SoilcastError(f"{root}: the folders {both} are the same resolution: remove or rename one")
    return root, fitting[0]


def years_of(folder: Path, years: str | None) -> list[int]:
    """Years that are asked for, or from the first to the last that has a folder.

    Raises
    ------
    SoilcastError
        The text is not a year or a range of years, or no year is there.
    """
    if years is not None:
        match = re.fullmatch(r"\s*(\d{4})(?:\s*:\s*(\d{4}))?\s*", years, re.ASCII)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise SoilcastError(f"--years {years!r}: write a year, or the first and the last such as 2018:2020")
        return list(range(int(match[1]), int(match[2] or match[1]) + 1))
    found = [
        int(year.name)
        for part in {row.folder for row in DYNAMIC}
        for year in folder.glob(f"{part}/*")
        if re.fullmatch(r"\d{4}", year.name, re.ASCII) and year.is_dir()
    ]
    if not found:
        raise SoilcastError(f"{folder}: no atmosphere/<year> or land_surface/<year> folder: download the data")
    return list(range(min(found), max(found) + 1))


def dynamic_files(folder: Path, years: Sequence[int]) -> dict[str, list[Path]]:
    """Files of every variable, one a year; a variable that no year has is left out unless it is required.

    Raises
    ------
    SoilcastError
        Required variables, or variables that other years have, are missing: all are listed.
    """
    found: dict[str, list[Path]] = {}
    missing: dict[str, list[str]] = {}
    for row in DYNAMIC:
        files = {year: _find(folder / row.folder / str(year), row.files) for year in years}
        if row.name not in _REQUIRED and not any(files.values()):
            continue
        for year in (year for year, file in files.items() if file is None):
            missing.setdefault(f"{row.folder}/{year}", []).append(f"{row.files[0]}.nc")
        found[row.name] = [file for file in files.values() if file is not None]
    if missing:
        count = sum(map(len, missing.values()))
        listed = "; ".join(f"{place}: {', '.join(names)}" for place, names in sorted(missing.items()))
        raise SoilcastError(
            f"{folder}: {count} file(s) missing: {listed}: download them, or choose other years (--years FIRST:LAST)"
        )
    return found


def constant_files(root: Path, folder: Path) -> dict[str, Path]:
    """Files of the constants that are there, beside the years or, failing that, beside the resolutions."""
    place = next((place for place in (folder / "constants", root / "constants") if place.is_dir()), None)
    found = {row.name: _find(place, row.files) for row in CONSTANTS} if place else {}
    return {name: file for name, file in found.items() if file is not None}


def _find(folder: Path, names: Sequence[str]) -> Path | None:
    return next((file for name in names if (file := folder / f"{name}.nc").exists()), None)
