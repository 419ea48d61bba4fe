"""How often each model moves the way that the water balance does (Eq. 19), as far as the cube can tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.schema import validate
from soilcast.verify.entries import Entry
from soilcast.water import Form, WaterConfig, mask_observed, missing_variables, physical_consistency, water_sign

_FORMS: dict[str, Form] = {"w1": "single", "w2": "multi"}
_PLAIN = "lstm"


def consistencies(
    entries: Sequence[Entry],
    cube: xr.Dataset,
    observed: npt.NDArray[np.float32],
    test: slice,
    scored: Sequence[npt.NDArray[np.float32]],
) -> tuple[dict[str, npt.NDArray[np.float64]], str]:
    """Score the physical consistency of forecasts and baselines with W1 and W2.

    The water balance is read as in the config of the first physics-guided run, or else of the first run.

    Parameters
    ----------
    entries
        The forecasts, for their configs.
    cube
        The opened cube.
    observed
        Target of all days, ``(cell, time)`` [m3 m-3].
    test
        The test days, as positions along time.
    scored
        For each model ``(cell, test day)`` [m3 m-3], NaN on days that are not scored.

    Returns
    -------
    Metric name -> ``(model, cell)`` share 0 .. 1, without those whose variables the cube lacks; and a text that says
    how the water balance was read and what was left out.

    Raises
    ------
    SoilcastError
        The config's water section is not valid.
    """
    leading = next((entry for entry in entries if entry.config.get("model") != _PLAIN), entries[0])
    config = validate(WaterConfig, leading.config.get("water", {}), f"{leading.path}: config, water")
    notes = [_described(config, leading.label)]
    shares: dict[str, npt.NDArray[np.float64]] = {}
    # One day more in front: the mask of the first test day needs the observation before it.
    first = max(test.start - 1, 0)
    ahead = test.start - first
    before = _day_before(observed, test)
    for name, form in _FORMS.items():
        missing = missing_variables(cube, form, config)
        if missing:
            notes.append(f"consistency_{name} is left out: the cube lacks {', '.join(missing)}.")
            continue
        signs = water_sign(cube, form, config, slice(first, test.stop))
        masked = mask_observed(signs, observed[:, first : test.stop])
        for metric, days in ((f"consistency_{name}", signs), (f"consistency_{name}_masked", masked)):
            shares[metric] = np.stack([physical_consistency(days[:, ahead:], before, one) for one in scored])
    return shares, " ".join(notes)


def _day_before(observed: npt.NDArray[np.float32], test: slice) -> npt.NDArray[np.float32]:
    if test.start > 0:
        return observed[:, test.start - 1 : test.stop - 1]
    return np.pad(observed[:, : test.stop - 1], ((0, 0), (1, 0)), constant_values=np.nan)


def _described(config: WaterConfig, label: str) -> str:
    return (
        f"Water balance as in the run of {label}: terms {', '.join(config.terms)}; snow {config.snow}; runoff "
        f"{config.runoff}; layer {config.layer}; deep layers {', '.join(config.deep_layers)}."
    )
