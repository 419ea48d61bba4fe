"""The folder of a run: which files it has, and what run.json says; read without the libraries that weights need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from soilcast.errors import SoilcastError, printable
from soilcast.provenance import written_by
from soilcast.schema import validate

RUN_FORMAT = 5
CONFIG, WEIGHTS, LOG, RECORD = "config.yaml", "weights.safetensors", "log.jsonl", "run.json"

_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class RunRecord(BaseModel):
    """Keys of run.json that are relied on."""

    model_config = ConfigDict(extra="allow", strict=True)

    soilcast_kind: Literal["run"]
    format: int
    label: str
    model: str
    plugins: list[Any] = []
    members: int = Field(ge=1)
    status: str
    best_epoch: int
    best_validation_loss: float
    best_is_last: bool
    epochs: int
    cells_total: int
    cells_trained: int
    training_samples: int
    validation_samples: int
    water_sign_share: float | None
    cube_sha256: _Hash
    cube_title: str
    content: str
    train_period: str
    validation_period: str
    test_period: str | None
    notes: list[str] = []
    peak_memory_bytes: int
    provenance: str
    config_sha256: _Hash
    log_sha256: _Hash
    weights_sha256: _Hash


def read_record(path: Path) -> dict[str, Any]:
    """Read run.json.

    Raises
    ------
    SoilcastError
        The folder is not a run, or of another format.
    """
    if not path.is_dir() or not (path / RECORD).is_file():
        raise SoilcastError(
            f"{path}: not a run (a folder with {RECORD}, {CONFIG} and {WEIGHTS}): give the output of soilcast train"
        )
    record = parsed(path / RECORD, (path / RECORD).read_bytes())
    if not isinstance(record, dict) or record.get("soilcast_kind") != "run":
        raise SoilcastError(f"{path / RECORD}: not the record of a run: give the output of soilcast train")
    if record.get("format") != RUN_FORMAT:
        raise SoilcastError(
            f"{path}: a run of {written_by(str(record.get('provenance')))} (format {record.get('format')}), but this "
            f"version of soilcast reads format {RUN_FORMAT}: train it again"
        )
    checked = validate(RunRecord, record, str(path / RECORD)).model_dump()
    return {name: printable(value) if isinstance(value, str) else value for name, value in checked.items()}


def parsed(file: Path, content: bytes | str) -> Any:
    """Parse a JSON text that is in a file of a run.

    Raises
    ------
    SoilcastError
        It is damaged.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SoilcastError(f"{file}: damaged: train the run again") from error
