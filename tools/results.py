"""Run the experiments on real data and write the regions of docs/results.md and of the README from their scores.

    python -m tools.results --data ../shared/data --out results
    python -m tools.results --only multiday --only reproduced-caravan     # runs and rewrites these alone

Each experiment is a file of src/soilcast/experiments/. What has been run already is not run again, unless its folder
in --out is removed. What stands in a region is not typed by hand.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

import xarray as xr
from PIL import Image

from soilcast import reproduce
from soilcast.comparing import Experiment, builtin_experiment, compare
from soilcast.cube import open_artifact
from soilcast.provenance import versions
from soilcast.reporting import markdown_table, verdict
from soilcast.schema import flatten
from soilcast.training import open_run
from soilcast.training.run_record import NOT_CONVERGED
from tools.document import rewritten
from tools.multiday_results import MULTIDAY
from tools.multiday_results import overview as multiday_overview
from tools.regional_results import regional

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results.md"
README = ROOT / "README.md"
EXPERIMENTS = ("demo", "caravan", "prms_delaware", "mhm_moselle")
SEEDS = 3

_OF_PLANET = ["train.epochs=100", "train.validate_every=10"]
_SHORT = ["train.epochs=60", "train.validate_every=6", "train.batches_per_epoch=100"]
_ROUTES = ["train.epochs=40", "train.validate_every=2", "train.patience=6"]
_FEW = ["train.batches_per_epoch=100", "train.validation_samples=5000"]
REPRODUCED: dict[str, tuple[str, str, list[str]]] = {
    "planet": ("demo", "all", _OF_PLANET),
    "planet_daily_mean": ("planet_daily_mean", "readings", _OF_PLANET),
    "caravan": ("caravan", "all", []),
    "caravan_readings": ("caravan", "readings", [*_SHORT, "water.terms=[P,dSD]"]),
    "delaware": ("prms_delaware", "all", _SHORT),
    "moselle": ("mhm_moselle", "all", _SHORT),
    "planet_routes": ("demo", "routes", _ROUTES),
    "caravan_routes": ("caravan", "routes", [*_ROUTES, "water.terms=[P,dSD]"]),
    "delaware_routes": ("prms_delaware", "routes", _ROUTES),
    "moselle_routes": ("mhm_moselle", "routes", [*_ROUTES, "water.deep_layers=[swvl2,swvl3]"]),
}
"""Name of a dossier -> the experiment whose cube and config it takes, the parts of the paper, what is set beside."""

REGIONAL: dict[str, tuple[str, str, Sequence[str], list[str]]] = {
    "planet": ("demo", "climate_zone", "ABCDE", [*_ROUTES, *_FEW]),
    "caravan": ("caravan", "landcover", ("2", "4", "16"), [*_ROUTES, *_FEW]),
    "delaware": ("prms_delaware", "landcover", "123", [*_ROUTES, *_FEW]),
}
"""Name of a data set with a class map -> its experiment, the map, its classes, and what is set beside."""

_PICTURES = ("fig3", "fig4")
_PICTURED = "planet"
_WIDTH = 1200
"""Pixels of a picture in docs/images."""


def main() -> None:
    """Run what is missing and rewrite the regions of the pages that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the real data")
    parser.add_argument("--out", type=Path, default=ROOT / "results", help="folder for runs and scores")
    parser.add_argument("--only", choices=tuple(REGIONS), action="append", help="rewrite this region (repeatable)")
    options = parser.parse_args()
    for region in options.only or REGIONS:
        _rewrite(PAGE, region, REGIONS[region](options.data, options.out))
        if region in OF_README:
            _rewrite(README, region, OF_README[region](options.data, options.out))


def compared(name: str, data: Path, out: Path) -> Path:
    """Walk through an experiment unless that was done."""
    folder = out / name
    if not (folder / "report.html").is_file():
        jobs = len(os.sched_getaffinity(0))
        compare(builtin_experiment(name), folder, data=data, jobs=jobs, resume=folder.exists())
    return folder


def reproduced(name: str, data: Path, out: Path) -> Path:
    """Reproduce the paper on the cube of an experiment, and give its dossier; what is there already is used again."""
    experiment, part, settings = REPRODUCED[name]
    compared(experiment, data, out)
    chosen = _settings_of(experiment, settings, {"water.terms"})  # which the studies vary
    folder = out / "reproduced" / name
    return reproduce(part, out / experiment / "cube", folder, seeds=SEEDS, settings=chosen).parent


def _settings_of(experiment: str, settings: Sequence[str], varied: Collection[str]) -> list[str]:
    """The config keys of an experiment but for those that are varied, and then the settings."""
    config = flatten(builtin_experiment(experiment).config)
    beside = {setting.partition("=")[0] for setting in settings} | {*varied}
    return [*(f"{key}={json.dumps(value)}" for key, value in config.items() if key not in beside), *settings]


