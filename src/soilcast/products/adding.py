"""Products of each layer, from a block of forecasts and the climatology of the cube."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.products.climate import (
    LEAST_YEARS,
    WINDOW,
    Reference,
    Sampling,
    count_years,
    gather,
    is_variable,
    read_parts,
    select_days,
)
from soilcast.products.indices import (
    DROUGHT_CLASSES,
    DRY_PERCENTILE,
    anomaly,
    complete_quantiles,
    days_to,
    drought_class,
    percentile,
    probabilities_below,
    probability_by,
    thresholds_at,
)
from soilcast.products.variables import (
    ANOMALY,
    BY_LEAD,
    DAYS_TO_DRY,
    DROUGHT,
    DROUGHT_PROBABILITY,
    PERCENTILE,
    PROBABILITY_DRY,
    PROBABILITY_DRY_BY,
    Dryness,
    Product,
)

Floats = npt.NDArray[np.float32]
Products = dict[Product, npt.NDArray[Any]]


def add_products(
    forecasts: xr.Dataset,
    cube: xr.Dataset,
    cells: slice,
    *,
    layers: Sequence[str],
    reference: slice,
    window: int = WINDOW,
    least_years: int = LEAST_YEARS,
    dry_percentile: float = DRY_PERCENTILE,
    dry_threshold: float | None = None,
) -> dict[str, xr.Variable]:
    """Make the products of a block of cells of one issue day.

    A value is measured against the cell's own record within ``window`` days of the valid day. Days later than the
    newest observation that the forecast may know (issue day - ``latency_days``) never count, wherever ``reference``
    ends.

    Parameters
    ----------
    forecasts
        The block: each layer ``(cell, time, lead)`` [m3 m-3] of one issue day ``time``, its ``lead`` [d], and, if it
        has quantiles, ``{layer}_quantile`` ``(cell, time, lead, quantile)`` with their levels ``quantile``, of which
        the layer itself is the median, and ``{layer}_rank_template`` ``(template, lead)``; the attribute
        ``latency_days``.
    cube
        The opened cube, all cells, with the layers.
    cells
        Positions of the block in the cube. An empty block gives names, types and attributes, which are those of all.
    layers
        The layers to make products of.
    reference
        Positions of the days of the record that may count.
    window
        Days on either side of the valid day [d].
    least_years
        Years, more than half of whose days around the valid day are observed, that a cell needs.
    dry_percentile
        Dry is at or below this percentile of the valid day [%] ..
    dry_threshold
        .. or, if given, at or below this soil moisture [m3 m-3].

    Returns
    -------
    Names -> variables as they are stored, whole numbers with -128 for missing: ``{layer}_anomaly`` [m3 m-3],
    ``{layer}_percentile`` [%] and ``{layer}_drought`` ``(cell, time, lead)`` of the layer; ``{layer}_days_to_dry``
    ``(cell, time)`` [d], its first lead that is dry, which of a median is the first at which dry is at least as likely
    as not. Of two levels or more, the median included, ``{layer}_probability_dry`` ``(cell, time, lead)`` and
    ``{layer}_drought_probability`` ``(cell, time, lead, drought_class)``; with templates also
    ``{layer}_probability_dry_by`` ``(cell, time, lead)``. Missing where the forecast or the climate is, and, but for
    the anomaly, where soil moisture never moves at that time of the year.

    Raises
    ------
    SoilcastError
        The cube lacks a layer.
    """
    if forecasts.sizes["time"] != 1:
        raise ValueError(f"products are of one issue day; the forecasts have {forecasts.sizes['time']}")
    for layer in layers:
        if layer not in cube:
            raise SoilcastError(
                f"{cube.encoding.get('source', 'the cube')}: no {layer}, which the percentiles of its forecast need: "
                "give a cube with it"
            )
    leads = forecasts["lead"].to_numpy()
    issue = forecasts["time"].to_numpy()[0].astype("datetime64[D]")
    newest = issue - int(forecasts.attrs.get("latency_days", 0))
    valid_days = issue + leads.astype(np.int64)
    sampling = select_days(cube["time"].to_numpy(), reference, newest, valid_days, window, least_years)
    dryness = Dryness(dry_percentile, dry_threshold)
    products: dict[str, xr.Variable] = {}
    for layer in layers:
        whole = _distribution(forecasts, layer)
        parts = []
        for part, values in read_parts(cube, layer, cells, sampling):
            parts.append(_compute(whole.of_cells(part), values, sampling, dryness))
        for product in parts[0]:
            array = np.concatenate([computed[product] for computed in parts])[:, np.newaxis]
            attributes = product.attributes(layer, sampling.climate, dryness)
            products[product.name(layer)] = xr.Variable(product.dims, array, attributes)
    return products


@dataclass(frozen=True)
class _Block:
    """Forecasts of some cells: leads [d], ``(cell, lead)`` and, with levels, ``(cell, lead, quantile)`` [m3 m-3].

    ``templates`` ``(template, lead)`` are those of the layer, for all cells.
    """

    leads: npt.NDArray[np.integer]
    forecast: Floats
    quantiles: Floats | None = None
    levels: npt.NDArray[np.float64] | None = None
    templates: Floats | None = None

    def of_cells(self, part: slice) -> _Block:
        """Keep some cells."""
        kept = None if self.quantiles is None else self.quantiles[part]
        return replace(self, forecast=self.forecast[part], quantiles=kept)


def _distribution(forecasts: xr.Dataset, layer: str) -> _Block:
    """Forecast of a layer, and its quantiles with the median among them, if these are two at least."""
    leads, central = forecasts["lead"].to_numpy(), _values(forecasts, layer, BY_LEAD)
    if f"{layer}_quantile" not in forecasts:
        return _Block(leads, central)
    stored = _values(forecasts, f"{layer}_quantile", (*BY_LEAD, "quantile"))
    quantiles, levels = complete_quantiles(stored, forecasts["quantile"].to_numpy(), central)
    if len(levels) < 2:
        return _Block(leads, central)
    name = f"{layer}_rank_template"
    templates = forecasts[name].transpose("template", "lead").to_numpy() if name in forecasts else None
    return _Block(leads, central, quantiles, levels, templates)


def _compute(block: _Block, values: Reference, sampling: Sampling, dryness: Dryness) -> Products:
    """Products of some cells, from the days of their record ``(cell, day)``, lead by lead."""
    departures, ranks = (np.full(block.forecast.shape, np.nan, dtype=np.float32) for _ in range(2))
    percents = (*DROUGHT_CLASSES.values(), dryness.percentile)
    thresholds = np.full((*block.forecast.shape, len(percents)), np.nan, dtype=np.float32)
    for lead, positions in enumerate(sampling.positions):
        reference = gather(values, positions)
        has_climate = count_years(reference) >= sampling.climate.least_years
        has_ranks = has_climate & is_variable(reference)
        samples = reference.reshape(len(reference), positions.size)
        departures[:, lead] = np.where(has_climate, anomaly(block.forecast[:, lead], samples), np.nan)
        ranks[:, lead] = np.where(has_ranks, percentile(block.forecast[:, lead], samples), np.nan)
        if block.quantiles is not None:
            thresholds[has_ranks, lead] = thresholds_at(samples[has_ranks], percents)
    if dryness.threshold is None:
        days = days_to(ranks, dryness.percentile, block.leads)
    else:
        thresholds[..., -1] = dryness.threshold
        days = days_to(block.forecast, dryness.threshold, block.leads)
    products: Products = {ANOMALY: departures, PERCENTILE: ranks, DROUGHT: drought_class(ranks), DAYS_TO_DRY: days}
    if block.quantiles is not None and block.levels is not None:
        below = probabilities_below(block.quantiles, block.levels, thresholds)
        products[DROUGHT_PROBABILITY], products[PROBABILITY_DRY] = below[..., :-1], below[..., -1]
        if block.templates is not None:
            products[PROBABILITY_DRY_BY] = probability_by(below[..., -1], block.templates)
    return products


def _values(forecasts: xr.Dataset, name: str, dims: tuple[str, ...]) -> Floats:
    """Values of a variable of one issue day without its time."""
    values: Floats = forecasts[name].transpose(*dims).to_numpy()[:, 0].astype(np.float32, copy=False)
    return values
