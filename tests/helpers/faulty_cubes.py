"""Cubes with a known fault of conversion, and with the harmless disturbances that real files bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr

Change = Callable[[xr.Dataset], xr.Dataset]

FLUXES = ("tp", "e", "ro")


def layers(cube: xr.Dataset) -> list[str]:
    return [name for name in ("swvl1", "swvl2", "swvl3", "swvl4") if name in cube]


def values(cube: xr.Dataset, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(cube[name].to_numpy(), dtype=np.float64)


def thickness(cube: xr.Dataset, layer: str) -> npt.NDArray[np.float64]:
    return values(cube, f"slthick{layer[-1]}")[:, np.newaxis]


def put(cube: xr.Dataset, changed: Mapping[str, npt.NDArray[np.floating]]) -> xr.Dataset:
    """The cube with other values, rounded to float32 as every cube is."""
    return cube.assign({name: (cube[name].dims, new.astype(np.float32)) for name, new in changed.items()})


def scaled(factor: float, *names: str) -> Change:
    return lambda cube: put(cube, {name: factor * values(cube, name) for name in names})


def shifted(days: int, *names: str) -> Change:
    return lambda cube: put(cube, {name: np.roll(values(cube, name), days, axis=1) for name in names})


def as_depth(cube: xr.Dataset) -> xr.Dataset:
    return put(cube, {name: values(cube, name) * thickness(cube, name) for name in layers(cube)})


def divided_twice(cube: xr.Dataset) -> xr.Dataset:
    return put(cube, {name: values(cube, name) / thickness(cube, name) for name in layers(cube)})


def thicker(factor: float) -> Change:
    return lambda cube: put(
        cube, {f"slthick{name[-1]}": factor * values(cube, f"slthick{name[-1]}") for name in layers(cube)}
    )


def summed_since_midnight(*names: str) -> Change:
    """Sums over the hours of what fell since midnight: an amount at hour h counts 24 - h times."""

    def change(cube: xr.Dataset) -> xr.Dataset:
        rng = np.random.default_rng(5)
        made = {}
        for name in names:
            # Evaporation has its hour of noon; a shower of some hours may fall at any time of the day.
            reach = 1.0 if name == "e" else 8.0
            made[name] = values(cube, name) * (12.5 + rng.uniform(-reach, reach, cube[name].shape))
        return put(cube, made)

    return change


def averaged_since_midnight(*names: str) -> Change:
    """Means over the hours of what fell since midnight: the sums by 24."""
    summed = summed_since_midnight(*names)

    def change(cube: xr.Dataset) -> xr.Dataset:
        made = summed(cube)
        return put(made, {name: values(made, name) / 24 for name in names})

    return change


def in_the_north(change: Change) -> Change:
    """The fault north of 30 degrees north alone."""

    def part(cube: xr.Dataset) -> xr.Dataset:
        changed, north = change(cube), cube["lat"] > 30
        return cube.assign(
            {name: xr.where(north, changed[name], cube[name]).transpose(*cube[name].dims) for name in cube.data_vars}
        )

    return part


def of_the_mean_day(cube: xr.Dataset) -> xr.Dataset:
    """States as means of the day, if they move in a straight line from the end of one day to the end of the next."""
    made = {}
    for name in ("sd", *layers(cube)):
        end = values(cube, name)
        made[name] = (end + np.concatenate([end[:, :1] * np.nan, end[:, :-1]], axis=1)) / 2
    return put(cube, made)


def of_the_beginning(cube: xr.Dataset) -> xr.Dataset:
    return put(
        cube,
        {name: np.concatenate([values(cube, name)[:, :1] * np.nan, values(cube, name)[:, :-1]], axis=1)
         for name in ("sd", *layers(cube))},
    )  # fmt: skip


def packed(cube: xr.Dataset) -> xr.Dataset:
    """Rounded to steps of 1e-5 of the range of the whole variable, as 16 bits of a file do."""
    made = {}
    for name in (*FLUXES, "sd", *layers(cube)):
        step = 1e-5 * np.ptp(values(cube, name)) or 1.0
        made[name] = np.round(values(cube, name) / step) * step
    return put(cube, made)


def noisy(share: float) -> Change:
    def change(cube: xr.Dataset) -> xr.Dataset:
        noise = np.random.default_rng(6).standard_normal(cube["e"].shape)
        return put(cube, {"e": values(cube, "e") * (1 + share * noise)})

    return change


def without_layer_4(cube: xr.Dataset) -> xr.Dataset:
    return cube.drop_vars(["swvl4", "slthick4"])


def as_it_is(cube: xr.Dataset) -> xr.Dataset:
    return cube


HARMLESS: dict[str, Change] = {
    "exact": as_it_is,
    "packed in 16 bits": packed,
    "3 % noise on e": noisy(0.03),
    "daily means": of_the_mean_day,
}

FAULTS: dict[str, tuple[Change, str]] = {
    **{f"{name}: sign": (scaled(-1, name), f"{name}: sign") for name in FLUXES},
    **{
        f"{name} x {factor:.4g}": (
            scaled(factor, name),
            f"{name}: {size} times too {'large' if factor > 1 else 'small'}",
        )
        for name in FLUXES
        for size, base in (("24", 24), ("1 000", 1000), ("3 600", 3600), ("86 400", 86400), ("86.4", 86.4))
        for factor in (base, 1 / base)
    },
    **{f"{name}, a day late": (shifted(1, name), f"{name}: a day late") for name in FLUXES},
    **{f"{name}, a day early": (shifted(-1, name), f"{name}: a day early") for name in FLUXES},
    "e: sign and mm": (scaled(-1000, "e"), "e: sign and 1 000 times too large"),
    "e: sign and hours": (scaled(-1 / 24, "e"), "e: sign and 24 times too small"),
    "all x 24": (scaled(24, *FLUXES), "all fluxes: 24 times too large"),
    "all / 24": (scaled(1 / 24, *FLUXES), "all fluxes: 24 times too small"),
    "all x 1000": (scaled(1000, *FLUXES), "all fluxes: 1 000 times too large"),
    "all a day late": (shifted(1, *FLUXES), "fluxes a day late"),
    "all a day early": (shifted(-1, *FLUXES), "fluxes a day early"),
    "depth as fraction": (as_depth, "soil: a depth of water"),
    "divided twice": (divided_twice, "soil: divided by the thickness twice"),
    "thickness in cm": (thicker(100), "soil: 100 times too large"),
    "thickness in mm": (thicker(1000), "soil: 1 000 times too large"),
    "snow in mm": (scaled(1000, "sd"), "sd: 1 000 times too large"),
    "snow too small": (scaled(1e-3, "sd"), "sd: 1 000 times too small"),
    "depth of snow": (scaled(1 / 0.3, "sd"), "sd, a fitted factor"),
    "tp since midnight": (summed_since_midnight("tp"), "tp: summed since midnight"),
    "e since midnight": (summed_since_midnight("e"), "e: summed since midnight"),
    "all since midnight": (summed_since_midnight(*FLUXES), "all fluxes: summed since midnight"),
    "all averaged": (averaged_since_midnight(*FLUXES), "all fluxes: averaged since midnight"),
    "e without a part": (scaled(0.6, "e"), "e, a fitted factor"),
}
"""Fault -> how it is made, and the name of the hypothesis that must be found."""
