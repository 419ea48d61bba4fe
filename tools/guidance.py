"""The study of guidance: what physics adds to a network that beats persistence, from much and from little."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.comparing import builtin_experiment, train_and_forecast
from soilcast.cube import open_cube, write_dataset
from soilcast.experiments import plan_runs
from soilcast.reporting.over_cells import medians
from soilcast.sources import prepare
from soilcast.training.config import Config
from soilcast.training.split import climate_groups
from soilcast.verify import evaluate
from soilcast.verify.comparison import compare_forecasts
from soilcast.verify.estimates import FALSE_DISCOVERIES

GUIDANCE = "multiday_guidance"

_REFERENCE, _TARGET = "unguided", "swvl1"
_NEVER_SEEN = "a climate never seen"
_SCENARIOS: dict[str, list[str]] = {
    "all cells and years": [],
    "10 % of the cells": ["split.cells_share=0.1"],
    "one year": ["split.development=2019"],
}
"""Training data -> settings."""

_EXTREMES = {"rmse_dry": "driest 5 %", "rmse_wet": "wettest 5 %"}
_LIMITS = ("difference", "difference_low", "difference_high")
_ZONES = "ABCDE"
_JOBS = len(os.sched_getaffinity(0))


def guidance_section(out: Path) -> Iterator[str]:
    """Run the study unless that was done, and write its table."""
    experiment, results = builtin_experiment(GUIDANCE), guided(out)
    yield f"{experiment.about.strip()} {experiment.seeds} seeds.\n"
    leads = next(iter(results.values()))["lead"].to_numpy()
    selected = [leads[0], leads[len(leads) // 2], leads[-1]]
    heads = [f"{lead} d ahead" for lead in selected] + [f"{name}, {selected[1]} d" for name in _EXTREMES.values()]
    heads += [f"ratio to persistence, {lead} d" for lead in (selected[0], selected[-1])]
    yield "| Learnt from | Guidance | " + " | ".join(heads) + " |"
    yield "|:--|:--|" + "--:|" * len(heads)
    for scenario, result in results.items():
        for row in result["row"].to_numpy():
            yield (
                f"| {scenario} | {row} | " + " | ".join(_cells(result.sel(row=row), row == _REFERENCE, selected)) + " |"
            )
    yield ""


def guided(out: Path) -> dict[str, xr.Dataset]:
    """Run the study unless that was done; training data -> differences from the reference [%]."""
    experiment, folder = builtin_experiment(GUIDANCE), out / GUIDANCE
    cube, plans = folder / "cube", plan_runs(experiment)
    if not cube.exists():
        prepare(experiment.source, experiment.paths, out=cube, **experiment.options)
    results = {}
    for scenario, settings in _SCENARIOS.items():
        subfolder = folder / scenario.replace(" %", "").replace(" ", "-")
        forecasts = _forecasts(cube, plan_runs(experiment, settings), subfolder)
        results[scenario] = _compared(cube, plans, forecasts, subfolder)
    subfolder = folder / _NEVER_SEEN.replace(" ", "-")
    with open_cube(cube) as opened:
        groups = climate_groups(opened)
    by_zone = {}
    for letter in (letter for number, letter in enumerate(_ZONES) if (groups == number).any()):
        without_climate = plan_runs(experiment, [f"split.without_climate={letter}"])
        by_zone[letter] = _forecasts(cube, without_climate, subfolder / letter)
    stitched = {}
    for name in plans:
        by_climate = {letter: forecasts[name] for letter, forecasts in by_zone.items()}
        stitched[name] = _stitched(by_climate, groups, subfolder / "stitched" / name)
    results[_NEVER_SEEN] = _compared(cube, plans, stitched, subfolder)
    return results


def _forecasts(cube: Path, plans: Mapping[str, Config], folder: Path) -> dict[str, Path]:
    """Train and forecast what is missing."""
    outputs = {name: folder / "forecasts" / name for name in plans}
    if not all(path.exists() for path in outputs.values()):
        _, failed = train_and_forecast(cube, plans, folder, jobs=_JOBS, resume=True)
        assert not failed, failed
    return outputs


def _stitched(forecasts: Mapping[str, Path], groups: npt.NDArray[np.int64], out: Path) -> Path:
    """Put together, for each climate, the forecast of the run that learnt from the other climates."""
    if out.exists():
        return out
    stitched = xr.open_zarr(next(iter(forecasts.values())), consolidated=False, chunks=None).load()
    for letter, path in forecasts.items():
        source = xr.open_zarr(path, consolidated=False, chunks=None)
        of_zone = groups == _ZONES.index(letter)
        for name, values in stitched.data_vars.items():
            if values.dims[:2] == ("cell", "time"):
                values.to_numpy()[of_zone] = source[name].to_numpy()[of_zone]
    for variable in stitched.variables.values():
        variable.encoding = {}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_dataset(stitched, out, netcdf=False)
    return out


def _compared(cube: Path, plans: Mapping[str, Config], forecasts: Mapping[str, Path], folder: Path) -> xr.Dataset:
    """Differences in RMSE from the reference [%], of all days and of the driest and wettest; ratio to persistence."""
    file = folder / "differences.nc"
    if file.exists():
        return xr.load_dataset(file, engine="h5netcdf")
    rows: dict[str, dict[int, str]] = {}
    for name, plan in plans.items():
        row, _, seed = name.rpartition("-s")
        rows.setdefault(row, {})[int(seed)] = plan.label
    paths, metrics = [forecasts[name] for name in plans], ("rmse", *_EXTREMES)
    scores = evaluate(paths, cube, folder / "scores", overwrite=True)
    differences = compare_forecasts(paths, cube, (_REFERENCE, "persistence"), rows=rows, metrics=metrics)
    differences = differences.sel(target=_TARGET, drop=True)
    against = differences.sel(reference=_REFERENCE, drop=True)
    seeds = {"model": list(rows[_REFERENCE].values()), "target": _TARGET}
    medians_of = {metric: medians(scores, scores[metric].sel(seeds)).mean("model").to_numpy() for metric in metrics}
    level = xr.DataArray(np.stack(list(medians_of.values())), dims=("tested_metric", "lead"))
    result = 100 * against[[*_LIMITS, "difference_detectable"]] / level
    result["difference_p_adjusted"] = against["difference_p_adjusted"]
    result["ratio"] = differences["difference_ratio"].sel(reference="persistence", tested_metric="rmse", drop=True)
    result.to_netcdf(file, engine="h5netcdf")
    return result


def _cells(result: xr.Dataset, is_reference: bool, selected: list[np.integer]) -> list[str]:
    """A row of the table."""
    shown = [("rmse", lead) for lead in selected] + [(metric, selected[1]) for metric in _EXTREMES]
    cells = ["–" if is_reference else _differing(result.sel(tested_metric=metric, lead=lead)) for metric, lead in shown]
    return [*cells, *(f"{float(result['ratio'].sel(lead=lead)):.3f}" for lead in (selected[0], selected[-1]))]


def _differing(test: xr.Dataset) -> str:
    value, low, high, detectable = (float(test[name]) for name in (*_LIMITS, "difference_detectable"))
    mark = ("▲" if value < 0 else "▼") if float(test["difference_p_adjusted"]) <= FALSE_DISCOVERIES else ""
    return f"{value:.1f} \\[{low:.1f}, {high:.1f}\\] {mark or f'(≥ {detectable:.1f})'}".replace("-", "−")
