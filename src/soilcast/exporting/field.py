"""What is exported: the values of one variable, quantile and class, and what every export says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import read
from soilcast.products.variables import DROUGHT_CLASS


@dataclass(frozen=True)
class Band:
    """Values of one lead.

    Parameters
    ----------
    lead
        Days after the issue day [d]; None where there is none.
    day
        The day that the values are of; None where they are of none, or of all leads together.
    """

    lead: int | None
    day: np.datetime64 | None


@dataclass(frozen=True)
class Field:
    """What is exported.

    Parameters
    ----------
    opened
        The artifact: its cells and attributes.
    kind
        ``forecast`` or ``cube``.
    name
        Of the variable.
    chosen
        The days, leads, quantile and drought class of it, lazily.
    has_days
        Whether the variable is of days.
    """

    opened: xr.Dataset
    kind: str
    name: str
    chosen: xr.Dataset
    has_days: bool

    @cached_property
    def values(self) -> npt.NDArray[np.float32]:
        """Values of one day, ``(band, cell)``, NaN where missing."""
        order = [dim for dim in ("lead", "cell") if dim in self.chosen[self.name].dims]
        values = read(self.chosen.assign({self.name: self.chosen[self.name].transpose(*order)}), self.name)
        return values.reshape(-1, self.opened.sizes["cell"]).astype(np.float32, copy=False)

    @property
    def bands(self) -> tuple[Band, ...]:
        """What each band of `values` is."""
        return _bands(self.chosen, self.name, self.kind)

    @property
    def issue(self) -> np.datetime64 | None:
        """Day at whose end a forecast was made."""
        return _day(self.chosen) if self.kind == "forecast" and self.has_days else None

    @property
    def quantile(self) -> float | None:
        """Level of the values; None where they are no quantile."""
        return float(self.chosen["quantile"]) if "quantile" in self.opened[self.name].dims else None

    @property
    def drought_class(self) -> str | None:
        """Class of the values, D0 .. D4; None where they are not of one."""
        return str(self.chosen[DROUGHT_CLASS].item()) if DROUGHT_CLASS in self.opened[self.name].dims else None

    @cached_property
    def is_whole(self) -> bool:
        """Whether the values are classes or are stored as int8, and fit it; of many days by how they are stored."""
        variable = self.opened[self.name]
        stored = np.dtype(variable.encoding.get("dtype", variable.dtype))
        if "time" in self.chosen[self.name].dims:
            return bool(stored == np.int8)
        finite = self.values[np.isfinite(self.values)]
        fit = bool((np.abs(finite) < np.iinfo(np.int8).max).all() and (finite == np.rint(finite)).all())
        return fit and (stored == np.int8 or "flag_values" in variable.attrs)

    @property
    def attributes(self) -> dict[Any, Any]:
        """Of the variable."""
        return self.opened[self.name].attrs

    @property
    def column(self) -> str:
        """Name of the values among those of other variables, with the level of a quantile in % and the class, as CF
        allows names: ``swvl1_quantile_05``.
        """
        parts = [self.name]
        if self.quantile is not None:
            whole, _, rest = f"{100 * self.quantile:.6g}".partition(".")
            parts += [whole.zfill(2), *([rest] if rest else [])]
        return "_".join(parts if self.drought_class is None else [*parts, self.drought_class])

    @property
    def long_name(self) -> str:
        """What the values are, in words."""
        name = str(self.attributes.get("long_name", self.name))
        quantile = "" if self.quantile is None else f", quantile {self.quantile:g}"
        return f"{name}{quantile}" if self.drought_class is None else f"{name}{quantile}, {self.drought_class}"

    @property
    def units(self) -> str:
        """As CF writes them."""
        return str(self.attributes.get("units", "1"))

    @property
    def nature(self) -> str:
        """What kind of numbers these are, in words: nobody shall take a forecast for an observation."""
        content = str(self.opened.attrs.get("content", "unknown data"))
        if self.kind == "cube":
            return content
        return f"model forecast, not an observation (trained on {content})"

    def about(self) -> dict[str, str]:
        """What every export says of the values: title, unit, issue day, what they are and whose."""
        told = {
            "title": str(self.opened.attrs.get("title", "")),
            "variable": self.name,
            "long_name": self.long_name,
            "units": self.units,
            "nature": self.nature,
            "source": str(self.opened.attrs.get("source", "")),
            "license": str(self.opened.attrs.get("license", "")),
            "regions": str(self.opened.attrs.get("regions", "")),
            "issue_date": "" if self.issue is None else str(self.issue),
        }
        return {name: text for name, text in told.items() if text}


def about_all(fields: Sequence[Field]) -> dict[str, Any]:
    """What every export says of its values, with a list ``columns`` of what is said of each of several fields."""
    told = fields[0].about()
    if len(fields) == 1:
        return told
    own = ("variable", "long_name", "units", "quantile", "drought_class")
    columns = [
        {"name": one.column, **{name: text for name, text in one.about().items() if name in own}} for one in fields
    ]
    return {name: text for name, text in told.items() if name not in own} | {"columns": columns}


def _bands(chosen: xr.Dataset, name: str, kind: str) -> tuple[Band, ...]:
    """What each band of the chosen values is."""
    at = _day(chosen)
    if "lead" not in chosen[name].dims:
        return (Band(None, None if kind == "forecast" else at),)
    leads = [int(lead) for lead in chosen["lead"].to_numpy()]
    return tuple(Band(lead, None if at is None else at + np.timedelta64(lead, "D")) for lead in leads)


def _day(chosen: xr.Dataset) -> np.datetime64 | None:
    """The one day that was chosen; None where nothing was."""
    if "time" not in chosen.coords or chosen["time"].ndim:
        return None
    return np.datetime64(str(np.datetime_as_string(chosen["time"].to_numpy(), "D")))
