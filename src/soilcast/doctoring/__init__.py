"""What files are, what soilcast would do with them, and whether the water balance proves it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import xarray as xr

from soilcast.cube import open_cube
from soilcast.cube.plausibility import Doubt, plausibility
from soilcast.doctoring.closure import Closure, closure
from soilcast.doctoring.diagnosis import Diagnosis, diagnose
from soilcast.doctoring.era5 import READER
from soilcast.doctoring.evidence import Finding
from soilcast.doctoring.examining import examine_together
from soilcast.doctoring.findings import Examination, FileFound
from soilcast.doctoring.maps import closure_maps
from soilcast.doctoring.others import CUBE_READER, describe
from soilcast.errors import SoilcastError
from soilcast.files import atomic_write, path_list
from soilcast.sources.netcdf import is_address

__all__ = [
    "Closure",
    "Diagnosis",
    "Doubt",
    "Examination",
    "Finding",
    "closure",
    "diagnose",
    "doctor",
    "plausibility",
]


def doctor(
    paths: str | Path | Sequence[str | Path],
    *,
    units: Mapping[str, str] | None = None,
    flip_sign: Collection[str] = (),
    map_to: str | Path | None = None,
    overwrite: bool = False,
) -> Examination:
    """Diagnose files before they are prepared, or a cube: what each is, and whether the water balance closes.

    Parameters
    ----------
    paths
        Files, folders, archives, Zarr stores or URLs; all files of a product together, such as all months of all
        variables, so that they can be tested as one cube. Or one cube.
    units, flip_sign
        As for `soilcast.prepare` of ``era5land``, to try corrections.
    map_to
        PNG to write, a map of the water-balance residual.
    overwrite
        Replace ``map_to``.

    Returns
    -------
    The diagnosis; its ``exit_code`` is 0 if soilcast can use the files as they are, otherwise 1.

    Raises
    ------
    SoilcastError
        No file is given, several cubes or a cube beside files of ERA5, or the map cannot be drawn or written.
    """
    if not paths:
        raise SoilcastError("doctor: no file is given: name files, folders or stores")
    files = tuple(one for path in path_list(paths) for one in _described(path))
    readable = [one.path for one in files if one.reader == READER]
    cubes = [one.path for one in files if one.reader == CUBE_READER]
    if len(cubes) + bool(readable) > 1:
        raise SoilcastError(f"{cubes[0]}: a cube is diagnosed alone: name it, or the files that it is to be made of")
    made = examine_together(readable, dict(units or {}), tuple(flip_sign)) if readable else None
    cube = open_cube(cubes[0]) if cubes else made.cube if made else None
    if cube is None:
        if map_to is not None:
            raise SoilcastError(
                f"{map_to}: no water balance to draw: give a cube, or readable files of ERA5 or ERA5-Land"
            )
        return Examination(files, made.together if made else None)
    diagnosis = diagnose(cube)
    if map_to is not None:
        _draw(cube, diagnosis, Path(map_to), overwrite=overwrite)
    return Examination(
        files,
        made.together if made else None,
        proof=diagnosis.as_json(),
        sentences=tuple(diagnosis.sentences()),
        proof_faults=tuple(_faults(diagnosis)),
    )


def _faults(diagnosis: Diagnosis) -> Iterator[str]:
    """What the water balance and known bounds say is wrong."""
    yield from (f"{finding.fault}: {finding.remedy}" for finding in diagnosis.findings)
    if diagnosis.verdict == "does not close":
        yield diagnosis.sentences()[0]
    yield from (doubt.sentence for doubt in diagnosis.doubts)


def _draw(cube: xr.Dataset, diagnosis: Diagnosis, out: Path, *, overwrite: bool) -> None:
    if out.suffix not in (".png", ".pdf"):
        raise SoilcastError(f"{out}: a map is written as .png or .pdf: give it such a name")
    drawn = closure_maps(cube, diagnosis, out.stem)
    if not drawn:
        raise SoilcastError(f"{out}: the water balance cannot be tested: there is no map to draw")
    with atomic_write(out, kind="picture", overwrite=overwrite) as partial:
        partial.write_bytes(drawn[f"{out.stem}{out.suffix}"])


def _described(path: str | Path) -> Iterator[FileFound]:
    """A folder that is no store stands for what lies in it, whatever that is."""
    folder = Path(path)
    if is_address(path) or not folder.is_dir() or any((folder / mark).exists() for mark in _MARKS):
        yield describe(str(path))
        return
    inside = sorted(one for one in folder.iterdir() if not one.name.startswith(".") and one.name != _RECORD)
    for one in inside:
        yield describe(str(one), in_folder=True)
    if not inside:
        yield describe(str(path))


_RECORD = "download.json"
"""What `soilcast download` notes beside its files."""

_MARKS = (".zgroup", ".zmetadata", "zarr.json", "run.json", "scores.nc")
