"""The commands, as processes on real files: the whole path once, and every fault as one line with exit code 2."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

import soilcast
from soilcast import cli
from soilcast.cube import save_cube, write_dataset
from soilcast.errors import SoilcastError
from soilcast.files import atomic_write
from tests.helpers.forks import PATIENCE, run_command, run_script, start_script, wait_until
from tests.helpers.small import small_cube
from tests.helpers.table_data import gridded_data, write_recipe

QUICK = [
    "--set", "train.epochs=2", "--set", "train.validate_every=1",
    "--set", "train.batches_per_epoch=20", "--set", "network.hidden_size=8",
]  # fmt: skip
MODELS = ("lstm", "phy-lstm", "phys-lstm")


def run(*words: object, expect: int = 0) -> tuple[str, str]:
    """Run a command and give what it said on standard output and standard error."""
    done = run_command(*words)
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
        assert forecast["swvl1"].sizes["time"] == forecast["time"].size == 366
        assert forecast["lead"].to_numpy().tolist() == [1]
        assert str(forecast["valid_time"].to_numpy()[0, 0])[:10] == "2020-01-01"


@pytest.mark.slow
def test_faults_of_runs_forecasts_and_scores_are_one_line(walked: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run("prepare", "delaware", "--out", other)
    assert "is one of the cube's" in refusal(
        "evaluate", walked / "lstm.nc", "--cube", other, "--out", tmp_path / "scores"
    )
    assert "a cube is expected" in refusal("train", "--cube", walked / "lstm.nc", "--out", tmp_path / "run")
    assert "not a run" in refusal("forecast", walked / "cube", "--cube", walked / "cube", "--out", tmp_path / "f")
    broken = tmp_path / "broken"
    shutil.copytree(walked / "run-lstm", broken)
    weights = broken / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert "not what this run wrote" in refusal("forecast", broken, "--cube", walked / "cube", "--out", tmp_path / "f")
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


def test_a_number_that_no_float32_holds_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,station,lat,lon,sm\n2020-01-01,A,50,6,0.2\n2020-01-02,A,50,6,1e39\n")
    (tmp_path / "mapping.yaml").write_text(
        "title: t\ncontent: c\ncells: {lat: lat, lon: lon, name: station, area: equal}\n"
        "variables:\n  swvl1: {name: sm, unit: m3 m-3, thickness: {value: 70, unit: mm}}\n"
    )
    words = ("prepare", "table", tmp_path / "a.csv", "--mapping", tmp_path / "mapping.yaml")
    assert "inf in cell A at lat 50, lon 6 on 2020-01-02" in refusal(*words, "--out", tmp_path / "cube")


def test_what_libraries_warn_of_is_one_line(tmp_path: Path) -> None:
    data = gridded_data()
    data["time"] = ("time", np.arange(data.sizes["time"]), {"units": "days since 0001-01-01"})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    words = ("prepare", "table", tmp_path / "a.nc", "--mapping", write_recipe(tmp_path))
    assert "0001-01-01" in refusal(*words, "--out", tmp_path / "cube")


def test_an_output_folder_of_others_is_never_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.tex").write_text("years of work")
    line = refusal("prepare", "planet", "--resolution", "8", "--years", "2019", "--out", mine, "--overwrite")
    assert "did not write" in line
    assert (mine / "chapter.tex").read_text() == "years of work"


def test_help_names_every_command_and_every_key() -> None:
    command = [sys.executable, "-m", "soilcast", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    assert all(name in said for name in ("demo", "prepare", "inspect", "train", "forecast", "evaluate", "report"))
    said, _ = run("train", "--help")
    assert all(key in said for key in ("train.epochs = 1000", "loss.weights", "water.terms", "split.test"))
    assert all(f"\n{section}: " in said for section in ("task", "network", "head", "normalise", "split", "water"))


def test_the_config_that_is_printed_is_taken_again(tmp_path: Path) -> None:
    said, _ = run("config", "--model", "phy-lstm", "--set", "train.epochs=9")
    file = tmp_path / "config.yaml"
    file.write_text(said, encoding="utf-8")
    assert soilcast.load_config(file) == soilcast.load_config(settings=["train.epochs=9"], model="phy-lstm")
    assert run("config", "--config", file)[0] == said
    assert "did you mean train.epochs" in refusal("config", "--set", "train.epoch=3")


@pytest.mark.slow
def test_an_internal_fault_is_loud(walked: Path, tmp_path: Path) -> None:
    """What is no fault of the input must not be told as one: a broken install shows its traceback."""
    code = "import soilcast.files as f; f.disk_faults_told = None; import soilcast.cli as c; c.main()"
    done = run_script(code, "forecast", walked / "run-lstm", "--cube", walked / "cube", "--out", tmp_path / "f")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    # The forecast is made, and --resume would write it; what is not there is half of one.
    assert [path.name for path in tmp_path.iterdir()] == ["f.unfinished"]


@pytest.mark.slow
def test_a_config_file_and_the_librarys_functions_do_the_same(walked: Path, tmp_path: Path) -> None:
    settings = {"train": {"epochs": 2, "validate_every": 1, "batches_per_epoch": 20}, "network": {"hidden_size": 8}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    config = soilcast.load_config(tmp_path / "config.yaml", model="phy-lstm")
    soilcast.train(walked / "cube", tmp_path / "run", config)
    written = (walked / "run-phy-lstm" / "weights.safetensors").read_bytes()
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == written


def test_a_wrong_word_on_the_command_line_is_one_line(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "valid number" in refusal("prepare", "planet", "--resolution", "fine", "--out", out)
    assert "Missing option '--out'" in refusal("prepare", "planet")
    assert "name too long" in refusal("inspect", tmp_path / ("long" * 100))
    assert "no option --unit;" in refusal("prepare", "planet", "--unit", "tp=m", "--out", out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_out_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    cube, pipe = tmp_path / "cube", tmp_path / "pipe"
    save_cube(small_cube(cells=2, days=3), cube)
    os.mkfifo(pipe)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for out, told in (
        (Path("/"), "names no file"),
        (tmp_path / "..", "names no file"),
        (pipe, "is a device"),
        (tmp_path / "loop" / "new", "cannot be written"),
        (cube / "new", "lies inside"),
        (cube / "swvl1" / "new", "lies inside"),
    ):
        with pytest.raises(SoilcastError, match=told):
            soilcast.prepare("planet", out=out, overwrite=True, resolution=8.0, years="2019")
    assert pipe.is_fifo()
    assert not (cube / "new").exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_of_two_commands_with_one_out_the_later_is_refused(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"

    def write(path: Path, text: str) -> None:
        if kind == "folder":
            path.mkdir()
            path = path / "inside"
        path.write_text(text)

    with pytest.raises(SoilcastError, match="exists already"), atomic_write(out, kind="run") as partial:  # noqa: PT012
        write(partial, "later")
        write(out, "first")
    assert (out / "inside" if kind == "folder" else out).read_text() == "first"
    assert list(tmp_path.iterdir()) == [out]


# A command that says when its source is asked.
TELLS_WHEN_IT_READS = """
import functools, pathlib, sys
from soilcast.cli import main
from soilcast.sources import SOURCES
genuine, told = SOURCES["planet"], pathlib.Path(sys.argv.pop(1))
@functools.wraps(genuine)
def planet(*given, **options):
    told.touch()
    return genuine(*given, **options)
