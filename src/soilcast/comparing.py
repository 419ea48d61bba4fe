"""The whole path on built-in data, as an example of how the public functions go together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from soilcast.cube import open_cube
from soilcast.forecasting import forecast
from soilcast.models import MODELS
from soilcast.reporting import report
from soilcast.schema import read_yaml
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
    about
        The data in a sentence: what is observed, modelled or synthetic.
    source, paths, options
        For `prepare`; paths are relative to a folder of data, the option ``mapping`` to the experiment's file.
    models
        Names in `MODELS`.
    config
        Keys of the config that differ from the defaults, for all models.
    """

    about: str
    source: str
    models: Sequence[str]
    paths: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def builtin_experiment(name: str) -> Experiment:
    """Read ``experiments/NAME.yaml`` of the package."""
    file = Path(str(resources.files("soilcast.experiments"))) / f"{name}.yaml"
    experiment = Experiment(**read_yaml(file))
    options = dict(experiment.options)
    if "mapping" in options:
        options["mapping"] = (file.parent / options["mapping"]).resolve()
    return replace(experiment, options=options)


def compare(
    experiment: Experiment,
    out: Path,
    *,
    data: Path = Path(),
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
    data
        Folder that the experiment's paths are in.
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
    paths = [data / path for path in experiment.paths]
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
