"""The keys of the config as a user reads them: a row each, and a commented YAML that ``--config`` takes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import annotated_types
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from soilcast.models.design import HEADS, NETWORKS
from soilcast.training.config import PRESETS, Config
from soilcast.training.sections import LOSSES, unset_word

_WIDTH = 100

REGISTERED: dict[str, Mapping[str, Any]] = {
    "model": PRESETS,
    "network.name": NETWORKS,
    "head.name": HEADS,
    "loss.name": LOSSES,
}
"""Keys whose choices are the names in a registry."""


@dataclass(frozen=True)
class ConfigKey:
    """One key of the config.

    Attributes
    ----------
    key
        Dotted name, such as ``train.epochs``.
    default
        Default value, as YAML.
    meaning
        Description; ends with the unit in brackets where there is one.
    choices
        What the value may be, such as ``1 to 60`` or ``level, change``; empty where anything of the type may.
    """

    key: str
    default: str
    meaning: str
    choices: str

    @property
    def text(self) -> str:
        """Description, and what of the choices it does not explain already, in one line."""
        explained = all(re.search(rf"\b{re.escape(name)}\b", self.meaning) for name in self.choices.split(", "))
        return self.meaning if explained else f"{self.meaning}; allowed: {self.choices}"


def describe_keys(config: Config | None = None) -> dict[str, list[ConfigKey]]:
    """Every key of the config, by heading.

    Parameters
    ----------
    config
        Whose values stand as defaults; by default those of the preset ``lstm``.
    """
    config = config or Config()
    groups = {"run: preset and label": _rows(config, "", sections=False)}
    for name in type(config).model_fields:
        section = getattr(config, name)
        if isinstance(section, BaseModel):
            heading = (type(section).__doc__ or "").splitlines()[0].rstrip(".")
            groups[f"{name}: {heading[0].lower()}{heading[1:]}"] = _rows(section, f"{name}.", sections=True)
    return groups


def commented_yaml(config: Config) -> str:
    """Write a config as YAML, each key with its meaning, unit, choices and default, for ``--config`` to take again.

    Parameters
    ----------
    config
        Whose values are written; the defaults in the comments are those of its preset.
    """
    values, defaults = describe_keys(config), describe_keys(Config(model=config.model))
    lines = [
        "# Configuration of soilcast. Use it with: soilcast train --config FILE",
        f"# Defaults are those of the preset {config.model}.",
    ]
    for heading, rows in values.items():
        section, _, about = heading.partition(": ")
        lines += ["", f"# ==== {section}: {about} ===="]
        top = "." not in rows[0].key
        indent = "" if top else "  "
        lines += [] if top else [f"{section}:"]
        for row, default in zip(rows, defaults[heading], strict=True):
            lines += [indent + line for line in _comment(row.text, f"default: {default.default}")]
            lines.append(f"{indent}{row.key.rpartition('.')[2]}: {row.default}")
    return "\n".join(lines) + "\n"


def _rows(section: BaseModel, prefix: str, *, sections: bool) -> list[ConfigKey]:
    rows = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            assert not sections, f"{prefix}{name}: a section within a section"
            continue
        key = prefix + name
        written = unset_word(field) if value is None else _as_yaml(section.model_dump(mode="json")[name])
        rows.append(ConfigKey(key, str(written), field.description or "", _choices(key, field)))
    return rows


def _choices(key: str, field: FieldInfo) -> str:
    if key in REGISTERED:
        return ", ".join(REGISTERED[key])
    names = [str(name) for name in _literals(field.annotation)]
    unset = unset_word(field)
    if names:
        return ", ".join([unset, *names] if unset else names)
    return _range(field.metadata)


def _literals(annotation: Any) -> Iterable[Any]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for inner in get_args(annotation):
            yield from _literals(inner)


def _range(metadata: Iterable[Any]) -> str:
    low = high = ""
    for rule in metadata:
        match rule:
            case annotated_types.Ge(ge=value):
                low = f">= {value:g}"
            case annotated_types.Gt(gt=value):
                low = f"> {value:g}"
            case annotated_types.Le(le=value):
                high = f"<= {value:g}"
            case annotated_types.Lt(lt=value):
                high = f"< {value:g}"
    inclusive = low.startswith(">=") and high.startswith("<=")
    return f"{low[3:]} to {high[3:]}" if inclusive else ", ".join(filter(None, (low, high)))


def _as_yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").replace(", ", ",")


def _comment(*texts: str) -> list[str]:
    return [
        line for text in texts for line in textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="#   ")
    ]
