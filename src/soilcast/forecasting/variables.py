"""What a forecast holds: its coordinates, its variables, and what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cube import FORMATS, read, thickness_name
from soilcast.cube.cf import ISSUE_DAY, LEAD, VALID_DAY
from soilcast.cube.contract import BRIDGED, VARIABLES
from soilcast.forecasting.block import BlockForecast
from soilcast.forecasting.request import OpenedRequest
from soilcast.products import add_products
from soilcast.products.climate import reference_days
from soilcast.products.variables import CELL_RANK, DROUGHT_CLASS, TEMPLATE_DAY, drought_class_coordinate
from soilcast.provenance import stamp

ROOT_ZONE = "root_zone"
AGE = "soil_moisture_age"
_SHARED = "issue day of the validation days that cells share"
RESIDUAL = "closure_residual"
"""Attribute of a forecast by a head that closes its water balance: the largest residual of its mean [m]."""
_AGE_ATTRIBUTES = {
    "long_name": "age of the newest soil moisture observation on the issue day",
    "units": "d",
}

_ROOT_LAYERS = ("swvl1", "swvl2", "swvl3")
_ROOT_ZONE_WATER = "volumetric soil water of the layers 1 to 3"
_MEDIAN = "median of the calibrated predictive distribution"

_LOGGED = ("epoch", "train_loss", "validation_loss", "seconds")
_LOG_LINES = 100


def describe(opened: OpenedRequest) -> dict[str, Any]:
    """Give the attributes of a forecast."""
    run, cube, request = opened.run, opened.cube, opened.request
    record, task = run.record, run.config.task
    issues = opened.issue_days.astype("datetime64[D]")
    layers = " and ".join(VARIABLES[layer].long_name for layer in task.layers)
    ahead = "next-day" if opened.leads == 1 else f"{opened.leads} days ahead of"
    stamped: dict[str, Any] = {"run": request.run, "cube": request.cube, "weights_sha256": record["weights_sha256"]}
    stamped |= {"plugins": record["plugins"]} if record.get("plugins") else {}
    return {
        "Conventions": "CF-1.11",
        "soilcast_kind": "forecast",
        "soilcast_format": FORMATS["forecast"],
        "title": f"{record['label']}: {ahead} {layers} on {cube.attrs['title']}",
        "label": record["label"],
        "model": record["model"],
        "content": cube.attrs["content"],
        "source": cube.attrs["source"],
        **({"license": cube.attrs["license"]} if "license" in cube.attrs else {}),
        "cube_sha256": cube.attrs["content_sha256"],
        "weights_sha256": record["weights_sha256"],
        "targets": ",".join(task.layers),
        "lead_days": opened.leads,
        "latency_days": task.soil_latency,
        "weather": opened.weather_known,
        "weather_forecast": opened.weather_mark,
        **({} if opened.weather is None else {"weather_title": opened.weather.title}),
        **({} if request.lapse_rate is None else {"weather_lapse_rate": f"{request.lapse_rate:g} K km-1"}),
        **({BRIDGED: cube.attrs[BRIDGED]} if BRIDGED in cube.attrs else {}),
        "issue_days": f"{issues[0]}:{issues[-1]}",
        "train_period": record["train_period"],
        "validation_period": record["validation_period"],
        "test_period": opened.period,
        "precision": request.precision,
        "config": json.dumps(run.config.model_dump(mode="json")),
        "training_log": json.dumps(_thinned(run.log)),
        "provenance": stamp("soilcast forecast", **stamped),
    }


def coordinates_of(opened: OpenedRequest, variables: Mapping[str, xr.Variable]) -> dict[str, Any]:
    """Give the coordinates of some ``variables``: cells, issue days, leads, valid days, quantiles, drought classes."""
    cube = opened.cube
    cells = {str(name): cube[name].drop_encoding().load() for name in cube.coords if name != "time"}
    has_classes = any(DROUGHT_CLASS in one.dims for one in variables.values())
    found = cells | _times(opened) | ({DROUGHT_CLASS: drought_class_coordinate()} if has_classes else {})
    if opened.run.cell_ranks is not None:
        days = opened.run.cell_ranks.issue_day.astype("datetime64[ns]")
        found[TEMPLATE_DAY] = xr.Variable(TEMPLATE_DAY, days, ISSUE_DAY | {"long_name": _SHARED})
    return found


def rank_templates(opened: OpenedRequest) -> dict[str, xr.Variable]:
    """Give how the leads of each layer depend on each other, which all cells share; none of a single lead."""
    run = opened.run
    if run.calibration is None or opened.leads == 1 or not len(run.calibration.template):
        return {}
    about = {
        "long_name": "rank templates (empirical copula of the leads) of validation days",
        "units": "1",
        "comment": "(rank - 1/2) / template of the probability integral transforms of observations, lead by lead",
    }
    ranks = run.calibration.template[:, : opened.leads]
    return {
        f"{layer}_rank_template": xr.Variable(("template", "lead"), ranks[..., position], about)
        for position, layer in enumerate(run.config.task.layers)
    }


def _cell_ranks(opened: OpenedRequest, cells: slice) -> dict[str, xr.Variable]:
    """Give how the cells of a block depend on others: ranks on days that all share; 0 of cells that the run lacks."""
    ranks = opened.run.cell_ranks
    if ranks is None:
        return {}
    places = opened.places[cells, np.newaxis, np.newaxis]
    about = {
        "long_name": "rank of the observation in its predictive distribution, among validation days that cells share",
        "units": "1",
        "comment": "from 1, of the probability integral transforms of each cell and lead; 0 where it is not known",
    }
    found = {}
    for position, layer in enumerate(opened.run.config.task.layers):
        of_cells = np.where(places < 0, np.uint8(0), ranks.rank[places[:, 0, 0], :, : opened.leads, position])
        found[f"{layer}_{CELL_RANK}"] = xr.Variable(("cell", TEMPLATE_DAY, "lead"), of_cells, about)
    return found


def block_variables(opened: OpenedRequest, block: BlockForecast, cells: slice) -> dict[str, xr.Variable]:
    """Give the variables of a block of cells."""
    task, cube = opened.run.config.task, opened.cube
    dims = ("cell", "time", "lead")
    found: dict[str, xr.Variable] = {}
    if block.age is not None:
        found[AGE] = xr.Variable(dims[:2], block.age, _AGE_ATTRIBUTES)
    for position, layer in enumerate(task.layers):
        attributes, long_name = VARIABLES[layer].attributes, VARIABLES[layer].long_name
        if block.median is None:
            found[layer] = xr.Variable(dims, block.mean[..., position], attributes)
            continue
        found[layer] = xr.Variable(dims, block.median[..., position], attributes | {"comment": _MEDIAN})
        of_mean = attributes | {"long_name": f"mean of the predictive distribution of {long_name}"}
        found[f"{layer}_mean"] = xr.Variable(dims, block.mean[..., position], of_mean)
        of_quantiles = attributes | {"long_name": f"quantiles of {long_name}"}
        found[f"{layer}_quantile"] = xr.Variable((*dims, "quantile"), block.quantiles[..., position, :], of_quantiles)
    found |= _cell_ranks(opened, cells)
    if set(_ROOT_LAYERS) <= set(task.layers) and all(thickness_name(layer) in cube for layer in _ROOT_LAYERS):
        thickness = np.stack([read(cube, thickness_name(layer), cells) for layer in _ROOT_LAYERS], axis=-1)
        share = (thickness / thickness.sum(axis=-1, keepdims=True))[:, np.newaxis, np.newaxis]
        # Means add up over layers; medians do not.
        whole = np.sum(block.mean[..., [task.layers.index(layer) for layer in _ROOT_LAYERS]] * share, axis=-1)
        water = _ROOT_ZONE_WATER if block.median is None else f"mean of the {_ROOT_ZONE_WATER}"
        attributes = VARIABLES["swvl1"].attributes | {"long_name": water}
        found[ROOT_ZONE] = xr.Variable(dims, whole.astype(np.float32), attributes)
    with_record = [layer for layer in task.layers if layer in cube]
    if opened.request.issue is not None and with_record:
        reference = reference_days(opened.cube["time"].to_numpy(), str(opened.run.record["validation_period"]))
        made = xr.Dataset(found | rank_templates(opened), _times(opened), {"latency_days": task.soil_latency})
        found |= add_products(made, cube, cells, layers=with_record, reference=reference)
    return found


def no_cells(opened: OpenedRequest) -> dict[str, xr.Variable]:
    """Give the variables of no cells: the names, types and attributes of all."""
    task = opened.run.config.task
    count = len(opened.issues)
    mean = np.zeros((0, count, opened.leads, len(task.layers)), dtype=np.float32)
    median = mean if task.quantiles else None
    quantiles = np.zeros((*mean.shape, len(task.quantiles)), dtype=np.float32)
    none = np.zeros((0, count), dtype=np.bool_)
    age = mean[..., 0, 0] if task.sees_own_layers else None
    values = np.zeros((0, len(task.dynamic)), dtype=np.int64)
    return block_variables(opened, BlockForecast(mean, median, quantiles, age, none, none, values, values), slice(0, 0))


def _times(opened: OpenedRequest) -> dict[str, Any]:
    issues = opened.issue_days
    leads = np.arange(1, opened.leads + 1, dtype=np.int32)
    valid = issues[:, np.newaxis] + leads * np.timedelta64(1, "D")
    found = {
        "time": xr.Variable("time", issues, ISSUE_DAY),
        "lead": xr.Variable("lead", leads, LEAD),
        "valid_time": xr.Variable(("time", "lead"), valid, VALID_DAY),
    }
    if opened.run.config.task.quantiles:
        levels = np.asarray(opened.run.config.task.quantiles, dtype=np.float64)
        found["quantile"] = xr.Variable("quantile", levels, {"long_name": "probability", "units": "1"})
    return found


def _thinned(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep what a training curve needs: about a hundred epochs, and every validated one."""
    step = -(-len(log) // _LOG_LINES)
    return [
        {name: record[name] for name in _LOGGED}
        for position, record in enumerate(log)
        if position % step == 0 or record["validation_loss"] is not None
    ]
