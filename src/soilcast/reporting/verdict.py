"""The verdict in plain sentences, generated from the numbers and true in either direction."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from soilcast.reporting.artifacts import leads
from soilcast.reporting.over_cells import (
    against,
    best_network,
    best_with_intervals,
    cell_range,
    means,
    medians,
    ratios,
    rounded_for_print,
    summarised,
    summary_at,
    with_intervals,
)
from soilcast.reporting.scores import PERSISTENCE, baselines, guided_networks, networks, plain_network, targets
from soilcast.reporting.style import pretty_units
from soilcast.reporting.tables import number
from soilcast.reporting.wording import PERCENT, at_leads, enumerated, extent, knows_observed_weather
from soilcast.verify.metrics import METRICS
from soilcast.verify.summary import cell_weights

UNTESTED = "Differences are not tested for significance."
SIGNIFICANT = 0.05
"""p-value below which a difference is called significant."""

CALIBRATED = (0.88, 0.92)
"""A 90 % interval that covers as many of the observations is called about right."""

_DAMPED = "damped anomaly"
_BAND = f"88 to 92{PERCENT}"
_OBSERVED = "with observed weather"


def verdict(scores: xr.Dataset) -> list[str]:
    """State how the networks compare with the baselines and the plain network, and what their intervals cover.

    Of one lead the median RMSE over the cells decides; where the mean disagrees, that is stated too. Of several leads
    the median over the cells of the RMSE ratio decides. Either to the digits shown. A network that knew
    the observed weather of the days ahead is only compared in a sentence that says so.

    Returns
    -------
    Sentences, plain text (not escaped): of several targets the first is on all of them; then, if not all cells are
    scored, how many are; the last ones say what is tested for significance, or that nothing is.
    """
    if not networks(scores):
        return ["Only baselines were scored: there is no network to evaluate."]
    names = targets(scores)
    of_target = _next_day if scores.sizes["lead"] == 1 else _by_lead
    each = [
        f"{target}: {sentence}" if len(names) > 1 or of_target is _by_lead else sentence[:1].upper() + sentence[1:]
        for target in names
        for sentence in (*of_target(scores, target), *_significance(scores, target))
    ]
    tested = "difference_p" in scores and bool(np.isfinite(scores["difference_p"]).any())
    first, *remaining = [*([] if len(names) == 1 else [_over_all(scores)]), *each, *([] if tested else [UNTESTED])]
    return [first, *_of_some_cells(scores), *remaining]


def scored_cells(scores: xr.Dataset) -> tuple[int, int]:
    """Count the cells that have a score at any lead, and all cells of the cube."""
    scored = int(scores["rmse"].sel(model=PERSISTENCE).notnull().any(("target", "lead")).sum())
    return scored, int(scores.attrs.get("cells_total", scores.sizes["cell"]))


def wins(scores: xr.Dataset, target: str, label: str, baseline: str) -> npt.NDArray[np.bool_]:
    """Tell at which leads a model's median RMSE ratio to a baseline is below 1 to the digits shown, ``(lead,)``."""
    if baseline == PERSISTENCE:
        ratio = ratios(scores, target).sel(model=label)
    else:
        ratio = medians(scores, against(scores, target, baseline).sel(model=label))
    return np.asarray(rounded_for_print(ratio.to_numpy()) < 1)


def _of_some_cells(scores: xr.Dataset) -> list[str]:
    scored, total = scored_cells(scores)
    return [] if scored == total else [f"Only {scored} of {total} cells are scored."]


# One lead


def _next_day(scores: xr.Dataset, target: str) -> list[str]:
    summary = summary_at(scores, target, leads(scores)[0], ["rmse"])
    rmse = summary["rmse_median"].astype(float)
    rivals = [label for label in networks(scores) if np.isfinite(rmse[label])]
    if not rivals or not np.isfinite(rmse[PERSISTENCE]):
        return ["No verdict: the networks and persistence have no cell with a finite RMSE in common."]
    champion = str(rmse[rivals].idxmin())
    weather = f"{_OBSERVED.capitalize()}: " if knows_observed_weather(scores, champion) else ""
    return [
        weather + _against_persistence(rmse, rivals, champion),
        *_mean_disagrees(scores, summary, champion),
        *_won_area(scores, target, champion, weather),
        *_against_baselines(scores, rmse, champion),
        *_against_plain(scores, rmse, rivals),
        *(_coverage(scores, target) if with_intervals(scores, target) else []),
    ]


