"""What a file is: tried by one recogniser after the other, each of which knows a family of files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from soilcast.doctoring.era5 import describe_era5
from soilcast.doctoring.findings import FileFound
from soilcast.doctoring.others import describe_array_file, describe_artifact, describe_ismn, describe_table
from soilcast.errors import SoilcastError
from soilcast.sources.files import is_address

RECOGNISERS: tuple[Callable[[str], FileFound | None], ...] = (
    describe_artifact,
    describe_ismn,
    describe_table,
    describe_era5,
    describe_array_file,
)
"""Each gives what a file is, or None where it is not of its family; the first that knows it is heard."""


def describe(path: str) -> FileFound:
    """Say what a file, archive or store is, whatever it is."""
    if not is_address(path) and not Path(path).exists():
        return FileFound(path, "nothing", "no such file", faults=("no such file: check the path",))
    for recognise in RECOGNISERS:
        try:
            found = recognise(path)
        except SoilcastError as error:
            said = str(error).removeprefix(f"{path}: ")
            return FileFound(path, "unknown", "cannot be read", faults=(said,))
        if found is not None:
            return found
    fault = "neither NetCDF, GRIB, zip, Zarr nor a table that soilcast knows"
    return FileFound(path, "unknown", "not recognised", faults=(fault,))
