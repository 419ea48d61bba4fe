"""How climate classes that were computed compare with a published map, the one that is packaged with `planet`.

The map is that of Rubel et al. (2017; see NOTICE) at half a degree, without Antarctica, As counted as Aw. Its rules are
nearly those of Beck et al. (2018): temperate (C) there ends at -3 degrees Celsius in the coldest month, here at 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

if TYPE_CHECKING:
    from scipy.spatial import KDTree

from soilcast.cube import VARIABLES
from soilcast.cube.calendar import last_year
from soilcast.cube.contract import KOEPPEN_CLASSES
from soilcast.cube.koeppen import koeppen_geiger, monthly_climatology
from soilcast.sources.planet.geography import FINEST, geography

FARTHEST = 0.01
"""Of the Earth's radius, about 64 km: a land cell of the map that is farther off says nothing of a place."""


@dataclass(frozen=True)
class ZoneAgreement:
    """Share of the area on which two maps have the same class.

    Parameters
    ----------
    classes
        The same of the 30 classes, 0 .. 1.
    main_classes
        The same of the five main classes A, B, C, D and E, 0 .. 1.
    area
        Share of the area on which both have a class, 0 .. 1.
    """

    classes: float
    main_classes: float
    area: float


def add_climate_zone(cube: xr.Dataset) -> list[str]:
    """Compute the climate zone of every cell from the cube's own months, and add it to the cube.

    Intervals are calibrated and scores grouped by it, so the last year, which a run by default is tested on, has no
    part in it, unless one of the twelve months is in that year alone. Its attribute ``period`` says which days have.

    Parameters
    ----------
    cube
        With ``t2m`` and ``tp``, lazy or not; left as it is if it lacks one of them or one of the twelve months.

    Returns
    -------
    What is to be said of it: its days, and how far it agrees with the packaged map.
    """
    days = cube["time"].to_numpy()
    before, tested = days[: last_year(days).start], ""
    months = monthly_climatology(cube.isel(time=slice(0, len(before))))
    if months is None:
        before, tested = days, ", the last year too, without which one of the twelve months is missing"
        months = monthly_climatology(cube)
    if months is None:
        return []
    period = ":".join(np.datetime_as_string(before[[0, -1]], "D"))
    lat, lon = cube["lat"].to_numpy(), cube["lon"].to_numpy()
    zones = koeppen_geiger(*months, lat)
    row = VARIABLES["climate_zone"]
    origin = "computed from the cube's months of t2m and tp by Beck et al. (2018), Table 2"
    known = np.where(zones > 0, zones, np.nan).astype(np.float32)
    cube["climate_zone"] = (row.dims, known, {**row.attributes, "origin": origin, "period": period})
    line = f"climate_zone: computed from the cube's own months of {period}{tested}"
    found = agreement(zones, published_zones(lat, lon), cube["area"].to_numpy())
    if not found.area > 0:
        return [line]
    return [
        f"{line}; on {found.classes:.0%} of the area it is the class of the map of Rubel et al. (2017), on "
        f"{found.main_classes:.0%} the main climate"
    ]


def published_zones(lat: npt.NDArray[np.floating], lon: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Koeppen-Geiger class of the nearest land cell of the packaged half-degree map.

    Parameters
    ----------
    lat, lon
        Place of each cell ``(cell,)`` [degrees north, degrees east].

    Returns
    -------
    Number of the class ``(cell,)``, 1 Af .. 30 EF; 0 where no land of the map is near.
    """
    tree, zones = _map()
    _, position = tree.query(_on_the_sphere(lat, lon), distance_upper_bound=FARTHEST)
    return np.append(zones, 0)[position]  # where nothing is near, the tree gives its own size


def agreement(
    zones: npt.NDArray[np.integer], others: npt.NDArray[np.integer], area: npt.NDArray[np.floating]
) -> ZoneAgreement:
    """Compare two maps of Koeppen-Geiger classes where both have one.

    Parameters
    ----------
    zones, others
        Numbers of classes ``(cell,)``, 0 for none.
    area
        Weight of each cell ``(cell,)`` [m2].

    Returns
    -------
    Shares of the area, NaN where there is none.
    """
    main = np.array([""] + [letters[0] for letters in KOEPPEN_CLASSES.values()])
    both = (zones > 0) & (others > 0)
    weight, compared = np.asarray(area, dtype=np.float64), float(area[both].sum())

    def share(same: npt.NDArray[np.bool_]) -> float:
        return float(weight[both & same].sum() / compared) if compared else np.nan

    whole = float(weight.sum())
    return ZoneAgreement(
        share(zones == others), share(main[zones] == main[others]), compared / whole if whole else np.nan
    )


@cache
def _map() -> tuple[KDTree, npt.NDArray[np.int64]]:
    from scipy.spatial import KDTree  # half a second to import, for which a training should not wait

    land = geography(FINEST)
    return KDTree(_on_the_sphere(land.grid.cell_lat, land.grid.cell_lon)), land.climate_zone


def _on_the_sphere(lat: npt.NDArray[np.floating], lon: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Points of the unit sphere, ``(cell, 3)``."""
    phi, theta = np.radians(np.asarray(lat, dtype=np.float64)), np.radians(np.asarray(lon, dtype=np.float64))
    return np.stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)], axis=1)
