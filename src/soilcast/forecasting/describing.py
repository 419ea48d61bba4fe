"""What a forecast says of itself: where its cells are, what it was made with and of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xarray as xr

from soilcast.provenance import stamp
from soilcast.training.run import Run


def cell_coordinates(cube: xr.Dataset) -> dict[str, xr.DataArray]:
    """Coordinates of a forecast that are those of its cube: all but the days."""
    return {str(name): cube[name].drop_encoding().load() for name in cube.coords if name != "time"}


def described(run: Run, cube: xr.Dataset, run_path: str | Path, cube_path: str | Path, **more: Any) -> dict[str, Any]:
    """Attributes that every forecast has.

    Parameters
    ----------
    more
        Others, and what goes instead.
    """
    record = run.record
    stamped = {"run": str(run_path), "cube": str(cube_path), "weights_sha256": record["weights_sha256"]}
    return {
        "Conventions": "CF-1.11",
        "label": record["label"],
        "model": record["model"],
        "content": cube.attrs["content"],
        "source": cube.attrs["source"],
        "cube_sha256": cube.attrs["content_sha256"],
        "weights_sha256": record["weights_sha256"],
        "config": json.dumps(run.config.model_dump(mode="json")),
        "training_log": json.dumps(_thinned(run.log)),
        "train_period": record["train_period"],
        "validation_period": record["validation_period"],
        "provenance": stamp("soilcast forecast", **stamped),
        **more,
    }


def _thinned(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep what a training curve needs: about a hundred epochs, and every validated one."""
    step = -(-len(log) // 100)
    kept = ("epoch", "train_loss", "validation_loss", "seconds")
    return [
        {name: record[name] for name in kept}
        for position, record in enumerate(log)
        if position % step == 0 or record["validation_loss"] is not None
    ]
