"""The configuration: files, settings, and what a user reads when a key is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from soilcast.errors import SoilcastError
from soilcast.training.config import Config, describe_keys, load_config


def test_defaults_are_the_papers() -> None:
    config = Config()
    assert len(config.inputs.dynamic) + len(config.inputs.static) == 14
    assert (config.inputs.target, config.inputs.sequence_length) == ("swvl1", 7)
    assert (config.network.hidden_size, config.network.dropout) == (128, 0.15)
    train = config.train
    assert (train.epochs, train.validate_every, train.patience, train.learning_rate) == (1000, 20, 10, 0.001)
    assert (train.batch_size, train.batches_per_epoch, config.split.validation_share) == (64, 300, 0.25)
    assert (config.water.terms, config.water.snow) == (("P", "E", "SRO", "dSD"), "paper")


def test_weights_are_the_models_own_unless_given() -> None:
    assert load_config(model="phys-lstm").weights == (0.1, 0.9)
    assert load_config(model="phy-lstm").weights == (0.5, 0.5)
    assert load_config(settings=["loss.weights=[3,7]"], model="phy-lstm").weights == (3.0, 7.0)


def test_settings_win_over_the_file_and_the_model_over_both(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("model: lstm\ntrain: {epochs: 7, seed: 3}\nsplit: {test: 2020-02-01:2020-03-01}\n")
    config = load_config(file, ["train.epochs=9", "water.terms=[P, E]"], model="phy-lstm")
    assert (config.model, config.train.epochs, config.train.seed) == ("phy-lstm", 9, 3)
    assert config.water.terms == ("P", "E")
    assert config.split.test == "2020-02-01:2020-03-01"


@pytest.mark.parametrize("value", ["2020", "2020-03", "2020-01-01", "2020-01-01:2020-12-31"])
def test_periods_stay_as_written(value: str) -> None:
    assert load_config(settings=[f"split.test={value}"]).split.test == value


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
        ("inputs.dynamic=[t2m, rain]", "rain is no variable of a cube"),
        ("inputs.dynamic=[t2m, t2m]", "named twice"),
        ("model=lsmt", "did you mean lstm?"),
        ("loss.weights=[0, 1]", "loss.weights"),
        ("train.epochs=[", "not valid YAML"),
        ("inputs.dynamic=[t2m, clay]", "clay is static: name it in inputs.static"),
        ("inputs.static=[t2m]", "t2m is dynamic: name it in inputs.dynamic"),
        ("inputs.dynamic=[]", "inputs.dynamic: name at least one"),
        ("loss.weights=[.nan, 1]", "loss.weights: l1 must be above 0"),
        ("loss.weights=[1, .inf]", "loss.weights: l1 must be above 0"),
        ("train.learning_rate=.inf", "train.learning_rate"),
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
    target = "inputs.target=swvl2"
    with pytest.raises(SoilcastError, match=r"swvl2 is among water\.deep_layers.*set water\.deep_layers=\[swvl3\]"):
        load_config(settings=[target], model="phys-lstm")
    assert load_config(settings=[target, "water.deep_layers=[swvl3]"], model="phys-lstm").inputs.target == "swvl2"
    assert load_config(settings=[target], model="phy-lstm").inputs.target == "swvl2"


def test_every_key_is_described() -> None:
    rows = describe_keys()
    assert {"train.epochs", "train.seed", "train.batch_size", "split.test", "loss.weights", "water.terms"} <= {
        key for key, _, _ in rows
    }
    assert all(meaning for _, _, meaning in rows)
