"""A run on disk: config.yaml, weights.safetensors (statistics inside), log.jsonl and run.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from soilcast.errors import SoilcastError, raise_system_fault
from soilcast.files import sha256_of
from soilcast.models import Network
from soilcast.plugins import require_plugins
from soilcast.schema import read_yaml, validate
from soilcast.training.build import build_networks
from soilcast.training.config import Config
from soilcast.training.conformal import Calibration, from_arrays, to_arrays
from soilcast.training.copula import CellRanks
from soilcast.training.run_folder import CONFIG, LOG, RECORD, RUN_FORMAT, WEIGHTS, parsed, read_record
from soilcast.training.statistics import Statistics

_HASHED = {CONFIG: "config_sha256", LOG: "log_sha256", WEIGHTS: "weights_sha256"}
"""File of a run -> key of run.json with its SHA-256."""


class LogLine(BaseModel):
    """Keys of a line of log.jsonl that are relied on."""

    model_config = ConfigDict(extra="allow", strict=True)

    epoch: int
    train_loss: float | None
    validation_loss: float | None
    seconds: float


@dataclass(frozen=True, repr=False)
class Run:
    """A trained model, all that a forecast needs.

    Parameters
    ----------
    config
        What it was trained with.
    networks
        The network with the best weights; of an ensemble one a member, whose forecasts are averaged.
    statistics
        Of the training days.
    lat, lon
        Place of the cells that it was trained on ``(cell,)`` [degrees].
    usable
        ``(cell,)``, whether the cell took part.
    record
        The content of run.json: label, periods, hash of the cube, how training went, provenance.
    log
        The content of log.jsonl, a record an epoch.
    calibration
        How far quantiles are moved so that they hold what they promise, and how the leads depend on each other; None
        without quantiles.
    cell_ranks
        How the cells depend on each other; None without quantiles, or too few validation days that cells share.
    """

    config: Config
    networks: list[Network]
    statistics: Statistics
    lat: npt.NDArray[np.float64]
    lon: npt.NDArray[np.float64]
    usable: npt.NDArray[np.bool_]
    record: Mapping[str, Any]
    log: list[dict[str, Any]]
    calibration: Calibration | None = None
    cell_ranks: CellRanks | None = None

    def __repr__(self) -> str:
        told = "; ".join(f"{name} {text}" for name, text in self._facts().items())
        return f"<soilcast.Run {self.config.label}: {told}>"

    def _repr_html_(self) -> str:
        facts = {"run": self.config.label, **self._facts()}
        rows = (f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts.items())
        return f"<table>{''.join(rows)}</table>"

    def _facts(self) -> dict[str, str]:
        config, task, record = self.config, self.config.task, self.record
        ahead = f"leads 1 .. {task.lead_days} d" if task.lead_days > 1 else "lead 1 d"
        members = f"{len(self.networks)} x " if len(self.networks) > 1 else ""
        return {
            "model": f"{members}{config.network.name} of {config.network.hidden_size}, {config.head.name} head",
            "loss": f"{config.loss.name}{_guidance_of(config)}",
            "forecasts": f"{', '.join(task.layers)}, {ahead}",
            "training": f"{record['status']} after {record['epochs']} epoch(s), {record['train_period']}",
            "cells": f"{record['cells_trained']} of {record['cells_total']}",
        }


def _guidance_of(config: Config) -> str:
    """Which water balance guides, as a page says it after the name of the loss."""
    if not config.guided:
        return ""
    forms = " and ".join(dict.fromkeys(str(one.balance) for one in config.guided))
    return f", guided ({forms}{'' if config.loss.by == 'none' else f', by {config.loss.by}'})"


def save_run(folder: Path, run: Run) -> None:
    """Write a run into an existing folder."""
    tensors: dict[str, Tensor] = {
        f"network.{member}.{name}": value
        for member, network in enumerate(run.networks)
        for name, value in network.state_dict().items()
    }
    places = {"cells.lat": run.lat, "cells.lon": run.lon, "cells.usable": run.usable}
    arrays = run.statistics.to_arrays() | places
    arrays |= to_arrays(run.calibration) if run.calibration else {}
    arrays |= run.cell_ranks.to_arrays() if run.cell_ranks else {}
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
    # One entry alone: safetensors writes several in random order, and equal runs are to be equal files.
    # As bytes, since a full disk is a fault of its own in save_file, not the system's.
    (folder / WEIGHTS).write_bytes(save(tensors, metadata={"soilcast_run_format": str(RUN_FORMAT)}))
    written = yaml.safe_dump(run.config.model_dump(mode="json"), sort_keys=False)
    (folder / CONFIG).write_text(written, encoding="utf-8")
    record = {"soilcast_kind": "run", "format": RUN_FORMAT, **run.record}
    (folder / LOG).write_text("".join(json.dumps(line) + "\n" for line in run.log), encoding="utf-8")
    record |= {key: sha256_of(folder / name) for name, key in _HASHED.items()}
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def open_run(path: str | Path) -> Run:
    """Open a run folder.

    Raises
    ------
    SoilcastError
        The folder is not a run, or of another format; its weights are corrupt, or of another network; a plugin that its
        parts are from is not loaded, or another one is.
    """
    path = Path(path)
    record = read_record(path)
    require_plugins(record.get("plugins", []), path)
    for name, key in _HASHED.items():
        _refuse_other_file(path / name, record[key])
    config = validate(Config, read_yaml(path / CONFIG), str(path / CONFIG))
    tensors = _load_weights(path / WEIGHTS)
    networks = build_networks(config)
    others = {name: value.numpy() for name, value in tensors.items() if not name.startswith("network.")}
    names = (*config.task.dynamic, *config.task.soil_layers, *config.task.static)
    try:
        for member, network in enumerate(networks):
            begin = f"network.{member}."
            own = {name.removeprefix(begin): value for name, value in tensors.items() if name.startswith(begin)}
            network.load_state_dict(own)
        lat, lon, usable = (others[f"cells.{part}"] for part in ("lat", "lon", "usable"))
        statistics = Statistics.from_arrays(others, names)
        learnt = from_arrays(others) if config.task.quantiles else None
        ranks = CellRanks.from_arrays(others, len(lat)) if learnt else None
    except (KeyError, RuntimeError, ValueError) as error:
        raise SoilcastError(
            f"{path / WEIGHTS}: the weights do not fit the network of {CONFIG}: train the run again"
        ) from error
    cells = usable.astype(bool)
    _refuse_senseless(path / WEIGHTS, tensors, statistics, cells)
    return Run(config, networks, statistics, lat, lon, cells, record, _read_log(path / LOG), learnt, ranks)


def _refuse_other_file(file: Path, expected: str) -> None:
    if not file.is_file():
        raise SoilcastError(f"{file}: missing, or not a file: train the run again")
    if sha256_of(file) != expected:
        raise SoilcastError(f"{file}: not what this run wrote (SHA-256 differs): train the run again")


def _refuse_senseless(
    file: Path, tensors: Mapping[str, Tensor], statistics: Statistics, usable: npt.NDArray[np.bool_]
) -> None:
    """Refuse numbers that no training gives, and that would make every forecast missing or endless."""
    for name, tensor in tensors.items():
        everywhere = name.startswith(("network.", "cells."))
        if everywhere and not bool(torch.isfinite(tensor.to(torch.float64)).all()):
            raise SoilcastError(f"{file}: {name} has values that are not finite: train the run again")
    for name, scaling in statistics.scalings.items():
        offset, scale = (np.broadcast_to(values, usable.shape)[usable] for values in (scaling.offset, scaling.scale))
        if not np.isfinite(offset).all() or not np.isfinite(scale).all() or not (scale > 0).all():
            raise SoilcastError(f"{file}: the scaling of {name} is not finite and above 0: train the run again")


def _load_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise_system_fault(error)
        raise SoilcastError(f"{path}: corrupt, or not a safetensors file: train the run again") from error


def _read_log(path: Path) -> list[dict[str, Any]]:
    lines = [parsed(path, line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, line in enumerate(lines, start=1):
        validate(LogLine, line if isinstance(line, dict) else {}, f"{path}, line {number}")
    return lines
