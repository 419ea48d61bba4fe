"""Commands on data: download, prepare, update, doctor, inspect, config, degrade, bridge."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

import soilcast
from soilcast.cli.options import (
    Dask,
    Memory,
    Out,
    Overlap,
    Overwrite,
    Plugins,
    Resume,
    Settings,
    app,
    names_of,
    pairs_of,
    refuse_others,
    say,
)
from soilcast.plugins import load_installed

download_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Download reanalysis data or weather forecasts. After Ctrl-C, the same command resumes.",
)
app.add_typer(download_app, name="download")

DownloadFolder = Annotated[Path, typer.Option("--out", help="Output folder; an interrupted download in it is resumed.")]
Verify = Annotated[bool, typer.Option("--verify", help="Verify the checksums of existing files.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", help="Timeout of a response of the server [s].")]


@download_app.command("era5-land")
def download_era5_land(
    out: DownloadFolder,
    area: Annotated[str, typer.Option(metavar="N/W/S/E", help="Region [degrees], e.g. 52/5/47/12.")],
    years: Annotated[str, typer.Option(help="Period: 2019, 2018:2020 or 2019-06-15:2019-08-31.")],
    variables: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,...", help="Variables, e.g. t2m,tp; default: those of the paper."),
    ] = None,
    product: Annotated[
        str, typer.Option(help="hourly, or daily: means and totals computed by the data store.")
    ] = "hourly",
    format: Annotated[str, typer.Option(help="File format: netcdf or grib.")] = "netcdf",
    jobs: Annotated[
        int, typer.Option("--jobs", metavar="N", help="Number of requests in the queue of the data store at a time.")
    ] = 2,
    verify: Verify = False,
    wait: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="First wait before a retry or status request [s]; doubles up to 120."),
    ] = 1.0,
    timeout: Timeout = 60.0,
) -> None:
    """Download ERA5-Land from the Climate Data Store. After Ctrl-C, the same command resumes."""
    files = soilcast.download(
        "era5-land",
        area=area,
        years=years,
        out=out,
        variables=names_of(variables),
        product=product,
        format=format,
        jobs=jobs,
        verify=verify,
        wait=wait,
        timeout=timeout,
        progress=True,
        log=say,
    )
    say(f"{out}: {len(files)} file(s)")


@download_app.command("forecast")
def download_weather_forecast(
    out: DownloadFolder,
    model: Annotated[str, typer.Option(help="ifs, ifs-ens, aifs or aifs-ens.")] = "ifs",
    area: Annotated[
        str | None,
        typer.Option(
            metavar="N/W/S/E", help="Region to keep [degrees]; default: the globe, which is transferred anyway."
        ),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,...", help="Parameters, e.g. t2m,tp,swvl1; default: those of the paper's inputs."),
    ] = None,
    days: Annotated[int, typer.Option(metavar="N", help="Days from the start of the forecast.")] = 10,
    members: Annotated[
        int | None, typer.Option(metavar="N", help="Ensembles: the first so many members; default: all 50.")
    ] = None,
    date: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            help="Start of the forecast [UTC]: 2026-11-30T12, or latest; default: an unfinished one, or the latest.",
        ),
    ] = None,
    source: Annotated[str, typer.Option(help="Mirror: ecmwf, aws, azure or google, or an address.")] = "ecmwf",
    verify: Verify = False,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="First wait before a retry [s]; doubles up to 120.")
    ] = 1.0,
    timeout: Timeout = 60.0,
) -> None:
    """Download a weather forecast of ECMWF's open data (GRIB). After Ctrl-C, the same command resumes."""
    files = soilcast.download_forecast(
        model,
        out=out,
        area=area,
        parameters=names_of(parameters),
        days=days,
        members=members,
        date=date,
        source=source,
        verify=verify,
        wait=wait,
        timeout=timeout,
        progress=True,
        log=say,
    )
    say(f"{out}: {len(files)} file(s)")


