"""The whole path on built-in data, as an example of how the public functions go together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from soilcast.cube import open_cube
from soilcast.forecasting import forecast
from soilcast.models import MODELS
from soilcast.report import report
from soilcast.schema import parse_yaml
from soilcast.sources import prepare
from soilcast.training.config import load_config
from soilcast.training.train import run_summary, train
from soilcast.verify import evaluate

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Experiment:
    """A source, the models to compare on it, and their settings: what a file in ``experiments/`` says.

    Parameters
    ----------
    source, options
        For `prepare`.
    models
        Names in `MODELS`.
    config
        Keys of the config that differ from the defaults, for all models.
    """

    source: str
    options: Mapping[str, Any]
    models: Sequence[str]
    config: Mapping[str, Any]


def builtin_experiment(name: str) -> Experiment:
    """Read ``experiments/NAME.yaml`` of the package."""
    text = resources.files("soilcast.experiments").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    content = parse_yaml(text, name)
    return Experiment(content["source"], content.get("options", {}), content["models"], content.get("config", {}))


def compare(
    experiment: Experiment,
    out: Path,
    *,
    paths: Sequence[Path] = (),
    settings: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = False,
    tell: Tell = print,
) -> Path:
    """Walk the whole path: prepare, then train and forecast each model, evaluate them together, report.

    Parameters
    ----------
    experiment
        What to do.
    out
        Folder for everything: ``cube``, ``runs/``, ``forecasts/``, ``scores`` and ``report.html``.
    paths
        Files of the source.
    settings
        ``key=value`` settings over those of the experiment.
    overwrite
        Replace what an earlier walk left in ``out``.
    progress
        Show bars.
    tell
        Called with a line after each step.

    Returns
    -------
    The path of the report.

    Raises
    ------
    SoilcastError
        What any of the steps raises.
    """
    cube = out / "cube"
    prepare(experiment.source, paths, out=cube, overwrite=overwrite, **experiment.options)
    opened = open_cube(cube)
    tell(f"{cube}: {opened.attrs['title']}; {opened.sizes['cell']} cells, {opened.sizes['time']} days")
    forecasts = []
    for name in experiment.models:
        config = load_config(settings=settings, model=name, base=experiment.config)
        run, ahead = out / "runs" / name, out / "forecasts" / name
        record = train(cube, run, config, overwrite=overwrite, progress=progress).record
        tell(f"{run}: {run_summary(record)}")
        forecast(run, cube, ahead, overwrite=overwrite, progress=progress)
        forecasts.append(ahead)
        if record["status"] == "interrupted":
            raise KeyboardInterrupt
    evaluate(forecasts, cube, out / "scores", overwrite=overwrite)
    report([out / "scores"], out / "report.html", overwrite=overwrite)
    tell(f"{out / 'report.html'}: the report of {', '.join(MODELS[name].label for name in experiment.models)}")
    return out / "report.html"


def demo(out: str | Path = "demo", *, settings: Sequence[str] = (), progress: bool = False, tell: Tell = print) -> Path:
    """Train, forecast and judge LSTM, PHY-LSTM and PHYs-LSTM on the built-in planet (synthetic weather).

    Parameters
    ----------
    out
        Folder for everything; what an earlier demo left there is replaced.
    settings
        ``key=value`` settings over those of ``experiments/demo.yaml``.

    Returns
    -------
    The path of the report.
    """
    return compare(
        builtin_experiment("demo"), Path(out), settings=settings, overwrite=True, progress=progress, tell=tell
    )
