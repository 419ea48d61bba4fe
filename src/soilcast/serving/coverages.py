"""CoverageJSON of what a query asks for: point series of places, grids and groups of points of areas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from covjson_pydantic.domain import Axes, Domain, DomainType, ValuesAxis
from covjson_pydantic.observed_property import Category, ObservedProperty
from covjson_pydantic.parameter import Parameter as CoverageParameter
from covjson_pydantic.reference_system import ReferenceSystem, ReferenceSystemConnectionObject
from covjson_pydantic.unit import Symbol, Unit
from pydantic import AwareDatetime

from soilcast.serving.parameters import Parameter
from soilcast.serving.queries import Positions, Query, as_rows
from soilcast.serving.values import Values

UCUM = "http://www.opengis.net/def/uom/UCUM/"
LON_LAT = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"

_LANGUAGE = "en"


def coverage(
    query: Query, chosen: Positions, values: Mapping[str, Values], about: Mapping[str, str], *, is_of_places: bool
) -> dict[str, Any]:
    """Give a coverage, or a collection of several: of several places, and of parameters of the issue day.

    Parameters
    ----------
    query
        What was asked for.
    chosen
        The cells ``(place,)``.
    values
        Name of a parameter -> ``(lead, place)`` or ``(place,)``.
    about
        What is told of the forecast.
    is_of_places
        Whether places were asked for one by one.

    Returns
    -------
    What `orjson` writes; values are arrays.
    """
    parts = []
    for has_lead in (True, False):
        parameters = [one for one in query.parameters if one.has_lead == has_lead]
        if parameters:
            days = query.valid_days if has_lead else [str(query.instance.issue)]
            arrays = {one.name: values[one.name].reshape(len(days), len(chosen)) for one in parameters}
            parts += _coverages(query, chosen, parameters, arrays, days, is_of_places=is_of_places)
    if len(parts) == 1:
        return {**parts[0], "about": dict(about)}
    # Parameters are said once, of all.
    said: dict[str, Any] = {}
    for part in parts:
        said |= part.pop("parameters")
    return {"type": "CoverageCollection", "coverages": parts, "parameters": said, "about": dict(about)}


def _coverages(
    query: Query,
    chosen: Positions,
    parameters: Sequence[Parameter],
    arrays: Mapping[str, Values],
    days: Sequence[str],
    *,
    is_of_places: bool,
) -> list[dict[str, Any]]:
    cells = query.cells
    said = {one.name: _said(one) for one in parameters}
    if is_of_places:
        return [
            _one(
                _domain(DomainType.point_series, days, x=[float(cells.lon[cell])], y=[float(cells.lat[cell])]),
                said,
                {one.name: _range(one, ("t",), arrays[one.name][:, at]) for one in parameters},
            )
            for at, cell in enumerate(chosen)
        ]
    if cells.grid is None:
        places = [(float(cells.lon[cell]), float(cells.lat[cell])) for cell in chosen]
        domain = _domain(DomainType.multi_point_series, days, composite=places)
        axes: tuple[str, ...] = ("t", "composite")
    else:
        lat, lon, table = as_rows(cells, chosen)
        domain, axes = _domain(DomainType.grid, days, x=lon.tolist(), y=lat.tolist()), ("t", "y", "x")
        arrays = {name: np.where(table >= 0, one[:, table], np.float32(np.nan)) for name, one in arrays.items()}
    return [_one(domain, said, {one.name: _range(one, axes, arrays[one.name]) for one in parameters})]


def _one(domain: Any, said: dict[str, Any], ranges: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Coverage", "domain": domain, "parameters": said, "ranges": ranges}


def _domain(kind: DomainType, days: Sequence[str], **axes: Any) -> Any:
    found: dict[str, Any] = {name: ValuesAxis[float](values=one) for name, one in axes.items() if name != "composite"}
    found["t"] = ValuesAxis[AwareDatetime](values=[f"{day}T00:00:00Z" for day in days])
    if "composite" in axes:
        found["composite"] = ValuesAxis[Any](dataType="tuple", coordinates=["x", "y"], values=axes["composite"])
    place = ReferenceSystemConnectionObject(
        coordinates=["x", "y"], system=ReferenceSystem(type="GeographicCRS", id=LON_LAT)
    )
    time = ReferenceSystemConnectionObject(
        coordinates=["t"], system=ReferenceSystem(type="TemporalRS", calendar="Gregorian")
    )
    domain = Domain(domainType=kind, axes=Axes(**found), referencing=[place, time])
    return domain.model_dump(mode="json", exclude_none=True)


def _said(one: Parameter) -> Any:
    """What is told of a parameter."""
    label = {_LANGUAGE: one.title}
    categories = one.categories
    if categories is None:
        unit = Unit(symbol=Symbol(value=one.units.replace(" ", "."), type=UCUM))
        parameter = CoverageParameter(label=label, observedProperty=ObservedProperty(label=label), unit=unit)
    else:
        of_each = [Category(id=name, label={_LANGUAGE: name.replace("_", " ")}) for name in categories]
        observed = ObservedProperty(label=label, categories=of_each)
        parameter = CoverageParameter(label=label, observedProperty=observed, categoryEncoding=dict(categories))
    return parameter.model_dump(mode="json", exclude_none=True)


def _range(one: Parameter, axes: Sequence[str], values: Values) -> dict[str, Any]:
    flat: Any = np.ascontiguousarray(values).ravel()
    is_whole = one.categories is not None
    if is_whole:
        flat = [int(value) if np.isfinite(value) else None for value in flat]
    kind = "integer" if is_whole else "float"
    return {"type": "NdArray", "dataType": kind, "axisNames": [*axes], "shape": [*values.shape], "values": flat}
