"""Water that enters the soil, the sign of its change (Eq. 10-13, Geng et al., 2024), and what follows it (Eq. 19)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import read, thickness_name
from soilcast.errors import SoilcastError
from soilcast.water.config import Form, Symbol, Ties, WaterConfig

Values = Mapping[str, npt.NDArray[np.floating]]
Signs = npt.NDArray[np.int8]

_CELLS_AT_ONCE = 2048
_RUNOFF = {"surface": "sro", "total": "ro"}
_STORES = ("sd", "swvl")
"""How the names of variables begin whose change enters W: snow, and soil water, which counts with its thickness."""
_SNOW = {"paper": 1.0, "closing": -1.0, "code": 24.0}


def variable_of(term: Symbol, config: WaterConfig) -> str:
    """Variable of the cube that a term of W is read from."""
    return {"P": "tp", "E": "e", "SRO": _RUNOFF[config.runoff], "dSD": "sd"}[term]


def balance_terms(form: Form, config: WaterConfig) -> dict[str, float]:
    """Variables that enter W and their factors: fluxes as they stand, then stores (`_STORES`) by their daily change."""
    factors = {"P": 1.0, "E": -1.0, "SRO": -1.0}
    terms = {variable_of(term, config): factors[term] for term in config.terms if term in factors}
    if "dSD" in config.terms:
        terms["sd"] = _SNOW[config.snow]
    if form == "multi":
        terms |= dict.fromkeys(config.deep_layers, -1.0)
    elif config.layer == "own_layer":
        terms["swvl1"] = -1.0
    return terms


def required_variables(form: Form, config: WaterConfig) -> tuple[str, ...]:
    """Variables of a cube that W needs."""
    terms = balance_terms(form, config)
    return (*terms, *(thickness_name(name) for name in terms if name.startswith("swvl")))


def missing_variables(cube: xr.Dataset, form: Form, config: WaterConfig) -> list[str]:
    """Those of `required_variables` that the cube lacks."""
    return [name for name in required_variables(form, config) if name not in cube]


def water_inflow(values: Values, form: Form, config: WaterConfig) -> npt.NDArray[np.float64]:
    """W_t, the water that enters the soil on each day [m] (Eq. 10 for ``single``, Eq. 11 for ``multi``).

    Parameters
    ----------
    values
        What `required_variables` names: fluxes [m d-1], snow [m] and soil water [m3 m-3] as ``(cell, time)``,
        thicknesses [m] as ``(cell,)``.
    form, config
        Which W, and how it is read.

    Returns
    -------
    ``(cell, time)``; the first day is NaN where the change of a store enters, and so is a day with a missing term.
    """
    parts = []
    for name, factor in balance_terms(form, config).items():
        depth = values[name].astype(np.float64)
        if name.startswith("swvl"):
            depth = depth * values[thickness_name(name)].astype(np.float64)[:, np.newaxis]
        parts.append(factor * (np.diff(depth, axis=1, prepend=np.nan) if name.startswith(_STORES) else depth))
    return np.asarray(sum(parts), dtype=np.float64)


def sign_of_change(inflow: npt.NDArray[np.float64]) -> Signs:
    """dW_t: +1, -1 or 0 as W grows, falls or stays from the day before (Eq. 12).

    Parameters
    ----------
    inflow
        W_t ``(cell, time)`` [m].

    Returns
    -------
    ``(cell, time)``; 0, which counts nowhere, also where W of the day or of the day before is missing.
    """
    return np.nan_to_num(np.sign(np.diff(inflow, axis=1, prepend=np.nan)), nan=0.0).astype(np.int8)


def sign_of_inflow(inflow: npt.NDArray[np.float64]) -> Signs:
    """dW_t read as the sign of W_t itself: +1 on a day on which water enters the soil, -1 where it leaves.

    Parameters
    ----------
    inflow
        W_t ``(cell, time)`` [m].

    Returns
    -------
    ``(cell, time)``; 0, which counts nowhere, where W_t is missing.
    """
    return np.nan_to_num(np.sign(inflow), nan=0.0).astype(np.int8)


def mask_observed(signs: Signs, observed: npt.NDArray[np.floating], ties: Ties = "keep") -> Signs:
    """Drop the days on which the observed soil moisture did not follow the water balance (Eq. 13).

    The mask looks at the observed soil moisture of the day itself, so it belongs to training; a consistency
    that uses it is reported beside the one that does not.

    Parameters
    ----------
    signs
        dW_t ``(cell, time)``.
    observed
        SM_t ``(cell, time)`` [m3 m-3].
    ties
        Keep or drop the days on which SM_t = SM_{t-1}.

    Returns
    -------
    dW_t with 0 wherever dW_t (SM_{t-1} - SM_t) > 0 (>= 0 without ties), and where SM of the day or of the day before
    is missing.
    """
    against = signs * -np.diff(observed.astype(np.float64), axis=1, prepend=np.nan)
    dropped = against > 0 if ties == "keep" else against >= 0
    return np.where(np.isnan(against) | dropped, 0, signs).astype(np.int8)


def water_sign(cube: xr.Dataset, form: Form, config: WaterConfig, days: slice | None = None) -> Signs:
    """dW_t of Eq. 12 for every cell of a cube, read at once, and every day or some days of it.

    Parameters
    ----------
    cube
        An opened cube.
    form, config
        Which W, and how it is read.
    days
        The days wanted, as positions with a step of one; the two days before them are read as well.

    Returns
    -------
    ``(cell, time)`` int8.

    Raises
    ------
    SoilcastError
        The cube lacks a variable that W needs.
    """
    inflow, before = _read_inflow(cube, form, config, days or slice(None), 2)
    return _SIGNS[config.sign](inflow)[:, before:]


def water_amount(
    cube: xr.Dataset, form: Form, config: WaterConfig, days: slice = slice(None)
) -> npt.NDArray[np.float64]:
    """W_t of Eq. 10 or 11 for every cell of a cube, read at once, and some days of it ``(cell, time)`` [m].

    Parameters
    ----------
    cube
        An opened cube.
    form, config
        Which W, and how it is read.
    days
        The days wanted, as positions with a step of one; the day before them is read as well.

    Raises
    ------
    SoilcastError
        The cube lacks a variable that W needs.
    """
    inflow, before = _read_inflow(cube, form, config, days, 1)
    return inflow[:, before:]


def _read_inflow(
    cube: xr.Dataset, form: Form, config: WaterConfig, days: slice, back: int
) -> tuple[npt.NDArray[np.float64], int]:
    """W_t of some days and of at most ``back`` days before them, and how many these are."""
    refuse_missing(cube, form, config)
    first, last, _ = days.indices(cube.sizes["time"])
    before = min(first, back)
    part = cube.isel(time=slice(first - before, last))
    values = {variable: read(part, variable) for variable in required_variables(form, config)}
    return water_inflow(values, form, config), before


def water_signs(cube: xr.Dataset, readings: Mapping[str, tuple[Form, WaterConfig]]) -> dict[str, Signs]:
    """dW_t for many readings in one streaming pass: each variable of each block of cells is read once.

    Parameters
    ----------
    cube
        An opened cube.
    readings
        Name of the reading -> form and configuration.

    Returns
    -------
    Name of the reading -> ``(cell, time)`` int8.

    Raises
    ------
    SoilcastError
        The cube lacks a variable that a reading needs.
    """
    for form, config in readings.values():
        refuse_missing(cube, form, config)
    shape = (cube.sizes["cell"], cube.sizes["time"])
    signs = {name: np.zeros(shape, dtype=np.int8) for name in readings}
    variables = {variable for form, config in readings.values() for variable in required_variables(form, config)}
    for start in range(0, shape[0], _CELLS_AT_ONCE):
        cells = slice(start, start + _CELLS_AT_ONCE)
        values = {variable: read(cube, variable, cells) for variable in sorted(variables)}
        for name, (form, config) in readings.items():
            signs[name][cells] = _SIGNS[config.sign](water_inflow(values, form, config))
    return signs


def refuse_missing(cube: xr.Dataset, form: Form, config: WaterConfig) -> None:
    """Raise `SoilcastError` that names what W needs, what the cube lacks, and the terms that would do."""
    if (shortfall := missing_terms(cube, form, config)) is not None:
        lacking, settings = shortfall
        source = cube.encoding.get("source") or cube.attrs.get("title", "the cube")
        remedy = "use " + " ".join(settings) if settings else "prepare a cube that has them"
        raise SoilcastError(f"{source}: no {lacking}: {remedy}")


def missing_terms(cube: xr.Dataset, form: Form, config: WaterConfig) -> tuple[str, list[str]] | None:
    """Say what a cube lacks for W, and the options of a command that do without; None if it lacks nothing."""
    missing = missing_variables(cube, form, config)
    if not missing:
        return None
    return f"{', '.join(missing)}, which {_symbol(form)} needs", _remedies(cube, form, config)


_SIGNS = {"change": sign_of_change, "inflow": sign_of_inflow}


def _symbol(form: Form) -> str:
    return {"single": "W1 of PHY-LSTM (Eq. 10)", "multi": "W2 of PHYs-LSTM (Eq. 11)"}[form]


def _remedies(cube: xr.Dataset, form: Form, config: WaterConfig) -> list[str]:
    possible = [symbol for symbol in config.terms if variable_of(symbol, config) in cube]
    remedies = []
    if "SRO" in config.terms and config.runoff == "surface" and "sro" not in cube and "ro" in cube:
        remedies.append("--set water.runoff=total")
        possible = [symbol for symbol in config.terms if symbol in possible or symbol == "SRO"]
    if list(config.terms) != possible and possible:
        remedies.append(f"--set water.terms=[{','.join(possible)}]")
    deep = [layer for layer in config.deep_layers if layer in cube]
    if form == "multi" and len(deep) < len(config.deep_layers):
        remedies.append(f"--set water.deep_layers=[{','.join(deep)}]" if deep else "--model phy-lstm")
    return remedies


def physical_consistency(
    signs: Signs, observed_before: npt.NDArray[np.floating], predicted: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Share of the days on which the forecast moves the way that the water balance does (Eq. 19).

    Parameters
    ----------
    signs
        dW_t ``(cell, time)`` of the forecast days; after `mask_observed` for the masked form.
    observed_before
        SM_{t-1} ``(cell, time)``, observed the day before each forecast day [m3 m-3].
    predicted
        SM^_t ``(cell, time)`` [m3 m-3].

    Returns
    -------
    ``(cell,)``, consistent / (consistent + inconsistent); NaN where no day counts. Days on which
    dW_t (SM_{t-1} - SM^_t) is zero or a value is missing count for neither.
    """
    product = signs * (observed_before.astype(np.float64) - predicted.astype(np.float64))
    consistent = np.count_nonzero(product < 0, axis=1)
    counted = consistent + np.count_nonzero(product > 0, axis=1)
    share = np.full(len(counted), np.nan)
    np.divide(consistent, counted, out=share, where=counted > 0)
    return share
