"""The mapping file: how the variables of someone's own files become those of the contract."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from soilcast.cube import ERA5_LAND_LAYERS, VARIABLES
from soilcast.errors import SoilcastError
from soilcast.schema import nearest, read_yaml
from soilcast.sources.delimited.dates import check_format

# These follow from other keys (cells.area, thickness), so they are no variables of a mapping.
_DERIVED = {"area", *(name for name in VARIABLES if name.startswith("slthick"))}
MAPPABLE = tuple(name for name in VARIABLES if name not in _DERIVED)

M = TypeVar("M", bound=BaseModel)

COLUMNS = ", "
"""Between the names of the columns that make up the time of a CSV."""


def _as_text(given: Any) -> Any:
    """YAML reads ``unit: 1`` and ``period: 1980`` as numbers."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        return str(given)
    return given


def _as_term(given: Any) -> Any:
    """Let ``tavg`` stand for ``{name: tavg}``, and ``50`` for ``{value: 50}``."""
    if isinstance(given, str):
        return {"name": given}
    if isinstance(given, int | float) and not isinstance(given, bool):
        return {"value": given}
    return given


def _as_terms(given: Any) -> Any:
    return tuple(_as_term(item) for item in given) if isinstance(given, list) else (_as_term(given),)


def as_format(given: str | None) -> str | None:
    """Check a ``time_format``; for pydantic."""
    return None if given is None else check_format(given)


def _as_area(given: Any) -> Any:
    return {"value": 1.0, "unit": "m2"} if given == "equal" else _as_term(given)


def _as_tuple(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else (given,)


def _as_columns(given: Any) -> Any:
    """Let the list of the columns of year, month and day stand for the text that joins their names."""
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        return COLUMNS.join(given)
    return _as_text(given)


Text = Annotated[str, BeforeValidator(_as_text), StringConstraints(min_length=1, strip_whitespace=True)]
Terms = Annotated[tuple["Term", ...], BeforeValidator(_as_terms)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_as_tuple)]
Markers = Annotated[tuple[float | str, ...], Field(max_length=100), BeforeValidator(_as_tuple)]
Columns = Annotated[str, BeforeValidator(_as_columns), StringConstraints(min_length=1, strip_whitespace=True)]


class Section(BaseModel):
    """A part of a mapping file: unknown keys are refused with the nearest valid one."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            raise ValueError(f"expected keys and values ({', '.join(cls.model_fields)})")
        for key in given:
            if key not in cls.model_fields:
                raise ValueError(f"unknown key {key!r}: {nearest(str(key), cls.model_fields)}")
        return given


class Term(Section):
    """A variable of the files, or a number, and arithmetic on it.

    ``(start + add - subtract) * multiply_by / divide_by``, in this order whatever the order in the file.
    ``at`` takes one position along a further dimension, such as ``{depth: 0}``.
    """

    name: Text | None = None
    value: float | None = None
    at: dict[Text, int] = {}
    add: Terms = ()
    subtract: Terms = ()
    multiply_by: Terms = ()
    divide_by: Terms = ()

    @model_validator(mode="after")
    def _one_start(self) -> Term:
        if (self.name is None) == (self.value is None):
            raise ValueError("give either name (a variable of the files) or value (a number)")
        return self

    def names(self) -> set[str]:
        """Variables of the files that the term needs."""
        operands = (*self.add, *self.subtract, *self.multiply_by, *self.divide_by)
        return ({self.name} if self.name else set()).union(*(term.names() for term in operands))

    def text(self) -> str:
        """Say the term in one line, for messages and for the origin of a variable."""
        said = self.name if self.name is not None else f"{self.value:g}"
        said += "".join(f"[{dim}={position}]" for dim, position in self.at.items())
        said += "".join(f" + {term.text()}" for term in self.add)
        said += "".join(f" - {term.text()}" for term in self.subtract)
        factors = [("*", term) for term in self.multiply_by] + [("/", term) for term in self.divide_by]
        if factors and (self.add or self.subtract):
            said = f"({said})"
        for sign, term in factors:
            simple = not (term.add or term.subtract or term.multiply_by or term.divide_by)
            said += f" {sign} {term.text() if simple else f'({term.text()})'}"
        return said


class Quantity(Term):
    """A term with a unit: the unit of the result, where the files do not say it."""

    unit: Text | None = None


class Mapped(Quantity):
    """One variable of the contract: where it comes from, its unit, its sign, and a soil layer's thickness."""

    sign: Literal[1, -1] = 1
    thickness: Annotated[Quantity | None, BeforeValidator(_as_term)] = None


class Rule(Section):
    """What a static variable of the files must satisfy for a cell to be kept."""

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    one_of: Numbers | None = None

    @model_validator(mode="after")
    def _some_rule(self) -> Rule:
        if not self.model_dump(exclude_none=True):
            raise ValueError(f"give at least one of {', '.join(Rule.model_fields)}")
        return self


class Cells(Section):
    """Where the cells are, what they are called, how large they are, and which ones are kept."""

    lat: Text = "lat"
    lon: Text = "lon"
    name: Text | None = None
    area: Annotated[Quantity | None, BeforeValidator(_as_area)] = None
    select: dict[Text, Rule] = {}


