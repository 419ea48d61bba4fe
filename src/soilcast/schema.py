"""YAML that people write: read safely, checked against a pydantic model, faults told in one line."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from soilcast.errors import SoilcastError

Model = TypeVar("Model", bound=BaseModel)

_LARGEST_FILE = 1 << 20


class _PlainLoader(yaml.SafeLoader):
    """The safe loader without dates (``2020-01-01`` stays the text that was written), aliases and repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # A few lines of aliases of aliases unfold to gigabytes.
        if self.check_event(yaml.AliasEvent):
            mark = self.get_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        repeated = next((key for key, times in Counter(keys).items() if times > 1), None)
        if repeated is not None:
            raise yaml.MarkedYAMLError(problem=f"the key {repeated!r} is given twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


# A date stays a text, and so does 1:30, of which YAML 1.1 makes the number 90.
_PlainLoader.yaml_implicit_resolvers = {
    first: [
        (tag, re.compile(rf"(?!.*:)(?:{pattern.pattern})", pattern.flags))
        for tag, pattern in resolvers
        if tag != "tag:yaml.org,2002:timestamp"
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str, where: str) -> Any:
    """Parse a YAML text.

    Raises
    ------
    SoilcastError
        The text is not YAML.
    """
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except RecursionError as error:
        raise SoilcastError(f"{where}: not valid YAML: nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise SoilcastError(f"{where}: not valid YAML{line}: {getattr(error, 'problem', error)}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises
    ------
    SoilcastError
        The file is missing, too large, no text, no YAML or no mapping.
    """
    if not path.is_file():
        raise SoilcastError(f"{path}: no such file")
    if path.stat().st_size > _LARGEST_FILE:
        raise SoilcastError(f"{path}: larger than 1 MiB, which is too large for a config file")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise SoilcastError(f"{path}: not a text file in UTF-8") from error
    if not isinstance(content, dict):
        raise SoilcastError(f"{path}: expected keys and values, found {type(content).__name__}")
    return content


def validate(model: type[Model], content: Mapping[str, Any], where: str) -> Model:
    """Check a mapping against a model.

    Raises
    ------
    SoilcastError
        The first fault, with its dotted key; for an unknown key the nearest valid one.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise SoilcastError(f"{where}: {_first_fault(error, model)}") from error


def nearest(name: str, valid: Iterable[str]) -> str:
    """Give "did you mean ...?", or the valid names where none is near."""
    names = list(valid)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"valid are {', '.join(names)}"


def _first_fault(error: ValidationError, model: type[BaseModel]) -> str:
    faults = error.errors()
    fault = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
    location = [str(part) for part in fault["loc"]]
    key = ".".join(location)
    if fault["type"] == "extra_forbidden":
        return f"unknown key {key}: {nearest(key, dotted_keys(model))}"
    if fault["type"] == "missing":
        return f"key {key} is missing"
    what = fault["msg"].removeprefix("Value error, ")
    return f"{key}: {what}, but it is {fault['input']!r}" if key else what


def dotted_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every key of a model and of the models inside it, as ``train.epochs``."""
    keys = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += dotted_keys(inner, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested sections to dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in content.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
