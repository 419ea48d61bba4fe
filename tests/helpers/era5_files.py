"""All that writes ERA5-like files for tests and benchmarks, by name; `hourly_weather` is what they are made of."""

from __future__ import annotations

from tests.helpers.era5_daily import write_daily_netcdf
from tests.helpers.era5_faults import BYTE_FAULTS, CONTENT_FAULTS, break_file, break_zip
from tests.helpers.era5_globe import GLOBE_NAMES, write_daily_globe
from tests.helpers.era5_grib import messages, write_grib
from tests.helpers.era5_layout import archived
from tests.helpers.era5_netcdf import write_era5_hourly, write_former_netcdf, write_present_netcdf, write_present_zip
from tests.helpers.era5_parameters import AMOUNTS, INSTANTS, NAMES, PARAMETERS, Parameter
from tests.helpers.era5_truth import DailyWeather, daily_truth
from tests.helpers.era5_weather import HourlyWeather, hourly_weather
from tests.helpers.era5_zarr import write_arco_zarr

__all__ = [
    "AMOUNTS",
    "BYTE_FAULTS",
    "CONTENT_FAULTS",
    "GLOBE_NAMES",
    "INSTANTS",
    "NAMES",
    "PARAMETERS",
    "DailyWeather",
    "HourlyWeather",
    "Parameter",
    "archived",
    "break_file",
    "break_zip",
    "daily_truth",
    "hourly_weather",
    "messages",
    "write_arco_zarr",
    "write_daily_globe",
    "write_daily_netcdf",
    "write_era5_hourly",
    "write_former_netcdf",
    "write_grib",
    "write_present_netcdf",
    "write_present_zip",
]
