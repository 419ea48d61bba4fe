"""The command line: every command is one call of a public function."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
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
from soilcast.errors import SoilcastError
from soilcast.files import NO_ROOM
from soilcast.workers import STOPPED, leave_stopped

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Forecast soil moisture with physics-guided neural networks, and say honestly how good the forecasts are.",
)

Out = Annotated[Path, typer.Option("--out", help="Where to write.")]
Cube = Annotated[Path, typer.Option("--cube", help="The cube.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what stands at --out.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an earlier, unfinished start left off.")]
Memory = Annotated[
    str | None, typer.Option("--memory", metavar="AMOUNT", help="Hold no more memory than this, such as 2GiB.")
]
Dask = Annotated[
    str | None, typer.Option("--dask", metavar="ADDRESS", help="Scheduler of a dask cluster that does the work.")
]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one key of the config.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, metavar="N", help="Train so many runs at once, each in a process.")]


class Precision(StrEnum):
    """Types of matrix products."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Gaps(StrEnum):
    """What becomes of cells that cannot be forecast."""

    refuse = "refuse"
    missing = "missing"


class Zones(StrEnum):
    """How finely climates are told apart."""

    main = "main"
    fine = "fine"


class Overlap(Enum):
    """What is done with days that a cube and new files have with other values."""

    refuse = "refuse"
    keep = "keep"
    replace = "replace"


class _CommandWithKeys(TyperCommand):
    """A command whose help ends with every key of the config."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        # Imported here, since it brings torch along, for which the other commands' help should not wait.
        from soilcast.training.config import describe_keys

        with formatter.section("Keys of the config, their defaults and units"):
            formatter.write_dl([(f"{key} = {default}", meaning) for key, default, meaning in describe_keys()])


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", help="Folder for everything; an earlier demo there is replaced.")
    ] = Path("demo"),
    settings: Settings = None,
    jobs: Jobs = 1,
) -> None:
    """Walk the whole path on the built-in planet (real geography and climate, synthetic weather)."""
    soilcast.demo(out, settings=settings or (), jobs=jobs, progress=_shown(), tell=typer.echo)


@app.command()
def compare(
    experiment: Annotated[str, typer.Argument(help="A YAML file, or a built-in one, such as demo.")],
    out: Out,
    data: Annotated[Path, typer.Option("--data", help="Folder that the experiment's paths are in.")] = Path(),
    settings: Settings = None,
    jobs: Jobs = 1,
    memory: Memory = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Train and judge all runs of an experiment. Ctrl-C stops it; --resume keeps what has been done and goes on."""
    from soilcast.memory import parse_bytes

    soilcast.compare(
        experiment,
        out,
        data=data,
        settings=settings or (),
        jobs=jobs,
        overwrite=overwrite,
        resume=resume,
        memory=parse_bytes(memory) if memory else None,
        progress=_shown(),
        tell=typer.echo,
    )


@app.command()
def download(
    dataset: Annotated[str, typer.Argument(help="era5-land.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the files. What an earlier start left there is gone on with.")
    ],
    area: Annotated[str, typer.Option(metavar="N/W/S/E", help="Region [degrees], such as 52/5/47/12.")],
    years: Annotated[str, typer.Option(help="2019, 2018:2020, or days such as 2019-06-15:2019-08-31.")],
    variables: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,...", help="Contract names, such as t2m,tp; by default what the paper needs."),
    ] = None,
    product: Annotated[str, typer.Option(help="hourly; or daily means and totals, made by the store.")] = "hourly",
    format: Annotated[str, typer.Option(help="netcdf or grib.")] = "netcdf",
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", help="Requests in the store's queue at once.")] = 2,
    verify: Annotated[bool, typer.Option("--verify", help="Compare checksums of the files that are there.")] = False,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="Before a second try or look; doubles, up to two minutes.")
    ] = 1.0,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="For the next bytes of an answer of the store.")
    ] = 60.0,
) -> None:
    """Fetch reanalysis data from the Climate Data Store. Ctrl-C stops it; the same command goes on."""
    files = soilcast.download(
        dataset,
        area=area,
        years=years,
        out=out,
        variables=[name for text in variables for name in text.replace(",", " ").split()] if variables else None,
        product=product,
        format=format,
        jobs=jobs,
        verify=verify,
        wait=wait,
        timeout=timeout,
        progress=_shown(),
        tell=typer.echo,
    )
    typer.echo(f"{out}: {len(files)} file(s)")


