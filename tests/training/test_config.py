"""The configuration: files, settings, and what a user reads when a key is wrong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from soilcast.errors import SoilcastError
from soilcast.models import HEADS, NETWORKS, StoreHead
from soilcast.schema import dotted_keys
from soilcast.task import Task
from soilcast.training.build import build_loss, build_networks
from soilcast.training.config import FORMER_KEYS, PRESETS, Config, load_config
from soilcast.training.keys import ConfigKey, commented_yaml, describe_keys
from soilcast.training.losses import LOSSES

LAG = "task.lags=[swvl1]"
TWO = ("task.lead_days=2", LAG)


@pytest.mark.parametrize("name", ["direct", "rollout"])
def test_what_is_assumed_of_heads_without_their_classes_is_so(name: str) -> None:
    assert not HEADS[name].needs_water
    assert not issubclass(HEADS[name], StoreHead)


def test_defaults_are_the_papers() -> None:
    config = Config()
    task = config.task
    assert len(task.dynamic) + len(task.static) == 14
    assert (task.layers, task.target, task.window, task.lead_days) == (("swvl1",), "swvl1", 7, 1)
    assert (task.lags, task.latency, task.known_future, task.quantiles) == ((), {}, (), ())
    assert (config.network.hidden_size, config.network.dropout) == (128, 0.15)
    train = config.train
    assert (train.epochs, train.validate_every, train.patience, train.learning_rate) == (1000, 20, 10, 0.001)
    assert (train.batch_size, train.batches_per_epoch, config.split.validation_share) == (64, 300, 0.25)
    assert (config.water.terms, config.water.snow) == (("P", "E", "SRO", "dSD"), "paper")


def test_a_preset_gives_what_the_config_leaves_out() -> None:
    found = {name: load_config(model=name).loss for name in ("lstm", "phy-lstm", "phys-lstm")}
    assert {name: (loss.name, loss.balance, loss.weights) for name, loss in found.items()} == {
        "lstm": ("rmse", "none", (1.0, 0.0)),
        "phy-lstm": ("rmse", "single", (0.5, 0.5)),
        "phys-lstm": ("rmse", "multi", (0.1, 0.9)),
    }
    assert load_config(settings=["loss.weights=[3,7]"], model="phy-lstm").loss.weights == (3.0, 7.0)
    assert [load_config(model=name).balance for name in found] == [None, "single", "multi"]


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_is_a_model(name: str) -> None:
    config = load_config(model=name)
    assert config.model == name
    assert Config.model_validate(config.model_dump(mode="json")) == config
    assert config.network.name in NETWORKS
    assert config.head.name in HEADS
    assert build_loss(config).name in LOSSES
    (network,) = build_networks(config)
    assert network.output_shape[:2] == (config.task.lead_days, len(config.task.layers))


def test_the_config_of_a_guided_run_does_not_depend_on_its_preset() -> None:
    by_preset = load_config(model="phys-lstm")
    by_hand = load_config(settings=["loss.balance=multi", "loss.weights=[0.1,0.9]", "label=PHYs-LSTM"])
    assert by_hand.model_copy(update={"model": "phys-lstm"}) == by_preset


def test_settings_win_over_the_file_and_the_model_over_both(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("model: lstm\ntrain: {epochs: 7, seed: 3}\nsplit: {test: 2020-02-01:2020-03-01}\n")
    config = load_config(file, ["train.epochs=9", "water.terms=[P, E]"], model="phy-lstm")
    assert (config.model, config.train.epochs, config.train.seed) == ("phy-lstm", 9, 3)
    assert config.water.terms == ("P", "E")
    assert config.split.test == ("2020-02-01:2020-03-01",)


@pytest.mark.parametrize("value", ["2020", "2020-03", "2020-01-01", "2020-01-01:2020-12-31"])
def test_periods_stay_as_written(value: str) -> None:
    assert load_config(settings=[f"split.test={value}"]).split.test == (value,)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("train.epoch=3", "did you mean train.epochs?"),
        ("water.term=[P]", "did you mean water.terms?"),
        ("epochs=3", "train.epochs"),
        ("train.epochs=many", "train.epochs"),
        ("train.epochs=0", "train.epochs"),
        ("train.epochs", "write key=value"),
        ("train.sampling=random", "train.sampling"),
        ("split.test=last year", "is not a period"),
        ("task.dynamic=[t2m, rain]", "rain is not a variable of the cube"),
        ("task.dynamic=[t2m, t2m]", "named twice"),
        ("model=lsmt", "did you mean lstm?"),
        ("loss.weights=[0, 1]", "loss.weights"),
        ("train.epochs=[", "not valid YAML"),
        ("task.dynamic=[t2m, clay]", "clay is static: name it in task.static"),
        ("task.static=[t2m]", "t2m is dynamic: name it in task.dynamic"),
        ("task.dynamic=[]", "no input changes from day to day"),
        ("task.dynamic=all", "task.dynamic: write auto, paper or a list of variables"),
        ("loss.weights=[.nan, 1]", "loss.weights: l1 must be above 0"),
        ("loss.weights=[1, .inf]", "loss.weights: l1 must be above 0"),
        ("train.learning_rate=.inf", "train.learning_rate"),
        ("task.layers=[]", "task.layers: name at least one layer"),
        ("task.layers=[swvl5]", "task.layers"),
        ("task.lags=[swvl1, swvl1]", "named twice"),
        ("task.dynamic=[tp, swvl1]", "swvl1 is soil moisture, which is an input by task.lags: name it there"),
        ("task.quantiles=[0.9, 0.1]", "quantiles must be ascending and between 0 and 1"),
        ("task.quantiles=[0.5, 0.5]", "quantiles must be ascending and between 0 and 1"),
        ("task.quantiles=[0.5, 1]", "quantiles must be ascending and between 0 and 1"),
        ("network.name=lstn", "network.name: no such network: did you mean lstm?"),
        ("head.name=roll_out", "head.name: no such head: did you mean rollout?"),
        ("loss.name=rms", "loss.name: no such loss: did you mean rmse?"),
        ("loss.balance=double", "loss.balance"),
        ("loss.space=persistent", "loss.space"),
        ("task.latency={lag: 2}", "latency names lag, which is not an input: did you mean lags?"),
        ("task.latency={swvl3: 2}", "latency names swvl3, which is not an input"),
        ("task.latency=61", "latency of all is 61 days: give 0 to 60"),
        ("task.latency=-1", "latency of all is -1 days: give 0 to 60"),
        ("task.latency=true", "task.latency"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, expected: str) -> None:
    with pytest.raises(SoilcastError) as caught:
        load_config(settings=[setting])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_of_a_file_is_named_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("train:\n  batchsize: 3\n")
    with pytest.raises(
        SoilcastError, match=r"mine\.yaml: unknown key train\.batchsize: did you mean train\.batch_size"
    ):
        load_config(file)


def test_a_value_where_keys_belong_is_refused_whatever_is_set_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("train: 3\n")
    with pytest.raises(SoilcastError, match=r"mine\.yaml: train: .*but it is 3"):
        load_config(file, ["train.epochs=5"])
    file.write_text("train:\n")
    assert load_config(file, ["train.epochs=5"]).train.epochs == 5


def test_the_target_is_no_deep_layer_of_its_own_balance() -> None:
    target = "task.layers=[swvl2]"
    with pytest.raises(
        SoilcastError,
        match=r"begins with swvl2, which is also one of water\.deep_layers.*set water\.deep_layers=\[swvl3\]$",
    ):
        load_config(settings=[target], model="phys-lstm")
    with pytest.raises(SoilcastError, match=r"also one of water\.deep_layers.*use loss\.balance=single$"):
        load_config(settings=[target, "water.deep_layers=[swvl2]"], model="phys-lstm")
    for model, settings in (("phys-lstm", ["water.deep_layers=[swvl3]"]), ("phy-lstm", []), ("lstm", [])):
        assert load_config(settings=[target, *settings], model=model).task.target == "swvl2"
    # A deep layer may be forecast too, as long as it is not the one that the balance is of.
    assert load_config(settings=["task.layers=[swvl1,swvl2]"], model="phys-lstm").task.target == "swvl1"


def described() -> dict[str, ConfigKey]:
    return {row.key: row for rows in describe_keys().values() for row in rows}


def test_every_key_is_described_under_its_section() -> None:
    assert set(described()) == set(dotted_keys(Config))
    assert all(row.meaning for row in described().values())
    for heading, rows in describe_keys().items():
        section, _, about = heading.partition(": ")
        assert about
        assert {row.key.partition(".")[0] for row in rows} == ({"model", "label"} if section == "run" else {section})


def test_choices_are_those_of_the_type_or_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = described()
    assert rows["head.predict"].choices == "level, change, departure"
    assert rows["task.layers"].choices == "swvl1, swvl2, swvl3, swvl4"
    assert rows["split.without_climate"].choices == "none, A, B, C, D, E"
    assert (rows["task.lead_days"].choices, rows["train.epochs"].choices) == ("1 to 60", ">= 1")
    assert (rows["network.dropout"].choices, rows["train.learning_rate"].choices) == (">= 0, < 1", "> 0")
    assert (rows["split.test"].default, rows["split.without_climate"].default) == ("auto", "none")
    assert rows["task.lead_days"].meaning.endswith("[d]")
    monkeypatch.setitem(LOSSES, "mine", LOSSES["rmse"])
    assert described()["loss.name"].text.endswith("allowed: rmse, quantiles, cmal, mine")


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_commented_config_is_taken_again_unchanged(name: str, tmp_path: Path) -> None:
    for config in (load_config(model=name), load_config(model=name, settings=["train.seed=7", "split.test='2020'"])):
        file = tmp_path / "config.yaml"
        file.write_text(commented_yaml(config), encoding="utf-8")
        assert load_config(file) == config
        assert commented_yaml(load_config(file)) == commented_yaml(config)


def test_the_commented_config_shows_what_was_set_beside_its_default() -> None:
    before, after = (
        commented_yaml(load_config(settings=settings)).splitlines()
        for settings in ([], ["train.epochs=9", "split.test=2020"])
    )
    assert [(old, new) for old, new in zip(before, after, strict=True) if old != new] == [
        ("  test: auto", "  test: '2020'"),
        ("  epochs: 1000", "  epochs: 9"),
    ]
    place = after.index("  epochs: 9")
    assert after[place - 2 : place] == ["  # maximum number of epochs; allowed: >= 1", "  # default: 1000"]


@pytest.mark.parametrize("key", ["split.test", "split.development", "split.without_climate"])
def test_what_is_not_set_can_be_set_back(key: str) -> None:
    value = "A" if key == "split.without_climate" else "2019"
    word = described()[key].default
    base = load_config(settings=[f"{key}={value}"]).model_dump(mode="json")
    assert load_config(settings=[f"{key}={word}"], base=base) == Config()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["loss.weights=[0.5,0.5]"], "l2 of loss.weights is above 0, but loss.balance is none"),
        (["loss.balance=single"], "loss.balance=single has no effect while l2 of loss.weights is 0"),
        (
            ["head.predict=change"],
            "the forecast of swvl1 starts from its newest observation, but it is not in task.lags",
        ),
        (["head.name=rollout"], "the forecast of swvl1 starts from its newest observation"),
        (
            [*TWO, "task.layers=[swvl1,swvl2]", "head.predict=change"],
            "the forecast of swvl2 starts from its newest observation",
        ),
        (
            ["task.lead_days=2", "task.known_future=[tp]", "head.name=bucket", "head.predict=change"],
            "the forecast of swvl1 starts from its newest observation",
        ),
        (
            ["task.layers=[swvl1,swvl2]", "task.lags=[swvl1,swvl2]", "task.latency={swvl1: 2}", "head.name=rollout"],
            "head.name=rollout needs one task.latency for all task.layers",
        ),
        ([*TWO, "loss.rain=1"], "needs precipitation of the forecast days: add tp to task.known_future"),
        (
            [*TWO, "head.name=bucket", "head.predict=change"],
            "needs precipitation of the forecast days: add tp to task.known_future",
        ),
        ([*TWO, "head.name=rollout", "head.lead1_only=true"], "head.name=rollout has one linear layer for all leads"),
        (
            [*TWO, "task.known_future=[tp]", "head.name=bucket", "head.predict=change", "loss.rain=1"],
            "head.name=bucket fills its stores with the rain itself",
        ),
        (
            [*TWO, "task.known_future=[tp]", "head.name=bucket", "head.predict=change", "loss.name=cmal"],
            "does not work with loss.name=cmal",
        ),
        ([*TWO, "task.known_future=[tp]", "head.name=bucket"], "set head.predict=change"),
        (
            [*TWO, "task.known_future=[tp]", "head.name=bucket", "head.predict=change", "network.mc_dropout=5"],
            "head.name=bucket has no dropout to sample from: remove network.mc_dropout",
        ),
        *(
            (
                [f"task.layers={layers}", f"task.lags={layers}", "task.known_future=[tp]", *closing],
                f"{closing[0]} lets each layer drain into the next: name task.layers from the surface down",
            )
            for closing in (
                ("head.name=water_balance", "head.predict=change"),
                ("head.name=mc_lstm", "head.predict=change"),
            )
            for layers in ("[swvl2]", "[swvl2,swvl1]", "[swvl1,swvl3]")
        ),
        (["loss.name=quantiles"], "loss.name=quantiles needs task.quantiles"),
        (["network.masked_lags=0.1"], "network.masked_lags masks task.lags, which is empty"),
        (["network.mc_dropout=5", "network.dropout=0"], "network.mc_dropout samples with network.dropout, which is 0"),
        (["task.known_future=[pev]"], "known_future names pev, which is not among task.dynamic"),
        (["task.dynamic=[t2m]", "task.known_future=[tp]"], "known_future names tp, which is not among task.dynamic"),
        (["task.known_future=[tp]", "task.latency=2"], "known_future names tp, whose latency is 2"),
        (["task.known_future=[tp]", "task.latency={tp: 1}"], "known_future names tp, whose latency is 1"),
        ([*TWO, "task.latency={lags: 7}"], "a latency of 7 days is not shorter than task.window of 7 days"),
        (["task.latency={dynamic: 9}"], "a latency of 9 days is not shorter than task.window of 7 days, so t2m"),
    ],
)
def test_what_cannot_be_honoured_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(SoilcastError) as caught:
        load_config(settings=settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        [LAG, "head.predict=change"],
        [LAG, "head.name=rollout"],
        [LAG, "task.known_future=[tp]", "head.name=bucket", "head.predict=change"],
        [LAG, "task.known_future=[tp]", "head.name=water_balance", "head.predict=change"],
        [*TWO, "task.known_future=[tp]", "loss.rain=1"],
        [*TWO, "head.lead1_only=true"],
        ["loss.name=quantiles", "task.quantiles=[0.1,0.9]"],
        ["task.quantiles=[0.1,0.9]"],
        ["task.known_future=[tp]", "task.latency={dynamic: 2, tp: 0}"],
        [LAG, "task.latency=6"],
        ["network.mc_dropout=5"],
        [LAG, "network.masked_lags=0.1"],
        [
            "task.layers=[swvl1,swvl2]", "task.lags=[swvl1,swvl2]", "task.latency={swvl1: 2}", "head.predict=change",
        ],
    ],
)  # fmt: skip
def test_what_the_remedies_name_is_taken(settings: list[str]) -> None:
    assert load_config(settings=settings) != Config()


def test_latency_is_of_all_inputs_of_a_group_or_of_one() -> None:
    def latency(value: Any) -> list[int]:
        task = Task(lags=("swvl1", "swvl2"), dynamic=("t2m", "tp"), latency=value)
        return [task.latency_of(name) for name in ("t2m", "tp", "swvl1", "swvl2")]

    assert latency(0) == [0, 0, 0, 0]
    assert latency(2) == [2, 2, 2, 2]
    assert latency({"lags": 5}) == [0, 0, 5, 5]
    assert latency({"dynamic": 2, "lags": 5, "tp": 0, "swvl2": 3}) == [2, 0, 5, 3]
    assert latency({"all": 1, "dynamic": 4, "swvl1": 0}) == [4, 4, 0, 1]
    several = Task(layers=("swvl1", "swvl2"), lags=("swvl1", "swvl2"), latency={"swvl1": 1, "swvl2": 3})
    assert several.soil_latency == 3


VALUES: dict[str, Any] = {
    "inputs.dynamic": ["tp"],
    "inputs.static": [],
    "inputs.lags": ["swvl1"],
    "inputs.known_future": ["tp"],
    "outlook.layers": ["swvl1"],
    "outlook.levels": [0.5],
}


def fault(content: dict[str, Any]) -> str:
    """What is wrong with a config that is made in Python."""
    with pytest.raises(ValidationError) as caught:
        Config(**content)
    (only,) = caught.value.errors()
    return str(only["msg"])


@pytest.mark.parametrize("key", list(FORMER_KEYS))
def test_a_key_of_a_former_version_is_refused_by_its_new_name(key: str, tmp_path: Path) -> None:
    value = VALUES.get(key, 3)
    section, name = key.split(".")
    file = tmp_path / "former.yaml"
    file.write_text(yaml.safe_dump({"train": {"epochs": 5}, section: {name: value}}))
    told = f"{key} was renamed to {FORMER_KEYS[key]}"
    with pytest.raises(SoilcastError) as by_file:
        load_config(file)
    with pytest.raises(SoilcastError) as by_setting:
        load_config(settings=[f"{key}={value}"])
    for text in (str(by_file.value), str(by_setting.value), fault({section: {name: value}})):
        assert told in text
        assert "\n" not in text
    assert str(by_file.value).startswith(str(file))
    new = FORMER_KEYS[key].split(" ")[0]
    assert new in described()


def test_no_key_of_now_is_a_former_one() -> None:
    assert not set(FORMER_KEYS) & set(described())


def test_what_is_registered_is_known_to_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry, key in ((NETWORKS, "network"), (HEADS, "head"), (LOSSES, "loss")):
        monkeypatch.setitem(registry, "mine", registry[next(iter(registry))])
        assert getattr(load_config(settings=[f"{key}.name=mine"]), key).name == "mine"
        with pytest.raises(SoilcastError, match="did you mean mine"):
            load_config(settings=[f"{key}.name=mime"])


def test_leads_of_a_loss_that_weighs_none_are_weighed_by_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSSES, "mine", lambda quantiles: lambda prediction, targets: prediction.level.mean())
    settings = ["loss.name=mine", "task.lead_days=3"]
    with pytest.raises(SoilcastError, match=r"loss\.lead_decay does not apply to loss\.name=mine"):
        load_config(settings=[*settings, "loss.lead_decay=1"])
    assert load_config(settings=settings).loss.name == "mine"


@pytest.mark.parametrize("weights", [(0, 1), (-1, 1), (1, -1), (math.inf, 0)])
def test_weights_that_nothing_can_be_minimised_by_are_refused_in_python_too(weights: tuple[float, float]) -> None:
    assert "l1 must be above 0" in fault({"loss": {"weights": weights, "balance": "single"}})