class Mapping(Section):
    """The whole mapping file."""

    title: Text
    content: Text
    license: Text | None = None
    time: Columns = "time"
    time_format: Annotated[str | None, AfterValidator(as_format)] = None
    period: Text | None = None
    missing: Markers = ()
    cells: Cells = Cells()
    variables: dict[str, Annotated[Mapped, BeforeValidator(_as_term)]]

    @property
    def missing_numbers(self) -> tuple[float, ...]:
        """Numbers that stand for a missing value."""
        return tuple(marker for marker in self.missing if isinstance(marker, float))

    @property
    def missing_texts(self) -> tuple[str, ...]:
        """Texts that stand for a missing value in a CSV."""
        return tuple(marker.strip() for marker in self.missing if isinstance(marker, str))

    def static_names(self) -> set[str]:
        """Variables of the files of which each cell has one value."""
        terms: list[Term] = [mapped for name, mapped in self.variables.items() if VARIABLES[name].is_static]
        terms += [mapped.thickness for mapped in self.variables.values() if mapped.thickness]
        terms += [self.cells.area] if self.cells.area else []
        return {self.cells.lat, self.cells.lon, *self.cells.select}.union(*(term.names() for term in terms))

    def names(self) -> set[str]:
        """All variables of the files that the mapping names, but the time and the names of the cells."""
        return self.static_names().union(*(mapped.names() for mapped in self.variables.values()))

    @field_validator("variables", mode="before")
    @classmethod
    def _known_variables(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            raise ValueError("expected variables of the cube, each with its variable in the files")
        for name in given:
            if name in _DERIVED:
                raise ValueError(
                    f"{name!r} does not belong here: write cells.area, or the thickness beside its soil layer"
                )
            if name not in MAPPABLE:
                raise ValueError(f"unknown variable {name!r}: {nearest(str(name), MAPPABLE)}")
        return given

    @model_validator(mode="after")
    def _soil_layers(self) -> Mapping:
        if not self.variables:
            raise ValueError("variables: none is named: add swvl1, the soil moisture to forecast, and the weather")
        for name, mapped in self.variables.items():
            if name in ERA5_LAND_LAYERS and mapped.thickness is None:
                raise ValueError(
                    f"variables.{name}: the thickness of this soil layer is missing: add thickness: "
                    "{value: 70, unit: mm}, or {name: VARIABLE, unit: UNIT}"
                )
            if name not in ERA5_LAND_LAYERS and mapped.thickness is not None:
                raise ValueError(f"variables.{name}: thickness belongs to soil layers only: remove it")
        return self


def read_mapping(path: Path) -> Mapping:
    """Read the mapping file of a table; see `read_as`."""
    return read_as(Mapping, path)


def read_as(model: type[M], path: Path) -> M:
    """Read a mapping file.

    Parameters
    ----------
    model
        What its source takes: `Mapping`, or that of stations.
    path
        A YAML file; its keys are described in ``docs/own-data.md`` and ``docs/stations.md``.

    Raises
    ------
    SoilcastError
        The file is missing, too large, not YAML or no mapping; a key or a contract name is unknown (the nearest
        valid one is named), missing, or holds something else than it should.
    """
    return _parsed(model, read_yaml(Path(path)), str(path))


def stored_mapping(mapping: BaseModel, file: Path, cube: Path) -> dict[str, Any]:
    """Write a mapping, and where its file lies from the cube, as JSON takes them: `restored_mapping` undoes it."""
    try:
        way = os.path.relpath(file.absolute(), cube.absolute().parent)
    except ValueError:  # on another drive
        way = str(file.absolute())
    return {"file": way, "content": mapping.model_dump(mode="json", exclude_unset=True)}


def restored_mapping(model: type[M], stored: Any, cube: Path) -> M:
    """Make a mapping of what `stored_mapping` gave.

    Parameters
    ----------
    model
        What its source takes.
    stored
        As it was read.
    cube
        The cube that holds it.

    Raises
    ------
    SoilcastError
        It is damaged, or its file still exists and says something else by now.
    """
    try:
        mapping, file = _parsed(model, stored["content"], str(cube)), cube.parent / stored["file"]
    except (KeyError, TypeError) as error:
        raise SoilcastError(f"{cube}: its mapping is damaged: prepare it again from all files") from error
    if file.is_file() and read_as(model, file) != mapping:
        raise SoilcastError(
            f"{file} has changed since {cube} was prepared with it: restore it, or prepare the cube again from all "
            "files"
        )
    return mapping


def _parsed(model: type[M], content: Any, where: str) -> M:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise SoilcastError(f"{where}: {_first_fault(error)}") from error


def _first_fault(error: ValidationError) -> str:
    faults = error.errors(include_url=False)
    place = ".".join(str(part) for part in faults[0]["loc"])
    message = faults[0]["msg"].removeprefix("Value error, ")
    if faults[0]["type"] == "missing":
        message = "this key is missing: add it"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{place}: {message}{more}" if place else f"{message}{more}"