@app.command()
def prepare(
    source: Annotated[str, typer.Argument(help="planet, delaware, landbench, era5land, caravan or table.")],
    out: Out,
    paths: Annotated[list[str] | None, typer.Argument(metavar="PATH", help="Files or folders of the source.")] = None,
    resolution: Annotated[
        float | None, typer.Option(help="planet, landbench, era5land: size of a cell [degrees].")
    ] = None,
    years: Annotated[str | None, typer.Option(help="planet, landbench, era5land: 2019, or 2018:2020.")] = None,
    seed: Annotated[int | None, typer.Option(help="planet: seed of the weather.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="table: YAML that says which variable is which.")] = None,
    unit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=UNIT", help="Unit of a variable where its file says none or lies.")
    ] = None,
    day: Annotated[str | None, typer.Option(help="era5land: days of utc, or local ones.")] = None,
    states: Annotated[
        str | None, typer.Option(help="era5land: soil water as the mean or at the end of the day.")
    ] = None,
    accumulation: Annotated[
        str | None, typer.Option(help="era5land: since-midnight or hourly, where the values do not tell.")
    ] = None,
    stamp: Annotated[
        str | None, typer.Option(help="era5land: what one stamp a day stands for, the day or the midnight.")
    ] = None,
    turn: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="era5land: the sign of a variable is turned.")
    ] = None,
    static: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="era5land: a static variable, NetCDF or GeoTIFF.")
    ] = None,
    nearest: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="era5land: take the nearest value of a static variable.")
    ] = None,
    climate_zone: Annotated[
        bool | None,
        typer.Option("--climate-zone/--no-climate-zone", help="era5land: compute the zones; by default they are."),
    ] = None,
    content: Annotated[
        str | None, typer.Option(help="era5land: what the numbers are, if not the reanalysis itself.")
    ] = None,
    memory: Memory = None,
    dask: Dask = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Turn source files into a cube: one format, known units, checked bounds."""
    from soilcast.memory import parse_bytes

    options: dict[str, Any] = {"resolution": resolution, "years": years, "seed": seed, "mapping": mapping}
    options |= {"day": day, "states": states, "accumulation": accumulation, "stamp": stamp, "content": content}
    options |= {"turn": turn or None, "nearest": nearest or None, "climate_zone": climate_zone}
    options["units"] = _pairs(unit, "--unit") if unit else None
    options["static"] = _pairs(static, "--static") if static else None
    given = {name: value for name, value in options.items() if value is not None}
    describe = soilcast.inspect  # looked up before, so that --memory counts what comes with it
    soilcast.prepare(
        source,
        paths or (),
        out=out,
        overwrite=overwrite,
        resume=resume,
        memory=parse_bytes(memory) if memory else None,
        dask=dask,
        progress=_shown(),
        tell=typer.echo,
        **given,
    )
    typer.echo(describe(out))


@app.command()
def update(
    cube: Annotated[Path, typer.Argument(help="A cube that prepare wrote.")],
    files: Annotated[list[str], typer.Argument(metavar="FILES", help="Files or folders with new days.")],
    overlap: Annotated[
        Overlap, typer.Option(help="Days that differ from the cube's: keep the cube's, or replace them.")
    ] = Overlap.refuse,
    tolerance: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Of a variable's range in the contract: smaller differences are none."),
    ] = 1e-6,
    allow_gap: Annotated[bool, typer.Option("--allow-gap", help="Days in between become missing ones.")] = False,
    memory: Memory = None,
) -> None:
    """Append new days to a cube, read as the cube was. Whatever ends it, the old or the new cube stands whole."""
    from soilcast.memory import parse_bytes

    soilcast.update(
        cube,
        files,
        overlap=overlap.value,
        tolerance=tolerance,
        allow_gap=allow_gap,
        memory=parse_bytes(memory) if memory else None,
        progress=_shown(),
        tell=typer.echo,
    )


@app.command()
def doctor(
    files: Annotated[list[str], typer.Argument(metavar="FILES", help="Files, folders, archives, stores, addresses.")],
    unit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=UNIT", help="Try a unit in place of the file's own.")
    ] = None,
    turn: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Try the other sign.")] = None,
    map_to: Annotated[
        Path | None, typer.Option("--map", metavar="PNG", help="Draw what is left of the water balance, by cell.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Say what files are and what would become of them, and prove it by the water balance; 1 if something is wrong."""
    found = soilcast.doctor(
        files, units=_pairs(unit or [], "--unit"), turn=turn or (), map_to=map_to, overwrite=overwrite
    )
    typer.echo(json.dumps(found.as_json(), indent=2, allow_nan=False) if as_json else found.text())
    raise typer.Exit(found.exit_code)


