"""The command line: every command is one call of a public function."""

import errno
import json
import os
import shlex
import sys
import warnings
from contextlib import suppress
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

# Threads that spin long while they wait cost many times their gain on a machine that is busy with other work, threads
# that never spin cost more than they gain on one that is not: a step of training is made of many short pieces. The
# OpenMP runtime of torch's Linux builds reads this once, when torch is first imported (docs/performance.md).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

import soilcast
from soilcast.errors import NO_THREADS, SoilcastError, printable, system_fault
from soilcast.files import NO_ROOM
from soilcast.plugins import load_installed
from soilcast.stops import STOPPED, heed_stops, leave

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Forecast soil moisture with physics-guided neural networks, and evaluate the forecasts against persistence.",
)


def _load_plugins(context: typer.Context, files: list[Path] | None) -> list[Path] | None:
    for file in () if context.resilient_parsing else files or ():  # where a shell completes, nothing is run
        soilcast.load_plugin(file)
    return files


Out = Annotated[Path, typer.Option("--out", help="Output path.")]
Cube = Annotated[Path, typer.Option("--cube", help="Data cube, as prepare writes it.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted command.")]
Memory = Annotated[str | None, typer.Option("--memory", metavar="AMOUNT", help="Memory limit, e.g. 2GiB.")]
Dask = Annotated[
    str | None, typer.Option("--dask", metavar="ADDRESS", help="Address of a dask scheduler; run on its cluster.")
]
Within = Annotated[
    str | None,
    typer.Option(metavar="W,S,E,N|FILE", help="Only the cells within a box [degrees] or the regions of a file."),
]
RegionFile = Annotated[
    str | None,
    typer.Option("--regions", metavar="FILE", help="Means over the regions of a GeoJSON, GeoPackage or Shapefile."),
]
RegionName = Annotated[
    str | None, typer.Option("--region-name", metavar="ATTRIBUTE", help="Attribute that names the regions.")
]
RegionCube = Annotated[
    Path | None,
    typer.Option("--cube", metavar="CUBE", help="Cube of the forecast, for percentile, class and odds of regions."),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a config key (repeatable).")
]
Jobs = Annotated[
    int, typer.Option("--jobs", min=1, metavar="N", help="Number of runs trained in parallel, one process each.")
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        callback=_load_plugins,
        help="Python file with networks, heads, losses, metrics or sources of your own; it is run (repeatable).",
    ),
]


class Precision(StrEnum):
    """Types of matrix products."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Gaps(StrEnum):
    """How cells without the inputs of a forecast are treated."""

    refuse = "refuse"
    missing = "missing"


class Zones(StrEnum):
    """Koeppen classes by which scores are grouped."""

    main = "main"
    fine = "fine"


class Overlap(Enum):
    """How days on which a cube and new files differ are treated."""

    refuse = "refuse"
    keep = "keep"
    replace = "replace"


class _CommandWithKeys(TyperCommand):
    """A command whose help ends with every key of the config."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        # Imported here, since it brings torch along, for which the other commands' help should not wait.
        from soilcast.training.keys import describe_keys

        formatter.write_paragraph()
        formatter.write_text("Config keys (--set KEY=VALUE) with default, unit and allowed values:")
        for heading, keys in describe_keys().items():
            with formatter.section(heading):
                formatter.write_dl([(f"{key.key} = {key.default}", key.text) for key in keys])


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"soilcast {soilcast.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take what is asked of no command."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Output folder; an earlier demo there is replaced.")] = Path(
        "demo"
    ),
    settings: Settings = None,
    jobs: Jobs = 1,
    plugins: Plugins = None,
) -> None:
    """Run the whole pipeline on built-in data. The planet has real geography and climate, but synthetic weather."""
    soilcast.demo(out, settings=settings or (), jobs=jobs, progress=True, log=_say)
    called = Path(sys.argv[0])  # as the reader may call it again
    command = "soilcast" if called.name != "soilcast" else str(called)
    _say(f"the map of these forecasts, in a browser: {shlex.join([command, 'serve', str(out)])}")


@app.command()
def compare(
    experiment: Annotated[str, typer.Argument(help="YAML file, or name of a built-in experiment, e.g. demo.")],
    out: Out,
    data: Annotated[
        Path, typer.Option("--data", help="Folder to which the paths in the experiment are relative.")
    ] = Path(),
    settings: Settings = None,
    hold_out: Annotated[
        str | None, typer.Option("--hold-out", metavar="YEARS", help="Test each of these years in turn: 2001:2010.")
    ] = None,
    jobs: Jobs = 1,
    dask: Dask = None,
    memory: Memory = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    plugins: Plugins = None,
) -> None:
    """Train, forecast and evaluate all runs of an experiment. After Ctrl-C, --resume continues."""
    from soilcast.experiments import load_experiment
    from soilcast.memory import parse_bytes

    load_installed()
    loaded = load_experiment(experiment)
    soilcast.compare(
        loaded,
        out,
        data=data,
        settings=settings or (),
        hold_out=hold_out,
        jobs=jobs,
        dask=dask,
        overwrite=overwrite,
        resume=resume,
        memory=parse_bytes(memory) if memory else None,
        progress=True,
        log=_say,
    )


