"""Commands of a service: serve, daily."""

from pathlib import Path
from typing import Annotated, Any

import typer

import soilcast
from soilcast.cli.options import RegionFile, RegionName, app, say


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
    soilcast.serve(paths, **beside, **access, cache=parse_bytes(cache, "--cache"), log_requests=log_requests, log=say)


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
        say("\n".join(soilcast.daily_status(config)))
        return
    found = soilcast.daily(config, day=day, simulate=simulate, progress=True, log=say)
    for one in found:
        if one.forecast is not None:
            say(f"{one.issue_day}: {one.forecast}{'' if one.is_new else ' (stands already)'}")
    if found[-1].late:
        from soilcast.operating import LateError

        raise LateError(found[-1].late)