@app.command()
def inspect(path: Annotated[Path, typer.Argument(help="A cube, run, forecast or scores.")]) -> None:
    """Say what an artifact is and what is in it."""
    typer.echo(soilcast.inspect(path))


@app.command(cls=_CommandWithKeys)
def train(
    cube: Cube,
    out: Out,
    model: Annotated[str | None, typer.Option(help="lstm, phy-lstm or phys-lstm; wins over the config.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML with keys of the config.")] = None,
    settings: Settings = None,
    init: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Begin with the weights, and the config, of this run.")
    ] = None,
    memory: Memory = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a model on a cube. Ctrl-C ends it with the best weights so far; --resume goes on, to the same bits."""
    from soilcast.memory import parse_bytes
    from soilcast.training.train import run_summary

    base = soilcast.open_run(init).config.model_dump(mode="json", exclude={"split"}) if init else None
    chosen = soilcast.load_config(config, settings or (), model=model, base=base)
    limit = parse_bytes(memory) if memory else None
    run = soilcast.train(
        cube, out, chosen, init=init, overwrite=overwrite, resume=resume, memory=limit, progress=_shown()
    )
    if os.environ.get("RANK", "0") == "0":
        typer.echo(run_summary(run.record))
    if run.record["status"] == "interrupted":
        raise typer.Exit(STOPPED)


@app.command()
def forecast(
    run: Annotated[Path, typer.Argument(help="A run that train wrote.")],
    cube: Cube,
    out: Out,
    period: Annotated[str | None, typer.Option(help="Days to forecast; by default the run's test period.")] = None,
    issue: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="Forecast the days after this one, the issue day.")
    ] = None,
    lead: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Days ahead; by default all that the run was trained for.")
    ] = None,
    weather: Annotated[
        str | None, typer.Option(metavar="FILE", help="Forecast of the weather ahead, or: observed, the cube's own.")
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=UNIT", help="Unit of a variable of the weather, over the file's.")
    ] = None,
    append: Annotated[bool, typer.Option("--append", help="Add the day to those that --out holds already.")] = False,
    gaps: Annotated[
        Gaps, typer.Option(help="Cells without soil moisture to begin with: refuse, or leave missing.")
    ] = Gaps.refuse,
    precision: Annotated[
        Precision, typer.Option(help="Of matrix products; bfloat16 is faster, and says how much less exact.")
    ] = Precision.float32,
    memory: Memory = None,
    dask: Dask = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Forecast the soil moisture of every cell: of the days after --from, or of the whole test period."""
    from soilcast.memory import parse_bytes

    limit = parse_bytes(memory) if memory else None
    chosen: dict[str, Any] = {"period": period, "precision": precision.value, "memory": limit, "dask": dask}
    ahead: dict[str, Any] = {"issue": issue, "leads": lead, "weather": weather, "gaps": gaps.value, "append": append}
    ahead["units"] = _pairs(unit, "--unit") if unit else None
    soilcast.forecast(run, cube, out, **chosen, **ahead, overwrite=overwrite, resume=resume, progress=_shown())
    typer.echo(soilcast.inspect(out))


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="A forecast or cube.")],
    out: Annotated[Path, typer.Option("--out", help="Map to write: .tif (GeoTIFF) or .png; or table: .csv.")],
    variable: Annotated[str, typer.Option(metavar="NAME", help="What to write, such as swvl1_percentile.")],
    lead: Annotated[
        list[int] | None, typer.Option("--lead", metavar="DAYS", help="Leads to write; by default all.")
    ] = None,
    issue: Annotated[str | None, typer.Option(metavar="DATE", help="Issue day, if the forecast has several.")] = None,
    day: Annotated[str | None, typer.Option(metavar="DATE", help="Day of a cube; or that a forecast is of.")] = None,
    quantile: Annotated[float | None, typer.Option(metavar="LEVEL", help="Quantile, such as 0.05.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a forecast or one of its products as a map (GeoTIFF, PNG) or a table (CSV)."""
    chosen: dict[str, Any] = {
        "variable": variable,
        "lead": lead or None,
        "issue": issue,
        "day": day,
        "quantile": quantile,
    }
    typer.echo(str(soilcast.export(source, out, **chosen, overwrite=overwrite)))


@app.command()
def evaluate(
    forecasts: Annotated[list[Path], typer.Argument(metavar="FORECAST", help="Forecasts on one cube.")],
    cube: Cube,
    out: Out,
    significance: Annotated[
        bool, typer.Option("--significance", help="Test differences at every lead, too: significance.csv.")
    ] = False,
    dask: Dask = None,
    overwrite: Overwrite = False,
) -> None:
    """Score forecasts against the cube, always beside persistence and climatology."""
    options: dict[str, Any] = {"significance": significance, "dask": dask, "overwrite": overwrite}
    soilcast.evaluate(forecasts, cube, out, **options, progress=_shown())
    typer.echo(soilcast.inspect(out))


@app.command()
def report(
    scores: Annotated[list[Path], typer.Argument(metavar="SCORES", help="Folders that evaluate wrote, or forecasts.")],
    out: Out,
    title: Annotated[str | None, typer.Option(help="Headline of the report.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make one HTML page of scores: tables, maps, curves, series, provenance."""
    soilcast.report(scores, out, title=title, overwrite=overwrite)
    typer.echo(str(out))


@app.command()
def reproduce(
    part: Annotated[
        str, typer.Argument(help="table1, table2, fig3, fig4, fig5, readings or all; or a YAML file of a study.")
    ],
    cube: Cube,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for everything. What an earlier start left there is gone on with.")
    ],
    seeds: Annotated[int | None, typer.Option(min=1, max=1024, help="Trainings of each model; by default 3.")] = None,
    settings: Settings = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, metavar="N", help="Runs to train at once; by default one a processor."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Cut all trainings down, to see what comes out.")] = False,
    zones: Annotated[
        Zones, typer.Option(help="Climates of Figure 3: the five main ones, or all classes.")
    ] = Zones.main,
    memory: Memory = None,
) -> None:
    """Reproduce the paper's tables and figures on a cube. Ctrl-C stops it; the same command goes on."""
    from soilcast.memory import parse_bytes

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
        progress=_shown(),
        tell=typer.echo,
    )


def main() -> None:
    """Run the command line: faults of the input are one line and exit code 2; anything else is loud."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as queues send it, and it too is to leave no halves
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except SoilcastError as error:
        _refuse(str(error))
    except TyperException as error:
        _refuse(f"{' '.join(error.format_message().split())} (see soilcast --help)")
    except MemoryError as error:
        _refuse(f"not enough memory ({error}): take fewer cells or days, or a smaller train.batch_size")
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            _refuse(f"{error.filename}: {error.strerror}: give another path")
        # Files are written with faults of their own; what is left is what the command says of them.
        if error.errno not in NO_ROOM:
            raise
        sys.stdout = None  # else Python tries once more, and says so, as it ends
        _refuse(f"standard output cannot be written ({error.strerror}); what the command made stands")
    except KeyboardInterrupt:
        code = STOPPED
    if code == STOPPED:
        print("soilcast: stopped", file=sys.stderr)
        leave_stopped()
    sys.exit(code)


def _refuse(line: str) -> NoReturn:
    print(f"soilcast: {line}", file=sys.stderr)
    sys.exit(2)


def _shown() -> bool:
    return sys.stderr.isatty()


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
