"""What is known when, and what is forecast: the task of a run, and the windows in which its network sees it."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from soilcast.cube.contract import PAPER_DYNAMIC, PAPER_STATIC, VARIABLES
from soilcast.schema import nearest

Layer = Literal["swvl1", "swvl2", "swvl3", "swvl4"]
Float = TypeVar("Float", bound=np.floating)

_LONGEST_LATENCY = 60
_GROUPS = ("all", "dynamic", "lags")
"""Names in `Task.latency` that stand for many inputs."""

PAPER: dict[str, tuple[str, ...]] = {"dynamic": PAPER_DYNAMIC, "static": PAPER_STATIC}
"""The paper's fourteen inputs, by the key of `Task` that names them."""


class AutoInputs(tuple[str, ...]):
    """The paper's inputs, until `Task.for_cube` leaves out those that a cube lacks."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AutoInputs) and super().__eq__(other)

    __hash__ = tuple.__hash__


_AUTO = {key: AutoInputs(names) for key, names in PAPER.items()}


class Task(BaseModel):
    """Inputs, lead times and observation latency.

    The issue day is the last day of which anything is known; lead k is the k-th day after it. The defaults are the
    paper's design: the next day.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: int = Field(7, ge=1, le=3650, description="length of the input window before the first forecast day [d]")
    neighbourhood: Literal[1, 3, 5, 7] = Field(
        1,
        description="side of the square of grid cells, around each cell, whose inputs are seen. 1: those of the cell "
        "alone [cell]",
    )
    lead_days: int = Field(1, ge=1, le=60, description="longest lead time; forecasts are of leads 1 to this [d]")
    layers: tuple[Layer, ...] = Field(
        ("swvl1",), description="soil layers to forecast; the water balance is of the first"
    )
    dynamic: tuple[str, ...] = Field(
        _AUTO["dynamic"],
        description="dynamic inputs (variables of the cube). auto: those of the paper that the cube has; paper: all "
        "eight; []: none",
    )
    static: tuple[str, ...] = Field(
        _AUTO["static"],
        description="static inputs (variables of the cube). auto: those of the paper that the cube has; paper: all "
        "six; []: none",
    )
    lags: tuple[Layer, ...] = Field((), description="soil layers whose observed soil moisture is an input")
    latency: dict[str, int] = Field(
        {},
        description="observation latency: days from the newest value of an input to the issue day (the day before lead "
        "1); one number for all inputs, or by input or group, such as {swvl1: 5} or {dynamic: 2, lags: 5} [d]",
    )
    fill_days: int = Field(
        0, ge=0, le=60, description="maximum days of forward fill of the newest soil moisture; 0: no filling [d]"
    )
    known_future: tuple[str, ...] = Field(
        (), description="dynamic inputs that are known on the forecast days too (from a weather forecast)"
    )
    calendar: bool = Field(False, description="day of the year as an input")
    quantiles: tuple[float, ...] = Field(
        (), description="quantiles of the predictive distribution to forecast, such as [0.05,0.5,0.95]; []: none"
    )

    @field_validator("latency", mode="before")
    @classmethod
    def _one_number_for_all(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"all": value} if value else {}
        return value

    @field_validator("dynamic", "static", mode="wrap")
    @classmethod
    def _are_variables(
        cls, given: Any, as_tuple: Callable[[Any], tuple[str, ...]], info: ValidationInfo
    ) -> tuple[str, ...]:
        key = str(info.field_name)
        if given == "auto" or isinstance(given, AutoInputs):
            return _AUTO[key]
        if given == "paper":
            return PAPER[key]
        if isinstance(given, str):
            raise ValueError(f"write auto, paper or a list of variables, such as [{','.join(PAPER[key][:2])}]")
        value = as_tuple(given)
        for name in value:
            if name not in VARIABLES:
                raise ValueError(f"{name} is not a variable of the cube: {nearest(name, VARIABLES)}")
            kind = "static" if VARIABLES[name].is_static else "dynamic"
            if kind != info.field_name:
                raise ValueError(f"{name} is {kind}: name it in task.{kind}")
            if name.startswith("swvl"):
                raise ValueError(f"{name} is soil moisture, which is an input by task.lags: name it there")
        return _once(value)

    @field_serializer("dynamic", "static")
    def _as_written(self, value: tuple[str, ...]) -> str | list[str]:
        return "auto" if isinstance(value, AutoInputs) else list(value)

    @field_validator("layers", "lags", "known_future")
    @classmethod
    def _are_named_once(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not value and info.field_name == "layers":
            raise ValueError("name at least one layer to forecast")
        return _once(value)

    @field_validator("quantiles")
    @classmethod
    def _ascend(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < level < 1 for level in value) or list(value) != sorted(set(value)):
            raise ValueError("quantiles must be ascending and between 0 and 1")
        return value

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not (self.dynamic or self.lags or self.calendar):
            raise ValueError(
                "task.dynamic is [] and there are neither task.lags nor task.calendar, so no input changes from day to "
                "day: name dynamic inputs, or set task.lags, such as [swvl1]"
            )
        for name in self.known_future:
            if name not in self.dynamic:
                raise ValueError(f"known_future names {name}, which is not among task.dynamic: name it there too")
            if self.latency_of(name):
                raise ValueError(
                    f"known_future names {name}, whose latency is {self.latency_of(name)} day(s): inputs from a "
                    "weather forecast have none; give the latency of the other inputs alone, such as {lags: 5}"
                )
        for name, days in self.latency.items():
            if name not in (*_GROUPS, *self.dynamic, *self.lags, *self.layers):
                valid = (*_GROUPS, *self.dynamic, *self.lags)
                raise ValueError(f"latency names {name}, which is not an input: {nearest(name, valid)}")
            if not 0 <= days <= _LONGEST_LATENCY:
                raise ValueError(f"latency of {name} is {days} days: give 0 to {_LONGEST_LATENCY}")
        for name in (*self.dynamic, *self.lags):
            if self.latency_of(name) >= self.window:
                raise ValueError(
                    f"a latency of {self.latency_of(name)} days is not shorter than task.window of {self.window} "
                    f"days, so {name} is never known: set a longer task.window"
                )
        return self

    def for_cube(self, variables: Container[str]) -> Self:
        """Give the task with the inputs that ``auto`` comes to for a cube with some variables, in the paper's order."""
        chosen = {
            key: tuple(name for name in names if name in variables)
            for key, names in ((key, getattr(self, key)) for key in PAPER)
            if isinstance(names, AutoInputs)
        }
        return self.model_copy(update=chosen)

    @property
    def target(self) -> str:
        """The layer that the water balance guides: the first of those that are forecast."""
        return self.layers[0]

    @property
    def soil_layers(self) -> tuple[str, ...]:
        """All layers whose soil moisture is read: first those that are forecast, then the other lags."""
        return tuple(dict.fromkeys((*self.layers, *self.lags)))

    @property
    def sees_own_layers(self) -> bool:
        """Whether the newest soil moisture of every layer that is forecast is an input."""
        return set(self.layers) <= set(self.lags)

    def latency_of(self, name: str) -> int:
        """By how many days the newest value of an input, or of a layer, is older than the issue day [d]."""
        group = "lags" if name.startswith("swvl") else "dynamic"
        return self.latency.get(name, self.latency.get(group, self.latency.get("all", 0)))

    @property
    def soil_latency(self) -> int:
        """The largest latency of the layers that are forecast [d]: what baselines know is as old."""
        return max(self.latency_of(layer) for layer in self.layers)


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("a variable is named twice")
    return names


def newest_age(observed: npt.NDArray[np.float32], fill_days: int) -> npt.NDArray[np.float32]:
    """How old the values that `newest_values` gives are ``(cell, time, layer)`` [d]; NaN where there is none."""
    age = np.where(np.isfinite(observed), np.float32(0), np.float32(np.nan))
    for _ in range(fill_days):
        before = age[:, :-1] + 1
        age[:, 1:] = np.where(np.isnan(age[:, 1:]), before, age[:, 1:])
    return np.asarray(age)


def newest_values(observed: npt.NDArray[Float], fill_days: int) -> npt.NDArray[Float]:
    """Give the value of each day, or where it is missing the last one that is at most ``fill_days`` older.

    Parameters
    ----------
    observed
        ``(cell, time)`` or ``(cell, time, layer)``; NaN where missing.
    """
    if not fill_days:
        return observed
    newest = observed.copy()
    for _ in range(fill_days):
        before = newest[:, :-1].copy()
        newest[:, 1:] = np.where(np.isfinite(observed[:, 1:]), observed[:, 1:], before)
    return newest


_SNOW: tuple[dict[str, tuple[str, int]], ...] = (
    {"sd": ("sd", 0), "sd the day before": ("sd", 1)},
    {"sf": ("sf", 0), "smlt": ("smlt", 0)},
)
"""What tells snowfall and melt, and how many days before: the snow depth of two days, or both fluxes."""

_CALENDAR = 2
_PHYSICAL = 4
"""Of each layer: offset and scale of its normalisation [m3 m-3], thickness [m], porosity [m3 m-3]."""


class Layout:
    """How a window lays out what a task lets be known: a step a day, and the features of a step.

    The step of day d carries the weather of the day before and, where that is known ahead, of d itself; so the output
    of the step is of day d. With one lead and nothing but weather the window is the paper's.

    Parameters
    ----------
    task
        What is known.
    physical
        Whether the head computes with water in metres and with the physical properties of the layers.
    damped
        Whether forecasts are departures from the damped anomaly.
    mass
        Whether the network sees rain in metres beside what is normalised.

    Attributes
    ----------
    steps
        Days of a window: those before the first forecast day, and the further ones ahead.
    dynamic_latency, lag_latency, layer_latency
        Latency of each dynamic input, of the soil moisture of each lag and of each layer that is forecast [d].
    late_groups
        Latencies of dynamic inputs that some step hides, each of which has a flag in every step [d].
    ahead
        Positions among the dynamic inputs of those that are known for the forecast days.
    surface_inputs
        What the water that reaches the soil follows from, in metres, where the head computes with it: name -> variable,
        and how many days before the day of the step. Precipitation, and what tells snowfall and melt if it is known for
        the forecast days.
    channels
        Where in the features of a step what is: all that the network sees, then what a head computes with.
    own_features
        Features that the network sees of the cell itself, and of each of the cells around it.
    features
        Features that the network sees; those behind are for the sums of the head alone.
    is_sequence
        Whether a day's features are the same in every window that ends before the forecast days. Then the windows of
        consecutive issue days overlap, and what the inputs add to the gates is computed once a day.
    """

    def __init__(self, task: Task, physical: bool = False, damped: bool = False, mass: bool = False) -> None:
        self.task, self.physical, self.damped, self.mass = task, physical, damped, mass
        self.steps = task.window + task.lead_days - 1
        self.dynamic_latency, self.lag_latency, self.layer_latency = (
            tuple(task.latency_of(name) for name in names) for names in (task.dynamic, task.lags, task.layers)
        )
        hidden = sorted(set(self.dynamic_latency))
        self.late_groups = tuple(days for days in hidden if days or task.lead_days > 1)
        self.ahead = tuple(task.dynamic.index(name) for name in task.known_future)
        snow = next((one for one in _SNOW if {name for name, _ in one.values()} <= set(task.known_future)), {})
        self.surface_inputs = {"tp": ("tp", 0), **snow} if physical else {}
        counts = {
            "past": len(task.dynamic),
            "past_known": len(self.late_groups),
            "ahead": len(task.known_future),
            "calendar": _CALENDAR * task.calendar,
            "lags": len(task.lags),
            "lags_known": len(task.lags),
            "newest": len(task.layers) * task.sees_own_layers,
            "static": len(task.static),
            "mass": int(mass),
            "around": 0,
            "rain": len(self.surface_inputs),
            "physical": _PHYSICAL * len(task.layers) * physical,
            "damped": len(task.layers) * damped,
        }
        # The damped anomaly of a forecast day lies in the step of that day.
        self.channels: dict[str, slice] = {}
        end = 0
        for name, count in counts.items():
            if name == "around":  # of each cell what is seen of this one, and whether it is there
                count = (task.neighbourhood**2 - 1) * (end + 1)
            self.channels[name] = slice(end, end + count)
            end += count
        self.own_features, self.features = int(self.channels["around"].start), int(self.channels["around"].stop)
        late = any((*self.dynamic_latency, *self.lag_latency))
        self.is_sequence = not (late or task.known_future or task.calendar or task.sees_own_layers or physical or mass)
        self.is_sequence &= task.neighbourhood == 1

    def count(self, channel: str) -> int:
        """Features of a channel."""
        place = self.channels[channel]
        return int(place.stop - place.start)
