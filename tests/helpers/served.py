"""A folder as a forecaster's day leaves it, small: cube, run, scores, forecasts of three days."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import soilcast
from soilcast.cube import save_cube
from tests.helpers.multiday import AHEAD, LEADS, quick
from tests.helpers.small import small_cube

ISSUES = ("2020-02-10", "2020-02-11", "2020-02-12")


@dataclass(frozen=True)
class Served:
    """What is served.

    Parameters
    ----------
    folder
        Of all.
    leads
        Days ahead of each forecast.
    """

    folder: Path
    leads: int = LEADS

    @property
    def cube(self) -> Path:
        """Soil moisture until after the last forecast day."""
        return self.folder / "cube"

    def forecast(self, issue: str) -> Path:
        """Of an issue day."""
        return self.folder / "forecasts" / issue


def make_served(folder: Path, *, grid: bool = True, cells: int = 16, scores: bool = True) -> Served:
    """Make such a folder. The stores of the network close their water balance, so that rain makes them wetter."""
    made = Served(folder)
    folder.mkdir(parents=True)
    save_cube(small_cube(cells, 1150, start="2017-01-01", grid=grid), made.cube)
    run = folder / "runs" / "week"
    quick(made.cube, run, AHEAD, "head.name=water_balance", "task.layers=[swvl1,swvl2]")
    if scores:
        hindcast = folder.parent / f"{folder.name}-hindcast"
        soilcast.forecast(run, made.cube, hindcast, weather="observed")
        soilcast.evaluate([hindcast], made.cube, folder / "scores")
    for issue in ISSUES:
        soilcast.forecast(run, made.cube, made.forecast(issue), issue=issue, weather="observed")
    return made
