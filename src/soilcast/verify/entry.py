"""One forecast that is evaluated: its targets, leads, issue days, cells and levels, after checks."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import VARIABLES, periods_of
from soilcast.cube.calendar import Days
from soilcast.cube.matching import find_places
from soilcast.errors import SoilcastError
from soilcast.provenance import input_of

DEVELOPMENT_PERIODS = ("train_period", "validation_period")
PERIODS = (*DEVELOPMENT_PERIODS, "test_period")

_TEXTS = ("label", "model", "content", "cube_sha256", "config", "training_log", "targets", "weather", *PERIODS)
_CENTRAL = ("cell", "time", "lead")
_QUANTILE = (*_CENTRAL, "quantile")
_TEMPLATE = ("template", "lead")
_LONGEST_FILL = 60


@dataclass(frozen=True)
class Entry:
    """One forecast that is evaluated.

    Parameters
    ----------
    label
        Name in the tables, unique among those evaluated together.
    path
        Its path.
    attributes
        Its text attributes.
    config, training_log
        Its run's configuration and log.
    fingerprint
        What `fingerprint_of` gives for it.
    targets
        The variables that it forecasts and that the cube has.
    leads
        Its longest lead; it has every one from 1 on [d].
    latency
        Days between the newest soil moisture that it uses and the issue day [d].
    fill_days
        Maximum days of forward fill where that newest soil moisture is missing [d].
    issue_days
        ``(time,)``, ascending; days may be missing between them.
    cells
        Position in it of each cell of the cube, ``(cell,)``; -1 where it has no forecast of that location.
    levels
        Target -> levels of its quantiles; none where it has only a central forecast.
    templates
        Targets of which it has rank templates.
    plugins
        Record of the plugins that the parts of its run are from; None if they are from none.
    """

    label: str
    path: Path
    attributes: Mapping[str, str]
    config: Mapping[str, Any]
    training_log: list[Any]
    fingerprint: str
    targets: tuple[str, ...]
    leads: int
    latency: int
    fill_days: int
    issue_days: Days = field(repr=False)
    cells: npt.NDArray[np.int64] = field(repr=False)
    levels: Mapping[str, tuple[float, ...]]
    templates: frozenset[str]
    plugins: Any

    @property
    def is_guided(self) -> bool:
        """Whether a water balance guided the run."""
        loss = self.config.get("loss")
        return isinstance(loss, dict) and loss.get("balance", "none") != "none"


def quantile_name(target: str) -> str:
    """Name of the quantiles of a target in a forecast."""
    return f"{target}_quantile"


def mean_name(target: str) -> str:
    """Name of the mean of the predictive distribution of a target in a forecast."""
    return f"{target}_mean"


def template_name(target: str) -> str:
    """Name of the rank templates of a target in a forecast: how its leads depend on each other."""
    return f"{target}_rank_template"


def fingerprint_of(opened: xr.Dataset) -> str:
    """Fingerprint of an artifact: hash of its attributes, which hold hashes and the time of creation."""
    attributes = sorted((str(name), str(text)) for name, text in opened.attrs.items())
    return hashlib.sha256(repr(attributes).encode()).hexdigest()


def attributes_of(forecast: xr.Dataset, path: Path) -> dict[str, str]:
    """Read the text attributes of a forecast.

    Raises
    ------
    SoilcastError
        One is missing, or a period is not valid.
    """
    missing = [name for name in _TEXTS if not isinstance(forecast.attrs.get(name), str)]
    if missing:
        raise SoilcastError(f"{path}: the forecast lacks the attribute(s) {', '.join(missing)}: forecast again")
    texts = {name: " ".join(forecast.attrs[name].split()) for name in _TEXTS}
    for name in PERIODS:
        try:
            periods_of(texts[name])
        except SoilcastError as error:
            raise SoilcastError(f"{path}: {name}: {error}; forecast again") from error
    return texts


def read_entry(forecast: xr.Dataset, path: Path, label: str, attributes: Mapping[str, str], cube: xr.Dataset) -> Entry:
    """Check a forecast and read its properties; its values are not read.

    Parameters
    ----------
    forecast, path
        The opened forecast and its path.
    label
        Its label.
    attributes
        From `attributes_of`.
    cube
        The opened cube, by whose cells and days it is evaluated: the one that it was made for, or another.

    Raises
    ------
    SoilcastError
        It is damaged, contradicts itself, or has no target or no cell in common with the cube.
    """
    targets = tuple(name.strip() for name in attributes["targets"].split(","))
    if len(set(targets)) < len(targets) or not set(targets) <= VARIABLES.keys():
        raise _damaged(path, f"its targets {attributes['targets']} are not distinct variables")
    for target in targets:
        _check_floats(forecast, path, target, _CENTRAL)
        if mean_name(target) in forecast.variables:
            _check_floats(forecast, path, mean_name(target), _CENTRAL)
        if template_name(target) in forecast.variables:
            _check_floats(forecast, path, template_name(target), _TEMPLATE)
    common = tuple(target for target in targets if target in cube)
    if not common:
        raise SoilcastError(f"{path}: the cube has no {' or '.join(targets)}: give a cube that has observations of it")
    leads = forecast.sizes["lead"]
    stored = forecast["lead"].to_numpy() if "lead" in forecast.coords else np.empty(0)
    if not leads or not np.array_equal(stored, np.arange(1, leads + 1)):
        raise _damaged(path, "its leads are not 1, 2, .. days")
    config = _parsed(attributes, "config", dict, path)
    return Entry(
        label=label,
        path=path,
        attributes=attributes,
        config=config,
        training_log=_parsed(attributes, "training_log", list, path),
        fingerprint=fingerprint_of(forecast),
        targets=common,
        leads=leads,
        latency=_latency(forecast, path),
        fill_days=_fill_days(config, path),
        issue_days=_issue_days(forecast, path),
        cells=_match_cells(forecast, path, cube),
        levels={target: _levels(forecast, path, target) for target in common},
        templates=frozenset(target for target in common if template_name(target) in forecast.variables),
        plugins=input_of(forecast.attrs.get("provenance"), "plugins"),
    )


def _parsed(attributes: Mapping[str, str], name: str, json_type: type, path: Path) -> Any:
    try:
        parsed = json.loads(attributes[name])
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, json_type):
        raise _damaged(path, f"the attribute {name} is not a JSON {json_type.__name__}")
    return parsed


def _issue_days(forecast: xr.Dataset, path: Path) -> Days:
    issued = forecast["time"].to_numpy()
    if issued.dtype.kind != "M" or not issued.size or np.isnat(issued).any():
        raise _damaged(path, "its issue days are not dates")
    days: Days = issued.astype("datetime64[D]").astype("datetime64[ns]")
    if (days != issued).any() or (np.diff(days) <= np.timedelta64(0, "D")).any():
        raise _damaged(path, "its issue days are not ascending days")
    return days


def _match_cells(forecast: xr.Dataset, path: Path, cube: xr.Dataset) -> npt.NDArray[np.int64]:
    for name in ("lat", "lon"):
        if name not in forecast.variables or forecast[name].dims != ("cell",) or forecast[name].dtype.kind != "f":
            raise _damaged(path, f"no {name} (cell) in it")
    coordinates = (data[name].to_numpy().astype(np.float64) for data in (forecast, cube) for name in ("lat", "lon"))
    cells = find_places(*coordinates)
    if (cells < 0).all():
        raise SoilcastError(
            f"{path}: none of its {forecast.sizes['cell']} cells is one of the cube's {len(cells)}: give a cube of the "
            "same places"
        )
    return cells


def _fill_days(config: Mapping[str, Any], path: Path) -> int:
    task = config.get("task", {})
    days = task.get("fill_days", 0) if isinstance(task, dict) else None
    if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= _LONGEST_FILL:
        raise _damaged(path, "config, task.fill_days is not a number of days")
    return days


def _latency(forecast: xr.Dataset, path: Path) -> int:
    latency: Any = forecast.attrs.get("latency_days")
    if isinstance(latency, bool) or not isinstance(latency, (int, np.integer)) or latency < 0:
        raise _damaged(path, "latency_days is not a number of days")
    return int(latency)


def _levels(forecast: xr.Dataset, path: Path, target: str) -> tuple[float, ...]:
    name = quantile_name(target)
    if name not in forecast.variables:
        return ()
    _check_floats(forecast, path, name, _QUANTILE)
    stored = forecast["quantile"].to_numpy() if "quantile" in forecast.coords else np.empty(0)
    # Levels of single precision are those of double precision in these digits.
    levels = tuple(round(float(level), 6) for level in stored) if stored.dtype.kind == "f" else ()
    if not levels or not all(low < high for low, high in itertools.pairwise((0.0, *levels, 1.0))):
        raise _damaged(path, "its quantile levels are not ascending within 0 .. 1")
    return levels


def _check_floats(forecast: xr.Dataset, path: Path, name: str, dims: tuple[str, ...]) -> None:
    if name not in forecast or forecast[name].dims != dims or forecast[name].dtype.kind != "f":
        raise _damaged(path, f"no {name} ({', '.join(dims)}) in it")


def _damaged(path: Path, problem: str) -> SoilcastError:
    return SoilcastError(f"{path}: {problem}: it is damaged; forecast again")
