"""Archives of the International Soil Moisture Network (ISMN): each file of soil moisture as the days of a sensor."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from soilcast.errors import SoilcastError
from soilcast.sources.stations.sensors import Sensor, Station, daily_means

UNIT = "m3 m-3"
"""In which the ISMN harmonises soil moisture."""

_SUFFIX = ".stm"
_FLAG = re.compile(r"[A-Z]\d{0,2}", re.ASCII)
_VALUE, _FLAGS = "soil_moisture", "soil_moisture_flag"
_LACKING = "the ISMN library is not installed: pip install soilcast[stations]"


def list_archive(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """List the files of soil moisture of unpacked archives, sorted, and count those of other variables.

    Raises
    ------
    SoilcastError
        A path is missing, a zip archive or a table; nothing is found.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise SoilcastError(f"{path}: no such file or folder: check the path")
        if path.is_dir():
            files += path.rglob(f"*{_SUFFIX}")
        elif path.suffix.lower() == _SUFFIX:
            files.append(path)
        elif path.suffix.lower() == ".zip":
            raise SoilcastError(f"{path}: a zip archive: unpack it and name the folder")
        else:
            raise SoilcastError(
                f"{path}: no {_SUFFIX} file of the ISMN: tables of stations need a mapping file (--mapping)"
            )
    named = sorted(set(files))
    soil = [file for file in named if "_sm_" in file.name]
    if not soil:
        what = f"{len(named)} {_SUFFIX} file(s), none of soil moisture (_sm_)" if named else f"no {_SUFFIX} file"
        raise SoilcastError(
            f"{', '.join(map(str, paths)) or 'no path is given'}: {what}: name the folder of an unpacked ISMN archive, "
            "or give a mapping file (--mapping) for tables"
        )
    return soil, len(named) - len(soil)


def check_flags(flags: Collection[str]) -> frozenset[str]:
    """Check quality flags.

    Raises
    ------
    SoilcastError
        None is given, or one is no flag of the ISMN.
    """
    for flag in flags:
        if not _FLAG.fullmatch(flag):
            raise SoilcastError(f"--flags {flag}: no quality flag of the ISMN: write G, or G,U or G,D05")
    if not flags:
        raise SoilcastError("--flags: no quality flag is given: write G, or G,U")
    return frozenset(flags)


def read_archive(files: Sequence[Path], flags: frozenset[str], least_hours: int) -> Iterator[Sensor]:
    """Read the sensors of an archive, in the formats "header + values" and "CEOP in separate files".

    Parameters
    ----------
    files
        As `list_archive` gives them.
    flags
        Quality flags of which a value may have no other.
    least_hours
        See `soilcast.sources.stations.sensors.daily_means`.

    Raises
    ------
    SoilcastError
        A file is damaged, or the library is not installed.
    """
    for file in files:
        station, instrument, depth, data = _read(file)
        values = data[_VALUE].to_numpy(dtype=np.float64)
        texts, codes = np.unique(data[_FLAGS].fillna("").astype(str).to_numpy(), return_inverse=True)
        good = np.array([bool(text) and set(text.split(",")) <= flags for text in texts])
        finite, passed = np.isfinite(values), good[codes]
        times = data.index.to_numpy()
        counts = np.bincount(codes[finite], minlength=len(texts))
        dropped = Counter(
            {
                f"flag {text or 'none'}": int(count)
                for text, count, ok in zip(texts, counts, good, strict=True)
                if not ok
            }
        )
        dropped["no value"] = int((~finite).sum())
        kept = finite & passed & ~np.isnat(times)
        days, means, short, most = daily_means(times[kept], values[kept], least_hours)
        yield Sensor(station, str(file), instrument, depth, UNIT, days, means, +dropped, short, most)


def _read(file: Path) -> tuple[Station, str, float, pd.DataFrame]:
    """Station, instrument, middle of the depths [m] and values of a file."""
    try:
        from ismn.filehandlers import DataFile
    except ImportError as error:
        raise SoilcastError(f"{file}: {_LACKING}") from error
    damaged = SoilcastError(f"{file}: no readable file of the ISMN: it is damaged or truncated; download it again")
    parts = file.name.split("_")
    try:
        handler = DataFile(file.parent, file.name)
        about = {name: handler.metadata[name].val for name in ("station", "latitude", "longitude", "elevation")}
        instrument = handler.metadata["instrument"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the library uses of pandas is going out of use
            data: Any = handler.read_data()
        data[_VALUE] = data[_VALUE].astype(np.float64)
        depth = (float(instrument.depth.start) + float(instrument.depth.end)) / 2
    except SoilcastError:
        raise
    except Exception as error:  # the library lets whatever pandas, Python or it meets through
        raise damaged from error
    station = Station(
        parts[1], str(about["station"]), float(about["latitude"]), float(about["longitude"]), float(about["elevation"])
    )
    if not (abs(station.lat) <= 90 and abs(station.lon) <= 360 and np.isfinite(depth)):
        raise damaged
    return station, str(instrument.val), depth, data
