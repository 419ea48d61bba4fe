"""The verdict in plain sentences, generated from the numbers and true in either direction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from soilcast.reporting.scores import PERSISTENCE, networks
from soilcast.reporting.style import pretty_units
from soilcast.reporting.tables import number, ordered, summarised
from soilcast.verify.metrics import METRICS
from soilcast.verify.summary import summarise

UNTESTED = "Differences are not tested for significance."
PLAIN = "LSTM"
"""Label of the network without a physical loss, to which the physics-guided ones are compared."""


def verdict(scores: xr.Dataset) -> list[str]:
    """Say how the networks stand to persistence, to the other baselines and to the plain LSTM.

    The area-weighted median RMSE decides; where the mean says the opposite, that is said too.

    Returns
    -------
    Sentences, plain text (not escaped); the last one says that significance is not tested.
    """
    summary = summarise(scores)
    rmse = summary["rmse_median"].astype(float)
    rivals = [label for label in networks(scores) if np.isfinite(rmse[label])]
    if not networks(scores):
        return ["Only baselines were scored: there is no network to judge."]
    if not rivals or not np.isfinite(rmse[PERSISTENCE]):
        return ["No verdict: the networks and persistence have no cell with a finite RMSE in common."]
    champion = str(rmse[rivals].idxmin())
    return [
        _against_persistence(rmse, rivals, champion),
        *_mean_disagrees(summary, champion),
        *_won_area(scores, champion),
        *_against_baselines(scores, rmse, champion),
        *_against_plain(rmse, rivals),
        UNTESTED,
    ]


def _against_persistence(rmse: pd.Series[float], rivals: list[str], champion: str) -> str:
    ours, theirs = _show(rmse[champion]), _show(rmse[PERSISTENCE])
    unit = pretty_units(METRICS["rmse"].units)
    numbers = f"a median RMSE of {ours} against {theirs} {unit} of persistence"
    if ours == theirs:
        return f"The best network only equals persistence to the digits shown: {champion} with {numbers}."
    share = _percent(rmse[champion], rmse[PERSISTENCE])
    if rmse[champion] > rmse[PERSISTENCE]:
        subject = (
            "No network beats persistence: best is" if len(rivals) > 1 else "The network does not beat persistence:"
        )
        return f"{subject} {champion} with {numbers} ({share} higher)."
    winners = [label for label in rivals if _show(rmse[label]) != theirs and rmse[label] < rmse[PERSISTENCE]]
    if len(rivals) == 1:
        return f"{champion} beats persistence, with {numbers} ({share} lower)."
    how_many = "All" if len(winners) == len(rivals) else f"{len(winners)} of"
    verb = "beats" if len(winners) == 1 else "beat"
    return f"{how_many} {len(rivals)} networks {verb} persistence; best is {champion} with {numbers} ({share} lower)."


def _mean_disagrees(summary: pd.DataFrame, champion: str) -> list[str]:
    ours, theirs = (summarised(summary, label, "rmse", "mean") for label in (champion, PERSISTENCE))
    median = summarised(summary, champion, "rmse", "median") - summarised(summary, PERSISTENCE, "rmse", "median")
    if not np.isfinite(ours - theirs) or _show(ours) == _show(theirs) or (ours - theirs) * median >= 0:
        return []
    return [f"By the mean over the area it is the other way round: {_show(ours)} against {_show(theirs)}."]


def _won_area(scores: xr.Dataset, champion: str) -> list[str]:
    skill = scores["skill"].sel(model=champion).to_numpy()
    area = np.where(np.isfinite(skill), scores["area"].to_numpy(), 0.0)
    if area.sum() <= 0:
        return []
    share = float(area[skill > 0].sum() / area.sum())
    return [
        f"{champion} has a lower error than persistence on {100 * share:.0f}\N{NO-BREAK SPACE}% of the scored area."
    ]


def _against_baselines(scores: xr.Dataset, rmse: pd.Series[float], champion: str) -> list[str]:
    baselines = [label for label in ordered(scores) if label not in networks(scores) and np.isfinite(rmse[label])]
    strongest = str(rmse[baselines].idxmin())
    ours, theirs = _show(rmse[champion]), _show(rmse[strongest])
    if strongest == PERSISTENCE or ours == theirs or rmse[champion] < rmse[strongest]:
        return []
    return [f"The strongest baseline, {strongest}, is better than every network: {theirs} against {ours}."]


def _against_plain(rmse: pd.Series[float], rivals: list[str]) -> list[str]:
    guided = [label for label in rivals if label != PLAIN]
    if PLAIN not in rivals or not guided:
        return []
    parts = []
    for label in guided:
        if _show(rmse[label]) == _show(rmse[PLAIN]):
            parts.append(f"{label} the same")
        else:
            word = "lower" if rmse[label] < rmse[PLAIN] else "higher"
            parts.append(f"{label} {_percent(rmse[label], rmse[PLAIN])} {word}")
    return [f"Against the plain {PLAIN} ({_show(rmse[PLAIN])}), the median RMSE is: {', '.join(parts)}."]


def _show(value: float) -> str:
    return number(float(value), "rmse")


def _percent(value: float, reference: float) -> str:
    if reference == 0:
        return "infinitely"
    change = 100 * abs(value / reference - 1)
    return f"{change:.0f}\N{NO-BREAK SPACE}%" if change >= 10 else f"{change:.1f}\N{NO-BREAK SPACE}%"
