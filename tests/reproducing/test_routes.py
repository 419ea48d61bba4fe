"""Routes of physics: each with more and less to learn from, started from process models, and told truly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from soilcast import reproduce
from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.experiments import load_study
from soilcast.reproducing.plans import plan_study
from soilcast.training import open_run
from soilcast.training.split import climate_groups
from tests.helpers.forks import run_command, start_command, wait_until
from tests.helpers.small import small_cube
from tests.reproducing.test_reproducing import text_of

TINY = {
    "train": {
        "epochs": 2,
        "validate_every": 1,
        "batches_per_epoch": 5,
        "batch_size": 16,
        "validation_samples": 200,
    },
    "network": {"hidden_size": 8},
}
STUDY = {
    "title": "Mine",
    "show": "routes",
    "seeds": 2,
    "config": {
        **TINY,
        "task": {"lags": ["swvl1"], "known_future": ["tp"]},
        "head": {"predict": "change"},
        "normalise": {"scope": "global"},
    },
    "process_models": {
        "bucket": {"source": "bucket", "of_cube": True},
        "planet": {"source": "planet", "options": {"resolution": 8.0, "years": "1961:1962"}},
    },
    "pretrained": {"Bucket first": "bucket", "Planet first": "planet"},
    "runs": {
        "LSTM": {"model": "lstm"},
        "Bucket first": {"model": "lstm", "train": {"learning_rate": 0.0003}},
        "Planet first": {"model": "lstm"},
    },
    "data": {
        "3 months": {"split": {"months": 3}},
        "all data": {},
        "99 months": {"split": {"months": 99}},
        "1 % of the cells": {"split": {"cells_share": 0.01}},
        "without climate C": {"split": {"without_climate": "C"}},
    },
}


def study(path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump(STUDY | changes))
    return path


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("routes") / "cube"
    save_cube(small_cube(cells=12, days=800), path)
    return path


@pytest.fixture(scope="module")
def done(cube: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three routes; not to be changed."""
    out = tmp_path_factory.mktemp("done")
    reproduce(study(out / "mine.yaml"), cube, out, jobs=1, log=lambda line: None)
    return out


@pytest.mark.slow
def test_each_run_that_is_pretrained_starts_from_the_process_model_with_its_seed(done: Path) -> None:
    runs = pd.read_csv(done / "dossier" / "runs.csv").dropna(subset="run")
    started = {file.name: open_run(file) for file in (done / "pretraining").iterdir()}
    by_weights = {run.record["weights_sha256"]: run for run in started.values()}
    assert len(started) == 4
    for model, seed, name in runs[["model", "seed", "run"]].itertuples(index=False):
        run = open_run(done / "runs" / name)
        if model.startswith("LSTM"):
            assert "init_sha256" not in run.record
            continue
        first = by_weights[run.record["init_sha256"]]
        assert first.config.train.seed == seed
        assert ("bucket" in json.loads(first.record["provenance"])["cube"]) == model.startswith("Bucket")
        # The keys of the run are those of its fine-tuning.
        assert first.config.train.learning_rate == 0.001
        assert run.config.train.learning_rate == (0.0003 if model.startswith("Bucket") else 0.001)
    bucket = [run for run in started.values() if run.record["train_period"].startswith("2018")]
    assert len(bucket) == 2
    assert all(run.record["validation_period"] < run.record["test_period"] for run in bucket)


@pytest.mark.slow
def test_an_amount_of_data_is_all_that_a_run_knows_of_observations(done: Path) -> None:
    runs = pd.read_csv(done / "dossier" / "runs.csv").set_index("model")
    record = open_run(done / "runs" / runs.loc["LSTM, 3 months", "run"].iloc[0]).record
    whole = open_run(done / "runs" / runs.loc["LSTM, all data", "run"].iloc[0]).record
    first, last = record["train_period"].split(":")[0], record["validation_period"].split(":")[1]
    assert last == whole["validation_period"].split(":")[1]
    months = (np.datetime64(last, "D") + 1).astype("datetime64[M]") - np.datetime64(first, "M")
    assert months.astype(int) == 3
    assert record["test_period"] == whole["test_period"]


