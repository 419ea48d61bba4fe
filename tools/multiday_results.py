"""The part of docs/results.md on forecasts of several days: and how their settings were chosen."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from soilcast.comparing import builtin_experiment, compare
from soilcast.cube import open_artifact
from soilcast.reporting import markdown_leads, verdict
from soilcast.reporting.comparisons import best_baselines
from soilcast.reporting.comparisons import compare as compare_models
from soilcast.reporting.scores import networks
from soilcast.reporting.wording import weather_of
from soilcast.verify.regressions import WITH_WEATHER
from soilcast.verify.summary import summarise

SEARCHES = (
    "multiday_caravan_search",
    "multiday_caravan_weather_search",
    "multiday_delaware_search",
    "multiday_moselle_search",
)
EXPERIMENTS = ("multiday_caravan", "multiday_caravan_late", "multiday_delaware", "multiday_moselle")
_SHOWN_LEADS = (1, 3, 5, 10)
_OVERVIEW = {
    "multiday_caravan": "four basins, ERA5-Land",
    "multiday_delaware": "Delaware, PRMS",
    "multiday_moselle": "Moselle, mHM",
}
"""Experiment -> its data in a word, in the README's table."""

_OVERVIEW_LEADS = (1, 3, 7, 10)
_JOBS = len(os.sched_getaffinity(0))


def overview(data: Path, out: Path) -> str:
    """Say in a table what the experiments come to, for the README; runs what is missing."""
    lines = [
        "| RMSE over that of persistence | "
        + " | ".join(f"{lead} d" for lead in _OVERVIEW_LEADS)
        + " | leads at which it is better than, not found to differ from, worse than the best baseline |",
        "|:--|" + "--:|" * len(_OVERVIEW_LEADS) + ":--|",
    ]
    for name, title in _OVERVIEW.items():
        scores = _scores(run(name, data, out))
        target = str(scores["target"].to_numpy()[0])
        ratio = summarise(scores).xs(target, level="target")["ratio_median"].unstack("lead")
        best: dict[bool, list[str | None]] = {}
        for label in networks(scores):
            observed = weather_of(scores, label) == "observed"
            best[observed] = best_baselines(scores, target, observed_weather=observed)
            lines.append(
                _overview_row(f"{title}: {label}", ratio.loc[label], _standing(scores, target, label, best[observed]))
            )
        for observed, labels in best.items():
            of_lead = [ratio.loc[labels[lead - 1], lead] for lead in _OVERVIEW_LEADS]
            names = ", ".join(dict.fromkeys(str(label).removesuffix(WITH_WEATHER).strip() for label in labels))
            known = ", with observed weather" if observed else ""
            values = pd.Series(of_lead, index=_OVERVIEW_LEADS)
            lines.append(_overview_row(f"*{title}: best baseline{known}*", values, names))
    return "\n".join(lines)


def _overview_row(head: str, ratio: pd.Series[float], standing: str) -> str:
    return f"| {head} | " + " | ".join(f"{ratio[lead]:.2f}" for lead in _OVERVIEW_LEADS) + f" | {standing} |"


def _standing(scores: xr.Dataset, target: str, label: str, references: list[str | None]) -> str:
    """Count the leads by how a network compares with the best baseline of each."""
    compared = compare_models(scores, target, label, references)
    counts = [sum(one.sense == sense for one in compared) for sense in ("better", "same", "worse")]
    tested = "" if all(one.tested for one in compared) else " (not tested: by the digits shown)"
    return f"{counts[0]}, {counts[1]}, {counts[2]}{tested}"


def experiments(data: Path, out: Path) -> Iterator[str]:
    """Run what is missing of the experiments and write their tables."""
    for name in EXPERIMENTS:
        yield from _experiment(name, run(name, data, out))


def run(name: str, data: Path, out: Path) -> Path:
    """Walk through an experiment unless that was done; gives its folder."""
    folder = out / name
    if not (folder / "report.html").is_file():
        compare(builtin_experiment(name), folder, data=data, jobs=_JOBS, resume=folder.exists())
    return folder


def _experiment(name: str, folder: Path) -> Iterator[str]:
    experiment, scores = builtin_experiment(name), _scores(folder)
    yield f"### {name}\n"
    yield f"{experiment.about.strip()}\n"
    attrs = scores.attrs
    yield (
        f"Trained on {attrs['train_period']}, validated on {attrs['validation_period']}, tested on "
        f"{attrs['test_period']}; {attrs['cells_scored']} cells; weather of the forecast days: "
        f"{attrs['weather']}; observation latency {attrs['latency_days']} d.\n"
    )
    for target in scores["target"].to_numpy():
        if scores.sizes["target"] > 1:
            yield f"**{target}**\n"
        yield markdown_leads(scores, str(target))
        yield from _drought(scores, str(target))
    yield from (f"- {sentence}" for sentence in verdict(scores))
    yield ""


def _drought(scores: xr.Dataset, target: str) -> Iterator[str]:
    """Write how often severe drought (D2 or drier) was observed, and how probable it was called on average."""
    if "event_probability" not in scores:
        return
    of_event = scores.sel(target=target, event="D2")
    yield "| D2 or drier, share of cell-days | " + " | ".join(str(lead) for lead in scores["lead"].to_numpy()) + " |"
    yield "|:--|" + "--:|" * scores.sizes["lead"]
    with_odds = [str(label) for label in scores["model"].to_numpy() if not scores["is_baseline"].sel(model=label)]
    rows = {"observed": of_event["event_frequency"].sel(model=with_odds[0])}
    rows |= {f"mean probability by {label}": of_event["event_probability"].sel(model=label) for label in with_odds}
    for row, values in rows.items():
        yield f"| {row} | " + " | ".join(f"{100 * value:.1f} %" for value in values.to_numpy()) + " |"
    yield ""


def _search(name: str, data: Path, out: Path) -> Iterator[str]:
    experiment, scores = builtin_experiment(name), _scores(run(name, data, out))
    target = str(scores["target"].to_numpy()[0])
    table = summarise(scores).xs(target, level="target")
    leads = [lead for lead in _SHOWN_LEADS if lead in scores["lead"]]
    yield f"#### {name}\n"
    yield f"{experiment.about.strip()}\n"
    yield (
        "| Run | differs by | " + " | ".join(f"{lead} d" for lead in leads) + " | CRPS, mean of days | cover of 90 % |"
    )
    yield "|:--|:--|" + "--:|" * (len(leads) + 2)
    for label in scores["model"].to_numpy():
        of_model = table.xs(label, level="model")
        values = [f"{of_model['ratio_median'][lead]:.3f}" for lead in leads]
        covered = of_model["coverage_90_mean"].mean()
        values += [f"{of_model['crps_median'].mean():.5f}", f"{covered:.3f}" if np.isfinite(covered) else "–"]
        keys = experiment.runs.get(str(label))
        name = f"*{label}*" if keys is None else label
        changes = "" if keys is None else f"`{json.dumps(keys)}`" if keys else "the first row"
        yield f"| {name} | {changes} | " + " | ".join(values) + " |"
    yield ""


def _scores(folder: Path) -> xr.Dataset:
    return open_artifact(folder / "scores" / "scores.nc", "scores").load()


MULTIDAY: dict[str, Callable[[Path, Path], Iterator[str]]] = {
    "multiday": experiments,
    **{name: partial(_search, name) for name in SEARCHES},
}
"""Region of docs/results.md on forecasts of several days -> what writes it."""
