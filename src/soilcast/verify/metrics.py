"""The registry of metrics, each of one target, lead and model, cell by cell; users can add their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast, get_args

import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.plugins import Registry
from soilcast.verify import kernels
from soilcast.verify.aligned import Aligned
from soilcast.verify.deterministic import Cells, score_cells
from soilcast.verify.drought import EVENTS
from soilcast.verify.extremes import Side

ROWS = ("model", "target", "lead")
"""Dimensions of each score beside the cell."""

_RESERVED = (
    "days area climate_zone is_baseline reliability rank_histogram pick_cell observed predicted predicted_quantile "
    "precipitation difference area_better area_worse model target lead cell quantile bin day time row reference "
    "lat lon event probability_bin threshold event_share event_forecast event_observed event_brier event_reliability "
    "event_resolution event_uncertainty event_within_bins event_probability event_frequency event_hit_rate "
    "event_false_alarm_rate event_roc_area event_value"
)
"""Other variables and dimensions of scores."""

Best = Literal["higher", "lower", "zero", "nominal"]
Kernel = Callable[[Aligned], Cells]


@dataclass(frozen=True)
class Metric:
    """A metric.

    Parameters
    ----------
    name
        Name in the scores.
    symbol
        How the paper or the field writes it, for headings.
    long_name
        Description.
    units
        Unit, as CF writes it.
    best
        Whether a good forecast has a ``"higher"`` value, a ``"lower"`` one, one near ``"zero"``, or near the
        ``"nominal"`` one of its name.
    needs
        What it takes beside observed, central and mean: ``quantiles``, ``water``, ``extremes``, ``reference``,
        ``climate`` (`Aligned.classes`), ``templates`` (`Aligned.within`); and the name of a reading of the water
        balance, a key of `Aligned.signs`, where it takes that one. It is left out of scores in which no model has all
        of them, and NaN for the models that have not.
    kernel
        From an `Aligned` to ``(cell,)`` float64, NaN where it is not defined.
    """

    name: str
    symbol: str
    long_name: str
    units: str
    best: Best
    needs: frozenset[str]
    kernel: Kernel

    @property
    def attributes(self) -> dict[str, str]:
        """Its attributes in the scores."""
        return {"long_name": self.long_name, "units": self.units, "symbol": self.symbol, "best": self.best}


METRICS: Registry[Metric] = Registry("metric", {})
"""Every metric by its name, in the order of the tables; `register_metric` adds to it."""


def register_metric(metric: Metric) -> Metric:
    """Add a metric, which then is in the scores, their tables, inspections and reports.

    Parameters
    ----------
    metric
        The metric; its name must be new.

    Returns
    -------
    The metric.

    Raises
    ------
    SoilcastError
        The name is taken or not an identifier.
    """
    if not metric.name.isidentifier() or metric.name in METRICS or metric.name in _RESERVED.split():
        raise SoilcastError(f"metric {metric.name}: the name is taken or not an identifier: choose another")
    METRICS[metric.name] = metric
    return metric


def metrics_of(scores: xr.Dataset) -> dict[str, Metric]:
    """Find the metrics that scores hold, in the order of the table.

    Parameters
    ----------
    scores
        What `evaluate` gives, or an opened ``scores.nc``: also one with metrics that are not registered here, which are
        known by their attributes and have no kernel.
    """
    metrics = {name: metric for name, metric in METRICS.items() if name in scores.data_vars}
    for name, values in scores.data_vars.items():
        if values.dims == (*ROWS, "cell") and name not in metrics:
            metrics[str(name)] = _unregistered(str(name), values)
    return metrics


def score(observed: xr.DataArray, predicted: xr.DataArray, *, threads: int | None = None) -> xr.Dataset:
    """`score_cells` on labelled arrays.

    Parameters
    ----------
    observed, predicted
        ``(cell, time)`` in any order of dimensions [m3 m-3], on the same cells and days.
    threads
        See `score_cells`.

    Returns
    -------
    Dataset of ``(cell,)`` float64 metrics with long names and units, and ``days``.

    Raises
    ------
    ValueError
        Cells or days differ.
    """
    observed, predicted = xr.align(observed, predicted, join="exact")
    values = score_cells(
        observed.transpose("cell", "time").to_numpy(), predicted.transpose("cell", "time").to_numpy(), threads=threads
    )
    coordinates = {name: coordinate for name, coordinate in observed.coords.items() if coordinate.dims == ("cell",)}
    return xr.Dataset(
        {name: ("cell", array, METRICS[name].attributes if name in METRICS else {}) for name, array in values.items()},
        coords=coordinates,
    )


def _unregistered(name: str, values: xr.DataArray) -> Metric:
    def kernel(aligned: Aligned) -> Cells:
        raise SoilcastError(f"metric {name}: not registered: call register_metric first")

    symbol, long_name, units, best = (
        str(values.attrs.get(key, default))
        for key, default in (("symbol", name), ("long_name", name), ("units", "1"), ("best", "nominal"))
    )
    orientation = cast(Best, best) if best in get_args(Best) else "nominal"
    return Metric(name, symbol, long_name, units, orientation, frozenset(), kernel)


def _built_in(name: str, symbol: str, long_name: str, units: str, best: Best, kernel: Kernel, *needs: str) -> None:
    # Not by `register_metric`, which would attribute it to a plugin that is being loaded.
    METRICS.data[name] = Metric(name, symbol, long_name, units, best, frozenset(needs), kernel)


# fmt: off
_built_in("r",        "R",      "correlation of observed and forecast (Eq. 15)", "1", "higher",
          partial(kernels.moment, "r"))
_built_in("rmse",     "RMSE",   "root mean square error (Eq. 16)", "m3 m-3", "lower", partial(kernels.moment, "rmse"))
_built_in("ubrmse",   "ubRMSE", "root mean square error without the bias", "m3 m-3", "lower",
          partial(kernels.moment, "ubrmse"))
_built_in("bias",     "bias",   "mean of forecast minus observed", "m3 m-3", "zero", partial(kernels.moment, "bias"))
_built_in("r2",       "R2",     "coefficient of determination (Eq. 17)", "1", "higher",
          partial(kernels.moment, "r2"))
_built_in("kge",      "KGE",    "Kling-Gupta efficiency (2009, Eq. 18)", "1", "higher",
          partial(kernels.moment, "kge"))
_built_in("kge_2012", "KGE'",   "modified Kling-Gupta efficiency (2012)", "1", "higher",
          partial(kernels.moment, "kge_2012"))
_built_in("mae",      "MAE",    "mean absolute error of the median", "m3 m-3", "lower", kernels.mae)
_built_in("skill",    "skill",  "skill against persistence: 1 - MSE / MSE of persistence", "1", "higher",
          kernels.skill, "reference")
_built_in("ratio",    "RMSE ratio", "RMSE relative to persistence at the same lead", "1", "lower",
          kernels.ratio, "reference")
for _name, _symbol, _of in (("w1", "PHY W1", "single"), ("w2", "PHY W2", "multi")):
    _built_in(f"consistency_{_name}", _symbol, f"share of days that follow the {_of}-layer water balance (Eq. 19)",
              "1", "higher", partial(kernels.consistency, f"consistency_{_name}"), "water", f"consistency_{_name}")
    _built_in(f"consistency_{_name}_masked", f"{_symbol} masked",
              f"share of days that follow the {_of}-layer water balance, where the observed change does",
              "1", "higher", partial(kernels.consistency, f"consistency_{_name}_masked"), "water",
              f"consistency_{_name}")
_built_in("crps",        "CRPS", "continuous ranked probability score; without quantiles the mean absolute error",
          "m3 m-3", "lower", kernels.crps)
_built_in("coverage_50", "coverage 50 %", "share of days within the central 50 % interval", "1", "nominal",
          partial(kernels.coverage, (0.25, 0.75)), "quantiles")
_built_in("coverage_90", "coverage 90 %", "share of days within the central 90 % interval", "1", "nominal",
          partial(kernels.coverage, (0.05, 0.95)), "quantiles")
_built_in("width_90",    "width 90 %", "mean width of the central 90 % interval", "m3 m-3", "lower",
          partial(kernels.width, (0.05, 0.95)), "quantiles")
_built_in("rmse_dry",    "RMSE dry", "RMSE of the driest 5 % of the cell's observed test days", "m3 m-3", "lower",
          partial(kernels.rmse_of_extremes, "dry"), "extremes")
_built_in("rmse_wet",    "RMSE wet", "RMSE of the wettest 5 % of the cell's observed test days", "m3 m-3", "lower",
          partial(kernels.rmse_of_extremes, "wet"), "extremes")
_SIDES: tuple[tuple[Side, str], ...] = (("dry", "driest"), ("wet", "wettest"))
for _side, _words in _SIDES:
    _built_in(f"rmse_{_side}_forecast", f"RMSE {_side} by forecast",
              f"RMSE of the 5 % of the cell's days for which the model forecasts its {_words}", "m3 m-3", "lower",
              partial(kernels.rmse_of_forecast_extremes, _side), "extremes")
for _event, _name in enumerate(EVENTS):
    _built_in(f"brier_{_name.lower()}", f"Brier {_name}", f"Brier score of the probability of {_name} or drier", "1",
              "lower", partial(kernels.brier, _event), "quantiles", "climate")
for _event, _name in enumerate(EVENTS):
    _built_in(f"brier_skill_{_name.lower()}", f"BSS {_name}",
              f"Brier skill of {_name} or drier: 1 - Brier score / that of the climate's own frequency", "1", "higher",
              partial(kernels.brier_skill, _event), "quantiles", "climate")
_built_in("rps",         "RPS",  "ranked probability score of the drought classes: mean of their Brier scores", "1",
          "lower", kernels.rps, "quantiles", "climate")
_built_in("rps_skill",   "RPSS", "skill of the drought classes: 1 - RPS / that of the climate's own frequencies", "1",
          "higher", kernels.rps_skill, "quantiles", "climate")
_built_in("brier_d1_within", "Brier D1 within", "Brier score of the probability of D1 or drier at least once up to the "
          "lead", "1", "lower", kernels.brier_within, "quantiles", "climate", "templates")
# fmt: on

BUILT_IN = tuple(METRICS)
"""Names of the metrics that are not user-defined."""
