"""Commands that judge: evaluate, verdict, audit, report."""

from pathlib import Path
from typing import Annotated, Any

import typer

import soilcast
from soilcast.cli.options import (
    Cube,
    Dask,
    Out,
    Overwrite,
    Plugins,
    RegionFile,
    RegionName,
    Within,
    app,
    refuse_no_run,
    refuse_others,
    say,
)


@app.command()
def evaluate(
    forecasts: Annotated[
        list[Path], typer.Argument(metavar="FORECAST", help="Forecasts of any periods; scored on common days.")
    ],
    cube: Cube,
    out: Out,
    baselines: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            metavar="NAME|FILE",
            help="Further baseline (repeatable): linear regression or boosted trees on the inputs of the runs, or "
            "others' forecasts of soil moisture, FILE or LABEL=FILE.",
        ),
    ] = None,
    matching: Annotated[
        str,
        typer.Option(
            help="How others' forecasts are matched to the climate of the cube, on development days: cdf, "
            "mean-variance or none."
        ),
    ] = "cdf",
    significance: Annotated[
        bool,
        typer.Option("--significance", help="Also test differences at every lead for significance (significance.csv)."),
    ] = False,
    within: Within = None,
    regions: RegionFile = None,
    region_name: RegionName = None,
    dask: Dask = None,
    overwrite: Overwrite = False,
    plugins: Plugins = None,
) -> None:
    """Score forecasts against observations (a cube). Baselines: persistence, damped anomaly, climatology."""
    refuse_others(cube, "cube")
    for path in forecasts:
        refuse_others(path, "forecast")
    options: dict[str, Any] = {"significance": significance, "dask": dask, "overwrite": overwrite}
    chosen: dict[str, Any] = {"baselines": baselines or (), "matching": matching, "within": within}
    chosen |= {"regions": regions, "region_name": region_name}
    soilcast.evaluate(forecasts, cube, out, **chosen, **options, progress=True)
    say(soilcast.inspect(out))
    if regions is not None:
        say(soilcast.inspect(out / "regions"))


@app.command()
def verdict(
    forecasts: Annotated[
        list[Path], typer.Argument(metavar="FORECAST", help="Forecasts on a grid or of basins; scored on common days.")
    ],
    stations: Annotated[Path, typer.Option("--stations", help="Cube of stations, as prepare stations writes it.")],
    out: Out,
    matching: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="How the climate of a cell becomes the station's: none, mean-variance, cdf or anomalies; fitted on "
            "days before the test.",
        ),
    ] = "none",
    climate: Annotated[
        Path | None,
        typer.Option(metavar="CUBE", help="Climate of the forecast's cells before the test; default: the forecast."),
    ] = None,
    third: Annotated[
        Path | None, typer.Option(metavar="CUBE", help="Third product for triple collocation: a cube or a forecast.")
    ] = None,
    distance: Annotated[
        float | None,
        typer.Option(metavar="KM", help="Largest distance of a station from its cell; default: it lies in the cell."),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(metavar="DEPTH,...", help="Bounds of the forecast's soil layers [m]; default: ERA5-Land."),
    ] = None,
    overwrite: Overwrite = False,
    plugins: Plugins = None,
) -> None:
    """Score forecasts at stations. Say whether they are better than the stations' own persistence."""
    options: dict[str, Any] = {"matching": matching, "climate": climate, "third": third, "distance": distance}
    options |= {"layers": layers} if layers else {}
    soilcast.verdict(forecasts, stations, out, **options, overwrite=overwrite, progress=True)
    say(soilcast.inspect(out))


@app.command()
def audit(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run, as train writes it.")],
    cube: Cube,
    out: Out,
    period: Annotated[
        str | None, typer.Option(metavar="FROM:TO", help="Days that are forecast; default: the run's test period.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, metavar="N", help="Number of cell-days per probe, at most.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the cells and days that are drawn.")] = 0,
    overwrite: Overwrite = False,
    plugins: Plugins = None,
) -> None:
    """Probe what a run has learnt: rain pulse, drying, bounds, sensitivity; beside the cube's own land model."""
    refuse_no_run(run)
    refuse_others(cube, "cube")
    soilcast.audit(run, cube, out, period=period, samples=samples, seed=seed, overwrite=overwrite)
    say(soilcast.inspect(out))


@app.command()
def report(
    scores: Annotated[
        list[Path], typer.Argument(metavar="SCORES", help="Scores, as evaluate writes them, or forecasts.")
    ],
    out: Out,
    cube: Annotated[
        Path | None,
        typer.Option(
            "--cube", help="Cube with observations of the weeks before, shown beside forecasts; for classes of regions."
        ),
    ] = None,
    regions: RegionFile = None,
    region_name: RegionName = None,
    title: Annotated[str | None, typer.Option(help="Title of the report.")] = None,
    overwrite: Overwrite = False,
    plugins: Plugins = None,
) -> None:
    """Write an HTML report of scores or forecasts. It has tables, maps and time series."""
    for path in scores:
        if not path.is_dir() or (path / "zarr.json").is_file():  # else a folder of scores
            refuse_others(path, "scores", "forecast")
    if cube is not None:
        refuse_others(cube, "cube")
    of_regions: dict[str, Any] = {"regions": regions, "region_name": region_name}
    soilcast.report(scores, out, cube=cube, **of_regions, title=title, overwrite=overwrite)
    say(out)