def _regional(name: str, data: Path, out: Path) -> Iterator[str]:
    experiment, by, classes, settings = REGIONAL[name]
    chosen = _settings_of(experiment, settings, ())
    yield from regional(name, by, classes, compared(experiment, data, out) / "cube", out / "regional", chosen)


def _rewrite(page: Path, region: str, text: str) -> None:
    page.write_text(rewritten(page.read_text(encoding="utf-8"), region, text), encoding="utf-8")


def _dossier(name: str, data: Path, out: Path) -> str:
    """The dossier of a data set, two headings deeper, with its pictures where they are packaged."""
    folder = reproduced(name, data, out)
    text = (folder / "report.md").read_text(encoding="utf-8").replace("# ", f"# {name}: ", 1)
    for part in _PICTURES if name == _PICTURED else ():
        with Image.open(folder / f"{part}.png") as picture:
            height = round(picture.height * _WIDTH / picture.width)
            small = picture.convert("RGB").resize((_WIDTH, height), Image.Resampling.LANCZOS)
            small.save(ROOT / "docs" / "images" / f"{part}.png", optimize=True)
        text = text.replace(f"]({part}.png)", f"](images/{part}.png)")
    text = re.sub(r"!\[[^\]]*\]\((?!images/)[^)]*\)\n\n", "", text)
    return re.sub(r"^#", "###", text, flags=re.MULTILINE).strip()


def _joined(sections: Callable[[Path, Path], Iterator[str]], data: Path, out: Path) -> str:
    return "\n".join(sections(data, out)).strip()


def _single_runs(name: str, data: Path, out: Path) -> str:
    return "\n".join(_section(name, compared(name, data, out))).strip()


def _demo_table(data: Path, out: Path) -> str:
    scores = _scores(compared("demo", data, out))
    return f"{_caption(builtin_experiment('demo'), scores)}\n\n{markdown_table(scores)}"


def _section(name: str, folder: Path) -> Iterator[str]:
    experiment, scores = builtin_experiment(name), _scores(folder)
    yield f"### {name}\n"
    yield f"{_caption(experiment, scores)}\n"
    learnt, chosen = scores.attrs["train_period"], scores.attrs["validation_period"]
    yield f"Trained on {learnt}, validated on {chosen}. {_inputs(folder)}\n"
    yield markdown_table(scores)
    yield from (f"{sentence}" for sentence in verdict(scores))
    yield f"\nConsistency: {scores.attrs['water']}\n"
    yield from (f"- {_training(folder / 'runs' / model)}" for model in experiment.models)
    yield f"\n{_made_with()}"


def _caption(experiment: Experiment, scores: xr.Dataset) -> str:
    return (
        f"{experiment.about.strip()} Next-day soil moisture of layer 1 at {scores.attrs['cells_scored']} cells, "
        f"{scores.attrs['test_period'].replace(':', ' to ')}."
    )


def _inputs(folder: Path) -> str:
    task = open_run(folder / "runs" / "lstm").config.task
    return f"Inputs: {', '.join((*task.dynamic, *task.static))}."


def _training(run: Path) -> str:
    record = open_run(run).record
    share = record["water_sign_share"]
    not_converged = f"; {NOT_CONVERGED}" if record["best_is_last"] else ""
    followed = f"; Eq. 13 keeps {share:.0%} of the training cell-days" if share is not None else ""
    return (
        f"{record['label']}: {record['epochs']} epochs ({record['status']}), best in epoch {record['best_epoch']}, "
        f"seed {open_run(run).config.train.seed}, l1:l2 = {_weights(run)}{followed}{not_converged}"
    )


def _weights(run: Path) -> str:
    return ":".join(f"{weight:g}" for weight in open_run(run).config.loss.weights)


def _made_with() -> str:
    packages = ", ".join(f"{package} {version}" for package, version in versions().items())
    return f"Made with {packages} on {os.cpu_count()} processors ({platform.machine()})."


def _scores(folder: Path) -> xr.Dataset:
    scores = open_artifact(folder / "scores" / "scores.nc", "scores").load()
    assert json.loads(scores.attrs["provenance"])
    return scores


REGIONS: dict[str, Callable[[Path, Path], str]] = {
    **{name: partial(_joined, sections) for name, sections in MULTIDAY.items()},
    **{f"reproduced-{name}": partial(_dossier, name) for name in REPRODUCED},
    **{f"regional-{name}": partial(_joined, partial(_regional, name)) for name in REGIONAL},
    **{f"single-{name}": partial(_single_runs, name) for name in EXPERIMENTS},
}
"""Region of docs/results.md -> what writes it."""

OF_README = {"multiday": multiday_overview, "single-demo": _demo_table}
"""Regions of the README that are written with these."""


if __name__ == "__main__":
    main()
