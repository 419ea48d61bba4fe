"""The numbers of a verdict as one dataset, and as tables of CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from soilcast.cube import FORMATS
from soilcast.cube.cf import LEAD
from soilcast.verify.estimates import Estimate
from soilcast.verify.loading import align, load_target
from soilcast.verify.plan import Files, Plan
from soilcast.verify.stations.brought import Brought
from soilcast.verify.stations.collocation import Collocation, collocate
from soilcast.verify.stations.distortion import QUANTITIES, SHIFTS, measure_distortion
from soilcast.verify.stations.estimates import METRICS, REFERENCES, LeadEstimates, answer, answer_over, estimate
from soilcast.verify.stations.observed import Stations
from soilcast.verify.stations.products import Product

PRODUCTS = ("forecast", "station", "third")
"""Of the triple collocation."""

_DAY = np.timedelta64(1, "D")
_OF_ESTIMATE = {
    "": "{}",
    "_low": "lower limit of the 95 % interval of the {}",
    "_high": "upper limit of the 95 % interval of the {}",
}
_OF_DIFFERENCE = _OF_ESTIMATE | {
    "_p": "p-value of the {}",
    "_detectable": "true {} that the test finds with 80 % probability",
}
_FIELD = {"": "value", "_low": "low", "_high": "high", "_p": "p", "_detectable": "detectable"}
_UNITS = "m3 m-3"
_METRICS = {
    "r": ("correlation with the station", "1"),
    "anomaly_r": ("correlation of the departures from the station's annual cycle", "1"),
    "rmse": ("root mean square error", _UNITS),
    "ubrmse": ("root mean square error without the bias", _UNITS),
    "bias": ("mean of forecast less observed", _UNITS),
}
_DISTORTION = {
    "offset": ("mean of lead 1 before matching less observed", _UNITS),
    "gain": ("slope of lead 1 before matching on the station", "1"),
    "noise": ("standard deviation that this regression leaves", _UNITS),
}
ANSWERS: dict[str, Any] = {
    "flag_values": np.array([-1, 0, 1], dtype=np.int8),
    "flag_meanings": "not_enough_data no yes",
}


def judge(
    plan: Plan,
    files: Files,
    stations: Stations,
    brought: Mapping[str, Brought],
    third: Product | None,
) -> xr.Dataset:
    """Score forecasts at stations, compare them with the stations' own persistence and damped anomaly, and answer.

    Parameters
    ----------
    plan, files
        Of the evaluation of the forecasts that were brought to the stations, of all of them.
    stations
        The stations.
    brought
        Label -> its forecast.
    third
        A third product at the stations, for triple collocation.

    Returns
    -------
    See ``docs/stations.md``.
    """
    labels, references = list(brought), [name for name in REFERENCES if name in plan.models]
    networks = list(dict.fromkeys(stations.networks))
    sizes: dict[str, list[Any]] = {
        "model": plan.models,
        "forecast": labels,
        "reference": references,
        "target": list(plan.targets),
        "lead": list(range(1, plan.leads + 1)),
        "cell": list(stations.names),
        "network": networks,
        "product": list(PRODUCTS),
    }
    data = _empty({name: len(values) for name, values in sizes.items()})
    for t, target in enumerate(plan.targets):
        loaded = load_target(plan, files, target, slice(0, len(stations.names)))
        for lead in range(1, plan.leads + 1):
            models, _ = align(plan, loaded, lead)
            _fill(data, estimate(models, labels, stations.networks), (t, lead - 1), sizes)
        for f, label in enumerate(labels):
            _compare(data, brought[label], stations, target, (f, t))
            if third is not None and target in third.values:
                _collocate(data, brought[label], stations, third, target, (f, t))
    if third is None:
        data = {name: one for name, one in data.items() if not name.startswith("collocation")}
    made = xr.Dataset(
        {name: (dims, values, attributes) for name, (dims, values, attributes) in data.items()},
        coords={
            "model": ("model", plan.models),
            "forecast": ("forecast", labels),
            "reference": ("reference", references),
            "target": ("target", list(plan.targets)),
            "lead": ("lead", sizes["lead"], LEAD),
            "network": ("network", networks),
            "product": ("product", list(PRODUCTS)),
            **{str(name): files.cube[name].drop_encoding().load() for name in files.cube.coords if name != "time"},
            "cell_network": ("cell", np.array(stations.networks), {"long_name": "network of the station"}),
        },
        attrs={"Conventions": "CF-1.11", "soilcast_kind": "verdict", "soilcast_format": FORMATS["verdict"]},
    )
    made["sensor_depth"] = (
        ("target", "cell"),
        np.stack([stations.depth[target] for target in plan.targets]),
        {"long_name": "depth of the sensor", "units": "m"},
    )
    for name, long_name, values in (
        ("distance", "distance from the cell of the forecast", [brought[label].nearest.distance for label in labels]),
    ):
        made[name] = (("forecast", "cell"), np.stack(values), {"long_name": long_name, "units": "km"})
    made["reason"] = (
        ("forecast", "target", "cell"),
        np.array([[brought[label].reasons[target] for target in plan.targets] for label in labels]),
        {"long_name": "why a station cannot be compared; empty where it can"},
    )
    made["fitted_on"] = (
        ("forecast", "target", "cell"),
        np.stack([np.stack([brought[label].fitted_on[target] for target in plan.targets]) for label in labels]),
        {"long_name": "development days that the matching was fitted on", "units": "1"},
    )
    return made


Data = dict[str, tuple[tuple[str, ...], npt.NDArray[Any], dict[str, Any]]]


def _empty(sizes: Mapping[str, int]) -> Data:
    """Every number, not yet filled: name -> dimensions, values, attributes."""
    data: Data = {}

    def add(name: str, dims: tuple[str, ...], long_name: str, units: str) -> None:
        shape = tuple(sizes[dim] for dim in dims)
        data[name] = (dims, np.full(shape, np.nan), {"long_name": long_name, "units": units})

    for metric, (long_name, units) in _METRICS.items():
        for end, text in _OF_ESTIMATE.items():
            add(f"{metric}{end}", ("model", "target", "lead", "cell"), text.format(long_name), units)
    pairs = ("forecast", "reference", "target", "lead")
    for end, text in _OF_DIFFERENCE.items():
        add(f"difference{end}", (*pairs, "cell"), text.format("RMSE less that of the reference"), _UNITS)
        add(f"network_difference{end}", (*pairs, "network"), text.format("difference of the median RMSEs"), _UNITS)
    for end, text in _OF_ESTIMATE.items():
        add(f"skill{end}", (*pairs, "cell"), text.format("1 - MSE / MSE of the reference"), "1")
    add("days", ("target", "lead", "cell"), "days that count", "1")
    add("blocks", ("target", "lead", "cell"), "blocks of days with any", "1")
    for quantity, (long_name, units) in _DISTORTION.items():
        for end, text in _OF_ESTIMATE.items():
            add(f"{quantity}{end}", ("forecast", "target", "cell"), text.format(long_name), units)
    add("shift", ("forecast", "target", "cell"), "days by which lead 1 lags behind the station", "d")
    for name, (long_name, units) in {
        "error": ("standard deviation of the random error by triple collocation, in the scale of the forecast", _UNITS),
        "gain": ("factor to the scale of the forecast by triple collocation", "1"),
        "correlation": ("correlation with the unknown truth by triple collocation", "1"),
    }.items():
        add(f"collocation_{name}", ("forecast", "target", "product", "cell"), long_name, units)
    add("collocation_days", ("forecast", "target", "cell"), "days of the triple collocation", "1")
    for name, dim in (("answer", "cell"), ("network_answer", "network")):
        dims = ("forecast", "target", "lead", dim)
        words = "whether the forecast is better than the station's persistence and damped anomaly"
        shape = tuple(sizes[one] for one in dims)
        data[name] = (dims, np.full(shape, -1, dtype=np.int8), {"long_name": words, **ANSWERS})
    return data


def _fill(data: Data, found: LeadEstimates, at: tuple[int, int], sizes: Mapping[str, Sequence[Any]]) -> None:
    """Put the numbers of one target and lead into their places."""
    position = {
        dim: {name: number for number, name in enumerate(sizes[dim])}
        for dim in ("model", "forecast", "reference", "network")
    }
    data["days"][1][at] = found.days
    data["blocks"][1][at] = found.blocks
    for (label, metric), one in found.scores.items():
        _put(data, metric, _OF_ESTIMATE, (position["model"][label], *at), one)
    for (label, name), one in found.differences.items():
        pair = position["forecast"][label], position["reference"][name]
        _put(data, "difference", _OF_DIFFERENCE, (*pair, *at), one)
        _put(data, "skill", _OF_ESTIMATE, (*pair, *at), found.skills[label, name])
    for network, of in found.networks.items():
        for (label, name), one in of.items():
            pair = position["forecast"][label], position["reference"][name]
            _put(data, "network_difference", _OF_DIFFERENCE, (*pair, *at, position["network"][network]), one)
    for label, f in position["forecast"].items():
        own = [found.differences[label, name] for name in position["reference"]]
        for station in range(len(sizes["cell"])):
            data["answer"][1][(f, *at, station)] = answer_over([answer(one, station) for one in own])
        for network, n in position["network"].items():
            theirs = [found.networks[network][label, name] for name in position["reference"]]
            data["network_answer"][1][(f, *at, n)] = answer_over([answer(one) for one in theirs])


def _put(data: Data, name: str, ends: Mapping[str, str], at: tuple[int, ...], one: Estimate) -> None:
    assert {field.name for field in fields(Estimate)} >= {_FIELD[end] for end in ends}
    for end in ends:
        data[f"{name}{end}"][1][at] = getattr(one, _FIELD[end])


def _scored(brought: Brought) -> npt.NDArray[np.bool_]:
    return np.asarray(brought.valid_days >= brought.first_test_day)


def _compare(data: Data, brought: Brought, stations: Stations, target: str, at: tuple[int, int]) -> None:
    """Measure how lead 1 differs from each station on the days that are scored."""
    kept = _scored(brought)
    days = brought.valid_days[kept]
    shifted = {shift: stations.on(target, days - shift * _DAY) for shift in SHIFTS}
    for station in range(len(stations.names)):
        if brought.reasons[target][station]:
            continue
        own = {shift: values[station] for shift, values in shifted.items()}
        found = measure_distortion(brought.raw[target][station][kept], own)
        data["shift"][1][(*at, station)] = found.shift
        for quantity in QUANTITIES:
            one: Estimate = getattr(found, quantity)
            for end in _OF_ESTIMATE:
                data[f"{quantity}{end}"][1][(*at, station)] = getattr(one, _FIELD[end])


def _collocate(
    data: Data, brought: Brought, stations: Stations, third: Product, target: str, at: tuple[int, int]
) -> None:
    kept = _scored(brought)
    days = brought.valid_days[kept]
    ours, theirs = stations.on(target, days), third.on(target, days)
    for station in range(len(stations.names)):
        found: Collocation = collocate(brought.raw[target][station][kept], ours[station], theirs[station])
        data["collocation_days"][1][(*at, station)] = found.days
        for name in ("error", "gain", "correlation"):
            data[f"collocation_{name}"][1][(*at, slice(None), station)] = getattr(found, name)


def station_table(verdict: xr.Dataset) -> pd.DataFrame:
    """One row a model, target, lead and station: every score with its interval; skills of the forecasts beside."""
    names = [f"{metric}{end}" for metric in METRICS for end in _OF_ESTIMATE]
    table = verdict[names].reset_coords(drop=True).to_dataframe(dim_order=["model", "target", "lead", "cell"])
    days = verdict["days"].reset_coords(drop=True).to_dataframe(dim_order=["target", "lead", "cell"])
    table = table.reset_index().merge(days.reset_index(), on=["target", "lead", "cell"])
    table.insert(3, "station", verdict["cell_name"].to_numpy()[_positions(verdict, table["cell"])])
    return table.drop(columns="cell")


def answer_table(verdict: xr.Dataset) -> pd.DataFrame:
    """One row a forecast, target, lead and station or network: the answer, and the differences that it follows from."""
    return pd.DataFrame(_answers(verdict))


def _answers(verdict: xr.Dataset) -> Iterator[dict[str, Any]]:
    words = dict(zip(ANSWERS["flag_values"].tolist(), str(ANSWERS["flag_meanings"]).split(), strict=True))
    for kind, dim, prefix in (("network", "network", "network_"), ("station", "cell", "")):
        names = verdict["network"].to_numpy() if dim == "network" else verdict["cell_name"].to_numpy()
        answers = verdict[f"{prefix}answer"].to_numpy()
        apart = {end: verdict[f"{prefix}difference{end}"].to_numpy() for end in _OF_DIFFERENCE}
        for f, t, k, n in np.ndindex(*answers.shape):
            row = {
                "forecast": verdict["forecast"].to_numpy()[f],
                "target": verdict["target"].to_numpy()[t],
                "lead": verdict["lead"].to_numpy()[k],
                "of": kind,
                "name": names[n],
                "better": words[int(answers[f, t, k, n])],
            }
            for r, reference in enumerate(verdict["reference"].to_numpy()):
                name = str(reference).replace(" ", "_")
                row |= {f"rmse_less_{name}{end}": values[f, r, t, k, n] for end, values in apart.items()}
            yield row | ({"reason": verdict["reason"].to_numpy()[f, t, n]} if dim == "cell" else {})


def _positions(verdict: xr.Dataset, cells: pd.Series[Any]) -> npt.NDArray[np.int64]:
    return np.searchsorted(verdict["cell"].to_numpy(), cells.to_numpy())