@pytest.mark.slow
def test_what_cannot_be_is_told_with_its_reason(done: Path) -> None:
    words = text_of(done / "dossier" / "report.html")
    assert "99 months is skipped: split.months 99 is longer than the development period" in words
    assert "1 % of the cells is skipped: 1 % of 12 cells is less than one cell" in words


@pytest.mark.slow
def test_the_table_compares_with_the_reference_of_the_same_amount(done: Path, cube: Path) -> None:
    table = pd.read_csv(done / "dossier" / "mine.csv")
    assert list(dict.fromkeys(table["data"])) == ["3 months", "all data", "without climate C"]
    assert set(table["metric"]) == {"rmse", "rmse_dry", "rmse_wet"}
    rmse = table[table["metric"] == "rmse"].set_index(["data", "model"])
    for amount in ("3 months", "all data", "without climate C"):
        base = rmse.loc[(amount, "LSTM"), "value"]
        for model in ("Bucket first", "Planet first"):
            found = rmse.loc[(amount, model)]
            assert found["change"] == pytest.approx(100 * (found["value"] / base - 1), abs=1e-3)
            assert found["verdict"] in ("better", "worse", "no difference")
            assert (found["verdict"] == "no difference") == (found["p_adjusted"] > 0.05)
            assert found["detectable"] > 0
    text = (done / "dossier" / "report.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| Bucket first |"))
    for amount, cell in zip(("3 months", "all data", "without climate C"), row.split("|")[2:-1], strict=True):
        number = float(cell.split("%")[0].replace("−", "-"))
        assert number == pytest.approx(rmse.loc[(amount, "Bucket first"), "change"], abs=0.051)
    with open_cube(cube) as opened:
        unseen = int((climate_groups(opened) == 2).sum())
    assert set(rmse.loc["without climate C", "cells"]) == {unseen}
    assert set(rmse.loc["all data", "cells"]) == {12}


@pytest.mark.slow
def test_the_second_time_nothing_is_prepared_or_trained(done: Path, cube: Path) -> None:
    def touched() -> dict[Path, int]:
        folders = ("runs", "pretraining", "process_models")
        return {file: file.stat().st_mtime_ns for one in folders for file in (done / one).rglob("*") if file.is_file()}

    before, dossier = touched(), (done / "dossier" / "report.html").read_bytes()
    reproduce(done / "mine.yaml", cube, done, jobs=1, log=lambda line: None)
    assert touched() == before
    assert (done / "dossier" / "report.html").read_bytes() == dossier


@pytest.mark.slow
def test_a_pretraining_that_fails_fails_its_runs_alone(cube: Path, tmp_path: Path) -> None:
    wild = {**STUDY["config"], "train": {**TINY["train"], "learning_rate": 1e30}}  # type: ignore[dict-item]
    runs = {"LSTM": {"model": "lstm", "train": {"learning_rate": 0.001}}, "Bucket first": {"model": "lstm"}}
    mine = study(
        tmp_path / "mine.yaml",
        config=wild,
        runs=runs,
        seeds=1,
        pretrained={"Bucket first": "bucket"},
        process_models={"bucket": STUDY["process_models"]["bucket"]},  # type: ignore[index]
        data={"all data": {}},
    )
    told: list[str] = []
    reproduce(mine, cube, tmp_path / "out", jobs=1, log=told.append)
    runs_csv = pd.read_csv(tmp_path / "out" / "dossier" / "runs.csv").set_index("model")
    assert runs_csv.loc["Bucket first, all data", "why"].startswith("its pretraining failed: training diverged")
    assert runs_csv.loc["LSTM, all data", "status"] == "finished"


def test_inputs_that_a_process_model_lacks_are_left_out_of_all_runs(cube: Path, tmp_path: Path) -> None:
    save_cube(small_cube(cells=3, days=800, drop=["u10"]), tmp_path / "model")
    with open_cube(cube) as opened:
        loaded = load_study(study(tmp_path / "mine.yaml"))
        models = {"bucket": tmp_path / "model", "planet": cube}
        plan, runs = plan_study("mine", loaded, opened, [], process_models=models)
    assert "u10" in plan.left_out
    assert all("u10" not in config.task.dynamic for config in runs.values())