@app.command()
def search(
    file: Annotated[Path, typer.Argument(metavar="SEARCH.yaml", help="YAML file of the search (docs: own-model).")],
    out: Out,
    cube: Annotated[
        Path | None, typer.Option("--cube", help="Data cube; default: prepared from the source that the file names.")
    ] = None,
    data: Annotated[Path, typer.Option("--data", help="Folder to which the paths in the file are relative.")] = Path(),
    settings: Settings = None,
    jobs: Jobs = 1,
    hours: Annotated[
        float | None, typer.Option(metavar="HOURS", help="Begin no trial that would end after this time [h].")
    ] = None,
    memory: Memory = None,
    keep_runs: Annotated[bool, typer.Option("--keep-runs", help="Keep the runs of all trials, not the best.")] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    plugins: Plugins = None,
) -> None:
    """Search hyper-parameters on the validation days. After Ctrl-C, --resume continues with the same trials."""
    from soilcast.experiments.searches import load_search
    from soilcast.memory import parse_bytes

    load_installed()
    load_search(file)
    if cube is not None:
        _refuse_others(cube, "cube")
    options: dict[str, Any] = {"hours": hours, "memory": parse_bytes(memory) if memory else None}
    options |= {"keep_runs": keep_runs, "overwrite": overwrite, "resume": resume}
    soilcast.search(
        file, out, cube=cube, data=data, settings=settings or (), jobs=jobs, **options, progress=True, log=_say
    )


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
        variables=_names(variables),
        product=product,
        format=format,
        jobs=jobs,
        verify=verify,
        wait=wait,
        timeout=timeout,
        progress=True,
        log=_say,
    )
    _say(f"{out}: {len(files)} file(s)")


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
        parameters=_names(parameters),
        days=days,
        members=members,
        date=date,
        source=source,
        verify=verify,
        wait=wait,
        timeout=timeout,
        progress=True,
        log=_say,
    )
    _say(f"{out}: {len(files)} file(s)")


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
    options["units"] = _pairs(unit, "--unit") if unit else None
    options["static"] = _pairs(static, "--static") if static else None
    given = {name: value for name, value in options.items() if value is not None}
    for name, text in _pairs(option or [], "--option").items():
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
        log=_say,
        **given,
    )
    _say(describe(out))


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

    _refuse_others(cube, "cube")
    soilcast.update(
        cube,
        files,
        overlap=overlap.value,
        tolerance=tolerance,
        allow_gap=allow_gap,
        until=until,
        memory=parse_bytes(memory) if memory else None,
        progress=True,
        log=_say,
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
        files, units=_pairs(unit or [], "--unit"), flip_sign=flip_sign or (), map_to=map_to, overwrite=overwrite
    )
    _say(json.dumps(found.as_json(), indent=2, allow_nan=False) if as_json else found.text())
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
    _say(soilcast.inspect(path, verify=verify))


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
    _refuse_others(cube, "cube")
    names = variables.replace(",", " ").split()
    options: dict[str, Any] = {"leads": leads, "seed": seed, "scores": scores, "overwrite": overwrite}
    soilcast.degrade_weather(cube, out, variables=names, **options, progress=True)
    _say(soilcast.inspect(out))


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

    _refuse_others(cube, "cube")
    options: dict[str, Any] = {"known_until": known_until, "correction": correction, "learn_days": learn_days}
    options |= {"lapse_rate": lapse_rate, "overwrite": overwrite, "memory": parse_bytes(memory) if memory else None}
    soilcast.bridge(
        cube,
        out,
        until=until,
        weather=weather,
        variables=(variables or "").replace(",", " ").split(),
        units=_pairs(unit or [], "--unit"),
        **options,
        progress=True,
        log=_say,
    )
    _say(soilcast.inspect(out))


