"""From forecasts and stations to a verdict, as one call: scores, their intervals, and a page that answers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from soilcast.cube import open_cube, write_dataset
from soilcast.cube.layers import ERA5_LAND_BOUNDS, layer_bounds
from soilcast.errors import SoilcastError
from soilcast.files import atomic_write, harmless_table, path_list, refuse_existing
from soilcast.provenance import stamp
from soilcast.reporting import report
from soilcast.reporting.artifacts import VERDICT_FILE
from soilcast.schema import nearest
from soilcast.verify.evaluate import score_forecasts
from soilcast.verify.plan import open_files
from soilcast.verify.scores import write_scores
from soilcast.verify.stations.brought import Brought, bring
from soilcast.verify.stations.matching import MATCHINGS
from soilcast.verify.stations.observed import read_stations
from soilcast.verify.stations.products import open_product
from soilcast.verify.stations.tables import answer_table, judge, station_table

PAGE = "verdict.html"

_COPIES = "brought"


def verdict(
    forecasts: str | Path | Sequence[str | Path],
    stations: str | Path,
    out: str | Path,
    *,
    matching: str = "none",
    climate: str | Path | None = None,
    third: str | Path | None = None,
    distance: float | None = None,
    layers: Sequence[float] | str = ERA5_LAND_BOUNDS,
    overwrite: bool = False,
    progress: bool = False,
) -> xr.Dataset:
    """Score forecasts at stations, and say whether they are better than the stations' own persistence.

    Each forecast is brought to the stations: the nearest cell within reach, the layer that holds the sensor, matched
    to the climate of the station if asked for. It is then evaluated as `soilcast.evaluate` does on any cube, beside
    persistence, damped anomaly and climatology of the stations themselves, on the same days, at every lead.

    Parameters
    ----------
    forecasts
        Output of `forecast`, on a grid or of basins; of one latency.
    stations
        Cube of stations, as ``prepare stations`` writes it.
    out
        Folder to write: ``scores/`` as `evaluate` writes it, ``verdict.nc`` with intervals and answers,
        ``stations.csv``, ``answers.csv`` and the page ``verdict.html``.
    matching
        ``none``, ``mean-variance``, ``cdf`` or ``anomalies``: how the climate of the forecast's cell becomes that of
        the station. Fitted on the days before the first that is scored, and the same for all leads.
    climate
        Cube or forecast whose days before the test tell the climate of the forecast's cells, if these are not in the
        forecast itself; of a cube also the depths of its layers.
    third
        A third product, cube or forecast, for triple collocation.
    distance
        Largest distance of a station from its cell [km]; by default it lies within the cell, or within 25 km of a place
        without a grid.
    layers
        Bounds of the forecasts' soil layers, from the surface down [m]; by default ERA5-Land's.
    overwrite
        Replace ``out`` if it exists.
    progress
        Show progress bars.

    Returns
    -------
    The verdict, as in ``verdict.nc``.

    Raises
    ------
    SoilcastError
        A matching that there is none of; no station within reach, at a depth of the forecasts, with observations on
        their days or with days to match; what `evaluate` refuses.
    """
    if matching not in MATCHINGS:
        raise SoilcastError(f"--matching {matching}: {nearest(matching, MATCHINGS)}")
    bounds = layer_bounds(layers)
    out, station_path = Path(out), Path(stations)
    refuse_existing(out, kind="verdict", overwrite=overwrite)
    options: dict[str, Any] = {"matching": matching, "distance": distance, "layers": bounds}
    options["climate"] = None if climate is None else Path(climate)
    with open_cube(station_path) as cube, atomic_write(out, kind="verdict", overwrite=overwrite) as partial:
        partial.mkdir()
        observed = read_stations(cube, station_path)
        paths = [Path(path) for path in path_list(forecasts)]
        copies, brought = _bring_all(paths, observed, cube, partial, options)
        with _named(dict(zip(copies, paths, strict=True))):
            evaluated = score_forecasts(copies, station_path, significance=True, progress=progress)
        labels = dict(zip(evaluated.plan.forecasts, brought, strict=True))
        targets = tuple(evaluated.plan.targets)
        product = None
        if third is not None:
            product = open_product(Path(third), targets, observed.lat, observed.lon, distance)
        with open_files(evaluated.plan) as files:
            judged = judge(evaluated.plan, files, observed, labels, product)
        inputs = evaluated.inputs | {
            "forecasts": {label: str(path) for label, path in zip(labels, paths, strict=True)},
            "matching": matching,
            "climate": str(climate or ""),
            "third": str(third or ""),
            "distance_km": distance,
            "layers_m": list(bounds),
        }
        carried = ("test_period", "train_period", "validation_period", "content", "latency_days", "left_out", "weather")
        judged.attrs |= {name: evaluated.scores.attrs[name] for name in carried}
        judged.attrs |= {
            "title": str(cube.attrs["title"]),
            "stations": str(cube.attrs["content"]),
            "matching": MATCHINGS[matching].words,
            "layers": ", ".join(f"{bound:g}" for bound in bounds),
            "third": "" if third is None else str(third),
            "provenance": stamp("soilcast verdict", **inputs),
        }
        write_scores(evaluated.scores, partial / "scores", overwrite=False, **inputs)
        write_dataset(judged, partial / VERDICT_FILE, netcdf=True)
        harmless_table(station_table(judged)).to_csv(partial / "stations.csv", index=False)
        harmless_table(answer_table(judged)).to_csv(partial / "answers.csv", index=False)
        report(partial / VERDICT_FILE, partial / PAGE)
        shutil.rmtree(partial / _COPIES)
    return judged


def _bring_all(
    paths: Sequence[Path], observed: Any, cube: xr.Dataset, folder: Path, options: dict[str, Any]
) -> tuple[list[Path], list[Brought]]:
    """Bring forecasts to the stations, into a folder; each keeps its name, by which those of one label are told."""
    if not paths:
        raise SoilcastError("no forecast is given: name at least one output of soilcast forecast")
    copies, brought = [], []
    for number, path in enumerate(paths):
        # Beneath the user's own folders, by which forecasts of one label and one name are told from each other.
        folders = [part for part in path.absolute().parts[1:-1] if part != ".."]
        copy = folder.joinpath(_COPIES, str(number), *folders, path.with_suffix(".zarr").name)
        copy.parent.mkdir(parents=True)
        brought.append(bring(path, observed, cube, copy, **options))
        copies.append(copy)
    return copies, brought


@contextmanager
def _named(paths: Mapping[Path, Path]) -> Iterator[None]:
    """Name the user's forecasts where a refusal names their copies at the stations."""
    try:
        yield
    except SoilcastError as error:
        text = str(error)
        for copy, path in paths.items():
            text = text.replace(str(copy), str(path))
        raise SoilcastError(text) from error
