"""Whole experiments: named runs, seeds, faults before any work, and going on where an earlier walk ended."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

import soilcast
from soilcast import cli, comparing
from soilcast.comparing import compare
from soilcast.cube import open_artifact
from soilcast.errors import SoilcastError
from soilcast.experiments import Experiment, builtin_experiment, load_experiment, load_study, plan_runs, weather_of_runs
from soilcast.ownership import GENERATOR
from soilcast.sources import SOURCES
from soilcast.training import open_run
from soilcast.water.config import TERM_SETS
from tests.helpers.forks import run_command
from tests.helpers.small import small_cube

QUICK = {
    "train": {"epochs": 2, "validate_every": 1, "batches_per_epoch": 5},
    "network": {"hidden_size": 4},
}
LEFT = ["cube", "forecasts", "report.html", "runs", "scores"]


@pytest.fixture(autouse=True)
def small_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that takes no time."""

    def small(paths: list[Path], seed: int = 0) -> xr.Dataset:
        return small_cube(cells=6, days=800, seed=seed)

    monkeypatch.setitem(SOURCES, "small", small)


@pytest.fixture
def bare_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report without figures, which take seconds; tests/test_report.py is about those."""
    page = f'<!doctype html><html><head><meta name="generator" content="{GENERATOR}"></head></html>'
    monkeypatch.setattr(comparing, "report", lambda scores, out, **options: out.write_text(page))


def experiment(**keys: Any) -> Experiment:
    return Experiment(**{"about": "a small world", "source": "small", "config": QUICK} | keys)


def models_of(out: Path) -> list[str]:
    scores = open_artifact(out / "scores" / "scores.nc", "scores")
    return [str(name) for name in scores["model"].to_numpy() if not scores["is_baseline"].sel(model=name)]


@pytest.mark.slow
@pytest.mark.usefixtures("bare_report")
def test_runs_are_called_by_their_names(tmp_path: Path) -> None:
    runs = {
        "A1": {"model": "phys-lstm", "water": {"terms": ["P"]}},
        "wide": {"network": {"hidden_size": 6}, "train": {"epochs": 3}},
    }
    told: list[str] = []
    page = compare(experiment(models=["phy-lstm"], runs=runs), tmp_path, log=told.append)
    assert page == tmp_path / "report.html"
    assert sorted(path.name for path in tmp_path.iterdir()) == LEFT
    assert models_of(tmp_path) == ["PHY-LSTM", "A1", "wide"]
    assert open_run(tmp_path / "runs" / "A1").record["label"] == "A1"
    config = open_run(tmp_path / "runs" / "wide").config
    assert (config.model, config.network.hidden_size, config.train.epochs) == ("lstm", 6, 3)
    assert config.train.batches_per_epoch == 5
    begin = f"{tmp_path / 'runs' / 'A1'}: A1: finished after 2 epoch(s)"
    assert sum(line.startswith(begin) for line in told) == 1
    assert sum("training: 6 of 6 cells" in line for line in told) == 1  # said once, of all runs alike


@pytest.mark.slow
@pytest.mark.usefixtures("bare_report")
def test_every_seed_is_a_run(tmp_path: Path) -> None:
    keys = QUICK | {"train": QUICK["train"] | {"seed": 5}}
    compare(experiment(models=["lstm"], config=keys, seeds=2), tmp_path, log=lambda line: None)
    assert models_of(tmp_path) == ["LSTM-s5", "LSTM-s6"]
    assert [open_run(tmp_path / "runs" / f"lstm-s{seed}").config.train.seed for seed in (5, 6)] == [5, 6]


@pytest.mark.slow
@pytest.mark.usefixtures("bare_report")
def test_regressions_are_scored_beside_the_runs(tmp_path: Path) -> None:
    compare(experiment(models=["lstm"], baselines=["linear regression"]), tmp_path, log=lambda line: None)
    with open_artifact(tmp_path / "scores" / "scores.nc", "scores") as scores:
        assert bool(scores["is_baseline"].sel(model="linear regression"))
        assert np.isfinite(scores["rmse"].sel(model="linear regression")).any()


def test_regressions_that_cannot_be_fitted_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="no baseline linear to ask for: did you mean linear regression"):
        experiment(models=["lstm"], baselines=["linear"])
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(SoilcastError, match="pip install"):
        compare(experiment(models=["lstm"], baselines=["boosted trees"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("bare_report")
def test_a_run_that_fails_is_told_and_left_out_and_mended(tmp_path: Path) -> None:
    wild, told = {"wild": {"train": {"learning_rate": 1e38}}}, []
    compare(experiment(models=["lstm"], runs=wild), tmp_path, log=told.append)
    assert models_of(tmp_path) == ["LSTM"]
    assert [line for line in told if "wild" in line and "diverged" in line]
    assert told[-1].endswith("the report of LSTM; 1 failed run(s) left out")
    with pytest.raises(SoilcastError, match=r"no run was completed \(training diverged"):
        compare(experiment(runs=wild), tmp_path / "none", log=lambda line: None)
    mended = {"wild": {"train": {"learning_rate": 0.001}}}
    compare(experiment(models=["lstm"], runs=mended), tmp_path, resume=True, log=lambda line: None)
    assert models_of(tmp_path) == ["LSTM", "wild"]


@pytest.mark.slow
@pytest.mark.usefixtures("bare_report")
def test_what_is_finished_is_kept(tmp_path: Path) -> None:
    both = experiment(models=["lstm", "phy-lstm"])
    compare(both, tmp_path, log=lambda line: None)
    kept = [tmp_path / "cube/zarr.json", tmp_path / "runs/lstm/run.json", tmp_path / "forecasts/lstm/zarr.json"]
    before = [file.stat().st_mtime_ns for file in kept]
    shutil.rmtree(tmp_path / "runs" / "phy-lstm")
    compare(both, tmp_path, resume=True, log=lambda line: None)
    assert [file.stat().st_mtime_ns for file in kept] == before
    assert models_of(tmp_path) == ["LSTM", "PHY-LSTM"]
    with pytest.raises(SoilcastError, match="another experiment"):
        compare(experiment(models=["lstm"], options={"seed": 1}), tmp_path, resume=True)
    compare(experiment(models=["lstm"], options={"seed": 1}), tmp_path, overwrite=True, log=lambda line: None)
    assert [file.stat().st_mtime_ns for file in kept] > before
    # A forecast of other weights is not taken for that of the run.
    shutil.rmtree(tmp_path / "runs" / "lstm")
    told: list[str] = []
    compare(
        experiment(models=["lstm"], options={"seed": 1}),
        tmp_path,
        settings=["train.epochs=3"],
        resume=True,
        log=told.append,
    )
    assert "finished after 3 epoch(s)" in told[1]
    made_of = open_artifact(tmp_path / "forecasts" / "lstm", "forecast").attrs["weights_sha256"]
    assert made_of == open_run(tmp_path / "runs" / "lstm").record["weights_sha256"]


@pytest.mark.slow
@pytest.mark.usefixtures("bare_report")
def test_a_finished_forecast_of_several_days_is_kept(tmp_path: Path) -> None:
    several = experiment(models=["lstm"], config=QUICK | {"task": {"lead_days": 3, "lags": ["swvl1"]}})
    compare(several, tmp_path, log=lambda line: None)
    files = [file for file in (tmp_path / "forecasts" / "lstm").rglob("*") if file.is_file()]
    before = [file.stat().st_mtime_ns for file in files]
    compare(several, tmp_path, resume=True, log=lambda line: None)
    assert [file.stat().st_mtime_ns for file in files] == before
    assert open_artifact(tmp_path / "forecasts" / "lstm", "forecast").sizes["lead"] == 3
    scores = open_artifact(tmp_path / "scores" / "scores.nc", "scores")
    assert scores["rmse"].sel(model="LSTM").sizes["lead"] == 3


def test_outputs_are_checked_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "prepare", lambda *words, **options: pytest.fail("work has begun"))
    forecast = tmp_path / "forecasts" / "lstm"
    forecast.mkdir(parents=True)
    with pytest.raises(SoilcastError, match=r"forecasts/lstm exists already: continue with --resume, .*--overwrite"):
        compare(experiment(models=["lstm"]), tmp_path)
    (forecast / "thesis.tex").write_text("years of work")
    with pytest.raises(SoilcastError, match="did not write"):
        compare(experiment(models=["lstm"]), tmp_path, overwrite=True)
    shutil.rmtree(forecast)
    begun = tmp_path / "runs" / "lstm.unfinished"
    begun.mkdir(parents=True)
    (begun / "checkpoint.safetensors").touch()
    with pytest.raises(SoilcastError, match=r"checkpoint\.safetensors exists already: continue with --resume"):
        compare(experiment(models=["lstm"]), tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model: [lstm]", "unknown key model: did you mean models?"),
        ("models: [lstn]", "models: unknown model lstn: did you mean lstm?"),
        ("seeds: 2", "name at least one model under models, or one run under runs"),
        ("runs: {../up: {}}", "cannot name a folder"),
        ("runs: {a.: {}}", "cannot name a folder"),
        ("runs: {LSTM: {}}\nmodels: [lstm]", "two runs have the same name"),
        ("models: [lstm]\nseeds: 0", "seeds: Input should be greater than or equal to 1"),
        ("runs: [A1]", "runs: Input should be a valid dictionary"),
        ("runs: {A1: {train: {epoch: 3}}}", "run A1: config: unknown key train.epoch: did you mean train.epochs?"),
        ("models: [lstm]\nsource: plant", "no such source plant"),
    ],
)
def test_a_fault_of_an_experiment_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"about: mine\n{text}\n" + ("" if "source" in text else "source: small\n"))
    with pytest.raises(SoilcastError) as caught:
        compare(file, tmp_path / "out")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_an_experiment_is_found_by_name_or_file(tmp_path: Path) -> None:
    assert load_experiment("demo").source == "planet"
    with pytest.raises(SoilcastError, match="neither a built-in experiment nor a file: did you mean demo"):
        load_experiment("demoo")
    (tmp_path / "mine.yaml").write_text(
        "about: mine\nsource: table\nmodels: [lstm]\npaths: [a.nc]\noptions: {mapping: mapping.yaml}\n"
    )
    assert load_experiment(tmp_path / "mine.yaml").options == {"mapping": tmp_path / "mapping.yaml"}


def test_every_built_in_experiment_can_be_planned() -> None:
    folder = Path(comparing.__file__).with_name("experiments")
    for file in folder.glob("*.yaml"):
        found = load_experiment(file.stem)
        plans = plan_runs(found)
        assert weather_of_runs(found, plans).keys() == plans.keys()
        if "mapping" in found.options:
            assert found.options["mapping"].is_file()


def test_the_papers_design_has_its_19_runs() -> None:
    runs = load_study("table1").runs | load_study("table2").runs
    plans = plan_runs(builtin_experiment("demo").model_copy(update={"models": (), "config": {}, "runs": runs}))
    names = ["LSTM", *(group + str(number) for group in "AB" for number in range(1, 5))]
    names += [group + str(number) for group in "CD" for number in range(1, 6)]
    assert [plan.label for plan in plans.values()] == list(plans) == names
    for name, plan in plans.items():
        model = {"L": "lstm", "A": "phys-lstm", "C": "phys-lstm", "B": "phy-lstm", "D": "phy-lstm"}[name[0]]
        assert plan.model == model
        if name[0] in "AB":
            assert plan.water.terms == TERM_SETS[int(name[1])]
        if name[0] in "CD":
            assert plan.water.terms == TERM_SETS[4]
            share = (2 * int(name[1]) - 1) / 10
            assert plan.loss.weights == pytest.approx((share, 1 - share))
        assert plan.train.epochs == 1000


AHEAD = {"task": {"known_future": ["tp", "t2m"], "lead_days": 2}}
WEATHER = {"without": "none", "degraded": "degraded", "observed": "observed"}


def test_runs_are_given_the_weather_that_the_experiment_names() -> None:
    runs = {"without": {}, "degraded": AHEAD, "observed": AHEAD, "mine": AHEAD, "left-open": AHEAD}
    found = experiment(runs=runs, weather={**WEATHER, "mine": "archive.zarr"}, seeds=2)
    words = weather_of_runs(found, plan_runs(found))
    expected = {**WEATHER, "mine": "archive.zarr", "left-open": "observed"}
    assert words == {f"{name}-s{seed}": word for name, word in expected.items() for seed in (0, 1)}
    years = {f"{name}-{year}": config for name, config in plan_runs(found).items() for year in (2018, 2019)}
    assert weather_of_runs(found, years)["degraded-s1-2019"] == "degraded"


@pytest.mark.parametrize(
    ("weather", "message"),
    [
        ({"without": "degraded"}, "run without: weather is degraded, but task.known_future names nothing"),
        ({"ahead": "none"}, "run ahead: weather is none, but task.known_future names tp, t2m: change one of them"),
    ],
)
def test_weather_that_a_run_cannot_have_is_refused_before_any_work(
    tmp_path: Path, weather: dict[str, str], message: str
) -> None:
    with pytest.raises(SoilcastError, match=message):
        compare(experiment(runs={"without": {}, "ahead": AHEAD}, weather=weather), tmp_path / "out", log=str)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="weather: there is no run abroad"):
        experiment(runs={"ahead": AHEAD}, weather={"abroad": "degraded"})


@pytest.mark.slow
@pytest.mark.usefixtures("bare_report")
def test_runs_without_with_degraded_and_with_observed_weather_are_compared(tmp_path: Path) -> None:
    runs = {"without": {"task": {"lead_days": 2}}, "degraded": AHEAD, "observed": AHEAD}
    told: list[str] = []
    compare(experiment(runs=runs, weather=WEATHER), tmp_path, log=told.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*LEFT, "weather"])
    archive = open_artifact(tmp_path / "weather", "weather_archive")
    assert (archive.sizes["lead"], "tp" in archive, "t2m" in archive, "ssrd" in archive) == (2, True, True, False)
    for name, word in WEATHER.items():
        made = open_artifact(tmp_path / "forecasts" / name, "forecast")
        assert made.attrs["weather"] == word
        record = open_run(tmp_path / "runs" / name).record.get("weather", {})
        assert record.get("sha256") == (archive.attrs["content_sha256"] if name == "degraded" else None)
    scores = open_artifact(tmp_path / "scores" / "scores.nc", "scores")
    assert scores.attrs["weather"] == "without: none; degraded: degraded; observed: observed"
    assert any("degraded observations, not a real weather forecast" in line for line in told)
    before = {name: (tmp_path / "forecasts" / name / "zarr.json").stat().st_mtime_ns for name in WEATHER}
    compare(experiment(runs=runs, weather=WEATHER), tmp_path, resume=True, log=told.append)
    assert {name: (tmp_path / "forecasts" / name / "zarr.json").stat().st_mtime_ns for name in WEATHER} == before


@pytest.mark.slow
def test_the_command_trains_side_by_side(tmp_path: Path) -> None:
    content = {
        "about": "the built-in planet",
        "source": "planet",
        "options": {"resolution": 8, "years": "2019:2020"},
        "models": ["lstm"],
        "runs": {"B1": {"model": "phy-lstm", "water": {"terms": ["P"]}}},
        "config": QUICK,
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    words = ["compare", "mine.yaml", "--out", "out", "--jobs", "2"]
    done = run_command(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert models_of(tmp_path / "out") == ["LSTM", "B1"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("LSTM", "B1"))
    assert {open_run(tmp_path / "out/runs" / name).config.train.threads for name in ("lstm", "B1")} == {1}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == LEFT
    refused = run_command(*words, folder=tmp_path)
    assert refused.returncode == 2
    assert "exists already: continue with --resume" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_the_demo_is_an_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def note(experiment: str, out: Path, **options: Any) -> Path:
        asked.update(options, experiment=experiment)
        return out

    monkeypatch.setattr(comparing, "compare", note)
    soilcast.demo(tmp_path, jobs=2, settings=["train.epochs=1"])
    assert (asked["experiment"], asked["jobs"], asked["overwrite"]) == ("demo", 2, True)


def test_the_demo_ends_by_saying_how_to_see_its_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(soilcast, "demo", lambda out, **options: out)
    monkeypatch.chdir(tmp_path)
    for called, shown in ((".venv/bin/soilcast", ".venv/bin/soilcast"), ("soilcast/__main__.py", "soilcast")):
        monkeypatch.setattr("sys.argv", [called, "demo", "--out", "my demo"])
        cli.app(["demo", "--out", "my demo"], standalone_mode=False)
        assert capsys.readouterr().out.splitlines()[-1].endswith(f"{shown} serve 'my demo'")


@pytest.mark.slow
@pytest.mark.usefixtures("bare_report")
def test_each_year_is_held_out_in_turn(tmp_path: Path) -> None:
    told: list[str] = []
    one = experiment(models=["lstm", "phy-lstm"])
    compare(one, tmp_path, hold_out="2018:2019", log=told.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cube", "forecasts", "report.html", "runs", "scores-2018", "scores-2019", "years.csv",
    ]  # fmt: skip
    periods = {name: open_run(tmp_path / "runs" / name).record for name in ("lstm-2018", "phy-lstm-2019")}
    assert periods["lstm-2018"]["test_period"] == "2018-01-01:2018-12-31"
    assert periods["lstm-2018"]["train_period"].startswith("2019-01-01:")
    assert periods["phy-lstm-2019"]["train_period"].startswith("2018-01-01:")
    assert periods["phy-lstm-2019"]["validation_period"].endswith("2020-03-10")
    rows = pd.read_csv(tmp_path / "years.csv")
    models = rows[rows["year"] == "2018"]["model"]
    assert set(models) > {"LSTM", "PHY-LSTM", "persistence"}
    assert len(rows) == 3 * len(models)
    mean = rows.set_index(["year", "model"])["rmse_median"].unstack("year")
    np.testing.assert_allclose(mean["mean"], mean[["2018", "2019"]].mean(axis=1), rtol=1e-4)
    assert "means over 2 year(s)" in told[-2]


def test_a_year_that_is_not_in_the_cube_cannot_be_held_out(tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match=r"--hold-out 2020 is outside the cube"):
        compare(experiment(models=["lstm"]), tmp_path, hold_out="2019:2021", log=lambda line: None)
