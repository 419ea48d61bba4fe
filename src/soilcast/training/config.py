"""The configuration of a run: its preset and sections, and how it is made of a file and settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from soilcast.errors import SoilcastError
from soilcast.plugins import Registry
from soilcast.schema import dotted_keys, flatten, nearest, parse_yaml, read_yaml, validate
from soilcast.task import Task
from soilcast.training.rules import refuse_impossible
from soilcast.training.sections import (
    OR_PLUGIN,
    HeadConfig,
    LossConfig,
    NetworkConfig,
    NormaliseConfig,
    Section,
    SplitConfig,
    TrainConfig,
)
from soilcast.water.config import Form, WaterConfig

_FILES = sorted(resources.files("soilcast.training").joinpath("presets").iterdir(), key=lambda one: one.name)

PRESETS: Registry[Mapping[str, Any]] = Registry(
    "model",
    {file.name.removesuffix(".yaml"): parse_yaml(file.read_text(encoding="utf-8"), file.name) for file in _FILES},
)
"""Every preset by the name that ``--model`` takes: keys of the config that make a model, as YAML in ``presets/``."""

FORMER_KEYS: dict[str, str] = {
    "inputs.target": "task.layers",
    "inputs.dynamic": "task.dynamic",
    "inputs.static": "task.static",
    "inputs.sequence_length": "task.window",
    "inputs.lags": "task.lags",
    "inputs.latency_days": "task.latency",
    "inputs.fill_days": "task.fill_days",
    "inputs.known_future": "task.known_future",
    "inputs.calendar": "task.calendar",
    "outlook.lead_days": "task.lead_days",
    "outlook.layers": "task.layers",
    "outlook.levels": "task.quantiles",
    "outlook.target": "head.predict (level, change)",
    "outlook.path": "head.name (direct, rollout)",
    "outlook.head": "head.name (direct, bucket)",
    "outlook.first_day_leads": "head.lead1_only",
    "outlook.distribution": "loss.name (rmse, quantiles, cmal)",
    "outlook.dropout_draws": "network.mc_dropout",
    "outlook.hidden_lags": "network.masked_lags",
    "outlook.far": "loss.lead_decay",
    "outlook.bounds": "loss.bounds",
    "outlook.rain": "loss.rain",
}
"""Keys of soilcast 0.1 -> what they are called now."""


class Config(Section):
    """Everything that a run depends on beside the cube."""

    model: str = Field("lstm", description="preset whose values hold for keys that are not set")
    label: str = Field(
        "LSTM",
        min_length=1,
        description="name of the run in tables and figures; with a network.name of your own by default that name",
    )
    task: Task = Task()
    network: NetworkConfig = NetworkConfig()
    head: HeadConfig = HeadConfig()
    normalise: NormaliseConfig = NormaliseConfig()
    split: SplitConfig = SplitConfig()
    train: TrainConfig = TrainConfig()
    loss: LossConfig = LossConfig()
    water: WaterConfig = WaterConfig()

    @model_validator(mode="before")
    @classmethod
    def _on_its_preset(cls, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        for key in flatten(content):
            if key in FORMER_KEYS:
                raise ValueError(f"{key} was renamed to {FORMER_KEYS[key]}: change the key")
        name = content.get("model", "lstm")
        if name not in PRESETS:
            raise ValueError(f"model {name}: no such model: {nearest(str(name), PRESETS)}{OR_PLUGIN}")
        result = merged(PRESETS[name], content)
        network = content.get("network")
        own = network.get("name") if isinstance(network, Mapping) else None
        usual = PRESETS[name].get("network", {}).get("name", NetworkConfig.model_fields["name"].default)
        if "label" not in content and own not in (None, usual):
            result["label"] = own  # else a network of the user's own would be called LSTM
        return result

    @field_validator("label")
    @classmethod
    def _is_printable(cls, value: str) -> str:
        if not value.isprintable() or not value.strip():
            raise ValueError("a label is one line of letters, digits and signs")
        return value

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        refuse_impossible(self)
        return self

    @property
    def balance(self) -> Form | None:
        """Which W guides, if any; with `LossConfig.by` the cells of other classes than those that are named."""
        return None if self.loss.balance == "none" else self.loss.balance

    @property
    def guided(self) -> list[Self]:
        """Itself, and the config of each class of cells, as far as a water balance guides there."""
        return [one for one in (self, *map(self.of_class, self.loss.classes)) if one.balance]

    @property
    def guidance_weights(self) -> tuple[float, float]:
        """l1 and l2 of Eq. 8; with ``loss.by`` l2 is that of the class that is guided most (`guidance_strength`)."""
        if self.loss.by == "none":
            return self.loss.weights
        return self.loss.weights[0], self.loss.weights[0] * max((one._l2_to_l1 for one in self.guided), default=0.0)

    @property
    def guidance_strengths(self) -> dict[str, float]:
        """How much Eq. 14 counts in each class, and in other cells (an empty name): 1 where it does most."""
        if self.loss.by == "none":
            return {"": 1.0}
        ratios = {"": self._l2_to_l1} | {name: self.of_class(name)._l2_to_l1 for name in self.loss.classes}
        most = max(ratios.values()) or 1.0
        return {name: ratio / most for name, ratio in ratios.items()}

    @property
    def _l2_to_l1(self) -> float:
        return self.loss.weights[1] / self.loss.weights[0] if self.balance else 0.0

    def of_class(self, name: str) -> Self:
        """Give the config of the cells of a class of ``loss.by``: with its guidance in place of that of all cells."""
        content = self.model_dump(mode="json")
        content["loss"] |= {"by": "none", "classes": {}}
        for key, value in self.loss.classes[name].items():
            section, _, inner = key.partition(".")
            content[section][inner] = value
        if content["loss"]["balance"] == "none":
            content["loss"] |= {"weights": [content["loss"]["weights"][0], 0.0], "amounts": 0.0}
            content["water"]["placebo"] = "none"
        return type(self).model_validate(content)


def load_config(
    file: Path | None = None,
    settings: Iterable[str] = (),
    *,
    model: str | None = None,
    base: Mapping[str, Any] | None = None,
) -> Config:
    """Make a config of a YAML file and of ``key=value`` settings, the later winning.

    Parameters
    ----------
    file
        YAML with any of the keys.
    settings
        ``train.epochs=200`` and the like; the value is YAML.
    model
        Name of the preset; wins over the file.
    base
        Content under the file, such as a built-in experiment.

    Raises
    ------
    SoilcastError
        An unknown key (the nearest valid one is named), or a value that does not fit.
    """
    content = merged(dict(base or {}), read_yaml(file) if file else {})
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise SoilcastError(f"--set {setting}: write key=value")
        if key in FORMER_KEYS:
            raise SoilcastError(f"--set {setting}: {key} was renamed to {FORMER_KEYS[key]}: change the key")
        if key not in dotted_keys(Config):
            raise SoilcastError(f"--set {setting}: unknown key {key}: {nearest(key, dotted_keys(Config))}")
        *sections, name = key.split(".")
        nested = {name: parse_yaml(value, f"--set {setting}")}
        for section in reversed(sections):
            nested = {section: nested}
        content = merged(content, nested)
    if model is not None:
        content["model"] = model
    return validate(Config, content, str(file) if file else "config")


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay keys of a config over others, section by section."""
    result = dict(under)
    for key, value in over.items():
        inner = result.get(key)
        if isinstance(inner, dict) and isinstance(value, Mapping):
            result[key] = merged(inner, value)
        elif inner is None or not isinstance(value, Mapping):
            result[key] = value
        # Else the file has a value where keys belong, which is kept for `validate` to refuse.
    return result
