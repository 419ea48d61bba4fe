"""Which values are tried, when a trial is given up, and what is refused before anything is trained."""

from __future__ import annotations

import itertools
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

import soilcast
from soilcast.errors import SoilcastError
from soilcast.experiments.searches import Search, config_of, load_search, refuse_impossible
from soilcast.schema import parse_yaml
from soilcast.searching.figure import draw_trials
from soilcast.searching.journal import Trial, limits_of
from soilcast.searching.proposing import propose
from soilcast.searching.trials import trained_as
from tests.helpers import ROOT
from tests.helpers.figure_texts import watched_figures
from tests.searching.conftest import Made

RATES = {"train.learning_rate": {"low": 0.0001, "high": 0.4, "log": True}}


def done_by(search: Search, count: int) -> list[Trial]:
    """Trials of a search, batch by batch, whose value is the sum of their numbers."""
    done: list[Trial] = []
    while len(done) < count:
        for values in propose(search, done, min(search.batch, count - len(done))):
            value = sum(one for one in values.values() if isinstance(one, int | float))
            done.append(Trial(trial=len(done), parameters=values, status="complete", value=value))
    return done


def test_every_combination_is_tried_once() -> None:
    spaces = {
        "network.hidden_size": {"low": 8, "high": 24, "step": 8},
        "task.lags": [[], ["swvl1"], ["swvl1", "swvl2"]],
    }
    done = done_by(Search(search=spaces, trials=9), 9)
    tried = sorted(json.dumps(list(one.parameters.values())) for one in done)
    assert tried == sorted(
        json.dumps([size, lags]) for size, lags in itertools.product((8, 16, 24), spaces["task.lags"])
    )


def test_the_later_trials_follow_the_better_ones() -> None:
    spaces = {"network.dropout": {"low": 0.0, "high": 0.9}, "network.hidden_size": {"low": 1, "high": 4}}
    done = done_by(Search(search=spaces), 40)
    early, late = (np.mean([one.value for one in part]) for part in (done[:10], done[30:]))
    assert late < early
    drawn = [one.parameters["network.dropout"] for one in done]
    assert all(0 <= one <= 0.9 and one == float(f"{one:.4g}") for one in drawn)
    assert {type(one.parameters["network.hidden_size"]) for one in done} == {int}


def test_the_order_of_the_keys_changes_nothing() -> None:
    spaces = {**RATES, "network.dropout": {"low": 0.0, "high": 0.9}}
    turned = dict(reversed(spaces.items()))
    one, other = (done_by(Search(search=of), 12) for of in (spaces, turned))
    assert [trial.parameters for trial in one] == [trial.parameters for trial in other]


def test_steps_of_a_range_are_what_a_person_would_write() -> None:
    spaces = {"network.dropout": {"low": 0.0, "high": 0.6, "step": 0.1}}
    tried = {one.parameters["network.dropout"] for one in done_by(Search(search=spaces, trials=7), 7)}
    assert tried == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6}


def test_limits_are_medians_of_those_that_came_so_far() -> None:
    def of(number: int, losses: dict[int, float], status: Any = "complete") -> Trial:
        return Trial(trial=number, parameters={}, status=status, losses=losses)

    done = [of(0, {1: 4.0, 2: 2.0}), of(1, {1: 5.0, 2: 3.0, 3: 1.0}), of(2, {1: 9.0}), of(3, {1: 0.1}, "pruned")]
    assert limits_of(done, fewest=2, epochs=0) == {1: 5.0, 2: 2.5}
    assert limits_of(done, fewest=2, epochs=1) == {2: 2.5}
    assert limits_of(done, fewest=4, epochs=0) == {}


def test_more_trials_can_be_asked_for_later(tmp_path: Path, made: Made) -> None:
    made(tmp_path / "few", trials=6)
    many = made(tmp_path / "few", trials=11, resume=True)
    assert many.to_csv() == made(tmp_path / "many", trials=11).to_csv()
    assert abs(np.log(many["train.learning_rate"].iloc[0] / 0.01)) == pytest.approx(many["value"].iloc[0])


