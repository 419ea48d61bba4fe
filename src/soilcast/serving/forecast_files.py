"""What a file of forecasts holds: its issue days, leads, variables and cells, without its values."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cube.grid import OUTLINE
from soilcast.errors import SoilcastError
from soilcast.products.variables import DROUGHT_CLASS
from soilcast.serving.cells import Cells

QUANTILE = "_quantile"
"""What follows a layer in the name of its quantiles."""

_DIMS = {"cell", "time", "lead", "quantile", DROUGHT_CLASS}
_CELL_COORDINATES = ("lat", "lon", "cell", "cell_name", "grid_lat", "grid_lon", OUTLINE)


@dataclass(frozen=True)
class Variable:
    """A variable of a forecast.

    Parameters
    ----------
    name
        In the file.
    dims
        Its dimensions, in the order in which they are stored.
    attributes
        Of CF.
    """

    name: str
    dims: tuple[str, ...]
    attributes: dict[str, Any] = field(repr=False, hash=False)

    @property
    def title(self) -> str:
        """What it is, in words."""
        return str(self.attributes.get("long_name", self.name))

    @property
    def units(self) -> str:
        """As CF writes them."""
        return str(self.attributes.get("units", "1"))


@dataclass(frozen=True, eq=False)
class ForecastFile:
    """What a file holds, without its values.

    Parameters
    ----------
    path, version
        Where it stands, and which version of it.
    issues
        Its issue days, datetime64[D].
    leads
        [d].
    quantiles, classes
        Levels and drought classes; none where it has none.
    variables
        By name, those of issue days and cells alone.
    attributes
        Of the whole.
    cells
        Shared with others.
    """

    path: Path
    version: tuple[int, ...]
    issues: tuple[np.datetime64, ...]
    leads: tuple[int, ...]
    quantiles: tuple[float, ...]
    classes: tuple[str, ...]
    variables: dict[str, Variable]
    attributes: dict[str, Any]
    cells: Cells

    @property
    def label(self) -> str:
        """The user's name of the run."""
        return str(self.attributes.get("label", self.path.stem))

    @property
    def series(self) -> Hashable:
        """What all forecasts of a collection have in common."""
        return str(self.attributes.get("weights_sha256", "")), self.label, self.cells.identity

    @property
    def layers(self) -> list[str]:
        """The variables that are forecast."""
        named = [name for name in str(self.attributes.get("targets", "")).split(",") if name in self.variables]
        return named + (["root_zone"] if "root_zone" in self.variables else [])


def summary(path: Path, version: tuple[int, ...], opened: xr.Dataset, shared: dict[str, Cells]) -> ForecastFile:
    """Summarise an opened forecast.

    Parameters
    ----------
    path, version
        Where it stands, and which version of it.
    shared
        Cells by their identity, of which one is taken where they are the same; these are added.

    Raises
    ------
    SoilcastError
        It lacks what every forecast has.
    """
    lacking = [name for name in ("cell", "time", "lead", "lat", "lon") if name not in opened.coords]
    lacking += [name for name in ("cell", "time", "lead") if not opened.sizes.get(name)]
    if lacking or opened["time"].dtype.kind != "M" or opened["lead"].dtype.kind not in "iu":
        raise SoilcastError(f"{path}: {', '.join(lacking) or 'its days'} missing or invalid: damaged; forecast again")
    cells = Cells(
        opened[[name for name in _CELL_COORDINATES if name in opened.coords]]
        .reset_coords()
        .set_coords([name for name in _CELL_COORDINATES if name in opened.coords])
        .drop_attrs()
    )
    cells = shared.setdefault(cells.identity, cells)
    variables = {
        str(name): Variable(str(name), tuple(map(str, one.dims)), dict(one.attrs))
        for name, one in opened.data_vars.items()
        if {"cell", "time"} <= set(one.dims) <= _DIMS and one.dtype.kind in "fiu"
    }
    return ForecastFile(
        path,
        version,
        tuple(opened["time"].to_numpy().astype("datetime64[D]")),
        tuple(int(lead) for lead in opened["lead"].to_numpy()),
        tuple(float(level) for level in opened["quantile"].to_numpy()) if "quantile" in opened.coords else (),
        tuple(str(one) for one in opened[DROUGHT_CLASS].to_numpy()) if DROUGHT_CLASS in opened.coords else (),
        variables,
        {str(name): one for name, one in opened.attrs.items() if isinstance(one, str | int | float | np.number)},
        cells,
    )
