"""The app, and what its commands share: options, kinds of words, refusals before large libraries are imported."""

from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

import soilcast
from soilcast.errors import SoilcastError, printable

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


class CommandWithKeys(TyperCommand):
    """A command whose help ends with every key of the config."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the keys."""
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


# A fault of words and paths is told before the libraries that do the work are imported, which takes seconds.
def refuse_others(path: Path, *kinds: str) -> None:
    """Refuse a path that cannot be an artifact of these kinds."""
    from soilcast.cube.kinds import refuse_other_kind
    from soilcast.workplace import workplace_of

    if path.exists() or not workplace_of(path).exists():  # else an update that was killed, which may restore it
        refuse_other_kind(path, *kinds)


def refuse_no_run(folder: Path) -> None:
    """Refuse a folder that is no run."""
    from soilcast.training.run_folder import read_record

    read_record(folder)


def say(text: object) -> None:
    """Print a line on standard output."""
    typer.echo(printable(str(text)))


def names_of(texts: list[str] | None) -> list[str] | None:
    """Give the names that an option was given, once or several times, with commas or blanks between them."""
    return [name for text in texts for name in text.replace(",", " ").split()] if texts else None


def pairs_of(texts: list[str], option: str) -> dict[str, str]:
    """Give the ``NAME=VALUE`` that an option was given."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise SoilcastError(f"{option} {text}: write NAME=VALUE")
        pairs[name] = value
    return pairs