def test_the_routes_that_come_with_soilcast_plan_every_amount(cube: Path) -> None:
    loaded = load_study("routes")
    with open_cube(cube) as opened:
        models = dict.fromkeys(loaded.process_models, cube)
        plan, _ = plan_study("routes", loaded, opened, [], process_models=models)
    assert len(plan.rows) == len(loaded.rows) * len(loaded.data)
    assert [part.amount for part in plan.parts] == list(loaded.data)
    assert all(list(part.rows) == list(loaded.rows) for part in plan.parts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrained": {"LTSM": "bucket"}}, "pretrained: there is no run LTSM: did you mean LSTM"),
        ({"pretrained": {"LSTM": "buckte"}}, "pretrained: no process model buckte: did you mean bucket"),
        ({"data": {}}, "data: name amounts of training data for show: routes, and for no other"),
        ({"data": {"x": {"split": {"test": "2019"}}}}, r"data: x may set keys of split other than split\.test alone"),
        ({"data": {"x": {"train": {"epochs": 3}}}}, r"data: x may set keys of split other than split\.test alone"),
    ],
)
def test_a_study_that_cannot_be_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(SoilcastError, match=message):
        load_study(study(tmp_path / "mine.yaml", **changes))


def test_a_process_model_that_cannot_be_is_the_reason_of_its_runs_alone(tmp_path: Path) -> None:
    save_cube(small_cube(cells=3, days=800, drop=["t2m"]), tmp_path / "cube")
    mine = study(
        tmp_path / "mine.yaml",
        seeds=1,
        pretrained={"Bucket first": "bucket"},
        process_models={"bucket": STUDY["process_models"]["bucket"]},  # type: ignore[index]
        runs={"LSTM": {"model": "lstm"}, "Bucket first": {"model": "lstm"}},
        data={"all data": {}},
    )
    reproduce(mine, tmp_path / "cube", tmp_path / "out", jobs=1, log=lambda line: None)
    runs = pd.read_csv(tmp_path / "out" / "dossier" / "runs.csv").set_index("model")
    assert runs.loc["LSTM, all data", "status"] == "finished"
    assert "no t2m, which the bucket model needs" in runs.loc["Bucket first, all data", "why"]


@pytest.mark.slow
def test_killed_in_pretraining_or_after_it_goes_on_to_the_same_dossier(cube: Path, tmp_path: Path) -> None:
    mine = study(
        tmp_path / "mine.yaml",
        seeds=1,
        config={**STUDY["config"], "train": {**TINY["train"], "epochs": 12}},  # type: ignore[dict-item]
        pretrained={"Bucket first": "bucket"},
        process_models={"bucket": STUDY["process_models"]["bucket"]},  # type: ignore[index]
        runs={"LSTM": {"model": "lstm"}, "Bucket first": {"model": "lstm"}},
        data={"all data": {}},
    )
    reproduce(mine, cube, tmp_path / "expected", jobs=1, log=lambda line: None)
    out = tmp_path / "out"
    words = ["reproduce", mine, "--cube", cube, "--out", out, "--jobs", "1"]
    for moment in ("pretraining/*.unfinished/log.jsonl", "runs/*.unfinished/log.jsonl"):
        with start_command(*words) as process:
            wait_until(lambda: process.poll() is not None or any(out.glob(moment)))  # noqa: B023 (at once)
    assert run_command(*words).returncode == 0
    found, expected = (
        {file.name: file.read_bytes() for file in (folder / "dossier").iterdir() if file.name != "dossier.json"}
        for folder in (out, tmp_path / "expected")
    )
    assert found == expected


@pytest.mark.slow
def test_p_values_are_adjusted_for_what_the_tables_compare_and_no_more(done: Path) -> None:
    table = pd.read_csv(done / "dossier" / "mine.csv").dropna(subset="p_adjusted")
    assert len(table) == 3 * 3 * 2  # amounts, metrics, rows beside the reference