def _against_persistence(rmse: pd.Series[float], rivals: list[str], champion: str) -> str:
    best, reference = _show(rmse[champion]), _show(rmse[PERSISTENCE])
    unit = pretty_units(METRICS["rmse"].units)
    numbers = f"a median RMSE of {best} against {reference} {unit} of persistence"
    if best == reference:
        return f"The best network only equals persistence to the digits shown: {champion} with {numbers}."
    share = _percent(rmse[champion], rmse[PERSISTENCE])
    if rmse[champion] > rmse[PERSISTENCE]:
        subject = (
            "No network beats persistence: best is" if len(rivals) > 1 else "The network does not beat persistence:"
        )
        return f"{subject} {champion} with {numbers} ({share} higher)."
    winners = [label for label in rivals if _show(rmse[label]) != reference and rmse[label] < rmse[PERSISTENCE]]
    if len(rivals) == 1:
        return f"{champion} beats persistence, with {numbers} ({share} lower)."
    count = "All" if len(winners) == len(rivals) else f"{len(winners)} of"
    verb = "beats" if len(winners) == 1 else "beat"
    return f"{count} {len(rivals)} networks {verb} persistence; best is {champion} with {numbers} ({share} lower)."


def _mean_disagrees(scores: xr.Dataset, summary: pd.DataFrame, champion: str) -> list[str]:
    best, reference = (summarised(summary, label, "rmse", "mean") for label in (champion, PERSISTENCE))
    median = summarised(summary, champion, "rmse", "median") - summarised(summary, PERSISTENCE, "rmse", "median")
    if not np.isfinite(best - reference) or _show(best) == _show(reference) or (best - reference) * median >= 0:
        return []
    return [
        f"By the mean over the {extent(scores)} it is the other way round: {_show(best)} against {_show(reference)}."
    ]


def _won_area(scores: xr.Dataset, target: str, champion: str, weather: str) -> list[str]:
    skill = scores["skill"].sel(model=champion, target=target).isel(lead=0).to_numpy()
    weights = np.where(np.isfinite(skill), cell_weights(scores), 0.0)
    if weights.sum() <= 0:
        return []
    share = f"{100 * float(weights[skill > 0].sum() / weights.sum()):.0f}{PERCENT}"
    return [f"{weather}{champion} has a lower error than persistence on {share} of the scored {extent(scores)}."]


def _against_baselines(scores: xr.Dataset, rmse: pd.Series[float], champion: str) -> list[str]:
    strongest = str(rmse[[label for label in baselines(scores) if np.isfinite(rmse[label])]].idxmin())
    best, reference = _show(rmse[champion]), _show(rmse[strongest])
    if strongest == PERSISTENCE or best == reference or rmse[champion] < rmse[strongest]:
        return []
    return [f"The strongest baseline, {strongest}, is better than every network: {reference} against {best}."]


def _against_plain(scores: xr.Dataset, rmse: pd.Series[float], rivals: list[str]) -> list[str]:
    plain = plain_network(scores)
    guided = [label for label in guided_networks(scores) if label in rivals]
    if plain not in rivals or not guided:
        return []
    parts = []
    for label in guided:
        if _show(rmse[label]) == _show(rmse[plain]):
            parts.append(f"{label} the same")
        else:
            word = "lower" if rmse[label] < rmse[plain] else "higher"
            parts.append(f"{label} {_percent(rmse[label], rmse[plain])} {word}")
    return [f"Against the plain {plain} ({_show(rmse[plain])}), the median RMSE is: {', '.join(parts)}."]


# Several leads


def _over_all(scores: xr.Dataset) -> str:
    best = {target: best_network(scores, target) for target in targets(scores)}
    best_labels = {target: label for target, label in best.items() if label is not None}
    if not best_labels:
        return "No verdict: the networks and persistence have no cell with an error in common."
    scored = {target: np.isfinite(ratios(scores, target).sel(model=label)) for target, label in best_labels.items()}
    total = sum(int(has_ratio.sum()) for has_ratio in scored.values())
    parts = []
    for baseline in baselines(scores):
        won = sum(int(wins(scores, target, label, baseline).sum()) for target, label in best_labels.items())
        parts.append(f"{_with_article(baseline)} at {'all' if won == total else f'{won} of'} {total}")
    observed = any(knows_observed_weather(scores, label) for label in best_labels.values())
    weather = f"{_OBSERVED} " if observed else ""
    return f"Over {total} pairs of target and lead, {weather}the best network of each target beats {enumerated(parts)}."


def _by_lead(scores: xr.Dataset, target: str) -> list[str]:
    return [_standing(scores, target), *_coverage(scores, target)]


