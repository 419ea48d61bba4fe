"""The parameters of OGC API EDR: each variable of a forecast, of its quantiles and drought classes one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from soilcast.products.variables import DROUGHT_CLASS
from soilcast.serving.faults import RequestError
from soilcast.serving.forecast_files import QUANTILE, ForecastFile, Variable


@dataclass(frozen=True)
class Parameter:
    """A parameter: a variable, or one quantile or class of it.

    Parameters
    ----------
    name
        By which it is asked for.
    variable
        What it is of.
    title
        In words.
    other
        Position along quantile or class; None where it has neither.
    """

    name: str
    variable: Variable
    title: str
    other: int | None = None

    @property
    def has_lead(self) -> bool:
        """Whether it is of the days ahead; else it is of the issue day."""
        return "lead" in self.variable.dims

    @property
    def units(self) -> str:
        """As CF writes them."""
        return self.variable.units

    @property
    def categories(self) -> dict[str, int] | None:
        """Name of each category -> number; None where values are no categories."""
        if not {"flag_values", "flag_meanings"} <= set(self.variable.attributes) or self.units not in ("", "1"):
            return None
        names = str(self.variable.attributes["flag_meanings"]).split()
        numbers = [int(one) for one in np.ravel(self.variable.attributes["flag_values"])]
        return dict(zip(names, numbers, strict=False))

    def positions(self, leads: slice | list[int]) -> tuple[Any, ...]:
        """Positions along the dimensions of the variable beside its cells."""
        found: list[Any] = [leads] if self.has_lead else []
        return tuple(found if self.other is None else [*found, self.other])


def parameters_of(file: ForecastFile) -> dict[str, Parameter]:
    """Give all parameters of a forecast by name, such as ``swvl1`` and ``swvl1_quantile_0.05``."""
    found = {}
    for variable in file.variables.values():
        parts: list[tuple[str, str, int | None]] = [("", "", None)]
        if "quantile" in variable.dims:
            parts = [(f"_{level:g}", f", quantile {level:g}", at) for at, level in enumerate(file.quantiles)]
        if DROUGHT_CLASS in variable.dims:
            parts = [(f"_{name}", f", {name} or drier", at) for at, name in enumerate(file.classes)]
        for end, words, at in parts:
            found[variable.name + end] = Parameter(variable.name + end, variable, variable.title + words, at)
    order = {name: at for at, name in enumerate(file.layers)}
    return dict(sorted(found.items(), key=lambda one: (order.get(one[0], len(order)), one[0])))


def chosen_parameters(file: ForecastFile, text: str | None) -> list[Parameter]:
    """Give the parameters that stand between commas, or all.

    Raises
    ------
    RequestError
        There is none of a name.
    """
    there = parameters_of(file)
    if text is None or not text.strip():
        return list(there.values())
    wanted = dict.fromkeys(name.strip() for name in text.split(",") if name.strip())
    for name in wanted:
        if name not in there:
            near = [one for one in there if one.startswith(name.partition(QUANTILE)[0])] or list(there)
            raise RequestError(f"parameter-name: no parameter {name[:60]!r}: there are {', '.join(near)}")
    return [there[name] for name in wanted]
