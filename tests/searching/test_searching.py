"""A search from its file to its results: what it leaves, what it does not look at, and going on after an end."""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import soilcast
from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.experiments.searches import Search
from soilcast.ownership import kind_of
from soilcast.searching import search
from soilcast.sources import SOURCES
from soilcast.training import open_run
from tests.helpers.forks import Death, ends, run_command, start
from tests.helpers.small import few, small_cube

CONFIG: dict[str, Any] = {
    "train": {"epochs": 3, "validate_every": 1, "batches_per_epoch": 4, "batch_size": 16},
    "task": {"dynamic": ["t2m", "tp"], "static": ["elevation"], "lags": ["swvl1"]},
    "split": {"test": "2020-01-01:2020-03-10"},
}
SPACES: dict[str, Any] = {
    "network.hidden_size": {"low": 4, "high": 8},
    "train.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "task.window": [3, 5],
}
PLAN: dict[str, Any] = {"config": CONFIG, "search": SPACES, "trials": 5, "batch": 2}
LEFT = [".soilcast-lock", "best.yaml", "runs", "search.json", "trials.csv", "trials.jsonl", "trials.png"]
RESULTS = ("trials.jsonl", "trials.csv", "best.yaml")


def silent(line: object) -> None:
    """Say nothing."""


def results(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in RESULTS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube, a search of it, and what that leaves without any interruption."""
    path = tmp_path_factory.mktemp("searching")
    save_cube(small_cube(cells=5, days=800), path / "cube")
    (path / "search.yaml").write_text(yaml.safe_dump(PLAN, sort_keys=False))
    search(path / "search.yaml", path / "out", cube=path / "cube", log=silent)
    return path


@pytest.mark.slow
def test_the_best_trial_is_written_as_a_config(folder: Path, tmp_path: Path) -> None:
    told: list[str] = []
    table = search(Search(**PLAN), tmp_path / "out", cube=folder / "cube", keep_runs=True, log=told.append)
    out = folder / "out"
    assert sorted(one.name for one in out.iterdir()) == LEFT
    assert results(tmp_path / "out") == results(out)
    assert list(table.columns) == ["status", "value", *SPACES, "values", "epochs", "reason"]
    assert sorted(table.index) == [0, 1, 2, 3, 4]
    assert table["value"].is_monotonic_increasing
    best = table.index[0]
    config = soilcast.load_config(out / "best.yaml")
    found = (config.network.hidden_size, config.train.learning_rate, config.task.window)
    assert found == tuple(table.loc[best, list(SPACES)])
    assert (config.train.threads, config.train.epochs, config.task.lags) == (0, 3, ("swvl1",))
    assert [one.name for one in (out / "runs").iterdir()] == [f"trial-{best:04d}-s0"]
    assert len([*(tmp_path / "out" / "runs").iterdir()]) == 5
    run = open_run(out / "runs" / f"trial-{best:04d}-s0")
    assert run.record["validation_ratio"] == table["value"].iloc[0]
    about = json.loads((out / "search.json").read_text())
    assert about["cube_sha256"] == run.record["cube_sha256"]
    assert about["best"]["trial"] == best
    assert about["trials"] == {"complete": 5, "pruned": 0, "failed": 0}
    assert "judge it on the test days by soilcast evaluate" in told[-1]
    assert sum(line.startswith("trial ") for line in told[:5]) == 5


@pytest.mark.slow
def test_what_lies_in_the_test_days_changes_nothing(folder: Path, tmp_path: Path) -> None:
    cube = small_cube(cells=5, days=800)
    test = cube["time"].to_numpy() >= soilcast.open_cube(folder / "cube")["time"].to_numpy()[730]
    for name in ("swvl1", "t2m", "tp"):
        values = cube[name].to_numpy().copy()
        values[:, test] = values[::-1, test] * 0.9
        cube[name] = (("cell", "time"), values, cube[name].attrs)
    save_cube(cube, tmp_path / "cube")
    search(folder / "search.yaml", tmp_path / "out", cube=tmp_path / "cube", log=silent)
    assert results(tmp_path / "out") == results(folder / "out")
    hashes = [
        json.loads((one / "search.json").read_text())["cube_sha256"] for one in (tmp_path / "out", folder / "out")
    ]
    assert hashes[0] != hashes[1]


def search_until(death: Death | None, folder: Path, out: Path) -> None:
    """Search in a process of its own, which may die of it."""
    if death is not None:
        death.await_in(out)
    search(folder / "search.yaml", out, cube=folder / "cube", resume=True, log=silent)


@pytest.mark.slow
def test_a_search_that_is_killed_again_and_again_goes_on_as_if_it_had_not_been(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lengths = []
    for change in itertools.count(50, 70):
        code = ends(start(search_until, Death(change), folder, out))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        journal = out / "trials.jsonl"
        lengths.append(len(journal.read_text().splitlines()) if journal.exists() else 0)
    assert len({*lengths} & {1, 2, 3, 4}) >= 2, "it was killed between trials"
    assert results(out) == results(folder / "out")
    assert sorted(one.name for one in out.iterdir()) == LEFT


@pytest.mark.slow
def test_the_command_is_that_function(folder: Path, tmp_path: Path) -> None:
    words = ["search", "search.yaml", "--cube", "cube", "--out", tmp_path / "out", "--set", "train.epochs=1"]
    done = run_command(*words, folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "judge it on the test days by soilcast evaluate" in done.stdout
    refused = run_command(*words, folder=folder)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "exists already: continue with --resume" in refused.stderr


@pytest.mark.slow
def test_trials_do_not_depend_on_how_many_are_trained_at_once(folder: Path, tmp_path: Path) -> None:
    search(Search(**{**PLAN, "trials": 2}), tmp_path / "out", cube=folder / "cube", jobs=2, log=silent)
    one, two = ((path / "out" / "trials.jsonl").read_text().splitlines() for path in (folder, tmp_path))
    assert two == one[:2]


def test_the_data_can_be_those_of_a_source(
    tmp_path: Path, made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "small", lambda paths, seed=0: few(cells=4, days=100, seed=seed))
    told: list[str] = []
    options: dict[str, Any] = {"source": "small", "options": {"seed": 3}, "trials": 1, "log": told.append}
    made(tmp_path / "out", cube=None, **options)
    assert kind_of(tmp_path / "out") == "search"
    assert "4 cells, 100 days" in told[0]
    made(tmp_path / "out", cube=None, resume=True, **options)
    assert sum(line.startswith("trial 0") for line in told) == 1
    made(tmp_path / "out", cube=None, overwrite=True, **options)
    assert sum(line.startswith("trial 0") for line in told) == 2
    with pytest.raises(SoilcastError, match="the search names a source: leave out --cube"):
        made(tmp_path / "out", resume=True, **options)
    with pytest.raises(SoilcastError, match="no such source smal: did you mean small"):
        made(tmp_path / "other", cube=None, **{**options, "source": "smal"})
    made(tmp_path / "other", cube=None, **options)  # what could not be prepared is in nobody's way


@pytest.mark.slow
def test_a_trial_is_pruned_where_it_is_behind_the_others(folder: Path, tmp_path: Path) -> None:
    plan = {**PLAN, "trials": 4, "pruning": "median", "warm_up_trials": 2, "warm_up_epochs": 1, "seeds": 2}
    table = search(Search(**plan), tmp_path / "out", cube=folder / "cube", log=silent)
    pruned = table[table["status"] == "pruned"]
    assert len(pruned)
    assert pruned["value"].isna().all()
    assert all("2" in epochs.split() for epochs in pruned["epochs"])
    assert set(table[table["status"] == "complete"]["epochs"]) == {"3 3"}
    again = search(Search(**plan), tmp_path / "out", cube=folder / "cube", resume=True, log=silent)
    assert again.to_csv() == table.to_csv()


def test_what_may_be_replaced_is_a_search_alone(tmp_path: Path, made: Callable[..., Any]) -> None:
    out = tmp_path / "out"
    table = made(out)
    assert kind_of(out) == "search"
    with pytest.raises(SoilcastError, match="out exists already: continue with --resume"):
        made(out)
    with pytest.raises(SoilcastError, match=r"a search with another search: .*--overwrite to start over"):
        made(out, resume=True, search={"task.window": [3, 4, 5]}, trials=2)
    with pytest.raises(SoilcastError, match="a search with another settings"):
        made(out, resume=True, settings=["train.epochs=2"])
    assert made(out, overwrite=True, trials=2).shape[0] == 2
    (out / "thesis.tex").write_text("years of work")
    for options in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(SoilcastError, match="did not write"):
            made(out, trials=2, **options)
    (out / "thesis.tex").unlink()
    assert made(out, resume=True).to_csv() == table.to_csv()
