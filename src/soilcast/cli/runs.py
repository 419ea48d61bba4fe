"""Commands of runs and their forecasts: train, forecast, export."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

import soilcast
from soilcast.cli.options import (
    CommandWithKeys,
    Cube,
    Dask,
    Gaps,
    Memory,
    Out,
    Overwrite,
    Plugins,
    Precision,
    RegionCube,
    RegionFile,
    RegionName,
    Resume,
    Settings,
    Within,
    app,
    pairs_of,
    refuse_no_run,
    refuse_others,
    say,
)
from soilcast.stops import STOPPED


@app.command(cls=CommandWithKeys)
def train(
    cube: Cube,
    out: Out,
    model: Annotated[
        str | None, typer.Option(help="Preset: lstm, phy-lstm, phys-lstm, multi-day; overrides the config file.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML config file (template: soilcast config).")] = None,
    settings: Settings = None,
    label: Annotated[str | None, typer.Option(help="Name of the run in tables, figures and reports.")] = None,
    init: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Fine-tune: start from the weights and config of this run.")
    ] = None,
    weather: Annotated[
        Path | None,
        typer.Option(metavar="ARCHIVE", help="Archive of weather forecasts to train with; default: observed weather."),
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=UNIT", help="Unit of a weather variable; overrides the archive's.")
    ] = None,
    within: Within = None,
    memory: Memory = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    plugins: Plugins = None,
) -> None:
    """Train a model on a cube. Ctrl-C saves the best weights so far; --resume continues, bit for bit."""
    from soilcast.memory import parse_bytes

    if resume:
        from soilcast.training.produce import require_plugins_to_resume

        require_plugins_to_resume(out)
    if init is not None:
        refuse_no_run(init)
    base = soilcast.open_run(init).config.model_dump(mode="json", exclude={"split"}) if init else None
    named = [f"label={json.dumps(label)}"] if label is not None else []
    chosen = soilcast.load_config(config, [*(settings or ()), *named], model=model, base=base)
    limit = parse_bytes(memory) if memory else None
    refuse_others(cube, "cube")
    run = soilcast.train(
        cube,
        out,
        chosen,
        init=init,
        weather=weather,
        units=pairs_of(unit or [], "--unit"),
        within=within,
        overwrite=overwrite,
        resume=resume,
        memory=limit,
        progress=True,
        log=say,
    )
    if os.environ.get("RANK", "0") == "0":
        from soilcast.training.produce import run_summary

        say(run_summary(run.record))
    if run.record["status"] == "interrupted":
        raise typer.Exit(STOPPED)


@app.command()
def forecast(
    run: Annotated[Path, typer.Argument(help="Run folder, as train writes it.")],
    cube: Cube,
    out: Out,
    period: Annotated[str | None, typer.Option(help="Period to forecast; default: the test period of the run.")] = None,
    issue: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="Issue day; forecast the days after it.")
    ] = None,
    lead: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Longest lead time [d]; default: all that the run was trained for."),
    ] = None,
    weather: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Weather forecast (GRIB, NetCDF, Zarr or cube), or archive of forecasts (repeatable: all files of "
            "it); observed: weather of the cube.",
        ),
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=UNIT", help="Unit of a weather variable; overrides the file's.")
    ] = None,
    lapse_rate: Annotated[
        float | None,
        typer.Option(
            metavar="K/KM", help="Correct forecast temperature for elevation, e.g. 6.5; default: not corrected."
        ),
    ] = None,
    append: Annotated[bool, typer.Option("--append", help="Append the issue day to an existing forecast.")] = False,
    gaps: Annotated[
        Gaps, typer.Option(help="Cells that lack inputs on the issue day: refuse, or write missing values.")
    ] = Gaps.refuse,
    precision: Annotated[
        Precision, typer.Option(help="Precision of matrix products; bfloat16 is faster and reports its error.")
    ] = Precision.float32,
    memory: Memory = None,
    dask: Dask = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    plugins: Plugins = None,
) -> None:
    """Forecast soil moisture of every cell. From one issue day (--from), or over the test period."""
    from soilcast.memory import parse_bytes

    limit = parse_bytes(memory) if memory else None
    refuse_no_run(run)
    refuse_others(cube, "cube")
    chosen: dict[str, Any] = {"period": period, "precision": precision.value, "memory": limit, "dask": dask}
    ahead: dict[str, Any] = {"issue": issue, "leads": lead, "weather": weather, "gaps": gaps.value, "append": append}
    ahead["lapse_rate"] = lapse_rate
    ahead["units"] = pairs_of(unit, "--unit") if unit else None
    soilcast.forecast(run, cube, out, **chosen, **ahead, overwrite=overwrite, resume=resume, progress=True)
    say(soilcast.inspect(out))


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="Forecast or cube.")],
    out: Annotated[
        Path,
        typer.Option("--out", help="Output file: .tif (GeoTIFF), .nc, .geojson or .png map, .csv or .parquet table."),
    ],
    variable: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Variable, e.g. swvl1_percentile; default: all (not for .tif and .png)."),
    ] = None,
    lead: Annotated[
        list[int] | None, typer.Option("--lead", metavar="DAYS", help="Lead time [d] (repeatable); default: all.")
    ] = None,
    issue: Annotated[
        str | None, typer.Option(metavar="DATE", help="Issue day; for tables also a period. Default for tables: all.")
    ] = None,
    day: Annotated[
        str | None, typer.Option(metavar="DATE", help="Day of a cube, or valid day of a forecast; as --issue.")
    ] = None,
    quantile: Annotated[float | None, typer.Option(metavar="LEVEL", help="Quantile, e.g. 0.05.")] = None,
    drought_class: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Drought class of a probability, e.g. D2.")
    ] = None,
    regions: RegionFile = None,
    region_name: RegionName = None,
    cube: RegionCube = None,
    overwrite: Overwrite = False,
) -> None:
    """Export variables as a map (GeoTIFF, NetCDF, GeoJSON, PNG) or a table of one day or all (CSV, Parquet)."""
    from soilcast.cube.kinds import refuse_missing

    refuse_missing(source, "forecast")
    chosen: dict[str, Any] = {
        "variable": variable,
        "lead": lead or None,
        "issue": issue,
        "day": day,
        "quantile": quantile,
        "drought_class": drought_class,
        "regions": regions,
        "region_name": region_name,
        "cube": cube,
    }
    say(soilcast.export(source, out, **chosen, overwrite=overwrite, log=say))
