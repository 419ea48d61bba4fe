"""From how many validation errors on a group of its own calibrates quantiles better: the least numbers of `GROUPINGS`.

    python -m tools.calibration_groups CARAVAN OUT

trains on 14 years of basins of Caravan with both kinds of quantiles, calibrates by each grouping with the last of nine
validation years, and prints what that gives in the 16 years after them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from soilcast.cube import open_cube
from soilcast.forecasting import forecast
from soilcast.sources import prepare
from soilcast.training import load_config, open_run, train
from soilcast.training.calibration_groups import ALL, GROUPINGS, SEASONS, season_of
from soilcast.training.conformal import calibrate
from soilcast.training.run import save_run

LOSSES = ("rmse", "quantiles")
YEARS = (1, 2, 3, 4, 5, 9)
FIRST, AFTER = 1995, 2004
COMPARED = ("all", "season", "cell", "cell and season")

_SETTINGS = (
    "task.dynamic=[t2m,tp,ssr,str,pev]",
    "task.static=[elevation,slope,clay,sand]",
    "task.known_future=[t2m,tp]",
    "network.hidden_size=32",
    "train.threads=1",
    "train.device=cpu",
    "train.epochs=60",
    "train.validate_every=10",
    "train.batches_per_epoch=100",
    "split.train=1981-01-17:1994-12-31",
    f"split.validation={FIRST}-01-01:{AFTER - 1}-12-31",
    f"split.test={AFTER}-01-01:2019-12-31",
)


@dataclass(frozen=True)
class Errors:
    """Of each cell and issue day: errors, quantiles of them before calibration, cells, seasons, years."""

    errors: npt.NDArray[np.float32]
    quantiles: npt.NDArray[np.float32]
    levels: npt.NDArray[np.float64]
    cell: npt.NDArray[np.int64]
    season: npt.NDArray[np.int64]
    year: npt.NDArray[np.int64]

    def of(self, among: npt.NDArray[np.bool_]) -> Errors:
        """Keep some cells and issue days."""
        parts = {name: value if name == "levels" else value[among] for name, value in vars(self).items()}
        return Errors(**parts)


def errors_of(cube: Path, folder: Path, loss: str) -> Errors:
    """Train a run, unless that was done, and forecast all days after its training without calibration."""
    folder.mkdir(parents=True, exist_ok=True)
    train(cube, folder / "run", load_config(settings=[*_SETTINGS, f"loss.name={loss}"], model="multi-day"), resume=True)
    run = open_run(folder / "run")
    assert run.calibration is not None
    unmoved = replace(run.calibration, shift=np.zeros_like(run.calibration.shift))
    if not (folder / "uncalibrated").exists():
        (folder / "uncalibrated").mkdir()
        save_run(folder / "uncalibrated", replace(run, calibration=unmoved))
    period = f"{FIRST}-01-01:2019-12-31"
    made = forecast(folder / "uncalibrated", cube, folder / "forecast", period=period, resume=True)
    with open_cube(cube) as opened:
        days, observed = opened["time"].to_numpy(), opened["swvl1"].to_numpy()
    valid, mean = made["valid_time"].to_numpy(), made["swvl1_mean"].to_numpy()
    # In units of the error of persistence, in which the run is calibrated.
    unit = run.statistics.persistence_error[:, :, 0] * run.statistics.scalings["swvl1"].scale[:, np.newaxis]
    errors = (observed[:, np.searchsorted(days, valid)] - mean) / unit[:, np.newaxis]
    around = (made["swvl1_quantile"].to_numpy() - mean[..., np.newaxis]) / unit[:, np.newaxis, :, np.newaxis]
    cells, issues, leads = errors.shape
    season = season_of(valid, made["lat"].to_numpy()[:, np.newaxis, np.newaxis])
    return Errors(
        errors.reshape(-1, leads, 1).astype(np.float32),
        around.reshape(cells * issues, leads, 1, -1).astype(np.float32),
        made["quantile"].to_numpy(),
        np.repeat(np.arange(cells), issues),
        season.reshape(-1, leads),
        np.tile(valid[:, 0].astype("datetime64[Y]").astype(np.int64) + 1970, cells),
    )


def rows(errors: Errors, loss: str) -> Iterator[str]:
    """Write a row of the table for each number of validation years and grouping."""
    known = np.isfinite(errors.errors).all(axis=(1, 2)) & np.isfinite(errors.quantiles).all(axis=(1, 2, 3))
    test = errors.of(known & (errors.year >= AFTER))
    by_cell = [(test.cell == cell)[:, np.newaxis] for cell in np.unique(test.cell)]
    climate = np.full(errors.cell.max() + 1, -1)
    named = {grouping.name: grouping for grouping in GROUPINGS}
    for years in YEARS:
        learnt = errors.of(known & (errors.year >= AFTER - years) & (errors.year < AFTER))
        for name in COMPARED:
            groupings = (replace(named[name], least=1), ALL) if name != ALL.name else (ALL,)
            calibration = calibrate(
                learnt.errors, learnt.quantiles, errors.levels, learnt.cell, climate, learnt.season, groupings
            )
            used = calibration.rows_of(test.cell[:, np.newaxis], climate[test.cell, np.newaxis], test.season)
            away = test.errors[..., np.newaxis] - calibration.apply(test.quantiles, used)
            pinball = np.maximum(errors.levels * away, (errors.levels - 1) * away).mean()
            held = (away[:, :, 0, 0] >= 0) & (away[:, :, 0, -1] <= 0)
            coverage = np.array(
                [held[own & (test.season == season)].mean() for own in by_cell for season in range(SEASONS)]
            )
            yield (
                f"| {loss} | {years} | {name} | {calibration.samples[np.unique(used)].min():,} | {pinball:.4f} | "
                f"{np.abs(coverage - 0.9).mean():.3f} | {coverage.min():.3f} |"
            )


def main(caravan: str, out: str) -> None:
    """Print the table."""
    cube = Path(out) / "cube"
    if not cube.exists():
        prepare("caravan", [Path(caravan)], out=cube)
    print(
        "| loss | validation years | calibrated by | least errors | pinball loss | |coverage - 0.9| | least coverage |"
    )
    for loss in LOSSES:
        for row in rows(errors_of(cube, Path(out) / loss, loss), loss):
            print(row)


if __name__ == "__main__":
    main(*sys.argv[1:])
