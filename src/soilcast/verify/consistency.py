"""How often each model moves the way that the water balance does (Eq. 19), as far as the cube can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.schema import validate
from soilcast.verify.entries import Entry
from soilcast.water import Form, WaterConfig, mask_observed, missing_variables, water_signs

_FORMS: dict[str, Form] = {"consistency_w1": "single", "consistency_w2": "multi"}
_PLAIN = "lstm"

Signs = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Balance:
    """Which water balances forecasts are judged by.

    Parameters
    ----------
    readings
        Metric -> W and how it is read, for those that the cube and the target allow.
    note
        How the balance was read, and what was left out and why.
    """

    readings: Mapping[str, tuple[Form, WaterConfig]]
    note: str


def choose_balance(entries: Sequence[Entry], cube: xr.Dataset) -> Balance:
    """Choose what to judge by: the config of the first physics-guided run, or else of the first run.

    W1 and W2 are left out where the cube lacks their variables, and W2 where the target is one of the layers that it
    holds: a forecast would be judged by what was observed of it on the very day.

    Parameters
    ----------
    entries
        The forecasts, for their configs.
    cube
        The opened cube.

    Raises
    ------
    SoilcastError
        The config's water section is not valid.
    """
    leading = next((entry for entry in entries if entry.config.get("model") != _PLAIN), entries[0])
    config = validate(WaterConfig, leading.config.get("water", {}), f"{leading.path}: config, water")
    return balance_of(config, f"as in the run of {leading.label}", leading.attributes["target"], cube)


def balance_of(config: WaterConfig, origin: str, target: str, cube: xr.Dataset) -> Balance:
    """Read W1 and W2 in one way, as far as the cube and the target allow: see `choose_balance`.

    Parameters
    ----------
    config
        How W is read.
    origin
        Where that is from, in words, for the note.
    target
        The variable that is forecast.
    """
    notes = [_described(config, origin)]
    readings: dict[str, tuple[Form, WaterConfig]] = {}
    for metric, form in _FORMS.items():
        missing = missing_variables(cube, form, config)
        if form == "multi" and target in config.deep_layers:
            notes.append(f"{metric} is left out: its water balance holds the target {target} itself.")
        elif missing:
            notes.append(f"{metric} is left out: the cube lacks {', '.join(missing)}.")
        else:
            readings[metric] = (form, config)
    return Balance(readings, " ".join(notes))


def balance_signs(
    balance: Balance, cube: xr.Dataset, cells: slice, observed: npt.NDArray[np.float32], test: slice
) -> dict[str, Signs]:
    """Which way the water balance moves on the test days.

    Parameters
    ----------
    balance
        What `choose_balance` gives.
    cube
        The opened cube.
    cells
        The cells wanted.
    observed
        Target of these cells on all days, ``(cell, time)`` [m3 m-3].
    test
        The test days, as positions along time.

    Returns
    -------
    Metric name -> dW_t ``(cell, test day)``; under ``NAME_masked`` without the days of Eq. 13.
    """
    # The mask of the first test day needs the day before it, whose dW needs the two before that.
    ahead = min(test.start, 1)
    first = max(test.start - 3, 0)
    part = cube.isel(cell=cells, time=slice(first, test.stop))
    known = water_signs(part, balance.readings)
    signs: dict[str, Signs] = {}
    for metric, days in known.items():
        wanted = days[:, test.start - ahead - first :]
        masked = mask_observed(wanted, observed[:, test.start - ahead : test.stop])
        signs[metric], signs[f"{metric}_masked"] = wanted[:, ahead:], masked[:, ahead:]
    return signs


def day_before(observed: npt.NDArray[np.float32], test: slice) -> npt.NDArray[np.float32]:
    """Give the target of the day before each test day, ``(cell, test day)``; NaN before the first day of all."""
    if test.start > 0:
        return observed[:, test.start - 1 : test.stop - 1]
    return np.pad(observed[:, : test.stop - 1], ((0, 0), (1, 0)), constant_values=np.nan)


def _described(config: WaterConfig, origin: str) -> str:
    return (
        f"Water balance {origin}: terms {', '.join(config.terms)}; sign of its {config.sign}; snow {config.snow}; "
        f"runoff {config.runoff}; layer {config.layer}; deep layers {', '.join(config.deep_layers)}."
    )
