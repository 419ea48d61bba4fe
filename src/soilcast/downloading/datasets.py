"""Which data sets there are to download: the store's names of their variables, products, formats and limits."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

Day = datetime.date

_HOURS = tuple(f"{hour:02d}:00" for hour in range(24))
MIDNIGHT = ("00:00",)
_SPACING = 0.1
"""Between the grid points of ERA5-Land [degrees]."""


@dataclass(frozen=True)
class StoreVariable:
    """A variable as the store has it.

    Parameters
    ----------
    name
        The store's name.
    group
        Variables of one group are asked for together.
    accumulated
        Summed up since 00 UTC, so that a day's total stands at 00 UTC of the next day.
    """

    name: str
    group: str
    accumulated: bool = False


@dataclass(frozen=True)
class Collection:
    """A data set of the store.

    Parameters
    ----------
    name
        The store's name of it.
    hours
        Hours of a day to ask for; none where the store has one value a day.
    fields
        Maps (one variable at one time) that one request may ask for at most.
    options
        What each request says beside variables, days and area.
    formats
        Formats it is given in, the keys of `FORMATS`; the first where a request cannot choose.
    """

    name: str
    hours: tuple[str, ...]
    fields: int
    options: Mapping[str, str]
    formats: tuple[str, ...] = ("netcdf", "grib")


@dataclass(frozen=True)
class DataSet:
    """What ``soilcast download NAME`` can fetch.

    Parameters
    ----------
    title
        Its name for people.
    first
        Its first day.
    spacing
        Between its grid points [degrees].
    variables
        By contract name.
    default
        Variables that are fetched unless others are named: what the paper needs.
    products
        Product -> the collections that states and accumulated variables come from.
    """

    title: str
    first: Day
    spacing: float
    variables: Mapping[str, StoreVariable]
    default: tuple[str, ...]
    products: Mapping[str, tuple[Collection, Collection]]


FORMATS: dict[str, str] = {"netcdf": ".nc", "grib": ".grib"}
"""What ``--format`` may be, and how such a file's name ends."""

# The store's form says 12,000 fields for hourly ERA5-Land; of NetCDF, which it must convert, it was seen to refuse
# 8,928 and to take 5,952 (2025). Smaller requests also wait less.
_HOURLY = Collection(
    "reanalysis-era5-land", _HOURS, fields=5000, options={"download_format": "unarchived"}, formats=("netcdf", "grib")
)
# Totals of a day, which stand at 00 UTC of the next one: the daily statistics have no accumulated variables.
_TOTALS = Collection("reanalysis-era5-land", MIDNIGHT, fields=5000, options={"download_format": "unarchived"})
# Computed from hourly fields as it is asked for, one month at a time: 31 days of six variables read 4,464 of these.
_DAILY = Collection(
    "derived-era5-land-daily-statistics",
    (),
    fields=186,
    options={"daily_statistic": "daily_mean", "time_zone": "utc+00:00", "frequency": "1_hourly"},
    formats=("netcdf",),
)

DATASETS: dict[str, DataSet] = {
    "era5-land": DataSet(
        title="ERA5-Land",
        first=datetime.date(1950, 1, 1),
        spacing=_SPACING,
        variables={
            "t2m": StoreVariable("2m_temperature", "air"),
            "d2m": StoreVariable("2m_dewpoint_temperature", "air"),
            "u10": StoreVariable("10m_u_component_of_wind", "air"),
            "v10": StoreVariable("10m_v_component_of_wind", "air"),
            "sp": StoreVariable("surface_pressure", "air"),
            "tp": StoreVariable("total_precipitation", "water", accumulated=True),
            "e": StoreVariable("total_evaporation", "water", accumulated=True),
            "pev": StoreVariable("potential_evaporation", "water", accumulated=True),
            "sro": StoreVariable("surface_runoff", "water", accumulated=True),
            "ssro": StoreVariable("sub_surface_runoff", "water", accumulated=True),
            "ro": StoreVariable("runoff", "water", accumulated=True),
            "ssrd": StoreVariable("surface_solar_radiation_downwards", "radiation", accumulated=True),
            "strd": StoreVariable("surface_thermal_radiation_downwards", "radiation", accumulated=True),
            "ssr": StoreVariable("surface_net_solar_radiation", "radiation", accumulated=True),
            "str": StoreVariable("surface_net_thermal_radiation", "radiation", accumulated=True),
            # Not "snow_depth", which is the thickness of the snow itself.
            "sd": StoreVariable("snow_depth_water_equivalent", "soil"),
            "swvl1": StoreVariable("volumetric_soil_water_layer_1", "soil"),
            "swvl2": StoreVariable("volumetric_soil_water_layer_2", "soil"),
            "swvl3": StoreVariable("volumetric_soil_water_layer_3", "soil"),
            "swvl4": StoreVariable("volumetric_soil_water_layer_4", "soil"),
        },
        default=(
            "t2m", "d2m", "u10", "v10", "sp", "tp", "e", "sro", "ssro", "ro", "ssrd", "strd",
            "sd", "swvl1", "swvl2", "swvl3", "swvl4",
        ),
        products={"hourly": (_HOURLY, _HOURLY), "daily": (_DAILY, _TOTALS)},
    ),
}  # fmt: skip
"""Every data set by the name that ``download`` takes. To add one, add its line."""