def test_every_seed_counts(tmp_path: Path, made: Made) -> None:
    table = made(tmp_path, seeds=3)
    values = [[float(one) for one in cell.split()] for cell in table["values"]]
    np.testing.assert_allclose(table["value"], np.mean(values, axis=1))
    np.testing.assert_allclose(np.diff(values, axis=1), 0.01)


def test_trials_are_not_refitted_on_the_days_that_they_are_compared_on(tmp_path: Path, made: Made) -> None:
    made(tmp_path, config={"train": {"refit": True, "seed": 5}}, trials=1)
    config = soilcast.load_config(tmp_path / "best.yaml")
    trained = trained_as(config, 2).train
    assert (config.train.refit, config.train.seed, config.train.threads) == (True, 5, 0)
    assert (trained.refit, trained.seed, trained.threads) == (False, 7, 1)


def test_pruned_trials_are_no_candidates(tmp_path: Path, made: Made) -> None:
    table = made(tmp_path, trials=20, pruning="median", warm_up_trials=3, objective="validation_loss")
    pruned = table[table["status"] == "pruned"]
    assert 0 < len(pruned) < 17
    assert list(table["status"]) == ["complete"] * (20 - len(pruned)) + ["pruned"] * len(pruned)
    assert table["value"].iloc[0] == min(table["value"].dropna())


def test_values_that_do_not_go_together_are_a_trial_that_failed(tmp_path: Path, made: Made) -> None:
    spaces = {"loss.balance": ["none", "single"], "loss.weights": [[1.0, 0.0], [0.5, 0.5]]}
    table = made(tmp_path, search=spaces, trials=4)
    assert list(table["status"]) == ["complete", "complete", "failed", "failed"]
    assert "loss.balance is none: set loss.balance, or l2=0" in " ".join(table["reason"])
    wild = {"train.learning_rate": {"low": 1.0, "high": 2.0}}
    with pytest.raises(SoilcastError, match=r"all trials so far failed \(training diverged\): correct this"):
        made(tmp_path / "wild", search=wild)


def test_a_time_in_which_nothing_can_be_chosen_is_refused(tmp_path: Path, made: Made) -> None:
    with pytest.raises(SoilcastError) as caught:
        made(tmp_path, hours=1e-12)
    assert "--hours 1e-12 is too short: a trial takes about" in str(caught.value)
    assert "for all 6, or lower train.epochs, train.batches_per_epoch or seeds" in str(caught.value)
    assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == 1
    with pytest.raises(SoilcastError, match="--hours -1: give a time above 0"):
        made(tmp_path, hours=-1, resume=True)


def test_no_trial_is_begun_that_would_not_end_in_time(
    tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0.0, 3600.0)  # an hour from one look to the next, of which there are two a trial at most
    with monkeypatch.context() as patched:
        patched.setattr("soilcast.searching.monotonic", lambda: next(clock))
        told: list[str] = []
        table = made(tmp_path / "out", hours=6.5, log=told.append)
    assert 2 <= len(table) < 6
    assert f"--hours 6.5: {len(table)} of 6 trials; --resume goes on" in told
    assert made(tmp_path / "out", resume=True).to_csv() == made(tmp_path / "whole").to_csv()


