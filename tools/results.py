"""Run the experiments on real data and write docs/results.md from their scores; copy the demo's table to the README.

    python -m tools.results --data ../shared/data --out results [--only caravan]
    python -m tools.results --only multiday      # rewrites the part on several days ahead alone

Each experiment is a file of src/soilcast/experiments/. What has been run already is not run again, unless its folder
in --out is removed. Nothing in the written page is typed by hand but the sentences around the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
from collections.abc import Iterator
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
from tools.multiday_results import overview as multiday_overview
from tools.multiday_results import sections as multiday_sections

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results.md"
README = ROOT / "README.md"
EXPERIMENTS = ("demo", "planet_daily_mean", "caravan", "prms_delaware", "mhm_moselle")
SEEDS = 3

_OF_PLANET = ["train.epochs=100", "train.validate_every=10"]
_SHORT = ["train.epochs=60", "train.validate_every=6", "train.batches_per_epoch=100"]
REPRODUCED: dict[str, tuple[str, str, list[str]]] = {
    "planet": ("demo", "all", _OF_PLANET),
    "planet_daily_mean": ("planet_daily_mean", "readings", _OF_PLANET),
    "caravan": ("caravan", "all", []),
    "caravan_readings": ("caravan", "readings", [*_SHORT, "water.terms=[P,dSD]"]),
    "delaware": ("prms_delaware", "all", _SHORT),
    "moselle": ("mhm_moselle", "all", _SHORT),
}
"""Name of a dossier -> the experiment whose cube and config it takes, the parts of the paper, what is set beside."""

_AHEAD = "multiday"
"""The part of the page on several days ahead."""

_PICTURES = ("fig3", "fig4")
_PICTURED = "planet"
_WIDTH = 1200
"""Pixels of a picture in docs/images."""

_HEAD = """# Results

Written by `make results` (`tools/results.py`) from the runs of `soilcast reproduce` and `soilcast compare`; no number
here is typed by hand.

Persistence forecasts no change. It and the damped anomaly use yesterday's soil moisture, which the paper's networks do
not: these see only the weather of the seven days before.

None of these are the paper's own results, which are for other data (global ERA5-Land at 0.5 degrees). The paper's
values are in a separate column and cannot be compared line by line.
"""

_PAPER = """## The paper, reproduced

What follows are the dossiers of `soilcast reproduce` ([how to read them](reproduce.md)). Each number is the median over
the cells, on a grid by area, ± its 95 % confidence interval over days and seeds; in brackets the mean. ▲ better and ▼
worse than LSTM are significant by the p-value adjusted for all comparisons of the study. The trainings are shorter than
the paper's, so that all of them fit into hours on two cores: each dossier says how long they are.
"""

_SINGLE = """## Single runs

Each model was trained once, with one seed, by `soilcast compare`: small differences between the networks are no
evidence of anything. Every number is the median over the cells, and in brackets the mean, on a grid by area.
"""


def main() -> None:
    """Run what is missing and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the real data")
    parser.add_argument("--out", type=Path, default=ROOT / "results", help="folder for runs and scores")
    parser.add_argument(
        "--only", choices=(_AHEAD, *EXPERIMENTS, *REPRODUCED), help="run this one alone; multiday writes its part"
    )
    options = parser.parse_args()
    if options.only == _AHEAD:
        _rewrite(PAGE, _AHEAD, _ahead(options.data, options.out))
        _rewrite(README, _AHEAD, multiday_overview(options.data, options.out))
        return
    names = (options.only,) if options.only else (*EXPERIMENTS, *REPRODUCED)
    for name in dict.fromkeys(names):
        if name in EXPERIMENTS and not (options.out / name / "report.html").is_file():
            jobs = len(os.sched_getaffinity(0))
            compare(builtin_experiment(name), options.out / name, data=options.data, jobs=jobs, overwrite=True)
        if name in REPRODUCED:
            reproduced(name, options.out)
    if options.only:
        return
    ahead = f"<!-- {_AHEAD}:begin -->\n{_ahead(options.data, options.out)}\n<!-- {_AHEAD}:end -->\n"
    sections = [_HEAD, ahead, _PAPER, *(_dossier(name, options.out) for name in REPRODUCED), _SINGLE]
    sections += [section for name in EXPERIMENTS for section in _section(name, options.out / name)]
    packages = ", ".join(f"{package} {version}" for package, version in versions().items())
    sections.append(f"\nMade with {packages} on {os.cpu_count()} processors ({platform.machine()}).\n")
    PAGE.write_text("\n".join(sections), encoding="utf-8")
    demo = _scores(options.out / "demo")
    table = f"{_caption(builtin_experiment('demo'), demo)}\n\n{markdown_table(demo)}"
    _rewrite(README, "results", table)
    _rewrite(README, _AHEAD, multiday_overview(options.data, options.out))


def reproduced(name: str, out: Path) -> Path:
    """Reproduce the paper on the cube of an experiment; what is there already is used again."""
    experiment, part, settings = REPRODUCED[name]
    config = flatten(builtin_experiment(experiment).config)
    beside = {setting.partition("=")[0] for setting in settings} | {"water.terms"}  # which the studies vary
    chosen = [f"{key}={json.dumps(value)}" for key, value in config.items() if key not in beside]
    folder = out / "reproduced" / name
    return reproduce(part, out / experiment / "cube", folder, seeds=SEEDS, settings=[*chosen, *settings])


def _rewrite(page: Path, region: str, text: str) -> None:
    page.write_text(rewritten(page.read_text(encoding="utf-8"), region, text), encoding="utf-8")


def _ahead(data: Path, out: Path) -> str:
    return "\n".join(multiday_sections(data, out)).strip()


def _dossier(name: str, out: Path) -> str:
    """The dossier of a data set, two headings deeper, with its pictures where they are packaged."""
    folder = out / "reproduced" / name / "dossier"
    text = (folder / "report.md").read_text(encoding="utf-8").replace("# ", f"# {name}: ", 1)
    for part in _PICTURES if name == _PICTURED else ():
        with Image.open(folder / f"{part}.png") as picture:
            height = round(picture.height * _WIDTH / picture.width)
            small = picture.convert("RGB").resize((_WIDTH, height), Image.Resampling.LANCZOS)
            small.save(ROOT / "docs" / "images" / f"{part}.png", optimize=True)
        text = text.replace(f"]({part}.png)", f"](images/{part}.png)")
    text = re.sub(r"!\[[^\]]*\]\((?!images/)[^)]*\)\n\n", "", text)
    return re.sub(r"^#", "###", text, flags=re.MULTILINE)


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
    yield ""


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


def _scores(folder: Path) -> xr.Dataset:
    scores = open_artifact(folder / "scores" / "scores.nc", "scores").load()
    assert json.loads(scores.attrs["provenance"])
    return scores


if __name__ == "__main__":
    main()
