"""Whether a part of later days fits a cube: the same cells, variables and static values, and days that follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.calendar import Days, period_of
from soilcast.cube.contract import VARIABLES
from soilcast.cube.matching import SAME_PLACE
from soilcast.errors import SoilcastError

_DAY = np.timedelta64(1, "D")

_PLACE_DECIMALS = 4
"""The same, for places that are looked up."""

_ROUNDING = 1e-6
"""Share of a static value that rounding to float32 on different ways may make."""


@dataclass(frozen=True)
class Fit:
    """How a part lies against a cube.

    Parameters
    ----------
    order
        Position in the part of each cell of the cube, ``(cell,)``; None where they lie in the same order.
    offset
        Position of the part's first day, counted from the cube's first; negative where the part begins before.
    days
        Days of both together, ``(time,)``.
    """

    order: npt.NDArray[np.int64] | None
    offset: int
    days: Days


def fit(cube: xr.Dataset, part: xr.Dataset, where: str, what: str, *, allow_gap: bool, cut: bool) -> Fit:
    """Find how a part of later days lies against a cube.

    Parameters
    ----------
    cube
        Opened.
    part
        As `assemble` gives it.
    where, what
        The two, for the messages.
    allow_gap
        Let days be missing between the two.
    cut
        Leave out days of the part before the cube's first, where there are others.

    Raises
    ------
    SoilcastError
        Other content, variables, cells, static values than the cube's; days before its first, or a gap after its last.
    """
    if cube.attrs["content"] != part.attrs["content"]:
        raise SoilcastError(
            f"{what} have other content ({part.attrs['content']}) than {where} ({cube.attrs['content']}): prepare a "
            "separate cube"
        )
    _refuse_other_variables(cube, part, where, what)
    order = _order_of_cells(cube, part, where, what)
    _refuse_other_constants(cube, part, order, where, what)
    offset, days = _following(_days(cube), _days(part), where, what, allow_gap=allow_gap, cut=cut)
    return Fit(order, offset, days)


def ordered(part: xr.Dataset, name: str, order: npt.NDArray[np.int64] | None) -> npt.NDArray[np.generic]:
    """Values of a variable of the cells, ``(cell,)``, in the order of the cube."""
    values: npt.NDArray[np.generic] = part[name].to_numpy()
    return values if order is None else values[order]


def _refuse_other_variables(cube: xr.Dataset, part: xr.Dataset, where: str, what: str) -> None:
    mine, theirs = ({str(name) for name in one.data_vars if "time" in one[name].dims} for one in (cube, part))
    if missing := sorted(mine - theirs):
        raise SoilcastError(f"{what} lack {', '.join(missing)}, which {where} has: add the files that hold them")
    more = sorted(theirs - mine)
    # What a file does not repeat stays as it is in the cube; what only it has would be a guess for the days before.
    more += sorted(str(name) for name in part.data_vars if name not in cube and "time" not in part[name].dims)
    if more:
        raise SoilcastError(
            f"{what} hold {', '.join(more)}, which {where} lacks: remove them, or prepare the cube again from all files"
        )


def _order_of_cells(cube: xr.Dataset, part: xr.Dataset, where: str, what: str) -> npt.NDArray[np.int64] | None:
    if ("cell_name" in cube.coords) != ("cell_name" in part.coords):
        kinds = ["named points" if "cell_name" in one.coords else "cells of a grid" for one in (cube, part)]
        raise SoilcastError(f"{what} hold {kinds[1]}, but {where} {kinds[0]}: give files of the same cells")
    if _alike(cube, part):
        return None
    mine, theirs = _places(cube), _places(part)
    positions = {place: number for number, place in enumerate(theirs)}
    missing = [number for number, place in enumerate(mine) if place not in positions]
    others = len(positions.keys() - {*mine})
    if missing or others:
        first = f" (first {_named(cube, missing[0])})" if missing else ""
        raise SoilcastError(
            f"{what} have other cells than {where}: {len(missing)} of its {len(mine)} cells are missing{first}, "
            f"{others} are there that it has not: give files of the same cells"
        )
    if len(positions) != len(mine) or len(theirs) != len(mine):
        raise SoilcastError(
            f"{what} have the cells of {where} in another order, and some share a place and a name, so that they "
            "cannot be matched: give files with the cells in the order of the cube"
        )
    return np.array([positions[place] for place in mine], dtype=np.int64)


def _alike(cube: xr.Dataset, part: xr.Dataset) -> bool:
    """Whether both have the same cells in the same order."""
    if cube.sizes["cell"] != part.sizes["cell"]:
        return False
    close = all(
        np.allclose(cube[name].to_numpy(), part[name].to_numpy(), rtol=0.0, atol=SAME_PLACE) for name in ("lat", "lon")
    )
    named = "cell_name" in cube.coords
    return close and (not named or bool((_names(cube) == _names(part)).all()))


def _places(one: xr.Dataset) -> list[tuple[float, float, str]]:
    lat, lon = (np.round(one[name].to_numpy().astype(np.float64), _PLACE_DECIMALS) for name in ("lat", "lon"))
    names = _names(one) if "cell_name" in one.coords else np.full(len(lat), "")
    return list(zip((lat + 0.0).tolist(), (lon + 0.0).tolist(), names.tolist(), strict=True))


def _names(one: xr.Dataset) -> npt.NDArray[np.str_]:
    return np.asarray(one["cell_name"].to_numpy(), dtype=np.str_)


def _named(one: xr.Dataset, cell: int) -> str:
    place = f"{float(one['lat'][cell]):g} north, {float(one['lon'][cell]):g} east"
    return f"{_names(one)[cell]} at {place}" if "cell_name" in one.coords else f"at {place}"


def _refuse_other_constants(
    cube: xr.Dataset, part: xr.Dataset, order: npt.NDArray[np.int64] | None, where: str, what: str
) -> None:
    told = []
    for name in (name for name in part.data_vars if "time" not in part[name].dims):
        mine = cube[name].to_numpy().astype(np.float64)
        theirs = ordered(part, str(name), order).astype(np.float64)
        differ = ~np.isclose(theirs, mine, rtol=_ROUNDING, atol=0.0, equal_nan=True)
        if differ.any():
            largest = np.abs(theirs - mine)[differ]
            known = largest[np.isfinite(largest)]
            by = f", by up to {known.max():.3g} {VARIABLES[str(name)].units}" if len(known) else ", missing in one"
            told.append(f"{name} in {int(differ.sum())} of {len(mine)} cells{by}")
    if told:
        raise SoilcastError(
            f"{what} have other static values than {where}: {'; '.join(told)}: give the files that the cube was made "
            "of, or prepare it again"
        )


def _following(mine: Days, theirs: Days, where: str, what: str, *, allow_gap: bool, cut: bool) -> tuple[int, Days]:
    offset = int((theirs[0] - mine[0]) / _DAY)
    end = offset + len(theirs)
    if offset < 0 and not (cut and end > 0):
        raise SoilcastError(
            f"{what} have days before the first of {where}: {period_of(theirs)}, but it has {period_of(mine)}: give "
            "later files, or prepare the cube again from all files"
        )
    gap = offset - len(mine)
    if gap > 0 and not allow_gap:
        first, last = mine[-1] + _DAY, theirs[0] - _DAY
        named = f"{first}" if gap == 1 else f"{first} .. {last}"
        raise SoilcastError(
            f"{gap} missing day(s) between {where} and {what}: {named}: add the files of these days, or fill them "
            "with missing values (--allow-gap)"
        )
    return offset, (mine[0] + np.arange(max(len(mine), end)) * _DAY).astype("datetime64[ns]")


def _days(one: xr.Dataset) -> Days:
    days: Days = one["time"].to_numpy().astype("datetime64[D]")
    return days
