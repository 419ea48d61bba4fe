"""The water balance by which the consistency of forecasts (Eq. 19) is measured, as far as the cube allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.schema import validate
from soilcast.verify.aligned import Signs
from soilcast.verify.entry import Entry
from soilcast.water import Form, WaterConfig, mask_observed, missing_variables, water_signs

_FORMS: dict[str, Form] = {"consistency_w1": "single", "consistency_w2": "multi"}

Readings = Mapping[str, tuple[Form, WaterConfig]]
"""Name of a metric -> W, and how it is read."""


@dataclass(frozen=True)
class Balance:
    """Water balances by which forecasts are evaluated.

    Parameters
    ----------
    readings
        Target -> readings, those that the cube and the target allow.
    description
        How the balance was read, and what was left out and why.
    """

    readings: Mapping[str, Readings]
    description: str


def choose_balance(entries: Sequence[Entry], cube: xr.Dataset) -> Balance:
    """Choose the water balance of the first physics-guided run, or else of the first run: see `balance_of`.

    Parameters
    ----------
    entries
        The forecasts, for their configs and targets.
    cube
        The opened cube.

    Raises
    ------
    SoilcastError
        The config's water section is not valid.
    """
    chosen = next((entry for entry in entries if entry.is_guided), entries[0])
    config = validate(WaterConfig, chosen.config.get("water", {}), f"{chosen.path}: config, water")
    return balance_of(config, f"as in the run of {chosen.label}", chosen.targets, cube)


def balance_of(config: WaterConfig, origin: str, targets: Sequence[str], cube: xr.Dataset) -> Balance:
    """Read W1 and W2 in one way, as far as the cube and the targets allow.

    They are left out where the cube lacks their variables, and W2 where the target is one of the layers that it holds:
    a forecast would be compared with what was observed of it on the very day.

    Parameters
    ----------
    config
        How W is read.
    origin
        Where that is from, for the description.
    targets
        The variables that are forecast.
    cube
        The opened cube.
    """
    sentences = [
        f"Water balance {origin}: terms {', '.join(config.terms)}; sign of its {config.sign}; snow {config.snow}; "
        f"runoff {config.runoff}; layer {config.layer}; ties {config.ties}; "
        f"deep layers {', '.join(config.deep_layers)}."
    ]
    readings: dict[str, dict[str, tuple[Form, WaterConfig]]] = {target: {} for target in targets}
    for metric, form in _FORMS.items():
        missing = missing_variables(cube, form, config)
        for target in targets:
            if form == "multi" and target in config.deep_layers:
                sentences.append(f"{metric} is left out: its water balance contains the target {target} itself.")
            elif not missing:
                readings[target][metric] = (form, config)
        if missing:
            sentences.append(f"{metric} is left out: the cube lacks {', '.join(missing)}.")
    return Balance(readings, " ".join(sentences))


def balance_signs(
    readings: Readings, cube: xr.Dataset, cells: slice, observed: npt.NDArray[np.float32], days: slice
) -> dict[str, Signs]:
    """Signs of the water balance on some days.

    Parameters
    ----------
    readings
        Of the target.
    cube
        The opened cube.
    cells
        The cells.
    observed
        Target of these cells on all days, ``(cell, time)`` [m3 m-3].
    days
        The days, as positions along time.

    Returns
    -------
    Name of a reading -> dW_t ``(cell, day)``, 0 after the cube's last day; under ``NAME_masked`` without the days that
    Eq. 13 drops.
    """
    # The mask of the first day needs the day before it, whose dW needs the two before that.
    previous = min(days.start, 1)
    first = max(days.start - 3, 0)
    part = cube.isel(cell=cells, time=slice(first, days.stop))
    signs: dict[str, Signs] = {}
    unknown = days.stop - first - part.sizes["time"]
    for name, all_days in water_signs(part, readings).items():
        selected = np.pad(all_days[:, days.start - previous - first :], ((0, 0), (0, unknown)))
        masked = mask_observed(selected, observed[:, days.start - previous : days.stop], readings[name][1].ties)
        signs[name], signs[f"{name}_masked"] = selected[:, previous:], masked[:, previous:]
    return signs