@app.command(cls=_CommandWithKeys)
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
        _refuse_no_run(init)
    base = soilcast.open_run(init).config.model_dump(mode="json", exclude={"split"}) if init else None
    named = [f"label={json.dumps(label)}"] if label is not None else []
    chosen = soilcast.load_config(config, [*(settings or ()), *named], model=model, base=base)
    limit = parse_bytes(memory) if memory else None
    _refuse_others(cube, "cube")
    run = soilcast.train(
        cube,
        out,
        chosen,
        init=init,
        weather=weather,
        units=_pairs(unit or [], "--unit"),
        within=within,
        overwrite=overwrite,
        resume=resume,
        memory=limit,
        progress=True,
        log=_say,
    )
    if os.environ.get("RANK", "0") == "0":
        from soilcast.training.produce import run_summary

        _say(run_summary(run.record))
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
    _refuse_no_run(run)
    _refuse_others(cube, "cube")
    chosen: dict[str, Any] = {"period": period, "precision": precision.value, "memory": limit, "dask": dask}
    ahead: dict[str, Any] = {"issue": issue, "leads": lead, "weather": weather, "gaps": gaps.value, "append": append}
    ahead["lapse_rate"] = lapse_rate
    ahead["units"] = _pairs(unit, "--unit") if unit else None
    soilcast.forecast(run, cube, out, **chosen, **ahead, overwrite=overwrite, resume=resume, progress=True)
    _say(soilcast.inspect(out))


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
    _say(soilcast.export(source, out, **chosen, overwrite=overwrite, log=_say))


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
    _refuse_others(cube, "cube")
    for path in forecasts:
        _refuse_others(path, "forecast")
    options: dict[str, Any] = {"significance": significance, "dask": dask, "overwrite": overwrite}
    chosen: dict[str, Any] = {"baselines": baselines or (), "matching": matching, "within": within}
    chosen |= {"regions": regions, "region_name": region_name}
    soilcast.evaluate(forecasts, cube, out, **chosen, **options, progress=True)
    _say(soilcast.inspect(out))
    if regions is not None:
        _say(soilcast.inspect(out / "regions"))


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
    _say(soilcast.inspect(out))


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
    _refuse_no_run(run)
    _refuse_others(cube, "cube")
    soilcast.audit(run, cube, out, period=period, samples=samples, seed=seed, overwrite=overwrite)
    _say(soilcast.inspect(out))


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
            _refuse_others(path, "scores", "forecast")
    if cube is not None:
        _refuse_others(cube, "cube")
    of_regions: dict[str, Any] = {"regions": regions, "region_name": region_name}
    soilcast.report(scores, out, cube=cube, **of_regions, title=title, overwrite=overwrite)
    _say(out)


@app.command()
def serve(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Forecasts, or folders in which they lie or arrive.")
    ],
    cube: Annotated[
        Path | None, typer.Option("--cube", help="Cube for the past and the season; default: the one that lies there.")
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option("--run", help="Run folder, for what-if (repeatable); default: those that lie there."),
    ] = None,
    weather: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Weather forecast that forecasts were made with, for what-if (repeatable)."),
    ] = None,
    scores: Annotated[Path | None, typer.Option(help="Scores of the forecasts; default: those that lie there.")] = None,
    stations: Annotated[
        Path | None, typer.Option("--stations", metavar="CUBE", help="Cube of stations, which become places.")
    ] = None,
    regions: RegionFile = None,
    region_name: RegionName = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")] = 8000,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Public address, behind a reverse proxy; that of links.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with a token; needed where --host is not this machine.")
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option("--cors", metavar="ORIGIN", help="Origin whose pages may read the answers, or * (repeatable)."),
    ] = None,
    cache: Annotated[str, typer.Option(metavar="AMOUNT", help="Memory for what was read and drawn.")] = "256MiB",
    log_requests: Annotated[bool, typer.Option("--log-requests", help="Write a line for each request.")] = False,
) -> None:
    """Serve forecasts as a map in the browser and as OGC API EDR. Ctrl-C ends it."""
    from soilcast.memory import parse_bytes

    beside: dict[str, Any] = {"cube": cube, "runs": runs or (), "weather": weather or (), "scores": scores}
    beside |= {"stations": stations, "regions": regions, "region_name": region_name}
    access: dict[str, Any] = {"host": host, "port": port, "url": url, "token_file": token_file, "cors": cors or ()}
    soilcast.serve(paths, **beside, **access, cache=parse_bytes(cache, "--cache"), log_requests=log_requests, log=_say)


