"""Commands that walk the whole way: demo, compare, search, reproduce."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import soilcast
from soilcast.cli.options import (
    Cube,
    Dask,
    Jobs,
    Memory,
    Out,
    Overwrite,
    Plugins,
    Resume,
    Settings,
    Zones,
    app,
    refuse_others,
    say,
)
from soilcast.plugins import load_installed


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
    soilcast.demo(out, settings=settings or (), jobs=jobs, progress=True, log=say)
    called = Path(sys.argv[0])  # as the reader may call it again
    command = "soilcast" if called.name != "soilcast" else str(called)
    say(f"the map of these forecasts, in a browser: {shlex.join([command, 'serve', str(out)])}")


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
        log=say,
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
        refuse_others(cube, "cube")
    options: dict[str, Any] = {"hours": hours, "memory": parse_bytes(memory) if memory else None}
    options |= {"keep_runs": keep_runs, "overwrite": overwrite, "resume": resume}
    soilcast.search(
        file, out, cube=cube, data=data, settings=settings or (), jobs=jobs, **options, progress=True, log=say
    )


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
    refuse_others(cube, "cube")
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
        log=say,
    )
