"""Which forecasts ECMWF's open data has, and what of a run is fetched: a file a step.

To add a model or a parameter, add its line in `MODELS` or `PARAMETERS`.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soilcast.cube import VARIABLES
from soilcast.downloading.requests import Area
from soilcast.errors import SoilcastError
from soilcast.schema import nearest

STEP = 6
"""Hours between the steps that are fetched: all models have these, and days begin and end at them."""

RUNS = (0, 6, 12, 18)
"""Hours at which forecasts start [UTC]."""


@dataclass(frozen=True)
class ForecastModel:
    """A forecasting system of ECMWF's open data.

    Parameters
    ----------
    title
        Its name for people.
    product
        Its name in the open data, and in ecmwf-opendata.
    stream, type
        Of its forecasts.
    members
        Perturbed members of the ensemble; 0 of a single forecast.
    hours
        Hour at which a forecast starts -> its last step [h].
    """

    title: str
    product: str
    stream: str
    type: str
    members: int
    hours: Mapping[int, int]


@dataclass(frozen=True)
class OpenParameter:
    """A variable as the open data has it.

    Parameters
    ----------
    param
        ECMWF's short name.
    is_accumulated
        Summed up since the start, so that step 0 has none.
    level
        Layer of the soil, from the top; 0 for what is of the surface.
    """

    param: str
    is_accumulated: bool = False
    level: int = 0


_LONG = dict.fromkeys(RUNS, 360)
_SHORT = {0: 360, 6: 144, 12: 360, 18: 144}

MODELS: dict[str, ForecastModel] = {
    "ifs": ForecastModel("IFS", "ifs", "oper", "fc", 0, _SHORT),
    "ifs-ens": ForecastModel("IFS ensemble", "ifs", "enfo", "pf", 50, _SHORT),
    "aifs": ForecastModel("AIFS Single", "aifs-single", "oper", "fc", 0, _LONG),
    "aifs-ens": ForecastModel("AIFS ensemble", "aifs-ens", "enfo", "pf", 50, _LONG),
}
"""Every model by the name that ``download forecast --model`` takes."""

PARAMETERS: dict[str, OpenParameter] = {
    "t2m": OpenParameter("2t"),
    "d2m": OpenParameter("2d"),
    "u10": OpenParameter("10u"),
    "v10": OpenParameter("10v"),
    "sp": OpenParameter("sp"),
    "tp": OpenParameter("tp", is_accumulated=True),
    "sf": OpenParameter("sf", is_accumulated=True),
    "ro": OpenParameter("ro", is_accumulated=True),
    "ssrd": OpenParameter("ssrd", is_accumulated=True),
    "strd": OpenParameter("strd", is_accumulated=True),
    "ssr": OpenParameter("ssr", is_accumulated=True),
    "str": OpenParameter("str", is_accumulated=True),
    "sd": OpenParameter("sd"),
    **{f"swvl{layer}": OpenParameter("vsw", level=layer) for layer in (1, 2, 3, 4)},
}
"""Every parameter by its contract name. Not each model has each of them, as its index files say."""

DEFAULT = ("t2m", "d2m", "u10", "v10", "sp", "tp", "ssrd", "strd")
"""What the default inputs of a run are made of: humidity is computed from d2m and sp."""


@dataclass(frozen=True, order=True)
class FieldId:
    """What tells one field of a step from another: parameter, soil layer (else 0), member (else 0)."""

    param: str
    level: int = 0
    member: int = 0

    def __str__(self) -> str:
        layer = f" of layer {self.level}" if self.level else ""
        return f"{self.param}{layer}" + (f" of member {self.member}" if self.member else "")


@dataclass(frozen=True)
class StepPiece:
    """One step of a forecast and the file that it becomes.

    Parameters
    ----------
    model
        Name in `MODELS`.
    run
        When the forecast starts [UTC].
    step
        [h].
    parameters
        Contract names of what the step has.
    members
        How many members; 0 of a single forecast.
    area
        What is kept of the globe; None for all.
    """

    model: str
    run: datetime.datetime
    step: int
    parameters: tuple[str, ...]
    members: int
    area: Area | None

    @property
    def name(self) -> str:
        """Name of the file without its ending: ``ifs_2026-11-30T00_024h``."""
        return f"{run_name(self.model, self.run)}_{self.step:03d}h"

    @property
    def origin(self) -> str:
        """The open data's name of the model."""
        return MODELS[self.model].product

    @property
    def request(self) -> dict[str, Any]:
        """What the record says of it."""
        chosen = MODELS[self.model]
        return {
            "date": f"{self.run:%Y-%m-%d}",
            "time": self.run.hour,
            "stream": chosen.stream,
            "type": chosen.type,
            "step": self.step,
            "parameters": list(self.parameters),
            **({"members": self.members} if self.members else {}),
            **({"area": list(self.area)} if self.area else {}),
        }

    @property
    def selections(self) -> list[dict[str, Any]]:
        """What ecmwf-opendata is asked for: those of the surface, and those of the soil, whose levels are named."""
        chosen = MODELS[self.model]
        common: dict[str, Any] = {
            "date": f"{self.run:%Y%m%d}",
            "time": self.run.hour,
            "stream": chosen.stream,
            "type": chosen.type,
            "step": self.step,
        }
        if self.members:
            common["number"] = list(range(1, self.members + 1))
        of_surface = [PARAMETERS[name].param for name in self.parameters if not PARAMETERS[name].level]
        of_soil = [PARAMETERS[name].level for name in self.parameters if PARAMETERS[name].level]
        found = [common | {"param": of_surface}] if of_surface else []
        return found + ([common | {"param": "vsw", "levelist": of_soil}] if of_soil else [])

    @property
    def fields(self) -> frozenset[FieldId]:
        """Every field that must be there."""
        known = [PARAMETERS[name] for name in self.parameters]
        members = range(1, self.members + 1) if self.members else (0,)
        return frozenset(FieldId(one.param, one.level, member) for one in known for member in members)


