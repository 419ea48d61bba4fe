"""An issue day of a chain: where its files lie, what is known on it, and what its forecast depends on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from soilcast.cube import open_cube
from soilcast.errors import SoilcastError
from soilcast.operating.config import DailyConfig, Reanalysis, WeatherForecast
from soilcast.operating.record import Record, files_mark
from soilcast.training import Run

_NEWEST = 3
"""Days before the issue day of which fetched forecasts are looked at first [d]."""

_FIRST_DAYS = 48
"""Steps of an earlier forecast that are looked at: the first day, in whatever run of the day [h]."""

_DAY = np.timedelta64(1, "D")


class LateError(SoilcastError):
    """An input is not there yet, or another process is at work: the same command will do later."""

    exit_code = 75  # a temporary failure, as sysexits.h has it


@dataclass(eq=False)
class Day:
    """What is forecast from one issue day, and with what.

    Parameters
    ----------
    config
        Of the chain.
    run
        Opened.
    issue
        The issue day, datetime64[D].
    folder
        Of what is made.
    record
        Its notes.
    is_simulated
        Inputs are taken as they were on the day after: nothing is fetched, the reanalysis ends its latency before.
    progress
        Show progress bars.
    """

    config: DailyConfig
    run: Run
    issue: np.datetime64
    folder: Path
    record: Record
    is_simulated: bool = False
    progress: bool = False

    @property
    def forecast(self) -> Path:
        """Where its forecast is put."""
        return self.folder / "forecasts" / str(self.issue)

    @property
    def bridged(self) -> Path:
        """Where the cube is put that goes on to the issue day."""
        return self.folder / "bridged"

    @property
    def products(self) -> Path:
        """Folder of the products of all days."""
        return self.folder / "products" if self.is_simulated else Path(str(self.config.publish))

    @property
    def names(self) -> tuple[str, ...]:
        """Variables of which the run needs a weather forecast."""
        return self.run.config.task.known_future

    @property
    def units(self) -> dict[str, str]:
        """Units of these variables that are stronger than the files'."""
        return {name: unit for name, unit in self.config.weather.units.items() if name in self.names}

    @property
    def last_known(self) -> np.datetime64:
        """Last day of the cube that is used."""
        return min(self._cube[0], self.known_until)

    @cached_property
    def _cube(self) -> tuple[np.datetime64, str]:
        """Last day and content of the cube."""
        with open_cube(self.config.cube) as cube:
            return cube["time"].to_numpy()[-1].astype("datetime64[D]"), cube.attrs["content_sha256"]

    @cached_property
    def _weather(self) -> str:
        """Tells the weather forecasts that there are from others."""
        return files_mark(self.weather_files)

    def look_again(self) -> None:
        """Forget what was seen of the cube and the weather forecasts, as there may be more."""
        for name in ("_cube", "_weather"):
            self.__dict__.pop(name, None)

    @property
    def known_until(self) -> np.datetime64:
        """Last day of the reanalysis that may be known."""
        latency = self.config.reanalysis.latency if self.is_simulated else 0
        return self.issue - latency * _DAY

    @property
    def is_made(self) -> bool:
        """Whether the forecast stands, made of the inputs that there are now."""
        return self.record.is_made(f"forecast {self.issue}", self.made_of, self.forecast)

    @property
    def made_of(self) -> list[object]:
        """What the forecast depends on."""
        # A simulated day knows nothing of days that are appended later.
        content = "" if self.is_simulated else self._cube[1]
        weather = [self._weather, self.config.weather] if self.names else []
        weights = self.run.record["weights_sha256"]
        return [self.config.cube, content, self.last_known, weights, self.config.gaps, *weather]

    @property
    def weather_files(self) -> list[str]:
        """Where weather forecasts lie, of the folders those that are there."""
        return _there(self.config.weather, self.downloads)

    def newest_weather(self) -> list[str]:
        """The forecasts from which the days after the issue day are taken: of those fetched the newest runs."""
        return self._chosen(self.issue - _NEWEST * _DAY, self.issue) or self._chosen(np.datetime64("1900"), self.issue)

    def earlier_weather(self) -> list[str]:
        """The forecasts that bridge days, and those from which their correction is learnt: of these the first days."""
        first = self.last_known - self.config.weather.learn_days * _DAY
        learnt, bridging = (
            self._chosen(first, self.last_known, longest=_FIRST_DAYS),
            self._chosen(self.last_known, self.issue),
        )
        return list(dict.fromkeys((*learnt, *bridging)))

    @property
    def downloads(self) -> Path:
        """Where fetched weather forecasts lie."""
        return Path(self.config.folder) / "weather"

    def _chosen(self, after: np.datetime64, until: np.datetime64, longest: int | None = None) -> list[str]:
        """Fetched forecasts that start after 00 UTC of a day, up to 00 UTC after another; and the files of others."""
        found = [one for one in self.config.weather.files if Path(one).exists()]
        if self.config.weather.download is None:
            return found
        for file in sorted(self.downloads.glob(f"{self.config.weather.download.model}_*h.grib")):
            _, run, step = file.stem.rsplit("_", 2)
            with suppress(ValueError):
                start, hours = np.datetime64(run, "h"), int(step.removesuffix("h"))
                if after < start <= until + _DAY and (longest is None or hours <= longest):
                    found.append(str(file))
        return found

    @property
    def reanalysis(self) -> Path:
        """Where fetched days of the reanalysis lie until they are in the cube."""
        return Path(self.config.folder) / "reanalysis"

    @property
    def reanalysis_files(self) -> list[str]:
        """Where new days of the reanalysis lie, of the folders those that are there."""
        return _there(self.config.reanalysis, self.reanalysis)


def _there(section: Reanalysis | WeatherForecast, downloads: Path) -> list[str]:
    found = [*section.files, *([str(downloads)] if section.download is not None else [])]
    return [one for one in found if Path(one).exists()]
