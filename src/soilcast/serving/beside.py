"""What is served beside the forecasts: the cube, runs, weather, scores and stations that were named or lie there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from soilcast.errors import SoilcastError
from soilcast.progress import Log
from soilcast.training.run_folder import read_record

_ONE_OF = {"cube": "--cube", "scores": "--scores"}
"""Kinds of which one is taken that lies beside the forecasts, and the option that names another."""


@dataclass(frozen=True)
class Beside:
    """Paths of what is served beside the forecasts; None or empty where nothing is.

    Parameters
    ----------
    cube
        The record that forecasts began from.
    runs
        Hash of the weights -> folder of the run.
    weather
        Files of weather forecasts that they were made with.
    scores
        Of the forecasts.
    stations
        Cube of observations.
    regions
        File of regions, and the attribute that names them, if it was given.
    """

    cube: Path | None = None
    runs: Mapping[str, Path] = field(default_factory=dict)
    weather: tuple[Path, ...] = ()
    scores: Path | None = None
    stations: Path | None = None
    regions: tuple[str, str | None] | None = None


def complete(given: Beside, runs: Sequence[Path], found: Mapping[str, Sequence[Path]], log: Log) -> Beside:
    """Take what was not named from the paths that are served, if it is there unambiguously, and say so.

    Parameters
    ----------
    given
        What was named.
    runs
        Folders of runs that were named.
    found
        Kind -> paths of what lies there (`Finder.look`).
    log
        Called with a line for each thing.

    Raises
    ------
    SoilcastError
        A run that was named is none.
    """
    chosen: dict[str, Path | None] = {}
    for kind, option in _ONE_OF.items():
        named = getattr(given, kind)
        there = [path for path in found.get(kind, ()) if path != given.stations]
        if named is None and len(there) > 1:
            log(f"{len(there)} {kind} lie there ({', '.join(map(str, there[:3]))}): none is used; choose with {option}")
        chosen[kind] = named or (there[0] if len(there) == 1 else None)
        if chosen[kind] is not None:
            log(f"{kind}: {chosen[kind]}")
    by_weights = {}
    for path in runs or found.get("run", ()):
        try:
            by_weights[str(read_record(path)["weights_sha256"])] = path
        except SoilcastError as error:
            if runs:
                raise
            log(f"{path} is not used: {error}")
    if by_weights:
        log(f"runs: {', '.join(map(str, by_weights.values()))}")
    archives = found.get("weather_archive", ())
    weather = given.weather or (tuple(archives) if len(archives) == 1 else ())
    if weather:
        log(f"weather: {', '.join(map(str, weather))}")
    if given.stations is not None:
        log(f"stations: {given.stations}")
    if given.regions is not None:
        log(f"regions: {given.regions[0]}")
    return replace(given, cube=chosen["cube"], runs=by_weights, weather=weather, scores=chosen["scores"])
