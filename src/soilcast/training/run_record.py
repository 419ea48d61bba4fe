"""What a training leaves: the run and its record, or in words where it diverged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from soilcast.training.build import build_networks, plugins_of
from soilcast.training.config import Config
from soilcast.training.coverage import cell_label
from soilcast.training.dataset import Dataset
from soilcast.training.loop import DivergedError, Training
from soilcast.training.run import Run
from soilcast.training.split import Split
from soilcast.training.statistics import Statistics

_NAMED = 3
"""Cell-days of a batch that a message names; the others are counted."""

NOT_CONVERGED = "not converged: the lowest validation loss is that of the last epoch; it might gain from more epochs"
"""How a training ended of which `best_is_last` is true."""


def best_is_last(log: Sequence[Mapping[str, Any]], epochs: int) -> bool:
    """Whether the lowest validation loss is the last one of a training that ran all its epochs.

    Parameters
    ----------
    log
        A record an epoch, with ``epoch`` and ``validation_loss``, None between validations; the last one is validated.
    epochs
        Those that it was to run; a training that was stopped has fewer.
    """
    losses = {record["epoch"]: record["validation_loss"] for record in log if record["validation_loss"] is not None}
    return bool(losses) and min(losses, key=lambda epoch: losses[epoch]) == epochs


def make_run(
    cube: xr.Dataset, config: Config, split: Split, dataset: Dataset, training: Training, notes: Sequence[str]
) -> Run:
    """Make a run of a training's best weights; ``notes`` say what it leaves out."""
    networks = build_networks(config)
    for member, network in enumerate(networks):
        network.load_state_dict(training.weights_of(member))
    cells = np.asarray(dataset.training.by_cell > 0)
    record = {
        "label": config.label,
        "model": config.model,
        "plugins": plugins_of(config),
        "members": len(networks),
        "status": training.status,
        "best_epoch": max(member.best_epoch for member in training.members),
        "best_validation_loss": training.best_loss,
        "best_is_last": best_is_last(training.log, config.train.epochs),
        "epochs": len(training.log),
        "cells_total": len(cells),
        "cells_trained": int(cells.sum()),
        "cells_masked": int((~dataset.learnable).sum()),
        "training_samples": len(dataset.training),
        "validation_samples": min(len(dataset.validation), config.train.validation_samples or len(dataset.validation)),
        "water_sign_share": dataset.water_sign_share if config.guided else None,
        "cube_sha256": cube.attrs["content_sha256"],
        "cube_title": cube.attrs["title"],
        "content": cube.attrs["content"],
        **split.periods(cube["time"].to_numpy()),
        "notes": list(notes),
    }
    lat, lon = cube["lat"].to_numpy(), cube["lon"].to_numpy()
    return Run(config, networks, dataset.statistics, lat, lon, cells, record, training.log)


def refitted(run: Run, training: Training, statistics: Statistics) -> Run:
    """Put the networks of a training on all development days in the place of a run's, which chose how long it was."""
    networks = build_networks(run.config)
    for member, network in enumerate(networks):
        network.load_state_dict(training.weights_of(member))
    record = {**run.record, "refit_epochs": len(training.log)}
    return replace(run, networks=networks, statistics=statistics, record=record)


def shrunk(run: Run, share: npt.NDArray[np.float64]) -> Run:
    """Keep a share of the departures that networks forecast ``(lead, layer)``, in the weights of their heads."""
    for network in run.networks:
        network.head.shrink(torch.from_numpy(share))
    shares = [[round(float(one), 4) for one in of_lead] for of_lead in share]
    return replace(run, record={**run.record, "shrinkage": shares})


def describe_divergence(error: DivergedError, cube: xr.Dataset, first: int, out: Path) -> str:
    """Say at which cells and days a training diverged, and what is left of it.

    Parameters
    ----------
    cube
        The cube that it was trained on.
    first
        Position in the cube of the first day of the samples.
    out
        Where the run is.
    """
    cells, days = error.indices.cells.ravel(), error.indices.days.ravel()
    named = [_name(cube, int(cell), int(day) + first) for cell, day in zip(cells[:_NAMED], days[:_NAMED], strict=True)]
    more = f" and {len(cells) - _NAMED} more" if len(cells) > _NAMED else ""
    left = f"; the best weights until then are kept in {out}" if error.training.weights else ""
    return (
        f"training diverged in epoch {error.epoch}, batch {error.batch} ({', '.join(named)}{more}): "
        f"lower train.learning_rate{left}"
    )


def _name(cube: xr.Dataset, cell: int, day: int) -> str:
    return f"{cell_label(cube, cell)} on {np.datetime_as_string(cube['time'].to_numpy()[day], 'D')}"
