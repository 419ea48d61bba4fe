"""What a page needs of any artifact: to open and check it, its leads, and the texts that it carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.errors import SoilcastError

SCORES_FILE = "scores.nc"
VERDICT_FILE = "verdict.nc"
_STORE = "zarr.json"


def artifact_file(path: Path) -> Path:
    """File to open at a path: the ``scores.nc`` or ``verdict.nc`` in a folder that has one, else the path itself.

    Raises
    ------
    SoilcastError
        A folder with neither scores nor a store in it.
    """
    if not path.is_dir() or (path / _STORE).is_file():
        return path
    if (path / VERDICT_FILE).exists():
        return path / VERDICT_FILE
    if not (path / SCORES_FILE).exists():
        raise SoilcastError(f"{path}: no {SCORES_FILE} in this folder: give the output of soilcast evaluate")
    return path / SCORES_FILE


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


def check_dims(
    dataset: xr.Dataset, file: Path, required: Mapping[str, tuple[str, ...]], again: str = "evaluate again"
) -> None:
    """Refuse a dataset that lacks a variable, or has it with other dimensions."""
    for name, dims in required.items():
        if name not in dataset.variables or dataset[name].dims != dims:
            raise SoilcastError(
                f"{file}: {name} {dims} is missing: the file is damaged or of another version of soilcast; {again}"
            )


def check_cells(dataset: xr.Dataset, file: Path, again: str = "evaluate again") -> None:
    """Refuse cells that cannot be drawn or weighted."""
    if dataset.sizes["cell"] == 0 or not np.isfinite(dataset["lat"]).all() or not np.isfinite(dataset["lon"]).all():
        raise SoilcastError(f"{file}: no cells, or cells without coordinates: {again}")
    if not np.isfinite(dataset["area"]).all():
        raise SoilcastError(f"{file}: cell area is missing in some cells: the file is damaged; {again}")
    if ("grid_lat" in dataset.coords) != ("grid_lon" in dataset.coords):
        raise SoilcastError(f"{file}: an axis of its grid is missing: the file is damaged; {again}")


def check_leads(dataset: xr.Dataset, file: Path, again: str = "evaluate again") -> None:
    """Refuse leads that are no whole numbers of days from 1 on, each once."""
    lead = dataset["lead"].to_numpy()
    if lead.dtype.kind not in "iu" or not lead.size or lead.min() < 1 or np.unique(lead).size < lead.size:
        raise SoilcastError(f"{file}: leads are not distinct whole days from 1: the file is damaged; {again}")


def leads(dataset: xr.Dataset) -> list[int]:
    """Leads [d], ascending."""
    return [int(lead) for lead in dataset["lead"].to_numpy()]


def selected_leads(dataset: xr.Dataset) -> list[int]:
    """Give the first, the middle and the last lead [d]; fewer where there are fewer."""
    all_leads = leads(dataset)
    return list(dict.fromkeys((all_leads[0], all_leads[(len(all_leads) - 1) // 2], all_leads[-1])))


def end_leads(dataset: xr.Dataset) -> list[int]:
    """Give the first and the last lead [d]; one where there is one."""
    all_leads = leads(dataset)
    return list(dict.fromkeys((all_leads[0], all_leads[-1])))


def json_attribute(dataset: xr.Dataset, name: str, again: str = "evaluate again") -> dict[str, Any]:
    """Read an attribute that holds a JSON object; empty where there is none.

    Raises
    ------
    SoilcastError
        The text is no JSON object.
    """
    text = dataset.attrs.get(name, "{}")
    try:
        parsed = json.loads(text)
        json.dumps(parsed, indent=2)  # finds nesting too deep to be walked, while the fault can still be named
    except (TypeError, ValueError, RecursionError) as error:
        raise SoilcastError(
            f"{source_file(dataset)}: attribute {name} is not JSON: the file is damaged; {again}"
        ) from error
    if not isinstance(parsed, dict):
        raise SoilcastError(f"{source_file(dataset)}: attribute {name} is no JSON object: the file is damaged; {again}")
    return parsed


def source_file(dataset: xr.Dataset) -> str:
    """File that an artifact was opened from, for messages."""
    return str(dataset.encoding.get("source", "scores"))


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested JSON as ``a.b.c`` -> text, for a table of keys and values."""
    rows: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            rows |= flat(value, f"{prefix}{key}.")
        else:
            rows[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return rows
