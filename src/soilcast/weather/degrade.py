"""Weather forecasts made of observed weather: an error model whose errors grow with lead as those of real forecasts do.

In normal scores of the cell and the time of the year, the forecast of lead k is

    z_f(k) = r_k z_o(k) + sqrt(1 - r_k^2) z_n(k)

with z_o the observed weather of that day, r_k the correlation of real forecasts (`soilcast.weather.scores`) and z_n
the observed weather of other days that follow each other, drawn for each issue day, the same for all cells and
variables. So errors are correlated in time, in space and between variables as the weather is, the climate of a forecast
is that of the observations (dry days too), and it knows no more of the day than r_k says. Errors of forecasts that are
issued one day after the other are independent, unlike real ones.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr

from soilcast.cube import VARIABLES, open_artifact, open_cube, read
from soilcast.cube.calendar import Days
from soilcast.cube.cf import CONVENTIONS, ISSUE_DAY, LEAD
from soilcast.cube.identity import ContentHash, refuse_changed
from soilcast.cube.store import DAY_CHUNK, put_store_in_place, zarr_encoding, zarr_settings
from soilcast.errors import SoilcastError
from soilcast.files import refuse_existing
from soilcast.progress import progress_bar
from soilcast.provenance import stamp
from soilcast.schema import nearest
from soilcast.weather import ARCHIVE, DEGRADED
from soilcast.weather.climate import WINDOW, NormalScores, day_of_year, season_distance
from soilcast.weather.scores import correlations, load_scores
from soilcast.workplace import locked_workplace

CONTENT = "degraded observations, not a real weather forecast"

_APART = 90
"""Days between an issue day and those that its errors are the weather of, at least."""

_PROGRESS = "weather.json"
"""What would be gone on from: nothing is, as it takes seconds."""

_BLOCK_BYTES = 64 << 20
_CHUNK_VALUES = 1 << 20

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]


def degrade_weather(
    cube: str | Path,
    out: str | Path,
    *,
    variables: Sequence[str],
    leads: int = 10,
    seed: int = 0,
    scores: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> xr.Dataset:
    """Make an archive of weather forecasts of the observed weather of a cube, with errors that grow with lead.

    Parameters
    ----------
    cube
        Path of a cube.
    out
        Archive to write: a Zarr folder, or NetCDF if the name ends in ``.nc``.
    variables
        Dynamic variables of the cube.
    leads
        Lead times [d].
    seed
        Of the errors.
    scores
        YAML file of the correlation of forecast and observed anomalies by kind of variable and lead; by default those
        of ECMWF's operational forecasts (`soilcast.weather.scores.PUBLISHED`).
    overwrite
        Replace ``out`` if it exists.
    progress
        Show a progress bar.

    Returns
    -------
    The archive, opened: each variable ``(cell, time, lead)`` float32 by issue day and lead, in the units of the cube;
    NaN where the cube ends before the day, or has no value of it or of the weather that its error is made of.

    Raises
    ------
    SoilcastError
        A damaged cube, variables that it lacks, a record of fewer than 90 days beside the leads, scores that do not
        fit, ``out`` exists, the disk is full.
    """
    out = Path(out)
    opened = open_cube(cube)
    dynamic = [str(name) for name, one in opened.data_vars.items() if "time" in one.dims]
    for name in variables:
        if name not in dynamic:
            raise SoilcastError(f"{cube}: no dynamic variable {name}: {nearest(name, dynamic)}")
    if leads < 1 or not variables:
        raise SoilcastError("--leads and --variables: give one lead and one variable at least")
    table = load_scores(scores)
    correlation = correlations(table, variables, leads)
    days = opened["time"].to_numpy()
    names = sorted(variables)
    used = {name: correlation[name].tolist() for name in names}
    made_from = {"cube_sha256": opened.attrs["content_sha256"], "seed": seed, "correlation": json.dumps(used)}
    provenance = stamp("soilcast degrade", cube=str(cube), **made_from)
    skeleton = _skeleton(opened, leads, {**made_from, "provenance": provenance})
    cells = opened.sizes["cell"]
    block = max(1, min(cells, _BLOCK_BYTES // (8 * len(days) * (leads + 8)), _CHUNK_VALUES // (DAY_CHUNK * leads)))
    blocks = [slice(start, min(start + block, cells)) for start in range(0, cells, block)]
    starts = error_days(days, complete_days(opened, names, blocks), leads, seed, str(cube))
    refuse_existing(out, kind=ARCHIVE, overwrite=overwrite)
    content = ContentHash(skeleton)
    with locked_workplace(out, overwrite=overwrite, resume=False, keep=_PROGRESS) as place:
        store = place / "weather.zarr"
        with zarr_settings():
            _create(store, skeleton, names, block)
            group: Any = zarr.open_group(store, mode="r+")
            with progress_bar("degraded weather", len(names) * len(blocks), shown=progress) as advance:
                for name in names:
                    content.begin(name, ("cell", "time", "lead"), np.dtype(np.float32), VARIABLES[name].attributes)
                    for part in blocks:
                        order = _tie_breaks(name, part, len(days), seed)
                        made = degrade(read(opened, name, part), days, correlation[name], starts, order)
                        group[name][part] = made
                        content.add(made)
                        advance("")
            refuse_changed(opened)
            group.attrs["content_sha256"] = content.hexdigest()
        put_store_in_place(store, out, kind=ARCHIVE, overwrite=overwrite)
    return open_artifact(out, ARCHIVE)


def degrade(
    observed: Floats,
    days: Days,
    correlation: npt.NDArray[np.float64],
    starts: Positions,
    order: npt.NDArray[np.floating],
) -> Floats:
    """Degrade a variable in some cells.

    Parameters
    ----------
    observed
        ``(cell, time)``; NaN where missing.
    days
        ``(time,)``.
    correlation
        r_k ``(lead,)``.
    starts
        Of each issue day the day whose following days are its errors ``(time,)``, by position.
    order
        Random numbers that order equal values ``(cell, time)``.

    Returns
    -------
    ``(cell, time, lead)`` float32, by issue day.
    """
    normal = NormalScores(observed, days, order)
    forecast = np.full((*observed.shape, len(correlation)), np.nan, dtype=np.float32)
    for lead, r in enumerate(correlation, start=1):
        for valid, period in normal.climates():
            valid = valid[valid >= lead]
            issues = valid - lead
            scores = r * normal.scores[:, valid]
            if r < 1:  # else a gap in what errors are made of would be one of the forecast
                scores += np.sqrt(1 - r**2) * normal.scores[:, starts[issues] + lead]
            forecast[:, issues, lead - 1] = normal.restore(scores, period)
    return forecast


def complete_days(cube: xr.Dataset, names: Sequence[str], blocks: Sequence[slice]) -> Bools:
    """Say on which days variables have values in all cells that have any ``(time,)``, read block by block of cells."""
    complete = np.ones(cube.sizes["time"], dtype=np.bool_)
    for name in names:
        for cells in blocks:
            known = np.isfinite(read(cube, name, cells))
            complete &= (known | ~known.any(axis=1, keepdims=True)).all(axis=0)
    return complete


def error_days(days: Days, complete: Bools, leads: int, seed: int, where: str) -> Positions:
    """Draw for each issue day another day, whose following days are its errors ``(time,)``, by position.

    It is of the same time of the year, within 15 days, and 90 days away at least; where the record has none of that
    time of the year, of any. The following days are complete, if any are.

    Parameters
    ----------
    days, complete
        The days ``(time,)``, and which of them `complete_days` gives.

    Raises
    ------
    SoilcastError
        The record is too short.
    """
    position = np.arange(max(len(days) - leads, 0))
    if len(position):
        whole = np.lib.stride_tricks.sliding_window_view(complete[1:], leads).all(axis=1)
        position = position[whole] if whole.any() else position
    of_year = day_of_year(days)
    chance = np.random.default_rng(seed).random(len(days))
    starts = np.empty(len(days), dtype=np.int64)
    for issue, drawn in enumerate(chance):
        away = position[np.abs(position - issue) >= _APART]
        alike = away[season_distance(of_year[away], of_year[issue]) <= WINDOW]
        candidates = alike if len(alike) else away
        if not len(candidates):
            raise SoilcastError(
                f"{where}: {len(days)} days are too few, as errors are the weather of {leads} days that are {_APART} "
                "days away: give a longer record"
            )
        starts[issue] = candidates[int(drawn * len(candidates))]
    return starts


def _tie_breaks(name: str, cells: slice, days: int, seed: int) -> Floats:
    """Random numbers of each cell ``(cell, time)``, the same whatever the block."""
    variable = zlib.crc32(name.encode())
    drawn = [
        np.random.default_rng([seed, variable, cell]).random(days, dtype=np.float32)
        for cell in range(cells.start, cells.stop)
    ]
    return np.stack(drawn)


def _skeleton(cube: xr.Dataset, leads: int, attributes: dict[str, Any]) -> xr.Dataset:
    """The archive without its variables."""
    coordinates: dict[str, Any] = {
        str(name): cube[name].drop_encoding().load() for name in cube.coords if name != "time"
    }
    coordinates["time"] = xr.Variable("time", cube["time"].to_numpy(), ISSUE_DAY)
    coordinates["lead"] = xr.Variable("lead", np.arange(1, leads + 1, dtype=np.int32), LEAD)
    described = {
        "Conventions": CONVENTIONS,
        "soilcast_kind": ARCHIVE,
        "title": f"degraded weather of {cube.attrs['title']}",
        "content": CONTENT,
        "weather": DEGRADED,
        "source": cube.attrs["source"],
    }
    area = cube["area"].drop_encoding().load()
    return xr.Dataset({"area": area}, coordinates, described | attributes)


def _create(store: Path, skeleton: xr.Dataset, names: Sequence[str], block: int) -> None:
    whole = skeleton
    sizes = {dim: skeleton.sizes[dim] for dim in ("cell", "time", "lead")}
    for name in names:
        empty = dask.array.zeros(tuple(sizes.values()), dtype=np.float32, chunks=-1)
        whole = whole.assign({name: (tuple(sizes), empty, VARIABLES[name].attributes)})
    encoding = {str(name): zarr_encoding(variable) for name, variable in whole.variables.items() if variable.dims}
    for name in names:
        encoding[name]["chunks"] = (block, min(DAY_CHUNK, sizes["time"]), sizes["lead"])
    whole.to_zarr(store, zarr_format=3, consolidated=False, encoding=encoding, compute=False, mode="w")
