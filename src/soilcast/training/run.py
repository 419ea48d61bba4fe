"""A run on disk: config.yaml, weights.safetensors (statistics inside), log.jsonl and run.json."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from soilcast.errors import SoilcastError
from soilcast.files import sha256_of
from soilcast.models import MODELS, NETWORKS
from soilcast.models.outlook import OutlookDesign, OutlookLSTM
from soilcast.schema import read_yaml, validate
from soilcast.training import calibration
from soilcast.training.calibration import Calibration
from soilcast.training.config import Config
from soilcast.training.known import horizon_of
from soilcast.training.normalise import Scaling, from_arrays, to_arrays
from soilcast.training.outlook_loss import distribution_of
from soilcast.training.outlook_statistics import OutlookStatistics

RUN_FORMAT = 2
CONFIG, WEIGHTS, LOG, RECORD = "config.yaml", "weights.safetensors", "log.jsonl", "run.json"


@dataclass(frozen=True)
class Run:
    """A trained model, all that a forecast needs.

    Parameters
    ----------
    config
        What it was trained with.
    networks
        The network with the best weights; of an ensemble one a member, whose forecasts are averaged.
    scalings
        Statistics by variable.
    lat, lon
        Place of the cells that it was trained on ``(cell,)`` [degrees].
    usable
        ``(cell,)``, whether the cell took part.
    record
        The content of run.json: label, periods, hash of the cube, how training went, provenance.
    log
        The content of log.jsonl, a record an epoch.
    outlook
        What outlooks need beside; None of the paper's design.
    calibration
        What makes the quantiles of outlooks true; None of the paper's design.
    """

    config: Config
    networks: list[nn.Module]
    scalings: Mapping[str, Scaling]
    lat: npt.NDArray[np.float64]
    lon: npt.NDArray[np.float64]
    usable: npt.NDArray[np.bool_]
    record: Mapping[str, Any]
    log: list[dict[str, Any]]
    outlook: OutlookStatistics | None = None
    calibration: Calibration | None = None


def build_networks(config: Config) -> list[nn.Module]:
    """Build the untrained networks of a config, in evaluation mode; each member's weights come from its own seed."""
    build = _outlook_builder(config) if config.outlook.lead_days else _builder(config)
    networks = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(config.train.seed, config.train.seed + config.train.ensemble):
            torch.manual_seed(seed_of(seed))
            networks.append(build().eval())
    return networks


def _builder(config: Config) -> Callable[[], nn.Module]:
    features = len(config.inputs.dynamic) + len(config.inputs.static)
    build = NETWORKS[MODELS[config.model].network]
    return functools.partial(build, features, config.network.hidden_size, config.network.dropout)


def _outlook_builder(config: Config) -> Callable[[], nn.Module]:
    outlook, horizon = config.outlook, horizon_of(config)
    design = OutlookDesign(
        horizon=horizon,
        hidden_size=config.network.hidden_size,
        dropout=config.network.dropout,
        spread=tuple(distribution_of(config).start().tolist()),
        change=outlook.target == "change",
        rollout=outlook.path == "rollout",
        bucket=outlook.head == "bucket",
        response=config.inputs.known_future.index("tp") if outlook.rain else None,
        hidden_lags=outlook.hidden_lags,
        first_day_leads=outlook.first_day_leads,
    )
    return functools.partial(OutlookLSTM, design)


def seed_of(*parts: int) -> int:
    """Mix numbers into one seed for torch."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint32)[0])


def save_run(folder: Path, run: Run) -> None:
    """Write a run into an existing folder."""
    tensors: dict[str, Tensor] = {
        f"network.{member}.{name}": value
        for member, network in enumerate(run.networks)
        for name, value in network.state_dict().items()
    }
    arrays = to_arrays(run.scalings) | {"cells.lat": run.lat, "cells.lon": run.lon, "cells.usable": run.usable}
    arrays |= run.outlook.to_arrays() if run.outlook else {}
    arrays |= calibration.to_arrays(run.calibration) if run.calibration else {}
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
    # One entry alone: safetensors writes several in random order, and equal runs are to be equal files.
    # As bytes, since a full disk is a fault of its own in save_file, not the system's.
    (folder / WEIGHTS).write_bytes(save(tensors, metadata={"soilcast_run_format": str(RUN_FORMAT)}))
    written = yaml.safe_dump(run.config.model_dump(mode="json"), sort_keys=False)
    (folder / CONFIG).write_text(written, encoding="utf-8")
    record = {"soilcast_kind": "run", "format": RUN_FORMAT, **run.record}
    record["weights_sha256"] = sha256_of(folder / WEIGHTS)
    (folder / LOG).write_text("".join(json.dumps(line) + "\n" for line in run.log), encoding="utf-8")
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def open_run(path: str | Path) -> Run:
    """Open a run folder.

    Raises
    ------
    SoilcastError
        The folder is not a run, or of another format; its weights are corrupt, or of another network.
    """
    path = Path(path)
    record = _read_record(path)
    config = validate(Config, read_yaml(path / CONFIG), str(path / CONFIG))
    tensors = _load_weights(path / WEIGHTS, str(record.get("weights_sha256")))
    networks = build_networks(config)
    others = {name: value.numpy() for name, value in tensors.items() if not name.startswith("network.")}
    names = (*config.inputs.dynamic, config.inputs.target, *config.observed_layers, *config.inputs.static)
    try:
        for member, network in enumerate(networks):
            begin = f"network.{member}."
            own = {name.removeprefix(begin): value for name, value in tensors.items() if name.startswith(begin)}
            network.load_state_dict(own)
        scalings = from_arrays(others, names)
        lat, lon, usable = (others[f"cells.{part}"] for part in ("lat", "lon", "usable"))
        outlook = OutlookStatistics.from_arrays(others) if config.outlook.lead_days else None
        learnt = calibration.from_arrays(others) if config.outlook.lead_days and config.outlook.levels else None
    except (KeyError, RuntimeError, ValueError) as error:
        raise SoilcastError(
            f"{path / WEIGHTS}: these weights do not belong to the network of {CONFIG}: train the run again"
        ) from error
    cells = usable.astype(bool)
    return Run(config, networks, scalings, lat, lon, cells, record, _read_log(path / LOG), outlook, learnt)


def _read_record(path: Path) -> dict[str, Any]:
    if not path.is_dir() or not (path / RECORD).is_file():
        raise SoilcastError(
            f"{path}: not a run (a folder with {RECORD}, {CONFIG} and {WEIGHTS}): give what train wrote"
        )
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
    except ValueError as error:
        raise SoilcastError(f"{path / RECORD}: damaged: train the run again") from error
    if not isinstance(record, dict) or record.get("soilcast_kind") != "run" or record.get("format") != RUN_FORMAT:
        raise SoilcastError(f"{path / RECORD}: not a run of this soilcast (format {RUN_FORMAT}): train it again")
    return record


def _load_weights(path: Path, expected: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise SoilcastError(f"{path}: the weights are missing: train the run again")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise SoilcastError(f"{path}: corrupt, or not a safetensors file: train the run again") from error
    if sha256_of(path) != expected:
        raise SoilcastError(f"{path}: not the weights that this run wrote (SHA-256 differs): train the run again")
    return tensors


def _read_log(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise SoilcastError(f"{path}: missing or damaged: train the run again") from error
