"""How fields of a forecast come onto the cells of a cube: area means on a grid, the point that holds a place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import Grid, grid_of, read
from soilcast.cube.matching import find_places
from soilcast.errors import SoilcastError
from soilcast.provenance import input_of
from soilcast.sources.overlap import Points
from soilcast.sources.regridding import conservative, nearest
from soilcast.weather.step_fields import Axes, Doubles

Floats = npt.NDArray[np.float32]

_DEGREES_AN_HOUR = 15.0


class Cells:
    """The cells of a cube, and which fields of a forecast cover them.

    Parameters
    ----------
    cube
        Opened.
    needed
        Cells that a forecast must cover ``(cell,)``.
    """

    def __init__(self, cube: xr.Dataset, needed: npt.NDArray[np.bool_]) -> None:
        self._cube, self._needed, self._grid = cube, needed, grid_of(cube)
        self.lat, self.lon = (np.asarray(cube[name].to_numpy(), dtype=np.float64) for name in ("lat", "lon"))
        self._covered: dict[int, tuple[Axes, npt.NDArray[np.bool_]]] = {}

    def __len__(self) -> int:
        return len(self.lat)

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Hours by which the day of each cell begins before that of UTC ``(cell,)``: not 0 if the cube's are local."""
        options = input_of(self._cube.attrs.get("provenance"), "options")
        is_local = isinstance(options, dict) and options.get("day") == "local"
        hours = np.round(self.lon / _DEGREES_AN_HOUR) if is_local else np.zeros(len(self))
        return np.asarray(hours, dtype=np.int64)

    def lay(self, values: Floats, axes: Axes, chosen: npt.NDArray[np.int64], where: str) -> Floats:
        """Bring fields onto some cells.

        On a grid a cell takes the mean over its area, first-order conservative; a place takes the point in whose cell
        it lies, or of a list of places the one at its own.

        Parameters
        ----------
        values
            ``(day, lat, lon)`` or ``(day, place)``, NaN where missing.
        axes
            Where they lie.
        chosen
            Positions of the cells, ascending ``(chosen,)``.
        where
            Their file, for messages.

        Returns
        -------
        ``(day, chosen)`` float32; NaN where less than half of a cell has values.

        Raises
        ------
        SoilcastError
            Axes that are not those of a regular grid.
        """
        if not axes.is_grid:
            rows = find_places(axes.lat, axes.lon, self.lat[chosen], self.lon[chosen])
            return np.where(rows >= 0, values[:, rows], np.float32(np.nan)).astype(np.float32)
        if self._grid is None:
            points = Points(self.lat[chosen], self.lon[chosen])
            return nearest(values, axes.lat, axes.lon, points, where=where)
        cells = Grid(self._grid.lat, self._grid.lon, self._grid.index[chosen])
        return conservative(values, axes.lat, axes.lon, cells, where=where)

    def refuse_uncovered(self, axes: Axes, where: str) -> None:
        """Raise `SoilcastError` if a needed cell lies outside of a forecast."""
        shape = (len(axes.lat), len(axes.lon)) if axes.is_grid else (len(axes.lat),)
        everywhere = np.ones((1, *shape), dtype=np.float32)
        covered = np.isfinite(self.lay(everywhere, axes, np.arange(len(self)), where)[0])
        missing = np.flatnonzero(self._needed & ~covered)
        if len(missing):
            raise SoilcastError(
                f"{where}: {len(missing)} of {int(self._needed.sum())} cells of {self._name} are not covered "
                f"({self.told(int(missing[0]))}); it covers {axes.extent}: give a forecast that covers all cells, or a "
                "cube of covered cells"
            )

    def refuse_missing(self, name: str, values: Floats, issues: npt.NDArray[np.datetime64], where: str) -> None:
        """Raise `SoilcastError` if a needed cell of ``(member, cell, issue, lead)`` has no value of a variable."""
        missing = np.isnan(values).any(axis=0) & self._needed[:, np.newaxis, np.newaxis]
        if missing.any():
            cell, issue, lead = np.argwhere(missing)[0]
            count = int(missing.any(axis=(1, 2)).sum())
            raise SoilcastError(
                f"{where}: {name} is missing in {count} of {int(self._needed.sum())} cells "
                f"({self.told(int(cell))}), the first day is {issues[issue] + 1 + lead}: give a forecast with values "
                "there, or a cube without these cells"
            )

    def elevation(self, orography: Doubles, axes: Axes, where: str) -> Doubles:
        """By how much each cell lies above the surface of the forecast model ``(cell,)`` [m].

        Raises
        ------
        SoilcastError
            The cube has no elevation.
        """
        if "elevation" not in self._cube:
            raise SoilcastError(
                f"{self._name}: no elevation, which --lapse-rate needs: prepare the cube with --static "
                "elevation=FILE, or leave --lapse-rate out"
            )
        model = self.lay(orography[np.newaxis].astype(np.float32), axes, np.arange(len(self)), where)[0]
        height = read(self._cube, "elevation").astype(np.float64)
        above: Doubles = height - model
        return above

    def told(self, cell: int) -> str:
        """Place of a cell in words, for messages."""
        return f"such as that at lat {self.lat[cell]:g}, lon {self.lon[cell]:g}"

    @property
    def _name(self) -> str:
        return str(self._cube.encoding.get("source", "the cube"))