def run_name(model: str, run: datetime.datetime) -> str:
    """How the names of a run's files begin: ``ifs_2026-11-30T00``."""
    return f"{model}_{run:%Y-%m-%dT%H}"


def pieces_of_run(
    model: str,
    run: datetime.datetime,
    parameters: Sequence[str],
    days: int,
    members: int,
    area: Area | None,
) -> list[StepPiece]:
    """Say which files a forecast is made of, a step each; accumulated parameters are not in step 0.

    Parameters
    ----------
    model, parameters
        Names that `check_forecast` has passed.
    run
        When the forecast starts [UTC].
    days
        From its start.
    members
        How many members; 0 of a single forecast.
    area
        What is kept of the globe; None for all.

    Raises
    ------
    SoilcastError
        The run ends before.
    """
    last = MODELS[model].hours[run.hour]
    if 24 * days > last:
        raise SoilcastError(
            f"--days {days}: {model} of {run.hour:02d} UTC ends after {last // 24} days: give fewer --days, or the "
            "--date of a run of 00 or 12 UTC"
        )
    at_start = tuple(name for name in parameters if not PARAMETERS[name].is_accumulated)
    steps = range(0 if at_start else STEP, 24 * days + 1, STEP)
    return [StepPiece(model, run, step, tuple(parameters) if step else at_start, members, area) for step in steps]


def check_forecast(
    model: str, parameters: Sequence[str] | None, days: int, members: int | None
) -> tuple[tuple[str, ...], int]:
    """Check what is asked for, and give the parameters in the order of `PARAMETERS` and the number of members.

    Raises
    ------
    SoilcastError
        There is no such model or parameter, or the numbers make no sense.
    """
    if model not in MODELS:
        raise SoilcastError(f"--model {model} is unknown: {nearest(model, MODELS)}")
    if parameters is not None and not parameters:
        raise SoilcastError(f"--parameters is empty: name some of {', '.join(PARAMETERS)}")
    for name in parameters or ():
        if name not in PARAMETERS:
            raise SoilcastError(f"the open data has no parameter {name}: {_meant(name)}")
    longest = max(MODELS[model].hours.values()) // 24
    if not 1 <= days <= longest:
        raise SoilcastError(f"--days {days}: {model} has 1 .. {longest} days")
    most = MODELS[model].members
    if members is not None and not most:
        raise SoilcastError(f"--members {members}: {model} is a single forecast: use --model ifs-ens or aifs-ens")
    if members is not None and not 1 <= members <= most:
        raise SoilcastError(f"--members {members}: {model} has {most} members: give 1 .. {most}")
    chosen = DEFAULT if parameters is None else parameters
    return tuple(name for name in PARAMETERS if name in chosen), most if members is None else members


def parse_run(text: str, now: datetime.datetime) -> datetime.datetime:
    """Read the start of a forecast: ``2026-11-30``, which is 00 UTC, or ``2026-11-30T12``.

    Raises
    ------
    SoilcastError
        It is no date, in the future, or none of `RUNS`.
    """
    try:
        run = datetime.datetime.fromisoformat(text)
    except ValueError:
        run = None
    if run is None or run.tzinfo is not None or (run.minute, run.second, run.microsecond) != (0, 0, 0):
        raise SoilcastError(f"--date {text} is not the start of a forecast: write 2026-11-30T12, in UTC, or latest")
    if run.hour not in RUNS:
        raise SoilcastError(f"--date {text}: forecasts start at {', '.join(f'{hour:02d}' for hour in RUNS)} UTC")
    if run.replace(tzinfo=datetime.UTC) > now:
        raise SoilcastError(f"--date {text} is in the future: give an earlier one, or latest")
    return run


def _meant(name: str) -> str:
    short = next((own for own, one in PARAMETERS.items() if one.param == name and not one.level), None)
    if short is not None:
        return f"it is called {short} here"
    if name == "q":
        return "request d2m and sp, from which it is computed"
    known = f" ({VARIABLES[name].long_name})" if name in VARIABLES else ""
    return f"{nearest(name, PARAMETERS)}{known}"