def _standing(scores: xr.Dataset, target: str) -> str:
    label = best_network(scores, target)
    if label is None:
        return "no verdict, as the networks and persistence have no cell with an error in common."
    lead_days = leads(scores)
    ratio = ratios(scores, target).sel(model=label).to_numpy()
    first, last = (number(float(value), "ratio") for value in ratio[[0, -1]])
    numbers = f"(median RMSE ratio {first} at lead {lead_days[0]} and {last} at lead {lead_days[-1]})"
    won = {baseline: wins(scores, target, label, baseline) for baseline in baselines(scores)}
    others = [f"{_with_article(name)} at {at_leads(lead_days, won[name])}" for name in won if name != PERSISTENCE]
    observed = knows_observed_weather(scores, label)
    weather, it = (f"{_OBSERVED} ", f"{_OBSERVED.capitalize()} it") if observed else ("", "It")
    addition = f" {it} beats {enumerated(others)}." if others else ""
    if won[PERSISTENCE].any():
        return f"{weather}{label} beats persistence at {at_leads(lead_days, won[PERSISTENCE])} {numbers}.{addition}"
    statement = f"no network beats persistence at any lead; best is {label}"
    if len(networks(scores)) == 1:
        statement = f"{label} beats persistence at no lead"
    return f"{weather}{statement} {numbers}.{addition}"


# Intervals and tests, of any number of leads


def _coverage(scores: xr.Dataset, target: str) -> list[str]:
    """State what share of the observations is in the 90 % interval of the best network that has one."""
    if not with_intervals(scores, target):
        return ["no network gives intervals."]
    label = best_with_intervals(scores, target)
    if label is None:
        return []
    return [_coverage_over_cells(scores, target, label), *_coverage_of_cells(scores, target, label)]


def _coverage_of_cells(scores: xr.Dataset, target: str, label: str) -> list[str]:
    """State the range over single cells, which a mean over them hides."""
    ends = cell_range(scores, "coverage_90", target).sel(model=label).to_numpy()
    lowest, highest = (f"{100 * end:.0f}" for end in (np.nanmin(ends), np.nanmax(ends)))
    return [] if lowest == highest else [f"in single cells it covers {lowest} to {highest}{PERCENT}."]


def _coverage_over_cells(scores: xr.Dataset, target: str, label: str) -> str:
    covered = means(scores, scores["coverage_90"].sel(target=target, model=label)).to_numpy()
    valid = covered[np.isfinite(covered)]
    low, high = (f"{100 * share:.1f}" for share in (valid.min(), valid.max()))
    shares = f"{low}{PERCENT}" if low == high else f"{low} to {high}{PERCENT}"
    text = f"the 90{PERCENT} interval of {label} covers {shares} of the observations"
    every = " at every lead" if len(valid) > 1 else ""
    calibrated = (rounded_for_print(covered) >= CALIBRATED[0]) & (rounded_for_print(covered) <= CALIBRATED[1])
    if calibrated.all():
        return f"{text}: about 90{PERCENT} ({_BAND}) at {at_leads(leads(scores), calibrated)}."
    if valid.min() > CALIBRATED[1]:
        return f"{text}: more than {_BAND}{every}, so the interval is too wide."
    if valid.max() < CALIBRATED[0]:
        return f"{text}: less than {_BAND}{every}, so the interval is too narrow."
    return f"{text}: about 90{PERCENT} ({_BAND}) only at {at_leads(leads(scores), calibrated)}."


def _significance(scores: xr.Dataset, target: str) -> list[str]:
    """State at which leads the RMSE of the best network differs significantly from that of each baseline."""
    label = best_network(scores, target)
    if "difference" not in scores or label is None:
        return []
    lead_days, lower, higher = leads(scores), [], []
    for baseline in baselines(scores):
        try:
            selection = {"tested_metric": "rmse", "row": label, "reference": baseline, "target": target}
            tested = scores[["difference", "difference_p"]].sel(selection)
        except KeyError:  # rows of several seeds have names of their own, and references are chosen
            continue
        difference, p = tested["difference"].to_numpy(), tested["difference_p"].to_numpy()
        if not np.isfinite(p).any():  # too short a test period
            continue
        significant = p < SIGNIFICANT
        lower.append(f"that of {_with_article(baseline)} at {at_leads(lead_days, significant & (difference < 0))}")
        if (significant & (difference > 0)).any():
            higher.append(f"that of {_with_article(baseline)} at {at_leads(lead_days, significant & (difference > 0))}")
    if not lower:
        return []
    weather = f", {_OBSERVED}," if knows_observed_weather(scores, label) else ""
    addition = f", and significantly higher than {enumerated(higher)}" if higher else ""
    text = f"the median RMSE of {label}{weather} is significantly (p < {SIGNIFICANT}) lower than"
    return [f"{text} {enumerated(lower)}{addition}."]


def _with_article(baseline: str) -> str:
    return f"the {baseline}" if baseline == _DAMPED else baseline


def _show(value: float) -> str:
    return number(float(value), "rmse")


def _percent(value: float, reference: float) -> str:
    if reference == 0:
        return "infinitely"
    change = 100 * abs(value / reference - 1)
    return f"{change:.0f}{PERCENT}" if change >= 10 else f"{change:.1f}{PERCENT}"