@app.command()
def reproduce(
    part: Annotated[
        str,
        typer.Argument(
            help="table1, table2, fig3, fig4, fig5, readings, all of these, or routes; or a YAML study file."
        ),
    ],
    cube: Cube,
    out: Annotated[Path, typer.Option("--out", help="Output folder; an interrupted reproduction in it is resumed.")],
    seeds: Annotated[int | None, typer.Option(min=1, max=1024, help="Number of seeds per model; default: 3.")] = None,
    settings: Settings = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", min=1, metavar="N", help="Number of runs trained in parallel; default: one per CPU core."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Short trainings, for a first look.")] = False,
    zones: Annotated[Zones, typer.Option(help="Koeppen classes of Figure 3: main (A-E) or fine (all).")] = Zones.main,
    memory: Memory = None,
    plugins: Plugins = None,
) -> None:
    """Reproduce the paper's tables and figures on a cube. After Ctrl-C, the same command resumes."""
    from soilcast.experiments import load_study
    from soilcast.memory import parse_bytes

    if part != "all":
        load_study(part)
    _refuse_others(cube, "cube")
    soilcast.reproduce(
        part,
        cube,
        out,
        seeds=seeds,
        settings=settings or (),
        jobs=jobs,
        quick=quick,
        zones=zones.value,
        memory=parse_bytes(memory) if memory else None,
        progress=True,
        log=_say,
    )


@app.command()
def daily(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="YAML file of the chain (docs: daily).")],
    day: Annotated[
        str | None, typer.Option(metavar="DATE", help="Issue day; default: yesterday [UTC], so that lead 1 is today.")
    ] = None,
    simulate: Annotated[
        str | None,
        typer.Option(metavar="FROM:TO", help="Forecast each issue day of a past period with what was known on it."),
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Say how old inputs and forecasts are; do nothing.")] = False,
) -> None:
    """Make the forecast of the day: fetch, update, bridge, forecast, publish. Exit code 75 if inputs are late."""
    if status:
        _say("\n".join(soilcast.daily_status(config)))
        return
    found = soilcast.daily(config, day=day, simulate=simulate, progress=True, log=_say)
    for one in found:
        if one.forecast is not None:
            _say(f"{one.issue_day}: {one.forecast}{'' if one.is_new else ' (stands already)'}")
    if found[-1].late:
        from soilcast.operating import LateError

        raise LateError(found[-1].late)


def main() -> None:
    """Run the command line: faults of the input are one line and exit code 2; anything else is loud."""
    stopped = heed_stops()
    if not sys.warnoptions:
        # What libraries warn of, such as times or values that no type holds, is refused by name.
        warnings.simplefilter("ignore")
    try:
        _refuse_removed_folder()
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except SoilcastError as error:
        _refuse(str(error), error.exit_code)
    except TyperException as error:
        _refuse(f"{printable(' '.join(error.format_message().split()))} (see soilcast --help)")
    except KeyboardInterrupt:
        code = STOPPED
    except Exception as error:
        if not stopped():
            _refuse(_in_words(error))
        code = STOPPED  # what a library made of the stop that came inside it
    if code == STOPPED:
        print("soilcast: stopped", file=sys.stderr)
        leave(STOPPED)
    sys.exit(code)


def _in_words(error: Exception) -> str:
    """Say a fault of the system in a line; what is none stays loud."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{error.filename}: {error.strerror}: give another path"
    if isinstance(error, OSError) and (error.errno in NO_ROOM or isinstance(error, BrokenPipeError)):
        # Files are written with faults of their own; what is left is what the command says of them.
        sys.stdout = None  # else Python tries once more, and says so, as it ends
        return f"standard output cannot be written ({error.strerror}); the output files are complete"
    if (fault := system_fault(error)) is None:
        raise error
    return fault


def _refuse_removed_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise SoilcastError("the working folder was removed: change to another one and run again") from error


def _refuse(line: str, code: int = SoilcastError.exit_code) -> NoReturn:
    with suppress(OSError, ValueError):
        print(f"soilcast: {printable(line)}", file=sys.stderr)
    if line.startswith(NO_THREADS):
        leave(code)  # libraries would join threads that they could not start, and say so, at the end of Python
    sys.exit(code)


# A fault of words and paths is told before the libraries that do the work are imported, which takes seconds.
def _refuse_others(path: Path, *kinds: str) -> None:
    """Refuse a path that cannot be an artifact of these kinds."""
    from soilcast.cube.kinds import refuse_other_kind
    from soilcast.workplace import workplace_of

    if path.exists() or not workplace_of(path).exists():  # else an update that was killed, which may restore it
        refuse_other_kind(path, *kinds)


def _refuse_no_run(folder: Path) -> None:
    """Refuse a folder that is no run."""
    from soilcast.training.run_folder import read_record

    read_record(folder)


def _say(text: object) -> None:
    typer.echo(printable(str(text)))


def _names(texts: list[str] | None) -> list[str] | None:
    return [name for text in texts for name in text.replace(",", " ").split()] if texts else None


def _pairs(texts: list[str], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise SoilcastError(f"{option} {text}: write NAME=VALUE")
        pairs[name] = value
    return pairs


if __name__ == "__main__":
    main()
