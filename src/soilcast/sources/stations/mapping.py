"""The mapping file of station tables: which columns are which sensors, where the stations are, which time is meant."""

from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone, tzinfo
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, field_validator, model_validator

from soilcast.sources.table.mapping import Columns, Markers, Section, Text, as_format

_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})?", re.ASCII)


def zone_of(text: str) -> tzinfo:
    """Read a zone: ``UTC``, an offset such as ``+01:00``, or a name such as ``Europe/Berlin``.

    Raises
    ------
    ValueError
        It is neither.
    """
    if text in ("UTC", "Z"):
        return UTC
    if match := _OFFSET.fullmatch(text):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        if offset >= timedelta(hours=24):
            raise ValueError(f"{text!r} is no offset from UTC: write it as +01:00")
        return timezone(offset if match[1] == "+" else -offset)
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{text!r} is no time zone: write UTC, an offset such as +01:00, or Europe/Berlin") from error


def _checked_zone(text: str | None) -> str | None:
    if text is not None:
        zone_of(text)
    return text


class Place(Section):
    """Where a station is, and to which network it belongs."""

    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=360)]
    elevation: float | None = None
    network: Text | None = None


class SensorColumn(Section):
    """A sensor: its column, its depth [m], its unit, and in which files it is, whose ``*`` is then the station."""

    column: Text
    depth: Annotated[float, Field(ge=0, le=100)]
    unit: Text | None = None
    files: Text | None = None

    @field_validator("files")
    @classmethod
    def _one_star(cls, given: str | None) -> str | None:
        if given is not None and given.count("*") != 1:
            raise ValueError(f"{given!r} has not one *, which stands for the name of the station: *_20cm.csv")
        return given

    def station_in(self, file: str) -> str | None:
        """Name of the station that a file of this sensor is of; None where the file is none of its files."""
        if self.files is None:
            return None
        before, _, after = self.files.partition("*")
        whole = file.startswith(before) and file.endswith(after) and len(file) > len(before) + len(after)
        return file[len(before) : len(file) - len(after)] if whole else None


class StationMapping(Section):
    """The whole mapping file."""

    title: Text
    content: Text = "station observations"
    license: Text | None = None
    time: Columns = "time"
    time_format: Annotated[str | None, AfterValidator(as_format)] = None
    timezone: Annotated[Text | None, AfterValidator(_checked_zone)] = None
    missing: Markers = ()
    station: Text | None = None
    network: Text | None = None
    lat: Text = "lat"
    lon: Text = "lon"
    places: dict[Text, Place] = Field(default_factory=dict)
    sensors: Annotated[tuple[SensorColumn, ...], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _names_are_texts(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("places"), dict):
            given = given | {"places": {str(name): place for name, place in given["places"].items()}}
        if isinstance(given, dict) and isinstance(given.get("sensors"), list):
            given = given | {"sensors": tuple(given["sensors"])}
        return given

    @property
    def missing_texts(self) -> tuple[str, ...]:
        """Texts that stand for a missing value."""
        return tuple(marker.strip() for marker in self.missing if isinstance(marker, str))

    @property
    def missing_numbers(self) -> tuple[float, ...]:
        """Numbers that stand for a missing value."""
        return tuple(marker for marker in self.missing if isinstance(marker, float))
