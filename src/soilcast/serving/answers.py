"""Answers to queries of OGC API EDR in each of their formats: CoverageJSON, GeoJSON, CSV and NetCDF."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
import xarray as xr

from soilcast.cube.cf import CONVENTIONS, ISSUE_DAY, LATITUDE, LEAD, LONGITUDE, VALID_DAY, keep_to_cf
from soilcast.exporting.geojson import cell_geometries
from soilcast.files import harmless_table
from soilcast.ownership import GENERATOR
from soilcast.serving.coverages import coverage
from soilcast.serving.faults import RequestError, TooLargeError
from soilcast.serving.queries import Positions, Query
from soilcast.serving.values import Reads, Values

MOST_FEATURES = 20_000
"""Features of GeoJSON: cells by days."""


@dataclass(frozen=True)
class Answer:
    """What was asked for, with its values.

    Parameters
    ----------
    query
        What was asked for.
    chosen
        The cells ``(place,)``, in the order in which they were asked for.
    values
        Name of a parameter -> ``(lead, place)``, of the issue day ``(place,)``.
    is_of_places
        Whether places were asked for one by one, rather than an area.
    """

    query: Query
    chosen: Positions
    values: Mapping[str, Values]
    is_of_places: bool

    @property
    def about(self) -> dict[str, str]:
        """What is told of the forecast, in every format."""
        file, attributes = self.query.instance.file, self.query.instance.file.attributes
        content = attributes.get("content", "unknown data")
        told = {
            "title": str(attributes.get("title", "")),
            "label": file.label,
            "issue_date": str(self.query.instance.issue),
            "nature": f"model forecast, not an observation (trained on {content})",
            "source": str(attributes.get("source", "")),
            "license": str(attributes.get("license", "")),
        }
        return {name: text for name, text in told.items() if text}


def read_answer(reader: Reads, query: Query, chosen: Positions, *, is_of_places: bool) -> Answer:
    """Read what a query asks for of some cells.

    Raises
    ------
    TooLargeError
        That is too much.
    """
    query.refuse_large(len(chosen))
    cells, back = np.unique(chosen, return_inverse=True)
    values = {}
    for one in query.parameters:
        read = reader.cells(query.instance, one.variable, cells, one.positions(query.leads))
        values[one.name] = np.ascontiguousarray(read[..., back])
    return Answer(query, chosen, values, is_of_places)


def _as_coverage(answer: Answer) -> bytes:
    content = coverage(answer.query, answer.chosen, answer.values, answer.about, is_of_places=answer.is_of_places)
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _as_geojson(answer: Answer) -> bytes:
    """A feature for each cell and day; parameters of the issue day are the same on all days."""
    query, cells = answer.query, answer.query.cells
    if len(answer.chosen) * len(query.leads) > MOST_FEATURES:
        raise TooLargeError(
            f"{len(answer.chosen) * len(query.leads):,} features, but at most {MOST_FEATURES:,} are given at once: ask "
            "for fewer days or a smaller area, or for f=CoverageJSON"
        )
    units = {one.name: one.units for one in query.parameters}
    head = {"type": "FeatureCollection", "software": GENERATOR, **answer.about, "units": units}
    # Numbers become texts array by array, which is a hundred times as fast as one by one.
    texts = {
        name: _texts(np.broadcast_to(one, (len(query.leads), len(answer.chosen))))
        for name, one in answer.values.items()
    }
    keys = {name: orjson.dumps(name) + b":" for name in texts}
    features = []
    for at, geometry in enumerate(cell_geometries(cells.places.isel(cell=answer.chosen))):
        shape = b'{"type":"Feature","geometry":' + orjson.dumps(geometry) + b',"properties":'
        told: dict[str, Any] = {"cell": int(answer.chosen[at])}
        if cells.names is not None:
            told["cell_name"] = cells.names[answer.chosen[at]]
        for row, lead in enumerate(query.leads):
            of_day = {"datetime": query.valid_days[row], "lead_days": query.instance.file.leads[lead]}
            numbers = b"".join(b"," + keys[name] + text[row * len(answer.chosen) + at] for name, text in texts.items())
            features.append(shape + orjson.dumps(told | of_day)[:-1] + numbers + b"}}")
    return orjson.dumps(head)[:-1] + b',"features":[' + b",".join(features) + b"]}"


def _texts(values: Values) -> list[bytes]:
    """Each number as JSON, as short as it can be told apart as float32, ``null`` where it is missing."""
    whole = orjson.dumps(np.ascontiguousarray(values).ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
    return whole[1:-1].split(b",")


def _as_csv(answer: Answer) -> bytes:
    """A row for each cell and day, as exported tables have them."""
    query, cells, count = answer.query, answer.query.cells, len(answer.query.leads)
    columns: dict[str, npt.NDArray[Any]] = {"cell": np.repeat(answer.chosen, count)}
    if cells.names is not None:
        columns["cell_name"] = np.repeat(np.array(cells.names)[answer.chosen], count)
    columns |= {
        "lat": np.repeat(cells.lat[answer.chosen], count),
        "lon": np.repeat(cells.lon[answer.chosen], count),
        "issue_date": np.full(len(answer.chosen) * count, str(query.instance.issue)),
        "lead": np.tile([query.instance.file.leads[at] for at in query.leads], len(answer.chosen)),
        "valid_date": np.tile(query.valid_days, len(answer.chosen)),
    }
    for name, one in answer.values.items():
        columns[name] = np.repeat(one, count) if one.ndim == 1 else one.T.ravel()
    table = harmless_table(pd.DataFrame(columns))
    # Seven digits are not enough to read a float32 back as it was.
    return table.to_csv(index=False, float_format="%.9g", lineterminator="\n").encode()


def _as_netcdf(answer: Answer) -> bytes:
    """CF NetCDF-4 by cell and lead, with the valid days."""
    query, cells = answer.query, answer.query.cells
    issue = query.instance.issue.astype("datetime64[ns]")
    leads = np.array([query.instance.file.leads[at] for at in query.leads], dtype=np.int32)
    coordinates: dict[str, Any] = {
        "cell": ("cell", answer.chosen, {"long_name": "position of the cell in the forecast"}),
        "lat": ("cell", cells.lat[answer.chosen], LATITUDE),
        "lon": ("cell", cells.lon[answer.chosen], LONGITUDE),
        "lead": ("lead", leads, LEAD),
        "issue_time": ((), issue, ISSUE_DAY),
        "time": ("lead", issue + leads * np.timedelta64(1, "D"), VALID_DAY),
    }
    if cells.names is not None:
        coordinates["cell_name"] = ("cell", np.array(cells.names)[answer.chosen], {"cf_role": "timeseries_id"})
    variables = {}
    for one in query.parameters:
        about = {"long_name": one.title, "units": one.units}
        if "standard_name" in one.variable.attributes and one.other is None:
            about["standard_name"] = str(one.variable.attributes["standard_name"])
        variables[one.name] = (("lead", "cell") if one.has_lead else ("cell",), answer.values[one.name], about)
    made = xr.Dataset(variables, coordinates, {"Conventions": CONVENTIONS, "software": GENERATOR, **answer.about})
    keep_to_cf(made)
    return bytes(made.to_netcdf(engine="h5netcdf"))


FORMATS: dict[str, tuple[str, Callable[[Answer], bytes]]] = {
    "CoverageJSON": ("application/prs.coverage+json", _as_coverage),
    "GeoJSON": ("application/geo+json", _as_geojson),
    "CSV": ("text/csv", _as_csv),
    "NetCDF": ("application/netcdf", _as_netcdf),
}
"""Name of a format -> its media type, and how an answer is written; the first is that of who names none."""


def written(answer: Answer, name: str | None) -> tuple[str, bytes]:
    """Write an answer in a format, and give its media type.

    Raises
    ------
    RequestError
        There is no such format.
    """
    media_type, write = format_of(name)
    return media_type, write(answer)


def format_of(name: str | None) -> tuple[str, Callable[[Answer], bytes]]:
    """Give media type and writer of a format.

    Raises
    ------
    RequestError
        There is no such format.
    """
    if name is None:
        return next(iter(FORMATS.values()))
    for known, found in FORMATS.items():
        if name.lower() == known.lower():
            return found
    raise RequestError(f"f {name[:40]!r}: there are {', '.join(FORMATS)}")
