"""What the config of a daily chain holds: inputs, how late they may be, what is made and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from soilcast.errors import SoilcastError
from soilcast.schema import read_yaml, validate

WhenLate = Literal["stop", "continue"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReanalysisDownload(_Section):
    """What is fetched from the Climate Data Store: the options of `soilcast.download`."""

    area: str = Field(description="N/W/S/E [degrees]")
    dataset: str = Field("era5-land", description="data set")
    variables: tuple[str, ...] | None = Field(None, description="variables; default: those of the paper")
    product: str = Field("hourly", description="hourly or daily")
    format: str = Field("netcdf", description="netcdf or grib")


class Reanalysis(_Section):
    """How new days of the reanalysis come into the cube."""

    download: ReanalysisDownload | None = Field(None, description="fetch them; null: files are put there by others")
    files: tuple[str, ...] = Field((), description="files or folders in which new days arrive")
    latency: int = Field(5, ge=0, le=60, description="days by which it is late when a period is simulated [d]")
    oldest: int = Field(10, ge=0, le=60, description="days from its last day to the issue day, at most [d]")
    when_late: WhenLate = Field("stop", description="beyond oldest: stop, or continue with what there is")


class WeatherDownload(_Section):
    """What is fetched of ECMWF's open data: the options of `soilcast.download_forecast`."""

    model: str = Field("ifs", description="ifs, ifs-ens, aifs or aifs-ens")
    area: str | None = Field(None, description="N/W/S/E [degrees]; null: the globe")
    parameters: tuple[str, ...] | None = Field(None, description="parameters; null: those of the default inputs")
    days: int = Field(10, ge=1, le=15, description="days from the start of the forecast [d]")
    members: int | None = Field(None, ge=1, description="members of an ensemble; null: all")
    source: str = Field("ecmwf", description="mirror: ecmwf, aws, azure, google or an address")


class WeatherForecast(_Section):
    """How weather forecasts come."""

    download: WeatherDownload | None = Field(None, description="fetch them; null: files are put there by others")
    files: tuple[str, ...] = Field((), description="files or folders in which forecasts arrive")
    oldest: int = Field(
        24, ge=0, le=240, description="hours from the start of the forecast to the first forecast day, at most [h]"
    )
    when_late: WhenLate = Field("stop", description="beyond oldest: stop, or continue with an older one")
    units: dict[str, str] = Field({}, description="units of variables, stronger than the files'")
    lapse_rate: float | None = Field(None, description="correction of temperature for elevation [K km-1]")
    correction: str = Field("mean", description="how bridged days are corrected: mean, quantile or none")
    learn_days: int = Field(366, ge=0, description="days of the cube that forecasts are compared with [d]")


class Export(_Section):
    """A map or table: the options of `soilcast.export`."""

    file: str = Field(description="name of the file, ending in .tif, .nc, .geojson, .png, .csv or .parquet")
    variable: str | None = Field(None, description="variable of the forecast; null: all (not for .tif and .png)")
    lead: tuple[int, ...] | None = Field(None, description="lead times; null: all [d]")
    quantile: float | None = Field(None, description="level of a quantile")
    drought_class: str | None = Field(None, description="drought class of a probability")
    regions: str | None = Field(None, description="file of regions, whose means are exported instead of cells")
    region_name: str | None = Field(None, description="attribute that names the regions")

    @model_validator(mode="after")
    def _is_a_name(self) -> Self:
        if Path(self.file).name != self.file or self.file in ("", ".", "..") or self.file == REPORT:
            raise ValueError(f"file {self.file!r}: give the name of a file, without a folder, other than {REPORT}")
        return self


REPORT = "report.html"
"""Name of the page among the products of a day."""


class DailyConfig(_Section):
    """A chain that runs every day. Paths are relative to the folder of the config file."""

    run: str = Field(description="trained run")
    cube: str = Field(description="cube of the reanalysis; it grows")
    folder: str = Field(description="folder of all else that is kept: downloads, forecasts, products, log")
    reanalysis: Reanalysis = Field(Reanalysis(), description="how new days come into the cube")
    weather: WeatherForecast = Field(WeatherForecast(), description="how weather forecasts come")
    gaps: Literal["refuse", "missing"] = Field("refuse", description="cells that lack an input: refuse, or missing")
    exports: tuple[Export, ...] = Field((), description="maps and tables of each forecast")
    report: bool = Field(True, description="write a page on each forecast")
    publish: str | None = Field(None, description="folder to which products are put; null: products, inside folder")
    keep_days: int = Field(30, ge=1, description="days for which forecasts and products are kept [d]")

    @model_validator(mode="after")
    def _names_files_once(self) -> Self:
        names = [one.file for one in self.exports]
        if len(set(names)) < len(names):
            raise ValueError("exports: two of them have the same file: give each its own name")
        return self


def load_daily(path: Path) -> DailyConfig:
    """Read the config of a daily chain; paths become absolute.

    Raises
    ------
    SoilcastError
        The file is missing, no YAML, or a key or value is wrong.
    """
    found = validate(DailyConfig, read_yaml(path), str(path))
    base = path.absolute().parent

    def absolute(text: str) -> str:
        return str(base / Path(text).expanduser())

    changes: dict[str, Any] = {name: absolute(getattr(found, name)) for name in ("run", "cube", "folder")}
    for name in ("reanalysis", "weather"):
        section: Reanalysis | WeatherForecast = getattr(found, name)
        changes[name] = section.model_copy(update={"files": tuple(map(absolute, section.files))})
    changes["exports"] = tuple(
        one.model_copy(update={"regions": absolute(one.regions)}) if one.regions else one for one in found.exports
    )
    changes["publish"] = str(Path(changes["folder"]) / "products") if found.publish is None else absolute(found.publish)
    for name in ("cube", "run"):
        if Path(changes[name]) == Path(changes["folder"]):
            raise SoilcastError(f"{path}: folder is the same as {name}: give it a folder of its own")
    return found.model_copy(update=changes)
