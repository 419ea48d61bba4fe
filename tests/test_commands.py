"""The commands, as real processes on real files: the whole path once, and every fault as one line with exit code 2."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

import soilcast

QUICK = [
    "--set", "train.epochs=2", "--set", "train.validate_every=1",
    "--set", "train.batches_per_epoch=20", "--set", "network.hidden_size=8",
]  # fmt: skip
MODELS = ("lstm", "phy-lstm", "phys-lstm")


def run(*words: object, expect: int = 0) -> tuple[str, str]:
    """Run a command and give what it said on standard output and standard error."""
    command = [sys.executable, "-m", "soilcast", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == expect, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr


def refusal(*words: object) -> str:
    """Run a command that must be refused; give its one line."""
    said, errors = run(*words, expect=2)
    assert "Traceback" not in errors
    assert errors.count("\n") == 1, errors
    assert said == ""
    return errors


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole path, walked once by command on a small planet."""
    folder = tmp_path_factory.mktemp("walked")
    run("prepare", "planet", "--resolution", "8", "--years", "2019:2020", "--out", folder / "cube")
    for model in MODELS:
        run("train", "--cube", folder / "cube", "--model", model, *QUICK, "--out", folder / f"run-{model}")
        run("forecast", folder / f"run-{model}", "--cube", folder / "cube", "--out", folder / f"{model}.nc")
    forecasts = [folder / f"{model}.nc" for model in MODELS]
    run("evaluate", *forecasts, "--cube", folder / "cube", "--out", folder / "scores")
    run("report", folder / "scores", "--out", folder / "report.html")
    return folder


@pytest.mark.slow
def test_the_whole_path_leaves_what_it_says(walked: Path) -> None:
    cube = soilcast.open_cube(walked / "cube")
    assert {"cell", "time", "lat", "lon"} <= set(cube.coords)
    assert "synthetic" in cube.attrs["content"]
    with xr.open_dataset(walked / "scores" / "scores.nc", engine="h5netcdf") as scores:
        models = ["LSTM", "PHY-LSTM", "PHYs-LSTM", "persistence", "damped anomaly", "climatology"]
        assert scores["model"].to_numpy().tolist() == models
        assert np.isfinite(scores["rmse"].median("cell")).all()
        persistence = scores["skill"].sel(model="persistence")
        np.testing.assert_array_equal(persistence.to_numpy()[np.isfinite(persistence)], 0.0)
        assert scores["days"].max() == 366
    page = (walked / "report.html").read_text(encoding="utf-8")
    assert all(model in page for model in models)
    assert "synthetic" in page


@pytest.mark.slow
def test_inspect_says_what_each_artifact_is(walked: Path) -> None:
    for name, expected in (
        ("cube", "swvl1 as target"),
        ("run-lstm", "run: LSTM"),
        ("lstm.nc", "cell-days forecast"),
        ("scores", "persistence"),
    ):
        said, _ = run("inspect", walked / name)
        assert expected in said


@pytest.mark.slow
def test_another_tool_opens_the_forecast(walked: Path) -> None:
    with xr.open_dataset(walked / "lstm.nc", engine="h5netcdf") as forecast:
        assert forecast["swvl1"].attrs["units"] == "m3 m-3"
        assert forecast["time"].dtype == np.dtype("datetime64[ns]")
        assert forecast["time"].size == 366


@pytest.mark.slow
def test_faults_of_runs_forecasts_and_scores_are_one_line(walked: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run("prepare", "planet", "--resolution", "8", "--years", "2019:2020", "--seed", "1", "--out", other)
    assert "not the one" in refusal(
        "evaluate", walked / "lstm.nc", "--cube", other, "--out", tmp_path / "scores"
    ) or "made for another cube" in refusal(
        "evaluate", walked / "lstm.nc", "--cube", other, "--out", tmp_path / "scores"
    )
    assert "a cube is expected" in refusal("train", "--cube", walked / "lstm.nc", "--out", tmp_path / "run")
    assert "not a run" in refusal("forecast", walked / "cube", "--cube", walked / "cube", "--out", tmp_path / "f")
    broken = tmp_path / "broken"
    shutil.copytree(walked / "run-lstm", broken)
    weights = broken / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert "corrupt" in refusal("forecast", broken, "--cube", walked / "cube", "--out", tmp_path / "f")
    truncated = tmp_path / "truncated"
    shutil.copytree(walked / "cube", truncated)
    chunk = next(file for file in sorted((truncated / "swvl1" / "c").rglob("*")) if file.is_file())
    chunk.write_bytes(chunk.read_bytes()[:50])
    assert "damaged" in refusal("train", "--cube", truncated, "--out", tmp_path / "run")
    chunk.unlink()
    assert "truncated" in refusal("train", "--cube", truncated, "--out", tmp_path / "run")
    outside = ("--set", "split.test=2031")
    assert "outside the cube" in refusal("train", "--cube", walked / "cube", *outside, "--out", tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "other", "truncated"]


def test_faults_of_the_command_line_are_one_line(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert "no such cube" in refusal("train", "--cube", nowhere, "--out", tmp_path / "run")
    assert "no such" in refusal("inspect", nowhere)
    assert "did you mean planet" in refusal("prepare", "plant", "--out", tmp_path / "cube")
    assert "no option --mapping" in refusal("prepare", "planet", "--mapping", nowhere, "--out", tmp_path / "cube")
    assert "needs --resolution" in refusal("prepare", "landbench", nowhere, "--out", tmp_path / "cube")
    assert "did you mean train.epochs" in refusal(
        "train", "--cube", nowhere, "--set", "train.epoch=3", "--out", nowhere
    )
    assert "write NAME=VALUE" in refusal("prepare", "caravan", nowhere, "--unit", "tp", "--out", tmp_path / "cube")
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_of_others_is_never_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.tex").write_text("years of work")
    line = refusal("prepare", "planet", "--resolution", "8", "--years", "2019", "--out", mine, "--overwrite")
    assert "did not write" in line
    assert (mine / "chapter.tex").read_text() == "years of work"


def test_help_names_every_command_and_every_key() -> None:
    said, _ = run("--help")
    assert all(name in said for name in ("demo", "prepare", "inspect", "train", "forecast", "evaluate", "report"))
    said, _ = run("train", "--help")
    assert all(key in said for key in ("train.epochs = 1000", "loss.weights", "water.terms", "split.test"))


@pytest.mark.slow
def test_an_internal_fault_is_loud(walked: Path, tmp_path: Path) -> None:
    """What is no fault of the input must not be told as one: a broken install shows its traceback."""
    code = "import soilcast.files as f; f._flush_to_disk = None; import soilcast.cli as c; c.main()"
    command = [
        sys.executable,
        "-c",
        code,
        "forecast",
        walked / "run-lstm",
        "--cube",
        walked / "cube",
        "--out",
        tmp_path / "f",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_config_file_and_the_librarys_functions_do_the_same(walked: Path, tmp_path: Path) -> None:
    settings = {"train": {"epochs": 2, "validate_every": 1, "batches_per_epoch": 20}, "network": {"hidden_size": 8}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    config = soilcast.load_config(tmp_path / "config.yaml", model="phy-lstm")
    soilcast.train(walked / "cube", tmp_path / "run", config)
    written = (walked / "run-phy-lstm" / "weights.safetensors").read_bytes()
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == written
