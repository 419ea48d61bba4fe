"""GRIB files of ERA5-Land and ERA5 with ECMWF's own ecCodes, message by message as the Climate Data Store has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import eccodes
import numpy as np
import numpy.typing as npt

from soilcast.cube import spacing
from tests.helpers.era5_layout import Longitudes, archived
from tests.helpers.era5_parameters import NAMES, PARAMETERS, Parameter
from tests.helpers.era5_weather import HourlyWeather

_MISSING = float(np.finfo(np.float32).max)
_HOUR = np.timedelta64(1, "h")


@dataclass(frozen=True)
class _Moment:
    """When a message is of: run, and hours from it to the start and the end of the message's period."""

    run: np.datetime64
    start: int
    end: int
    data_type: Literal["an", "fc"]


def write_grib(
    weather: HourlyWeather,
    path: Path,
    names: Sequence[str] = NAMES,
    *,
    product: Literal["land", "era5"] = "land",
    edition: Literal[1, 2] = 1,
    steps: Literal["range", "end"] = "range",
    first_missing: bool = False,
    longitudes: Longitudes = "auto",
    bits: int = 24,
) -> list[Path]:
    """Write one file, ordered by stamp and then by parameter.

    Parameters
    ----------
    product
        ``"land"``: forecasts (``fc``) that start at 00 UTC, steps 1 .. 24, amounts since their start; the stamp 00 UTC
        is step 24 of the day before. ``"era5"``: instants are analyses (``an``), amounts those of each hour, from the
        forecasts of 06 and 18 UTC, steps 1 .. 12; values at sea too.
    edition
        Of GRIB. In edition 2 soil water is one parameter, ``vsw``, on the levels 1 .. 4 of ``soilLayer``.
    steps
        How edition 1 names the period of ERA5-Land's amounts: ``"range"`` as ``0-24``, ``"end"`` as ``24`` alone, as
        ECMWF's archive does; ecCodes then gives ``stepType`` ``instant`` for them. Edition 2 and ERA5 always have the
        range.
    bits
        Bits of a value: off by half a step of ``(highest - lowest) / 2**bits`` of its message, or less than a power of
        two more than that.
    weather, path, names, first_missing, longitudes
        As in `archived`.
    """
    rule = "since_midnight" if product == "land" else "hourly"
    covered = weather if product == "land" else weather.with_sea()
    fields = archived(covered, names, rule=rule, first_missing=first_missing, longitudes=longitudes)
    hours = fields["time"].to_numpy().astype("datetime64[h]")
    axes = fields["latitude"].to_numpy(), fields["longitude"].to_numpy()
    with path.open("wb") as stream:
        for position, hour in enumerate(hours):
            for name in names:
                one = PARAMETERS[name]
                moment = _land(hour, one, steps, edition) if product == "land" else _era5(hour, one)
                with _Message(edition) as message:
                    _set_product(message, one, moment, "l5" if product == "land" else "ea", edition)
                    _set_grid(message, *axes)
                    _set_values(message, fields[name].to_numpy()[position], bits)
                    eccodes.codes_write(message.handle, stream)
    return [path]


def _land(hour: np.datetime64, one: Parameter, steps: str, edition: int) -> _Moment:
    run = (hour - _HOUR).astype("datetime64[D]").astype("datetime64[h]")
    step = int((hour - run) / _HOUR)
    whole_period = one.kind == "amount" and (steps == "range" or edition == 2)
    return _Moment(run, 0 if whole_period else step, step, "fc")


def _era5(hour: np.datetime64, one: Parameter) -> _Moment:
    if one.kind == "instant":
        return _Moment(hour, 0, 0, "an")
    # 07 .. 18 UTC are of the run of 06 UTC, 19 .. 06 UTC of the one of 18 UTC.
    six = np.datetime64("1970-01-01T06", "h")
    runs = (hour - _HOUR - six) // np.timedelta64(12, "h")
    run = six + int(runs) * np.timedelta64(12, "h")
    step = int((hour - run) / _HOUR)
    return _Moment(run, step - 1, step, "fc")


class _Message:
    """A new message from ecCodes' sample, released at the end."""

    def __init__(self, edition: int) -> None:
        self.handle = eccodes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{edition}")

    def __enter__(self) -> _Message:
        return self

    def __exit__(self, *error: object) -> None:
        eccodes.codes_release(self.handle)

    def set(self, **keys: str | float) -> None:
        for key, value in keys.items():
            eccodes.codes_set(self.handle, key, value)


def _set_product(message: _Message, one: Parameter, moment: _Moment, of: str, edition: int) -> None:
    if edition == 2:
        message.set(tablesVersion=28)
    message.set(centre="ecmf", setLocalDefinition=1)
    if edition == 1:
        message.set(localDefinitionNumber=1)
    message.set(**{"class": of, "type": moment.data_type, "stream": "oper", "expver": "0001"})
    run = moment.run.astype("datetime64[s]").item()
    message.set(dataDate=int(run.strftime("%Y%m%d")), dataTime=100 * run.hour)
    if one.layer and edition == 2:
        layer = int(one.name[-1])
        message.set(discipline=2, parameterCategory=0, parameterNumber=25)
        message.set(typeOfFirstFixedSurface=151, typeOfSecondFixedSurface=151)
        message.set(scaleFactorOfFirstFixedSurface=0, scaledValueOfFirstFixedSurface=layer - 1)
        message.set(scaleFactorOfSecondFixedSurface=0, scaledValueOfSecondFixedSurface=layer)
    else:
        message.set(paramId=one.number)
    if one.layer and edition == 1:
        message.set(indicatorOfTypeOfLevel=112, topLevel=one.layer[0], bottomLevel=one.layer[1])
    if moment.start == moment.end:
        message.set(stepRange=str(moment.end))
    else:
        message.set(stepType="accum", stepRange=f"{moment.start}-{moment.end}")


def _set_grid(message: _Message, latitude: npt.NDArray[np.float64], longitude: npt.NDArray[np.float64]) -> None:
    message.set(Ni=len(longitude), Nj=len(latitude))
    message.set(latitudeOfFirstGridPointInDegrees=latitude[0], latitudeOfLastGridPointInDegrees=latitude[-1])
    message.set(longitudeOfFirstGridPointInDegrees=longitude[0], longitudeOfLastGridPointInDegrees=longitude[-1])
    message.set(iDirectionIncrementInDegrees=spacing(longitude), jDirectionIncrementInDegrees=spacing(latitude))
    message.set(iScansNegatively=0, jScansPositively=0)


def _set_values(message: _Message, values: npt.NDArray[np.float32], bits: int) -> None:
    missing = np.isnan(values)
    if missing.any():
        message.set(bitmapPresent=1, missingValue=_MISSING)
    # Last: a level or parameter that is set afterwards would pack anew, and a constant field would fall to 0 bits.
    message.set(bitsPerValue=bits)
    eccodes.codes_set_values(message.handle, np.where(missing, _MISSING, values.astype(np.float64)).ravel())


def messages(path: Path, *keys: str) -> Iterator[tuple[str | int, ...]]:
    """Keys of each message of a file, as ``grib_ls`` shows them."""
    with path.open("rb") as stream:
        while (handle := eccodes.codes_grib_new_from_file(stream)) is not None:
            yield tuple(eccodes.codes_get(handle, key) for key in keys)
            eccodes.codes_release(handle)
