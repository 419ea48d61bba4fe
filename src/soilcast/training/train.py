"""From a cube and a config to a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from soilcast.cube import open_cube, read, usable_target
from soilcast.errors import SoilcastError
from soilcast.files import whole_or_nothing
from soilcast.models import MODELS
from soilcast.provenance import stamp
from soilcast.training.config import Config
from soilcast.training.inputs import Inputs, fit_scalings, load_inputs, refuse_missing_inputs
from soilcast.training.loop import Record, seed_of, torch_threads, train_network
from soilcast.training.normalise import Scaling
from soilcast.training.progress import progress_bar
from soilcast.training.run import LOG, Run, build_network, save_run
from soilcast.training.samples import Samples, fixed_sample, make_samples
from soilcast.training.split import Split, split_days
from soilcast.water import mask_observed, refuse_missing, water_sign
from soilcast.water.balance import Signs
from soilcast.water.losses import LOSSES


def train(
    cube: str | Path, out: str | Path, config: Config | None = None, *, overwrite: bool = False, progress: bool = False
) -> Run:
    """Train a model on a cube and write the run.

    Parameters
    ----------
    cube
        Path of a cube.
    out
        Folder of the run to write.
    config
        What to train and how; by default the plain LSTM with the paper's settings.
    overwrite
        Replace ``out`` if it exists.
    progress
        Show a bar.

    Returns
    -------
    The run, as `open_run` gives it. Ctrl-C ends the training and writes the best weights so far
    (``record["status"]`` is then ``"interrupted"``).

    Raises
    ------
    SoilcastError
        A fault of the cube or of the config; nothing is written.
    """
    config = config or Config()
    opened = open_cube(cube)
    split = split_days(opened["time"].to_numpy(), config.split, str(cube))
    refuse_missing_inputs(opened, config.inputs)
    model = MODELS[config.model]
    if model.form:
        refuse_missing(opened, model.form, config.water)
    with whole_or_nothing(Path(out), overwrite=overwrite) as folder:
        folder.mkdir()
        with (folder / LOG).open("w", encoding="utf-8") as log, torch_threads(config.train.threads) as threads:

            def write(record: Record) -> None:
                log.write(json.dumps(record) + "\n")
                log.flush()

            run = _fit(opened, config, split, write, shown=progress)
        provenance = stamp(
            "soilcast train", cube=str(cube), cube_sha256=opened.attrs["content_sha256"], threads=threads
        )
        run = replace(run, record={**run.record, "provenance": provenance})
        save_run(folder, run)
    return run


def _fit(cube: xr.Dataset, config: Config, split: Split, write: Callable[[Record], None], *, shown: bool) -> Run:
    scalings = fit_scalings(cube, config.inputs, config.normalise, split.train)
    # The days before the development period are the inputs of its first days.
    first = max(0, split.train.start - config.inputs.sequence_length)
    inputs = load_inputs(cube.isel(time=slice(first, split.validation.stop)), config.inputs, scalings)
    target = read(cube.isel(time=slice(first, split.validation.stop)), config.inputs.target)
    learnable = usable_target(target[:, _shift(split.train, first)])
    refuse_no_cell(learnable, cube, config.inputs.target)
    signs = _water_signs(cube, config, slice(first, split.validation.stop), target)
    samples = _samples(inputs, target, signs, scalings[config.inputs.target], config)
    usable = inputs.ready & np.isfinite(target) & learnable[:, np.newaxis]
    to_train = _only(usable, _shift(split.train, first))
    to_validate = _only(usable, _shift(split.validation, first))
    for part, days in (("training", to_train), ("validation", to_validate)):
        if not days.any() and config.inputs.sequence_length >= _shift(split.validation, first).stop - 1:
            raise SoilcastError(
                f"{cube.encoding.get('source', 'the cube')}: inputs.sequence_length {config.inputs.sequence_length} "
                f"leaves no day of the {part} period to learn from: shorten it, or set a longer split.development"
            )
        if not days.any():
            raise SoilcastError(
                f"{cube.encoding.get('source', 'the cube')}: no usable cell-day in the {part} period: inputs or target "
                "are missing there; see soilcast inspect, or choose other inputs or periods"
            )
    validation = fixed_sample(to_validate, config.train.validation_samples, config.train.seed)
    model = MODELS[config.model]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(config.train.seed))
        network = build_network(config)
        loss = LOSSES[model.loss](config.weights)
        with progress_bar(model.label, config.train.epochs, shown=shown) as advance:
            training = train_network(
                network, loss, samples, to_train, validation, config.train, record=write, advance=advance
            )
    cells = np.asarray(to_train.any(axis=1))
    record = {
        "label": model.label,
        "model": config.model,
        "status": training.status,
        "best_epoch": training.best_epoch,
        "best_validation_loss": training.best_loss,
        "epochs": len(training.log),
        "cells_total": len(cells),
        "cells_trained": int(cells.sum()),
        "cells_masked": int((~learnable).sum()),
        "training_samples": int(to_train.sum()),
        "validation_samples": len(validation.cells),
        "water_sign_share": _share_kept(samples, to_train) if model.form else None,
        "cube_sha256": cube.attrs["content_sha256"],
        "cube_title": cube.attrs["title"],
        "content": cube.attrs["content"],
        **split.periods(cube["time"].to_numpy()),
    }
    lat, lon = cube["lat"].to_numpy(), cube["lon"].to_numpy()
    return Run(config, network.eval(), scalings, lat, lon, cells, record, training.log)


def refuse_no_cell(learnable: npt.NDArray[np.bool_], cube: xr.Dataset, target: str) -> None:
    """Raise `SoilcastError` if no cell has a target that varies."""
    if not learnable.any():
        source = cube.encoding.get("source", "the cube")
        raise SoilcastError(
            f"{source}: {target} is missing or constant in every cell over the training period: there is nothing to "
            "learn; check the source files, or set split.development"
        )


def _water_signs(cube: xr.Dataset, config: Config, days: slice, target: npt.NDArray[np.float32]) -> Signs:
    form = MODELS[config.model].form
    if form is None:
        return np.zeros(target.shape, dtype=np.int8)
    return mask_observed(water_sign(cube, form, config.water, days), target)


def _samples(
    inputs: Inputs, target: npt.NDArray[np.float32], signs: Signs, scaling: Scaling, config: Config
) -> Samples:
    ones, zeros = np.ones_like(scaling.scale), np.zeros_like(scaling.scale)
    spaces = {
        "normalised": (scaling.normalise(target), ones, zeros),
        "physical": (target, scaling.scale, scaling.offset),
    }
    values, scale, offset = spaces[config.loss.space]
    pairs = np.broadcast_to(np.stack((scale, offset), axis=1), (len(target), 2)).astype(np.float32)
    return make_samples(inputs, values, signs, pairs, config.inputs.sequence_length)


def _share_kept(samples: Samples, usable: npt.NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(samples.water_sign.numpy()[usable]) / np.count_nonzero(usable))


def _shift(part: slice, first: int) -> slice:
    return slice(part.start - first, part.stop - first)


def _only(usable: npt.NDArray[np.bool_], days: slice) -> npt.NDArray[np.bool_]:
    kept = np.zeros_like(usable)
    kept[:, days] = usable[:, days]
    return kept


def run_summary(record: Mapping[str, Any]) -> str:
    """Say in one line how a training went."""
    return (
        f"{record['label']}: {record['status']} after {record['epochs']} epoch(s), best validation loss "
        f"{record['best_validation_loss']:.5f} in epoch {record['best_epoch']}; "
        f"{record['cells_trained']} of {record['cells_total']} cells took part"
    )
