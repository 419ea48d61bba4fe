"""What scores carry beside their numbers, and how the folder of them is written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from soilcast.cube import read, write_dataset
from soilcast.files import whole_or_nothing
from soilcast.models.baselines import BASELINES
from soilcast.provenance import stamp
from soilcast.verify.entries import Entry
from soilcast.verify.summary import summarise

ABOUT_CELLS = ("area", "climate_zone")

_CARRIED = ("content", "train_period", "validation_period", "test_period")


def scores_of(
    kind: str,
    variables: Mapping[str, Any],
    coordinates: Mapping[str, Any],
    entries: Sequence[Entry],
    cube: xr.Dataset,
    attributes: Mapping[str, Any],
) -> xr.Dataset:
    """Lay out scores: the variables, and beside them the cells and where all of it came from.

    Parameters
    ----------
    kind
        What they say of themselves as ``soilcast_kind``.
    variables
        The metrics, first of all ``(model, ...)``: the entries, then the baselines.
    coordinates
        Of other dimensions than model and cell.
    entries
        What was judged.
    cube
        The opened cube.
    attributes
        What is to be said beside what all scores say.
    """
    labels = [*(entry.label for entry in entries), *BASELINES]
    first = entries[0].attributes
    scores = xr.Dataset(
        dict(variables),
        coords={name: cube[name].drop_encoding().load() for name in cube.coords if name != "time"}
        | {"model": ("model", np.array(labels), {"long_name": "model"}), **coordinates},
        attrs={
            "Conventions": "CF-1.11",
            "soilcast_kind": kind,
            "title": str(cube.attrs.get("title", "a cube")),
            **{name: first[name] for name in _CARRIED},
            "source": str(cube.attrs.get("source", "")),
            "cube_sha256": first["cube_sha256"],
            "training_logs": json.dumps({entry.label: entry.training_log for entry in entries}),
            "configs": json.dumps({entry.label: entry.config for entry in entries}),
            "cells_total": cube.sizes["cell"],
            **attributes,
        },
    )
    scores["is_baseline"] = ("model", np.array([label in BASELINES for label in labels]))
    for name in ABOUT_CELLS:
        if name in cube:
            scores[name] = ("cell", read(cube, name), cube[name].attrs)
    return scores


def write_scores(
    scores: xr.Dataset, out: Path, cells: Iterable[pd.DataFrame], *, overwrite: bool, **inputs: Any
) -> None:
    """Write ``scores.nc``, ``table.csv`` and ``cells.csv``, all or nothing, with their provenance.

    Parameters
    ----------
    scores
        What `scores_of` gives; their provenance is added.
    out
        The folder.
    cells
        Parts of the table of cells, one below the other.
    overwrite
        Replace ``out`` if it exists.
    inputs
        What they were made from.
    """
    scores.attrs["provenance"] = stamp("soilcast evaluate", **inputs)
    with whole_or_nothing(out, overwrite=overwrite) as partial:
        partial.mkdir()
        write_dataset(scores, partial / "scores.nc", netcdf=True)
        summarise(scores).to_csv(partial / "table.csv")
        with (partial / "cells.csv").open("w", encoding="utf-8", newline="") as file:
            for number, part in enumerate(cells):
                part.to_csv(file, index=False, header=number == 0)