def test_a_fault_of_the_machine_is_none_of_the_trial(
    tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(cube: Path, runs: Any, *, ended: Any, **options: Any) -> None:
        ended(next(iter(runs)), SoilcastError("its process was killed (SIGKILL): continue with --resume"))

    with monkeypatch.context() as patched:
        patched.setattr("soilcast.searching.trials.train_runs", killed)
        with pytest.raises(SoilcastError, match="killed"):
            made(tmp_path / "out")
    assert made(tmp_path / "out", resume=True).to_csv() == made(tmp_path / "whole").to_csv()


def test_a_journal_of_other_trials_is_refused(tmp_path: Path, made: Made) -> None:
    made(tmp_path, trials=5)
    journal = tmp_path / "trials.jsonl"
    lines = journal.read_text().splitlines()
    changed = json.loads(lines[4])
    changed["parameters"]["train.learning_rate"] = 0.2
    journal.write_text("\n".join([*lines[:4], json.dumps(changed)]) + "\n")
    with pytest.raises(SoilcastError, match="not those of this version of optuna: start over with --overwrite"):
        made(tmp_path, trials=6, resume=True)
    journal.write_text(lines[0][:-9])
    with pytest.raises(SoilcastError, match=r"trials\.jsonl: damaged"):
        made(tmp_path, trials=6, resume=True)


def test_without_optuna_it_is_told_how_to_install_it(
    tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SoilcastError, match=r"search needs an extra: install it with pip install 'soilcast\[search\]'"):
        made(tmp_path / "out")
    assert not (tmp_path / "out").exists()


FAULTS: dict[str, str] = {
    "serch: {task.window: [1, 2]}": "unknown key serch: did you mean search?",
    "trials: 3": "key search is missing",
    "search: {}": "search: name at least one config key, with {low, high} or a list of values",
    "search: {train.epoch: [1, 2]}": "search: unknown config key train.epoch: did you mean train.epochs?",
    "search: {outlook.path: [a, b]}": "search: outlook.path was renamed to head.name",
    "search: {task.window: 3}": "search: task.window: write {low: ..., high: ...}, or a list of values",
    "search: {task.window: [3]}": "search: task.window: name at least two values, each once",
    "search: {task.window: [3, 3]}": "search: task.window: name at least two values, each once",
    "search: {task.window: [3, 0]}": "search: task.window: Input should be greater than or equal to 1, but it is 0",
    "search: {train.schedule: [cosin, constant]}": "search: train.schedule: Input should be 'constant', 'cosine'",
    "search: {model: [lstm, lsmt]}": "search: model lsmt: no such model: did you mean lstm?",
    "search: {loss.name: {low: 1, high: 2}}": "search: loss.name is no number: name its values in a list",
    "search: {task.window: {low: 1, hgih: 2}}": "search: task.window: unknown key hgih: did you mean high?",
    "search: {task.window: {low: 1.5, high: 3}}": "search: task.window is a whole number: give whole low, high",
    "search: {task.window: {low: 3, high: 1}}": "search: task.window: low must be below high",
    "search: {task.window: {low: 1, high: 4, step: 2}}": "search: task.window: step must divide the distance",
    "search: {task.window: {low: 0, high: 4}}": "search: task.window: Input should be greater than or equal to 1",
    "search: {network.dropout: {low: 0, high: 0.5, log: true}}": "network.dropout: log needs low above 0, and no step",
    "search: {split.test: ['2019', '2020']}": "search: split.test cannot be searched (the validation days would not be",
    "search: {task.lead_days: [1, 2]}": "search: task.lead_days cannot be searched (trials would forecast different",
    "search: {train.refit: [true, false]}": "search: train.refit cannot be searched (it trains on the validation days)",
    "search: {train.seed: [1, 2]}": "search: train.seed cannot be searched (it is set by seeds): set it under config",
    "search: {task.window: [3, 5]}\nconfig: {task: {window: 3}}": "task.window is under search and under config",
    "search: {task.window: [3, 5]}\ntrials: 3": "trials: 3 are asked for, but search has 2 combinations: set trials: 2",
    "search: {task.window: [3, 5]}\ntrials: 0": "trials: Input should be greater than or equal to 1, but it is 0",
    "search: {loss.space: [normalised, physical]}\ntrials: 2\nobjective: validation_loss": "objective: validation_loss "
    "cannot compare trials that differ in loss.space, whose losses are different quantities: use objective: ratio",
    "search: {model: [lstm, phy-lstm]}\ntrials: 2\npruning: median": "pruning: median cannot compare the losses of "
    "trials that differ in model",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_of_the_file_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text + "\n")
    with pytest.raises(SoilcastError) as caught:
        load_search(file)
    assert FAULTS[text] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_no_trial_could_be_trained_with_is_refused_before_any_work(tmp_path: Path, made: Made) -> None:
    out = tmp_path / "out"
    with pytest.raises(SoilcastError, match=r"--set train\.learning_rate=1: train\.learning_rate is searched"):
        made(out, settings=["train.learning_rate=1"])
    with pytest.raises(SoilcastError, match=r"unknown key train\.epoch: did you mean train\.epochs"):
        made(out, config={"train": {"epoch": 3}})
    with pytest.raises(SoilcastError, match=r"model multi-day has another task\.lead_days than lstm"):
        made(out, search={"model": ["lstm", "multi-day"]}, trials=2)
    with pytest.raises(SoilcastError, match="the search names no source: give the data by --cube CUBE"):
        soilcast.search(Search(search=RATES), out)
    with pytest.raises(SoilcastError, match="nowhere: no such cube"):
        made(out, cube=tmp_path / "nowhere")
    with pytest.raises(SoilcastError, match=r"nowhere\.yaml: no such file"):
        soilcast.search(tmp_path / "nowhere.yaml", out)
    assert not out.exists()


@pytest.mark.slow
def test_no_text_of_the_figure_lies_on_another(monkeypatch: pytest.MonkeyPatch) -> None:
    spaces = {
        "network.hidden_size": {"low": 8, "high": 64, "step": 8},
        "train.learning_rate": {"low": 0.00001, "high": 0.1, "log": True},
        "train.batches_per_epoch": {"low": 30, "high": 3000, "log": True},
        "network.dropout": {"low": 0.0, "high": 0.5},
        "task.dynamic": [["t2m", "tp", "sp", "ssrd", "strd"], ["t2m", "tp"], []],
        "train.validation_dropout": [True, False],
        "train.batch_size": [16, 32, 64, 128, 256, 512],
        "loss.lead_decay": {"low": 0, "high": 10},
    }
    plan = Search(search=spaces)
    done = done_by(plan, 30)
    done[3] = done[3].model_copy(update={"status": "pruned", "value": None})
    done[4] = done[4].model_copy(update={"status": "failed", "value": None})
    few = Search(search={"task.window": [3, 5]}, trials=2, objective="validation_loss")
    with watched_figures(monkeypatch) as seen:
        pictures = [draw_trials(plan, done), draw_trials(few, done_by(few, 2)), draw_trials(few, done_by(few, 1))]
    assert len(seen) == 3
    assert all(one.startswith(b"\x89PNG") for one in pictures)


def test_the_example_of_the_docs_is_a_search() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/own-model.md").read_text(encoding="utf-8"), re.DOTALL)
    plan = Search(**parse_yaml(example, "docs"))
    refuse_impossible(plan, ())
    assert (plan.trials, plan.objective) == (40, "ratio")


def test_a_file_with_a_mapping_is_read_from_where_it_lies(tmp_path: Path) -> None:
    content = {"source": "table", "paths": ["a.nc"], "options": {"mapping": "mine.yaml"}, "search": RATES}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(content))
    assert load_search(tmp_path / "search.yaml").options == {"mapping": tmp_path / "mine.yaml"}


def test_the_guidance_of_a_class_can_be_searched_class_by_class() -> None:
    choices = [{"loss.balance": "none"}, {"loss.balance": "single", "loss.weights": [0.5, 0.5]}]
    plan = Search(
        config={"loss": {"by": "climate_zone"}}, search={"loss.classes.B": choices, "loss.classes.C": choices}, trials=4
    )
    config = config_of(plan, {"loss.classes.B": choices[0], "loss.classes.C": choices[1]})
    assert config.loss.classes == {"B": choices[0], "C": choices[1]}
    assert config.of_class("C").loss.weights == (0.5, 0.5)
    with pytest.raises(ValidationError, match=r"loss\.classes\.B.*valid dictionary, but it is 3"):
        Search(search={"loss.classes.B": [3, 4]}, trials=2)
    with pytest.raises(ValidationError, match=r"loss\.classes\.B is no number: name its values in a list"):
        Search(search={"loss.classes.B": {"low": 1, "high": 2}}, trials=2)