SOURCES["planet"] = planet
main()
"""


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_before_it_writes_leaves_nothing(tmp_path: Path, told: signal.Signals) -> None:
    """The planet is made in memory, which takes long at this resolution."""
    out, begun = tmp_path / "out", tmp_path / "begun"
    out.mkdir()
    words = ["prepare", "planet", "--resolution", "0.5", "--out", out / "cube"]
    with start_script(TELLS_WHEN_IT_READS, begun, *words) as process:
        wait_until(begun.exists)
        process.send_signal(told)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == "soilcast: stopped\n"
    assert list(out.iterdir()) == []


@pytest.mark.slow
def test_a_full_disk_is_one_line_whatever_is_written(walked: Path, tmp_path: Path) -> None:
    """The limit on the size of a file stands for the full disk: the system tells both in the middle of a write."""
    cube, out = walked / "cube", tmp_path / "out"
    commands = {
        "train": (["train", "--cube", cube, "--out", out], 8),
        "forecast to NetCDF": (["forecast", walked / "run-lstm", "--cube", cube, "--out", tmp_path / "f.nc"], 40),
        "forecast to Zarr": (["forecast", walked / "run-lstm", "--cube", cube, "--out", out], 40),
        "evaluate": (["evaluate", walked / "lstm.nc", "--cube", cube, "--out", out], 40),
        "report": (["report", walked / "scores", "--out", tmp_path / "r.html"], 40),
    }
    for name, (words, blocks) in commands.items():
        settings = QUICK if name == "train" else []
        done = run_command(*words, *settings, room=1024 * blocks)
        assert done.returncode == 2, f"{name}: {done.stderr}"
        assert "exceeds the maximum file size" in done.stderr or "File too large" in done.stderr, name
        assert done.stderr.count("\n") == 1, f"{name}: {done.stderr}"
        for left in tmp_path.iterdir():
            assert left.name.endswith(".unfinished"), name
            assert "--resume" in done.stderr or "exceeds the maximum file size" in done.stderr, name
            shutil.rmtree(left)


@pytest.mark.slow
def test_what_cannot_be_said_is_one_line(tmp_path: Path) -> None:
    save_cube(small_cube(cells=2, days=3), tmp_path / "cube")
    command = [sys.executable, "-m", "soilcast", "inspect", str(tmp_path / "cube")]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "standard output cannot be written" in done.stderr


def test_an_artifact_that_lacks_what_it_promises_is_one_line(tmp_path: Path) -> None:
    for kind in ("cube", "forecast", "scores"):
        bare = xr.Dataset(attrs={"soilcast_kind": kind, "soilcast_contract": 2, "soilcast_format": 4})
        write_dataset(bare, tmp_path / f"{kind}.nc", netcdf=True)
        with pytest.raises(SoilcastError, match=rf"{kind}\.nc: title, content.* is missing"):
            soilcast.inspect(tmp_path / f"{kind}.nc")
    with pytest.raises(SoilcastError, match=r"cube\.nc: title, .*time is missing.*prepare the cube again"):
        soilcast.train(tmp_path / "cube.nc", tmp_path / "run")
    turned = small_cube(cells=2, days=3).drop_vars("clay").assign(clay=("time", np.zeros(3, np.float32)))
    turned.attrs["content_sha256"] = "0"
    write_dataset(turned, tmp_path / "turned.nc", netcdf=True)
    with pytest.raises(SoilcastError, match="clay is missing or not as in a cube"):
        soilcast.open_cube(tmp_path / "turned.nc")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "zarr.json").write_text("{}")
    (tmp_path / "other" / "beside").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SoilcastError, match="not of soilcast"):
            soilcast.open_cube(tmp_path / "other")


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def too_large(path: Path, *, verify: bool) -> str:
        raise MemoryError("Unable to allocate 1.46 TiB")

    monkeypatch.setattr(soilcast, "inspect", too_large, raising=False)
    monkeypatch.setattr(sys, "argv", ["soilcast", "inspect", "."])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.raises(SystemExit) as left:
        cli.main()
    for number, handler in before.items():
        signal.signal(number, handler)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("soilcast: not enough memory (Unable to allocate 1.46 TiB)")
