"""The forecast of regions from that of cells: their mean, with its own distribution and its own climate."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.sparse import csr_array

from soilcast.cube import read
from soilcast.errors import SoilcastError
from soilcast.products import add_products
from soilcast.products.climate import reference_days
from soilcast.products.indices import complete_quantiles, with_median
from soilcast.products.variables import BY_LEAD, CELL_RANK, DROUGHT_CLASS, TEMPLATE_DAY, drought_class_coordinate
from soilcast.regions.distribution import FEWEST_DAYS, quantiles_of, sum_samples
from soilcast.regions.means import cell_blocks, mean_of_known, regional_cube, regional_mean, with_outlines
from soilcast.regions.weights import Regions

Floats = npt.NDArray[np.float32]

_SAMPLES = 1 << 25
"""Samples that are held at a time."""

_ROOT_ZONE = "root_zone"
_MEDIAN = "median of the calibrated predictive distribution of the mean of the region"
_QUANTILE = (*BY_LEAD, "quantile")


def regional_forecast(forecast: xr.Dataset, regions: Regions, cube: xr.Dataset | None = None) -> xr.Dataset:
    """Make a forecast whose cells are regions, from that of the cells that these consist of.

    The mean of a region is the mean of its cells by area. Its quantiles are those of the mean: cells are drawn together
    as they were on validation days (`soilcast.regions.distribution`), since the mean of quantiles would be that of
    cells which always err alike. Its percentile, class and odds are in the climate of the mean of the region.

    Parameters
    ----------
    forecast
        Opened, of any issue days; see `soilcast.forecast`.
    regions
        Weights of its cells: see `soilcast.regions.weights.open_regions`.
    cube
        The cube that it was made for, opened, with the same cells; without it there is no percentile, class and odds.

    Returns
    -------
    A forecast in memory with the variables of ``forecast`` that a region has: each layer ``(cell, time, lead)``, and
    where cells have quantiles and shared days ``{layer}_mean`` and ``{layer}_quantile``; percentile, anomaly, class and
    odds, where the forecast has them, too. Attribute ``notes`` says what is not there.

    Raises
    ------
    SoilcastError
        The cube lacks a layer, stored bytes are damaged, no region has a cell with a forecast.
    """
    layers = [name for name in str(forecast.attrs.get("targets", "")).split(",") if name in forecast]
    if not layers:
        raise SoilcastError(f"{forecast.encoding.get('source', 'the forecast')}: it names no layer: forecast again")
    regions = regions.of_cells(forecast_cells(forecast, layers[0], regions))
    notes = list(regions.notes)
    variables: dict[str, xr.Variable] = {}
    for layer in layers:
        variables |= _layer(forecast, regions, layer, notes)
    if _ROOT_ZONE in forecast:
        mean = regional_mean(forecast, _ROOT_ZONE, regions)
        variables[_ROOT_ZONE] = xr.Variable(BY_LEAD, mean, forecast[_ROOT_ZONE].attrs)
    cells = with_outlines(regions)
    area = {"area": xr.Variable("cell", cells.pop("area"), {"long_name": "weight of the region", "units": "m2"})}
    axes = {name: forecast[name].variable for name in ("time", "lead", "valid_time") if name in forecast.coords}
    if any("quantile" in one.dims for one in variables.values()):
        axes["quantile"] = forecast["quantile"].variable
    made = xr.Dataset(area | variables, cells | axes, _attributes(forecast, regions))
    ranked = [layer for layer in layers if f"{layer}_percentile" in forecast]
    if ranked and cube is not None:
        made = with_products(made, regional_cube(cube, regions, ranked), ranked)
    elif ranked:
        notes.append("percentile, class and odds of a region are in the climate of its mean, which takes the cube")
    return made.assign_attrs(notes="\n".join(notes)) if notes else made


def forecast_cells(forecast: xr.Dataset, layer: str, regions: Regions) -> npt.NDArray[np.bool_]:
    """Which cells of regions have a forecast of a layer at all ``(cell,)``: others are masked, or unknown to the run.

    Raises
    ------
    SoilcastError
        Stored bytes are damaged.
    """
    found = np.zeros(forecast.sizes["cell"], dtype=np.bool_)
    for block in cell_blocks(regions.weights):
        found[block] = np.isfinite(read(forecast, layer, block)).any(axis=(1, 2))
    return found


def _layer(forecast: xr.Dataset, regions: Regions, layer: str, notes: list[str]) -> dict[str, xr.Variable]:
    """Central forecast of a layer, and if there is a distribution its mean and quantiles.

    The median of a region whose mean has no distribution is its mean.
    """
    attributes = dict(forecast[layer].attrs)
    mean_name, quantile_name = f"{layer}_mean", f"{layer}_quantile"
    if quantile_name not in forecast:
        return {layer: xr.Variable(BY_LEAD, regional_mean(forecast, layer, regions), attributes)}
    mean = regional_mean(forecast, mean_name, regions)
    quantiles, levels = _quantiles(forecast, regions, layer, notes)
    if quantiles is None:
        attributes.pop("comment", None)
        return {layer: xr.Variable(BY_LEAD, mean, attributes)}
    at = with_median(levels)[1]
    median = np.where(np.isfinite(quantiles[..., at]), quantiles[..., at], mean)
    wanted = np.isin(levels, forecast["quantile"].to_numpy())
    return {
        layer: xr.Variable(BY_LEAD, median, attributes | {"comment": _MEDIAN}),
        mean_name: xr.Variable(BY_LEAD, mean, forecast[mean_name].attrs),
        quantile_name: xr.Variable(_QUANTILE, quantiles[..., wanted], forecast[quantile_name].attrs),
    }


def _quantiles(
    forecast: xr.Dataset, regions: Regions, layer: str, notes: list[str]
) -> tuple[Floats | None, npt.NDArray[np.float64]]:
    """Quantiles of the means ``(region, issue, lead, level)``, and their levels with that of the median."""
    levels, _ = with_median(forecast["quantile"].to_numpy())
    name = f"{layer}_{CELL_RANK}"
    if name not in forecast:
        notes.append(
            f"{layer} of regions has no intervals: the forecast does not say how its cells depend on each other; train "
            "the run again, with a longer validation period"
        )
        return None, levels
    shared = _shared_days(forecast, name, regions)
    if (few := shared.sum(axis=1).min(axis=1) < FEWEST_DAYS).any():
        names = ", ".join(np.array(regions.names)[few][:3])
        notes.append(
            f"{layer} of {few.sum():,} region(s) has no intervals: their cells share fewer than {FEWEST_DAYS} "
            f"validation days ({names})"
        )
    if few.all():
        return None, levels
    found = np.full((len(regions.names), forecast.sizes["time"], forecast.sizes["lead"], len(levels)), np.nan)
    step = max(1, _SAMPLES // (len(regions.names) * forecast.sizes["lead"] * forecast.sizes[TEMPLATE_DAY]))
    for start in range(0, forecast.sizes["time"], step):
        issues = slice(start, start + step)
        found[:, issues] = _quantiles_of_issues(forecast.isel(time=issues), layer, regions, shared, ~few)
    return found.astype(np.float32), levels


def _shared_days(forecast: xr.Dataset, name: str, regions: Regions) -> npt.NDArray[np.bool_]:
    """Days on which all cells of a region are ranked ``(region, day, lead)``."""
    shared = np.ones((len(regions.names), forecast.sizes[TEMPLATE_DAY], forecast.sizes["lead"]), dtype=np.bool_)
    for block in cell_blocks(regions.weights):
        known = read(forecast, name, block) > 0
        for region, cells, _ in _by_region(regions, block):
            shared[region] &= known[cells].all(axis=0)
    return shared


def _by_region(regions: Regions, block: slice) -> list[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """Give the regions with cells in a block, these cells by their place in it, and their share of the region."""
    weights = csr_array(regions.weights[:, block])
    found = []
    for region in np.flatnonzero(np.diff(weights.indptr)):
        mine = slice(weights.indptr[region], weights.indptr[region + 1])
        shares = weights.data[mine] / regions.whole[region]
        found.append((int(region), weights.indices[mine].astype(np.int64), shares))
    return found


def _quantiles_of_issues(
    forecast: xr.Dataset,
    layer: str,
    regions: Regions,
    shared: npt.NDArray[np.bool_],
    usable: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """Do what `_quantiles` does for some issue days."""
    issues, leads, days = (forecast.sizes[dim] for dim in ("time", "lead", TEMPLATE_DAY))
    levels, _ = with_median(forecast["quantile"].to_numpy())
    sums = np.zeros((len(regions.names), leads, issues, days), dtype=np.float64)
    known = np.zeros((len(regions.names), leads, issues))
    for block in cell_blocks(regions.weights):
        central, quantiles = (read(forecast, one, block) for one in (layer, f"{layer}_quantile"))
        whole = np.sort(complete_quantiles(quantiles, forecast["quantile"].to_numpy(), central)[0], axis=-1)
        ranks = read(forecast, f"{layer}_{CELL_RANK}", block).astype(np.uint8)
        for region, cells, shares in _by_region(regions, block):
            if not usable[region]:
                continue
            for lead in range(leads):
                on = shared[region, :, lead]
                drawn, there = sum_samples(whole[cells, :, lead], levels, ranks[cells][:, on, lead], shares)
                sums[region, lead][:, on] += drawn
                known[region, lead] += there
    found = np.full((len(regions.names), issues, leads, len(levels)), np.nan)
    for region, lead in product(map(int, np.flatnonzero(usable)), range(leads)):
        samples = sums[region, lead][:, shared[region, :, lead]]
        weight = known[region, lead][:, np.newaxis]
        mean = mean_of_known(samples, np.broadcast_to(weight, samples.shape), np.ones_like(samples))
        found[region, :, lead] = quantiles_of(mean.astype(np.float64), levels)
    return np.asarray(np.clip(found, 0.0, 1.0))


def with_products(made: xr.Dataset, record: xr.Dataset, layers: list[str]) -> xr.Dataset:
    """Add percentile, anomaly, class and odds, each issue day against the record of the regions up to it.

    Parameters
    ----------
    made
        What `regional_forecast` gives without a cube.
    record
        What `soilcast.regions.means.regional_cube` gives for the same regions and ``layers``.

    Raises
    ------
    SoilcastError
        The record lacks a layer.
    """
    reference = reference_days(record["time"].to_numpy(), str(made.attrs["validation_period"]))
    by_issue = [
        xr.Dataset(add_products(made.isel(time=[issue]), record, slice(None), layers=layers, reference=reference))
        for issue in range(made.sizes["time"])
    ]
    products = xr.decode_cf(xr.concat(by_issue, "time", combine_attrs="override"), decode_timedelta=False)
    axes: Mapping[str, Any] = {DROUGHT_CLASS: drought_class_coordinate()} if DROUGHT_CLASS in products.dims else {}
    return made.assign_coords(axes).assign({str(name): one.variable for name, one in products.data_vars.items()})


def _attributes(forecast: xr.Dataset, regions: Regions) -> dict[str, Any]:
    dropped = {"notes", "closure_residual", "peak_memory_bytes"}
    kept = {str(name): value for name, value in forecast.attrs.items() if name not in dropped}
    title = f"{forecast.attrs.get('title', 'forecast')}, means of regions of {regions.title}"
    return kept | {"title": title, "regions": regions.title}
