"""What somebody meets first: the names of the package, its version, what a prompt and a notebook show of a run."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from html import escape
from pathlib import Path

import pytest
import xarray as xr

import soilcast
from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.training import load_config, train
from tests.helpers.small import small_cube
from tests.test_commands import refusal, run

QUICK = ["train.epochs=1", "train.validate_every=1", "train.batches_per_epoch=2", "network.hidden_size=4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("surface")
    save_cube(small_cube(cells=6, days=800), path / "cube")
    train(path / "cube", path / "run", load_config(settings=[*QUICK, "label=<mine> & yours"], model="phy-lstm"))
    soilcast.forecast(path / "run", path / "cube", path / "forecast.nc")
    soilcast.evaluate([path / "forecast.nc"], path / "cube", path / "scores")
    return path


@pytest.mark.slow
def test_a_path_alone_is_one_path(folder: Path, tmp_path: Path) -> None:
    soilcast.evaluate(str(folder / "forecast.nc"), folder / "cube", tmp_path / "scores")
    soilcast.report(str(tmp_path / "scores"), tmp_path / "report.html")
    assert (tmp_path / "report.html").is_file()
    with pytest.raises(SoilcastError, match=r"no such (scores|file).*/none|/none.*no such"):
        soilcast.report(str(tmp_path / "none"), tmp_path / "other.html")
    with pytest.raises(SoilcastError, match="none"):
        soilcast.prepare("caravan", str(tmp_path / "none"), out=tmp_path / "cube")
    assert soilcast.doctor(str(tmp_path / "none")).files[0].path == str(tmp_path / "none")


def test_the_package_lists_what_is_public_alone() -> None:
    assert set(dir(soilcast)) == {*soilcast.__all__, "__version__"}
    assert all(callable(getattr(soilcast, name)) for name in soilcast.__all__)
    assert soilcast.__version__ == importlib.metadata.version("soilcast")
    with pytest.raises(AttributeError, match="module 'soilcast' has no attribute 'nothing'"):
        soilcast.nothing  # noqa: B018


def test_the_version_and_completion_are_asked_of_no_command() -> None:
    assert run("--version") == (f"soilcast {soilcast.__version__}\n", "")
    assert "--install-completion" in run("--help")[0]
    assert "--no-such" in refusal("--no-such")


LARGE = {"torch", "xarray", "pandas", "zarr", "dask", "scipy", "matplotlib", "pint", "cf_xarray"}
"""Libraries of which each takes long to import."""


def imported_by(words: list[str], where: Path) -> tuple[set[str], str, int]:
    """Modules that a process of its own imports, what else it writes to standard error, and its exit code."""
    command = [sys.executable, "-X", "importtime", *words]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    told = "\n".join(line for line in lines if not line.startswith("import time:"))
    return imported, told, done.returncode


@pytest.mark.parametrize("words", [["-c", "import soilcast"], ["-m", "soilcast", "--help"]])
def test_what_takes_long_is_not_imported_before_it_is_used(words: list[str], tmp_path: Path) -> None:
    imported, _, code = imported_by(words, tmp_path)
    assert code == 0
    assert "soilcast" in imported or "soilcast.cli" in imported
    assert imported.isdisjoint(
        {*LARGE, "numpy", "pydantic", "rich", "multiprocessing.connection", "importlib.metadata"}
    )


@pytest.mark.slow
@pytest.mark.parametrize("words", ["train --help", "forecast --help", "config", "config --model phys-lstm"])
def test_help_and_the_config_wait_for_no_large_library(words: str, tmp_path: Path) -> None:
    imported, _, code = imported_by(["-m", "soilcast", *words.split()], tmp_path)
    assert code == 0
    assert imported.isdisjoint(LARGE)


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults")
    cube = small_cube(cells=6, days=800)
    save_cube(cube, path / "cube")
    save_cube(cube, path / "cube.nc")
    (path / "notes.txt").write_text("no cube\n")
    (path / "empty").mkdir()
    (path / "own.yaml").write_text("train: {epoch: 3}\n")
    return path


REFUSALS = {
    "trian": "No such command 'trian'",
    "train --cub cube": "No such option: --cub",
    "train --cube cube --out new --set train.epoch=3": "unknown key train.epoch: did you mean train.epochs?",
    "train --cube cube --out new --config own.yaml": "unknown key train.epoch: did you mean train.epochs?",
    "train --cube cube --out new --set train.epochs=0": "train.epochs: Input should be greater than or equal to 1",
    "train --cube cube --out new --set network.name=lstmm": "no such network: did you mean lstm?",
    "train --cube cube --out new --model lsmt": "no such model: did you mean lstm?",
    "train --cube nowhere --out new": "nowhere: no such cube",
    "train --cube notes.txt --out new": "notes.txt: cannot be read as a cube (OSError): damaged",
    "train --cube empty --out new": "empty: cannot be read as a cube (GroupNotFoundError): damaged",
    "train --cube cube --out new --init nowhere": "nowhere: not a run",
    "forecast nowhere --cube cube --out new": "nowhere: not a run",
    "forecast cube --cube cube --out new": "cube: not a run",
    "evaluate nowhere --cube cube --out new": "nowhere: no such forecast",
    "evaluate cube --cube cube --out new": "cube: a forecast is expected, but this is a cube",
    "evaluate cube.nc --cube cube --out new": "cube.nc: a forecast is expected, but this is a cube",
    "audit nowhere --cube cube --out new": "nowhere: not a run",
    "report cube --out new.html": "cube: a scores or a forecast is expected, but this is a cube",
    "inspect nowhere": "nowhere: no such file or folder",
    "export nowhere --variable swvl1 --out new.tif": "nowhere: no such forecast",
    "search nowhere.yaml --cube cube --out new": "nowhere.yaml: no such file",
    "compare nowhere --out new": "nowhere: neither a built-in experiment nor a file",
    "reproduce table9 --cube cube --out new": "table9: neither a part of the paper nor a file",
    "prepare planett --out new": "no such source planett: did you mean planet?",
    "update nowhere new.nc": "nowhere: no such cube",
    "degrade nowhere --variables tp --out new": "nowhere: no such cube",
}
"""A command whose fault can be told from words and files alone -> what it says."""


@pytest.mark.slow
@pytest.mark.parametrize("words", REFUSALS)
def test_a_refusal_waits_for_no_large_library(words: str, faults: Path) -> None:
    imported, told, code = imported_by(["-m", "soilcast", *words.split()], faults)
    assert code == 2, told
    assert REFUSALS[words] in told
    assert imported.isdisjoint(LARGE)
    assert not (faults / "new").exists()


@pytest.mark.slow
def test_what_is_refused_early_is_refused_in_python_too(faults: Path) -> None:
    for name, told in {
        "nowhere": "no such cube",
        "notes.txt": r"cannot be read as a cube \(OSError\)",
        "empty": r"cannot be read as a cube \(GroupNotFoundError\)",
    }.items():
        with pytest.raises(SoilcastError, match=rf"{name}: {told}"):
            soilcast.open_cube(faults / name)
    with pytest.raises(SoilcastError, match="nowhere: not a run"):
        soilcast.open_run(faults / "nowhere")


@pytest.mark.slow
def test_a_training_imports_no_library_that_it_does_not_use(faults: Path, tmp_path: Path) -> None:
    words = ["train", "--cube", str(faults / "cube"), "--out", "run", *(w for one in QUICK for w in ("--set", one))]
    imported, told, code = imported_by(["-m", "soilcast", *words], tmp_path)
    assert code == 0, told
    assert imported.isdisjoint({"dask.array", "pint", "cf_xarray", "matplotlib", "scipy.spatial"})


@pytest.mark.slow
def test_a_run_is_shown_in_short(folder: Path) -> None:
    opened = soilcast.open_run(folder / "run")
    told = repr(opened)
    assert told.startswith("<soilcast.Run <mine> & yours: model lstm of 4, direct head; loss rmse, guided (single); ")
    assert "forecasts swvl1, lead 1 d; training finished after 1 epoch(s), " in told
    assert len(told) < 300
    assert "<td>&lt;mine&gt; &amp; yours</td>" in opened._repr_html_()


def test_cubes_forecasts_and_scores_are_shown_as_xarray_does(folder: Path) -> None:
    opened = {
        "cube": soilcast.open_cube(folder / "cube"),
        "forecast": soilcast.open_forecast(folder / "forecast.nc"),
        "scores": soilcast.open_scores(folder / "scores"),
    }
    for kind, one in opened.items():
        assert type(one) is xr.Dataset
        assert f"soilcast_kind:      {kind}" in repr(one)
        assert len(repr(one)) < 3000, "short"
        assert escape(one.attrs["title"]) in one._repr_html_()
        one.close()
    xr.testing.assert_identical(opened["scores"], soilcast.open_scores(folder / "scores" / "scores.nc"))


def test_what_is_something_else_is_refused(folder: Path) -> None:
    for open_it, path, told in (
        (soilcast.open_forecast, folder / "cube", "cube: a forecast is expected, but this is a cube"),
        (soilcast.open_forecast, folder / "none", "none: no such forecast"),
        (soilcast.open_scores, folder / "forecast.nc", "forecast.nc: a scores is expected, but this is a forecast"),
        (soilcast.open_scores, folder / "run", "run: no scores.nc in this folder"),
    ):
        with pytest.raises(SoilcastError) as caught:
            open_it(path)
        assert told in str(caught.value)


def test_an_inspection_is_lines_at_a_prompt_and_in_a_notebook(folder: Path) -> None:
    told = soilcast.inspect(folder / "run")
    assert repr(told) == str(told) == told
    assert told._repr_html_().startswith("<pre>run: &lt;mine&gt; &amp; yours: finished")


@pytest.mark.slow
def test_the_label_is_what_one_says(folder: Path, tmp_path: Path) -> None:
    words = [word for setting in QUICK for word in ("--set", setting)]
    told, _ = run("train", *words, "--label", "No: 1", "--cube", folder / "cube", "--out", tmp_path / "run")
    assert told.splitlines()[-1].startswith("No: 1: finished")
    soilcast.forecast(tmp_path / "run", folder / "cube", tmp_path / "forecast.nc")
    scores = soilcast.evaluate([folder / "forecast.nc", tmp_path / "forecast.nc"], folder / "cube", tmp_path / "scores")
    assert scores["model"].to_numpy().tolist()[:2] == ["<mine> & yours", "No: 1"]
    soilcast.report([tmp_path / "scores"], tmp_path / "page.html")
    assert "&lt;mine&gt; &amp; yours" in (tmp_path / "page.html").read_text()
    for label in ("", " ", "two\nlines", "\x1b[2J"):
        assert "label: " in refusal("train", "--label", label, "--cube", folder / "cube", "--out", tmp_path / "other")


def test_a_network_of_ones_own_is_not_called_by_another_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from soilcast.models import NETWORKS

    monkeypatch.setitem(NETWORKS, "mine", NETWORKS["lstm"])
    assert load_config(settings=["network.name=mine"]).label == "mine"
    assert load_config(settings=["network.name=mine", "label=Mine"]).label == "Mine"
    assert load_config(settings=["network.name=lstm"], model="phy-lstm").label == "PHY-LSTM"
