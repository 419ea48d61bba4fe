"""A forecast brought to stations: what `soilcast.verify.evaluate` then scores like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import open_artifact, thickness_name, write_dataset
from soilcast.cube.calendar import Days, period_of
from soilcast.cube.nearest import Floats, Nearest, at_cells, nearest_cells
from soilcast.errors import SoilcastError
from soilcast.verify.entry import DEVELOPMENT_PERIODS, attributes_of, mean_name, quantile_name, template_name
from soilcast.verify.kernels import FEWEST_DAYS
from soilcast.verify.overlap import FEWEST_LEARNT, is_learnt
from soilcast.verify.stations.matching import FEWEST_MATCHED, MATCHINGS, Apply, Pairs
from soilcast.verify.stations.observed import Stations
from soilcast.verify.stations.products import Product, open_product

_DAY = np.timedelta64(1, "D")
_SLACK = 1e-6  # of depths that are stored as float32 [m]


@dataclass(frozen=True)
class Brought:
    """A forecast at stations.

    Parameters
    ----------
    label
        Its label.
    nearest
        Its cells.
    first_test_day
        The first day that is scored.
    valid_days
        Days that lead 1 forecasts ``(issue,)``.
    raw
        Layer -> lead 1 before matching ``(station, issue)`` [m3 m-3].
    reasons
        Layer -> why a station has no forecast ``(station,)``, empty where it has.
    fitted_on
        Layer -> number of development days that the matching was fitted on ``(station,)``; 0 without a fit.
    """

    label: str
    nearest: Nearest
    first_test_day: np.datetime64
    valid_days: Days = field(repr=False)
    raw: Mapping[str, npt.NDArray[np.float32]] = field(repr=False)
    reasons: Mapping[str, tuple[str, ...]] = field(repr=False)
    fitted_on: Mapping[str, npt.NDArray[np.int64]] = field(repr=False)


def bring(
    forecast: Path,
    stations: Stations,
    station_cube: xr.Dataset,
    out: Path,
    *,
    matching: str,
    climate: Path | None,
    distance: float | None,
    layers: Sequence[float],
) -> Brought:
    """Bring a forecast to stations, match it to their climate, and write it to ``out``.

    Parameters
    ----------
    forecast
        Its path.
    stations, station_cube
        The stations and their opened cube.
    out
        Zarr folder to write: the forecast on the cells of ``station_cube``.
    matching
        Key of `soilcast.verify.stations.matching.MATCHINGS`; fitted on days before the first that is scored.
    climate
        Product whose development days tell the climate of the forecast's cells; by default lead 1 of the forecast. The
        map from one climate to the other is one of places, and so the same for all leads.
    distance
        See `soilcast.cube.nearest.nearest_cells`.
    layers
        Bounds of the forecast's layers [m]; a ``climate`` that says the thickness of its layers is stronger.

    Raises
    ------
    SoilcastError
        It is no forecast, or has no layer or no day in common with the stations, or no station at all.
    """
    with open_artifact(forecast, "forecast") as opened:
        attributes = attributes_of(opened, forecast)
        targets = tuple(name.strip() for name in attributes["targets"].split(","))
        common = tuple(target for target in targets if target in stations.observed)
        if not common:
            raise SoilcastError(
                f"{forecast}: it forecasts {', '.join(targets)}, of which {stations.path} has none: prepare stations "
                "with sensors at these depths, or give other --layers there"
            )
        near = nearest_cells(stations.lat, stations.lon, opened, distance)
        issued: Days = opened["time"].to_numpy().astype("datetime64[D]").astype("datetime64[ns]")
        first_test_day = _first_test_day(issued, opened.sizes["lead"], attributes, forecast)
        product = None
        if MATCHINGS[matching].fit is not None:
            product = open_product(climate or forecast, common, stations.lat, stations.lon, distance)
        bounds = _bounds_at(climate, near, layers, distance, stations)
        valid = issued[:, np.newaxis] + np.arange(1, opened.sizes["lead"] + 1) * _DAY
        variables: dict[str, xr.Variable] = {}
        raw, reasons, fitted_on = {}, {}, {}
        for target in common:
            why = _reasons(target, near, stations, bounds, valid[:, 0], is_learnt(attributes, stations.days))
            fits, counts = _fits(target, product, stations, matching, first_test_day, why)
            reasons[target], fitted_on[target] = tuple(why), counts
            has = np.array([not one for one in why])
            for name in (target, mean_name(target), quantile_name(target)):
                if name in opened.variables:
                    values = at_cells(opened, name, near)
                    values[~has] = np.nan
                    if name == target:
                        raw[target] = values[:, :, 0].copy()
                    for station in np.flatnonzero(has):
                        days = valid.reshape(*valid.shape, *(1,) * (values.ndim - 3))
                        days = np.broadcast_to(days, values.shape[1:])
                        values[station] = fits[station](values[station].astype(np.float64), days)
                    variables[name] = xr.Variable(opened[name].dims, values, opened[name].attrs)
            if template_name(target) in opened.variables:
                variables[template_name(target)] = opened[template_name(target)].variable.load()
        _refuse_no_station(forecast, stations, reasons, near)
        shared = {
            name: opened[name].drop_encoding().load() for name in opened.coords if "cell" not in opened[name].dims
        }
        shared = {name: one for name, one in shared.items() if not str(name).startswith("grid_")}
        cells = {name: station_cube[name].drop_encoding().load() for name in station_cube.coords if name != "time"}
        described = {**opened.attrs, "targets": ",".join(common)}
    brought = xr.Dataset(variables, {**shared, **cells}, described)
    brought = brought.drop_encoding()
    brought["area"] = station_cube["area"].drop_encoding().load()
    write_dataset(brought, out, netcdf=False)
    return Brought(attributes["label"], near, first_test_day, valid[:, 0], raw, reasons, fitted_on)


def _first_test_day(issued: Days, leads: int, attributes: Mapping[str, str], path: Path) -> np.datetime64:
    """The first day that `soilcast.verify.overlap` lets be scored."""
    ahead = issued[:, np.newaxis] + np.arange(1, leads + 1) * _DAY
    free = ~is_learnt(attributes, ahead, DEVELOPMENT_PERIODS).any(axis=1)
    if not free.any():
        raise SoilcastError(
            f"{path}: all its days are in training or validation of its run: forecast a separate period"
        )
    first: np.datetime64 = ahead[free].min()
    return first


def _bounds_at(
    climate: Path | None, near: Nearest, layers: Sequence[float], distance: float | None, stations: Stations
) -> dict[str, tuple[Floats, Floats]]:
    """Layer -> its upper and lower bound at each station ``(station,)`` [m]."""
    count = len(near.cell)
    bounds = {
        f"swvl{number}": (np.full(count, upper), np.full(count, lower))
        for number, (upper, lower) in enumerate(pairwise(layers), start=1)
    }
    if climate is None:
        return bounds
    with open_artifact(climate, "cube", "forecast") as opened:
        at = nearest_cells(stations.lat, stations.lon, opened, distance)
        upper = np.zeros(count)
        for layer in bounds:
            if thickness_name(layer) not in opened.data_vars:
                break
            lower = upper + at_cells(opened, thickness_name(layer), at)
            bounds[layer], upper = (upper, lower), lower
    return bounds


def _reasons(
    target: str,
    near: Nearest,
    stations: Stations,
    bounds: Mapping[str, tuple[Floats, Floats]],
    valid: Days,
    learn: npt.NDArray[np.bool_],
) -> list[str]:
    """Why stations cannot be compared with a forecast, empty where they can."""
    depth, observed = stations.depth[target], stations.observed[target]
    upper, lower = bounds.get(target, (np.full(len(depth), np.nan),) * 2)
    on_test = np.isfinite(stations.on(target, valid)).sum(axis=1)
    learnt = np.isfinite(observed[:, learn]).sum(axis=1)
    found = []
    for station in range(len(depth)):
        why = ""
        if near.cell[station] < 0:
            why = f"the nearest cell is {near.distance[station]:.0f} km away (reach {near.reach[station]:.0f} km)"
        elif not np.isfinite(observed[station]).any():
            why = "no sensor in this layer"
        elif depth[station] < upper[station] - _SLACK or depth[station] > lower[station] + _SLACK:
            why = (
                f"its sensor at {depth[station]:.2f} m is outside the layer from {upper[station]:.2f} to "
                f"{lower[station]:.2f} m"
            )
        elif on_test[station] < FEWEST_DAYS:
            why = f"{on_test[station] or 'no'} observation on the days of the forecast"
        elif learn.sum() >= FEWEST_LEARNT and not learnt[station]:
            why = "no observation in training or validation of the run, of which its damped anomaly is learnt"
        found.append(why)
    return found


def _same(values: npt.NDArray[np.floating], days: Days) -> npt.NDArray[np.floating]:
    return values


def _fits(
    target: str,
    product: Product | None,
    stations: Stations,
    matching: str,
    first_test_day: np.datetime64,
    why: list[str],
) -> tuple[list[Apply], npt.NDArray[np.int64]]:
    """What matches each station, and on how many days it was fitted; adds to the reasons of those without a fit."""
    counts = np.zeros(len(why), dtype=np.int64)
    fit = MATCHINGS[matching].fit
    if fit is None or product is None or target not in product.values:
        if fit is not None:
            why[:] = [one or f"{product.path if product else ''} has no {target} to match" for one in why]
        return [_same] * len(why), counts
    first = min(product.days[0], stations.days[0])
    days = np.arange(first, first_test_day, _DAY)
    if not len(days):
        why[:] = [one or f"no day before {str(first_test_day)[:10]} to match climates on" for one in why]
        return [_same] * len(why), counts
    theirs, ours = product.on(target, days), stations.on(target, days)
    both = np.isfinite(theirs) & np.isfinite(ours)
    counts = both.sum(axis=1)
    fits: list[Apply] = [_same] * len(why)
    for station in range(len(why)):
        if why[station]:
            counts[station] = 0
        elif counts[station] < FEWEST_MATCHED:
            why[station] = (
                f"{counts[station]} days in common before {str(first_test_day)[:10]}, but matching takes "
                f"{FEWEST_MATCHED}"
            )
            counts[station] = 0
        else:
            fits[station] = fit(Pairs(days, theirs[station], ours[station], both[station]))
    return fits, counts


def _refuse_no_station(
    forecast: Path, stations: Stations, reasons: Mapping[str, tuple[str, ...]], near: Nearest
) -> None:
    """Raise `SoilcastError` if no station of any layer can be compared, with the most common reason."""
    every = [why for of in reasons.values() for why in of]
    if not all(every):
        return
    if (near.cell < 0).all():
        closest = int(np.argmin(near.distance))
        raise SoilcastError(
            f"{forecast}: no station of {stations.path} is in its area: the closest, {stations.names[closest]}, is "
            f"{near.distance[closest]:.0f} km from a cell (reach {near.reach[closest]:.0f} km): forecast where the "
            "stations are, or state --distance KM"
        )
    inside = [why for why in every if "km away" not in why]
    which = max(dict.fromkeys(inside), key=inside.count)
    remedy = "give other stations or another forecast"
    if "observation on" in which:
        issued = period_of(stations.days)
        remedy = f"the stations cover {issued}; forecast days that they observe"
    elif "matching takes" in which or "to match" in which:
        remedy = (
            "forecast days before the test too (forecast --period), give the cube of the forecast (--climate CUBE), or "
            "take --matching none"
        )
    elif "damped anomaly" in which:
        remedy = f"the stations cover {period_of(stations.days)}; give stations that go back into these periods"
    elif "outside the layer" in which:
        remedy = "state the bounds of the forecast's layers (--layers), or its cube (--climate)"
    raise SoilcastError(f"{forecast}: no station of {stations.path} can be compared: {which}: {remedy}")
