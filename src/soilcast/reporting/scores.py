"""Open the Scores that a report is made of, and read the texts they carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cube import open_artifact
from soilcast.errors import SoilcastError

PERSISTENCE = "persistence"
FILE = "scores.nc"
_STORE = "zarr.json"

_REQUIRED = {
    "is_baseline": ("model",),
    "area": ("cell",),
    "lat": ("cell",),
    "lon": ("cell",),
    "days": ("model", "cell"),
    "r": ("model", "cell"),
    "rmse": ("model", "cell"),
    "skill": ("model", "cell"),
}

_JSON = ("training_logs", "configs", "provenance")


def open_scores(path: Path) -> xr.Dataset:
    """Load Scores into memory and check that a report can be made of them.

    Parameters
    ----------
    path
        The folder that `evaluate` wrote, or the ``scores.nc`` in it.

    Returns
    -------
    Metrics ``(model, cell)``, the coordinates of the cells and the attributes, with the labels of the models as texts.

    Raises
    ------
    SoilcastError
        There is nothing, it is something else, it is damaged, or persistence is not among its models.
    """
    file = artifact_file(Path(path))
    return load_scores(open_artifact(file, "scores"), file)


def load_scores(opened: xr.Dataset, file: Path) -> xr.Dataset:
    """Do what `open_scores` does, with Scores of next-day forecasts that are open already."""
    scores = loaded(opened, file)
    check_dims(scores, file, _REQUIRED)
    check_scores(scores, file)
    return with_text_labels(scores)


def artifact_file(path: Path) -> Path:
    """Give what is to be opened at a path: the ``scores.nc`` in a folder of scores, else the path itself.

    Raises
    ------
    SoilcastError
        A folder with neither scores nor a store in it.
    """
    if not path.is_dir() or (path / _STORE).is_file():
        return path
    if not (path / FILE).exists():
        raise SoilcastError(f"{path}: there is no {FILE} in this folder: give a folder that soilcast evaluate wrote")
    return path / FILE


def loaded(opened: xr.Dataset, file: Path, again: str = "evaluate again") -> xr.Dataset:
    """Load an opened artifact into memory, and close its file.

    Raises
    ------
    SoilcastError
        The file is damaged; ``again`` is the remedy.
    """
    try:
        return opened.load()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise SoilcastError(f"{file}: cannot be read ({error}): the file is damaged; {again}") from error
    finally:
        opened.close()


def with_text_labels(scores: xr.Dataset) -> xr.Dataset:
    """Give the same scores with the labels of the models as texts."""
    return scores.assign_coords(model=[str(label) for label in scores["model"].to_numpy()])


def json_attribute(scores: xr.Dataset, name: str, again: str = "evaluate again") -> dict[str, Any]:
    """Read an attribute that holds a JSON object; empty where there is none.

    Raises
    ------
    SoilcastError
        The text is no JSON object.
    """
    text = scores.attrs.get(name, "{}")
    try:
        found = json.loads(text)
        json.dumps(found, indent=2)  # finds nesting too deep to be walked, while the fault can still be named
    except (TypeError, ValueError, RecursionError) as error:
        raise SoilcastError(
            f"{place_of(scores)}: attribute {name} is not JSON: the file is damaged; {again}"
        ) from error
    if not isinstance(found, dict):
        raise SoilcastError(f"{place_of(scores)}: attribute {name} is not a JSON object: the file is damaged; {again}")
    return found


def place_of(scores: xr.Dataset) -> str:
    """Give the file that scores were opened from, for messages."""
    return str(scores.encoding.get("source", "scores"))


def place_name(cell: xr.Dataset) -> str:
    """Name the place of one cell, ``lat`` and ``lon`` [degrees] and, if it has one, its ``cell_name``."""
    lat, lon = float(cell["lat"]), float(cell["lon"])
    where = f"{abs(lat):.2f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.2f}° {'E' if lon >= 0 else 'W'}"
    return f"{cell['cell_name'].item()} ({where})" if "cell_name" in cell.coords else where


def networks(scores: xr.Dataset) -> list[str]:
    """Labels of the models that are no baselines."""
    return [str(label) for label in scores["model"].to_numpy()[~scores["is_baseline"].to_numpy().astype(bool)]]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested JSON as ``a.b.c`` -> text, for a table of keys and values."""
    rows: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            rows |= flat(value, f"{prefix}{key}.")
        else:
            rows[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return rows


def check_dims(
    dataset: xr.Dataset, file: Path, required: Mapping[str, tuple[str, ...]], again: str = "evaluate again"
) -> None:
    """Refuse a dataset that lacks a variable, or has it with other dimensions."""
    for name, dims in required.items():
        if name not in dataset.variables or dataset[name].dims != dims:
            raise SoilcastError(
                f"{file}: {name} {dims} is missing: the file is damaged or of another soilcast; {again}"
            )


def check_scores(scores: xr.Dataset, file: Path) -> None:
    """Refuse scores whose models, cells, picks or texts no page could be made of."""
    labels = [str(label) for label in scores["model"].to_numpy()]
    if PERSISTENCE not in labels:
        raise SoilcastError(
            f"{file}: persistence is not among the models, and no score is shown without it: evaluate again"
        )
    if len(set(labels)) < len(labels):
        raise SoilcastError(
            f"{file}: two models have the same label: give each forecast its own label and evaluate again"
        )
    check_places(scores, file)
    if "pick_cell" in scores and not np.isin(scores["pick_cell"], np.arange(scores.sizes["cell"])).all():
        raise SoilcastError(f"{file}: pick_cell names cells that are not there: the file is damaged; evaluate again")
    for name in _JSON:
        json_attribute(scores, name)


def check_places(dataset: xr.Dataset, file: Path, again: str = "evaluate again") -> None:
    """Refuse cells that cannot be drawn or weighted."""
    if dataset.sizes["cell"] == 0 or not np.isfinite(dataset["lat"]).all() or not np.isfinite(dataset["lon"]).all():
        raise SoilcastError(f"{file}: it has no cells, or cells without a place: {again}")
    if not np.isfinite(dataset["area"]).all():
        raise SoilcastError(f"{file}: area is not a number in some cells: the file is damaged; {again}")
    if ("grid_lat" in dataset.coords) != ("grid_lon" in dataset.coords):
        raise SoilcastError(f"{file}: one axis of its grid is missing: the file is damaged; {again}")
