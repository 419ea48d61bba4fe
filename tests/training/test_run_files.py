"""A run whose files are not what the training wrote is refused in one line that names file and key."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.files import sha256_of
from soilcast.inspecting import inspect
from soilcast.training import load_config, open_run, train
from soilcast.training.produce import run_summary
from soilcast.training.run_record import best_is_last
from tests.helpers.small import small_cube

QUICK = ("train.epochs=1", "train.batches_per_epoch=2", "train.batch_size=16", "network.hidden_size=4")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    save_cube(small_cube(cells=4, days=800), folder / "cube")
    train(folder / "cube", folder / "run", load_config(None, QUICK))
    return folder / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def edit(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads((run / "run.json").read_text())
    change(record)
    (run / "run.json").write_text(json.dumps(record))


def signed(run: Path, name: str, key: str) -> None:
    """As if whoever changed a file had changed its hash too."""
    edit(run, lambda record: record.update({key: sha256_of(run / name)}))


@pytest.mark.parametrize(
    ("losses", "epochs", "expected"),
    [
        ([3.0, None, 2.0, None, 1.0], 5, True),
        ([3.0, None, 1.0, None, 2.0], 5, False),
        ([3.0, None, 1.0, None, 1.0], 5, False),  # nothing was gained
        ([3.0, None, 2.0, None, 1.0], 9, False),  # stopped before its last epoch
        ([None, None], 2, False),
    ],
)
def test_the_best_epoch_is_the_last_if_the_last_validation_of_all_epochs_is_the_lowest(
    losses: list[float | None], epochs: int, expected: bool
) -> None:
    log = [{"epoch": number, "validation_loss": loss} for number, loss in enumerate(losses, 1)]
    assert best_is_last(log, epochs) is expected


def test_a_run_that_had_not_converged_is_told_at_its_end_and_by_inspect(run: Path) -> None:
    assert open_run(run).record["best_is_last"] is True  # of one epoch
    words = "not converged: the lowest validation loss is that of the last epoch; it might gain from more epochs"
    assert words in run_summary(open_run(run).record)
    assert words in inspect(run)
    edit(run, lambda record: record.update(best_is_last=False))
    assert "converged" not in inspect(run)


@pytest.mark.parametrize(
    "key", ["label", "model", "members", "status", "best_epoch", "best_is_last", "content", "test_period", "provenance"]
)
@pytest.mark.parametrize("value", [None, [1], {"a": 1}, "gone"])
def test_a_key_of_the_record_that_is_missing_or_of_another_type_is_named(run: Path, key: str, value: object) -> None:
    if value == "gone":
        edit(run, lambda record: record.pop(key))
    else:
        edit(run, lambda record: record.update({key: value}))
    if key == "test_period" and value is None:
        open_run(run)
        return
    with pytest.raises(SoilcastError, match=rf"run\.json: .*{key}"):
        open_run(run)


@pytest.mark.parametrize("text", ["", "[]", "5", "{", "[" * 100_000, "\xe4"])
def test_a_record_that_is_none_is_one_line(run: Path, text: str) -> None:
    (run / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(SoilcastError, match=r"run\.json: (damaged|not the record of a run)"):
        open_run(run)


@pytest.mark.parametrize("text", ["{}\n", "5\n", "[1]\n", '{"epoch": "x"}\n', "[" * 100_000, "{\n"])
def test_a_log_that_is_none_is_one_line(run: Path, text: str) -> None:
    (run / "log.jsonl").write_text(text)
    with pytest.raises(SoilcastError, match=r"log\.jsonl: not what this run wrote"):
        open_run(run)
    signed(run, "log.jsonl", "log_sha256")
    with pytest.raises(SoilcastError, match=r"log\.jsonl(, line 1)?: (key epoch is missing|epoch: |damaged)"):
        open_run(run)


def test_a_config_that_was_changed_is_noticed(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["task"]["dynamic"] = config["task"]["dynamic"][::-1]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(SoilcastError, match=r"config\.yaml: not what this run wrote \(SHA-256 differs\)"):
        open_run(run)


@pytest.mark.parametrize("file", ["config.yaml", "log.jsonl", "weights.safetensors"])
def test_a_file_that_is_gone_is_named(run: Path, file: str) -> None:
    (run / file).unlink()
    with pytest.raises(SoilcastError, match=rf"{file}: missing"):
        open_run(run)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        *(("network.", math.nan), ("network.", math.inf), ("cells.lat", math.nan)),
        *((".scale", 0.0), (".scale", -1.0), (".scale", math.nan), (".offset", math.nan)),
    ],
)
def test_numbers_that_no_training_gives_are_refused(run: Path, part: str, value: float) -> None:
    tensors = load_file(run / "weights.safetensors")
    for name in (name for name in tensors if part in name):
        tensors[name] = torch.full_like(tensors[name], value)
    save_file(tensors, run / "weights.safetensors")
    signed(run, "weights.safetensors", "weights_sha256")
    with pytest.raises(SoilcastError, match=r"weights\.safetensors: .*(not finite|above 0): train the run again$"):
        open_run(run)


def test_texts_of_the_record_are_printed_harmlessly(run: Path) -> None:
    edit(run, lambda record: record.update(label="\x1b[2Jowned", content="https://me:secret@host/x"))
    record = open_run(run).record
    assert (record["label"], record["content"]) == ("?[2Jowned", "https://host/x")