@app.command()
def prepare(
    source: Annotated[
        str,
        typer.Argument(
            help="planet, bucket (a bucket model under the weather of a cube), delaware, landbench, era5land, caravan, "
            "stations (ISMN, or CSV with --mapping) or table (NetCDF, Zarr or CSV with --mapping)."
        ),
    ],
    out: Out,
    paths: Annotated[list[str] | None, typer.Argument(metavar="PATH", help="Files or folders of the source.")] = None,
    resolution: Annotated[
        float | None, typer.Option(help="planet, landbench, era5land: grid spacing [degrees].")
    ] = None,
    years: Annotated[str | None, typer.Option(help="planet, landbench, era5land: years, 2019 or 2018:2020.")] = None,
    seed: Annotated[int | None, typer.Option(help="planet: random seed of the synthetic weather.")] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="table, stations: YAML file that maps your variables to those of the cube.")
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=UNIT", help="Unit of a variable; overrides the file's.")
    ] = None,
    day: Annotated[str | None, typer.Option(help="era5land: day boundaries, utc or local (solar time).")] = None,
    states: Annotated[
        str | None,
        typer.Option(help="era5land, planet: daily soil water and snow, mean or end (last value of the day)."),
    ] = None,
    accumulation: Annotated[
        str | None,
        typer.Option(help="era5land: accumulation, since-midnight or hourly; default: inferred from the data."),
    ] = None,
    stamp: Annotated[
        str | None,
        typer.Option(help="era5land: what a single value a day is: day (of that day) or midnight (at 00 UTC)."),
    ] = None,
    flip_sign: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="era5land: flip the sign of a variable.")
    ] = None,
    static: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="era5land: file of a static variable (NetCDF or GeoTIFF)."),
    ] = None,
    nearest: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="era5land: regrid a static variable by nearest neighbour.")
    ] = None,
    climate_zone: Annotated[
        bool | None,
        typer.Option("--climate-zone/--no-climate-zone", help="era5land: compute Koeppen-Geiger zones; default: yes."),
    ] = None,
    antarctica: Annotated[
        bool | None,
        typer.Option(
            "--antarctica/--no-antarctica", help="landbench, era5land, table: keep cells south of 60 S; default: no."
        ),
    ] = None,
    flags: Annotated[
        str | None, typer.Option(metavar="FLAG,...", help="stations: ISMN quality flags of values to keep; default: G.")
    ] = None,
    least_hours: Annotated[
        int | None,
        typer.Option(metavar="N", help="stations: least number of hours with a value for a daily mean; default: 18."),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="DEPTH,...", help="stations: bounds of the soil layers [m]; default: ERA5-Land, 0,0.07,0.28,1,2.89."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NETWORK/STATION", help="stations: keep this station alone (repeatable)."),
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(metavar="NETWORK/STATION", help="stations: leave this one out (repeatable).")
    ] = None,
    weather: Annotated[
        Path | None,
        typer.Option(metavar="CUBE", help="stations: take weather and static variables from this cube on a grid."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Option of your own source, as YAML (repeatable)."),
    ] = None,
    content: Annotated[
        str | None, typer.Option(help="era5land: description of the data, if not the reanalysis itself.")
    ] = None,
    genuine: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A value of this variable that repeats and stands apart is real."),
    ] = None,
    memory: Memory = None,
    dask: Dask = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    plugins: Plugins = None,
) -> None:
    """Convert source files to a data cube. It has one format, SI units and checked bounds."""
    from soilcast.memory import parse_bytes
    from soilcast.schema import parse_yaml
    from soilcast.sources import refuse_unknown

    load_installed()
    refuse_unknown(source)
    options: dict[str, Any] = {"resolution": resolution, "years": years, "seed": seed, "mapping": mapping}
    options |= {"day": day, "states": states, "accumulation": accumulation, "stamp": stamp, "content": content}
    options |= {"flip_sign": flip_sign or None, "nearest": nearest or None, "climate_zone": climate_zone}
    options |= {"antarctica": antarctica, "least_hours": least_hours, "layers": layers}
    options |= {"flags": flags.split(",") if flags else None, "only": only or None, "without": without or None}
    options["weather"] = weather
    options["units"] = pairs_of(unit, "--unit") if unit else None
    options["static"] = pairs_of(static, "--static") if static else None
    given = {name: value for name, value in options.items() if value is not None}
    for name, text in pairs_of(option or [], "--option").items():
        given[name] = parse_yaml(text, f"--option {name}")
    describe = soilcast.inspect  # looked up before, so that --memory counts what comes with it
    soilcast.prepare(
        source,
        paths or (),
        out=out,
        genuine=genuine or (),
        overwrite=overwrite,
        resume=resume,
        memory=parse_bytes(memory) if memory else None,
        dask=dask,
        progress=True,
        log=say,
        **given,
    )
    say(describe(out))


@app.command()
def update(
    cube: Annotated[Path, typer.Argument(help="Cube to update, as prepare writes it.")],
    files: Annotated[list[str], typer.Argument(metavar="FILES", help="Files or folders with the new days.")],
    overlap: Annotated[
        Overlap, typer.Option(help="Days whose values differ: refuse, keep those of the cube, or replace them.")
    ] = Overlap.refuse,
    tolerance: Annotated[
        float,
        typer.Option(metavar="FRACTION", help="Tolerance of comparisons, as a fraction of the variable's valid range."),
    ] = 1e-6,
    allow_gap: Annotated[
        bool, typer.Option("--allow-gap", help="Fill a gap before the new days with missing values.")
    ] = False,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Last day to take; default: that of the files.")
    ] = None,
    memory: Memory = None,
    plugins: Plugins = None,
) -> None:
    """Append new days to a cube. They are read with its source and options; the update is atomic."""
    from soilcast.memory import parse_bytes

    refuse_others(cube, "cube")
    soilcast.update(
        cube,
        files,
        overlap=overlap.value,
        tolerance=tolerance,
        allow_gap=allow_gap,
        until=until,
        memory=parse_bytes(memory) if memory else None,
        progress=True,
        log=say,
    )


@app.command()
def doctor(
    files: Annotated[list[str], typer.Argument(metavar="FILES", help="Files, folders, archives, Zarr stores or URLs.")],
    unit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=UNIT", help="Assume this unit instead of the file's.")
    ] = None,
    flip_sign: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Assume the opposite sign of a variable.")
    ] = None,
    map_to: Annotated[
        Path | None, typer.Option("--map", metavar="PNG", help="Map the residual of the water balance.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    overwrite: Overwrite = False,
    plugins: Plugins = None,
) -> None:
    """Diagnose input files. Reports contents, units, signs and water balance; exit code 1 if there are faults."""
    found = soilcast.doctor(
        files, units=pairs_of(unit or [], "--unit"), flip_sign=flip_sign or (), map_to=map_to, overwrite=overwrite
    )
    say(json.dumps(found.as_json(), indent=2, allow_nan=False) if as_json else found.text())
    raise typer.Exit(found.exit_code)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Cube, run, forecast or scores.")],
    verify: Annotated[bool, typer.Option("--verify", help="Read all values and verify their hash.")] = False,
    plugins: Plugins = None,
) -> None:
    """Describe a cube, run, forecast or scores."""
    from soilcast.cube.kinds import refuse_missing

    refuse_missing(path, "file or folder")
    say(soilcast.inspect(path, verify=verify))


@app.command()
def config(
    model: Annotated[str | None, typer.Option(help="Preset: lstm, phy-lstm, phys-lstm, multi-day.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML config file to complete.")] = None,
    settings: Settings = None,
    plugins: Plugins = None,
) -> None:
    """Print a commented YAML config. It has all keys; edit it and use it with train --config."""
    typer.echo(soilcast.commented_yaml(soilcast.load_config(config, settings or (), model=model)), nl=False)


@app.command()
def degrade(
    cube: Annotated[Path, typer.Argument(help="Data cube, whose observed weather is degraded.")],
    out: Out,
    variables: Annotated[str, typer.Option(metavar="NAME,...", help="Dynamic variables, e.g. tp,t2m.")],
    leads: Annotated[int, typer.Option(min=1, metavar="N", help="Longest lead time [d].")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the errors.")] = 0,
    scores: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML of correlations by variable and lead; default: those of ECMWF."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make an archive of imperfect weather forecasts from observed weather. Their errors grow with lead."""
    refuse_others(cube, "cube")
    names = variables.replace(",", " ").split()
    options: dict[str, Any] = {"leads": leads, "seed": seed, "scores": scores, "overwrite": overwrite}
    soilcast.degrade_weather(cube, out, variables=names, **options, progress=True)
    say(soilcast.inspect(out))


@app.command()
def bridge(
    cube: Annotated[Path, typer.Argument(help="Cube of a reanalysis, which ends some days ago.")],
    out: Out,
    until: Annotated[str, typer.Option(metavar="DATE", help="Last day of the new cube: the issue day.")],
    weather: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Archive of weather forecasts: GRIB, NetCDF or Zarr (repeatable)."),
    ] = None,
    variables: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Variables to take from it, e.g. tp,t2m.")
    ] = None,
    known_until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Last day of the cube that is used; default: its last.")
    ] = None,
    correction: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="What is corrected by days that the cube has too, by cell, variable and month: mean, quantile "
            "(distribution) or none.",
        ),
    ] = "mean",
    learn_days: Annotated[
        int, typer.Option(min=0, metavar="N", help="Days of the cube that forecasts are compared with.")
    ] = 366,
    unit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=UNIT", help="Unit of a weather variable; overrides the file's.")
    ] = None,
    lapse_rate: Annotated[
        float | None,
        typer.Option(metavar="K/KM", help="Correct temperature for elevation, e.g. 6.5; default: not corrected."),
    ] = None,
    memory: Memory = None,
    overwrite: Overwrite = False,
) -> None:
    """Extend a late cube to the issue day. The first day of each weather forecast stands for a day that it lacks."""
    from soilcast.memory import parse_bytes

    refuse_others(cube, "cube")
    options: dict[str, Any] = {"known_until": known_until, "correction": correction, "learn_days": learn_days}
    options |= {"lapse_rate": lapse_rate, "overwrite": overwrite, "memory": parse_bytes(memory) if memory else None}
    soilcast.bridge(
        cube,
        out,
        until=until,
        weather=weather,
        variables=(variables or "").replace(",", " ").split(),
        units=pairs_of(unit or [], "--unit"),
        **options,
        progress=True,
        log=say,
    )
    say(soilcast.inspect(out))
