"""The verdict in plain sentences, generated from the numbers and true in either direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from soilcast.reporting.artifacts import leads
from soilcast.reporting.comparisons import Comparison, best_baselines, compare, joined, not_detected, statements
from soilcast.reporting.over_cells import (
    best_network,
    cell_range,
    errors_shown,
    means,
    rounded_for_print,
    summarised,
    summary_at,
    with_intervals,
)
from soilcast.reporting.scores import PERSISTENCE, guided_networks, networks, not_converged, plain_network, targets
from soilcast.reporting.style import pretty_units
from soilcast.reporting.tables import number
from soilcast.reporting.wording import PERCENT, at_leads, enumerated, extent, weather_ahead, weather_of
from soilcast.training.run_record import NOT_CONVERGED
from soilcast.verify.estimates import FALSE_DISCOVERIES
from soilcast.verify.metrics import METRICS
from soilcast.verify.summary import cell_weights

UNTESTED = "Differences are not tested for significance."
TESTED = (
    "Significant: by the p-value adjusted for all tested differences, with a false discovery rate of "
    f"{100 * FALSE_DISCOVERIES:.0f}{PERCENT}; tested over days only, since each network is one training."
)

CALIBRATED = (0.88, 0.92)
"""A 90 % interval that covers as many of the observations is called about right."""

_NONE, _OBSERVED = "none", "observed"
_BAND = f"88 to 92{PERCENT}"


def verdict(scores: xr.Dataset) -> list[str]:
    """State how the networks compare with the best baseline of each lead, and what their intervals cover.

    Networks are stated apart by the weather of the days ahead that they were given, which their sentences name: first
    those that know none, last those that know the observed weather, which alone are compared with baselines that know
    it too. Of each the best is compared, by the median over the cells: of one lead of the RMSE, of
    several leads of its ratio to persistence. Where a difference was tested, its adjusted p-value decides, else the
    digits shown.

    Returns
    -------
    Sentences, plain text (not escaped): of several targets the first are on all of them; then, if not all cells are
    scored, how many are; the last ones say which networks had not converged, and what is tested for significance.
    """
    if not networks(scores):
        return ["Only baselines were scored: there is no network to evaluate."]
    names = targets(scores)
    over_all = [*_over_all(scores)] if len(names) > 1 else []
    by_target = len(names) > 1 or scores.sizes["lead"] > 1
    each = [
        f"{target}: {sentence}" if by_target else _capitalised(sentence)
        for target in names
        for sentence in _of_target(scores, target)
    ]
    first, *remaining = [*over_all, *each, *_of_training(scores), *_of_tests(scores)]
    return [first, *_of_some_cells(scores), *remaining]


def scored_cells(scores: xr.Dataset) -> tuple[int, int]:
    """Count the cells that have a score at any lead, and all cells of the cube."""
    scored = int(scores["rmse"].sel(model=PERSISTENCE).notnull().any(("target", "lead")).sum())
    return scored, int(scores.attrs.get("cells_total", scores.sizes["cell"]))


def _of_some_cells(scores: xr.Dataset) -> list[str]:
    scored, total = scored_cells(scores)
    return [] if scored == total else [f"Only {scored} of {total} cells are scored."]


def _of_tests(scores: xr.Dataset) -> list[str]:
    if "difference_p_adjusted" not in scores or not np.isfinite(scores["difference_p_adjusted"]).any():
        return [UNTESTED]
    # Rows of several seeds have names of their own, of which no sentence is.
    return [TESTED] if set(networks(scores)) & {*map(str, scores["row"].to_numpy())} else []


def _of_training(scores: xr.Dataset) -> list[str]:
    labels = not_converged(scores)
    return [f"{enumerated(labels)}: {NOT_CONVERGED}."] if labels else []


def _by_weather(scores: xr.Dataset) -> dict[str, list[str]]:
    """Phrase for the weather of the days ahead -> the networks that were given it; observed weather last."""
    words = {label: weather_of(scores, label) for label in networks(scores)}
    order = sorted(dict.fromkeys(words.values()), key=lambda word: (word == _OBSERVED, word not in ("", _NONE)))
    return {weather_ahead(word): [label for label in words if words[label] == word] for word in order}


def _over_all(scores: xr.Dataset) -> Iterator[str]:
    """Count over all targets and leads how the best network of each target compares with the best baseline."""
    for phrase, labels in _by_weather(scores).items():
        compared = [one for target in targets(scores) for one in _against_best(scores, target, labels)]
        kinds = sorted({(one.sense, one.tested) for one in compared})
        groups = [[one for one in compared if (one.sense, one.tested) == kind] for kind in kinds]
        if groups:
            scope = f"over {len(compared)} pairs of target and lead the best network of each target"
            places = [(group, "the best baseline", f"{len(group)} of {len(compared)}") for group in groups]
            yield _capitalised(f"{_led(phrase)}{scope} {joined(places)}.")


def _of_target(scores: xr.Dataset, target: str) -> Iterator[str]:
    compared = False
    for phrase, labels in _by_weather(scores).items():
        sentences = _standing(scores, target, labels)
        compared |= bool(sentences)
        yield from (f"{_led(phrase)}{sentence}" for sentence in sentences[:1])
        # What follows is of the same network, and names the weather again where no forecaster knows it.
        phrase = "" if weather_of(scores, labels[0]) == _NONE else phrase
        yield from (f"{_led(phrase)}{sentence}" for sentence in (*sentences[1:], *_coverage(scores, target, labels)))
    if not compared:
        yield "no verdict, as the networks and the baselines have no cell with an error in common."
    if scores.sizes["lead"] > 1 and not with_intervals(scores, target):
        yield "no network gives intervals."


def _against_best(scores: xr.Dataset, target: str, labels: Sequence[str]) -> list[Comparison]:
    """Compare the best of some networks with the best baseline of each lead that knows no more of the weather."""
    label = best_network(scores, target, labels)
    if label is None:
        return []
    observed_weather = weather_of(scores, label) == _OBSERVED
    return compare(scores, target, label, best_baselines(scores, target, observed_weather=observed_weather))


def _standing(scores: xr.Dataset, target: str, labels: Sequence[str]) -> list[str]:
    """State how the best of some networks compares; nothing if none has an error."""
    compared, label = _against_best(scores, target, labels), best_network(scores, target, labels)
    if label is None or not compared:
        return []
    several = scores.sizes["lead"] > 1
    best = f"{label} (best of {len(labels)} networks)" if len(labels) > 1 else label
    against = f"against the best baseline{' of each lead' if several else ''}"
    standing = f"{against} {best} {statements(compared, scores)}"
    if several:
        lead_days, ratio = leads(scores), errors_shown(scores, target).sel(model=label).to_numpy()
        first, last = (number(float(value), "ratio") for value in ratio[[0, -1]])
        ends = f"{first} at lead {lead_days[0]} and {last} at lead {lead_days[-1]}"
        return [f"{standing}, with a median RMSE ratio to persistence of {ends}."]
    summary = summary_at(scores, target, compared[0].lead, ["rmse"])
    rmse, reference = summary["rmse_median"].astype(float), compared[0].reference
    mine, other = _show(rmse[label]), _show(rmse[reference])
    numbers = f"a median RMSE of {mine} against {other} {pretty_units(METRICS['rmse'].units)}"
    share = f" ({_change(rmse[label], rmse[reference])})" if mine != other else ""
    return [
        f"{standing}, with {numbers}{share}.",
        *_mean_disagrees(scores, summary, label, reference),
        *_won_area(scores, target, label),
        *_against_plain(scores, target, rmse, labels),
    ]


# One lead


def _mean_disagrees(scores: xr.Dataset, summary: pd.DataFrame, label: str, baseline: str) -> list[str]:
    best, reference = (summarised(summary, name, "rmse", "mean") for name in (label, baseline))
    median = summarised(summary, label, "rmse", "median") - summarised(summary, baseline, "rmse", "median")
    if not np.isfinite(best - reference) or _show(best) == _show(reference) or (best - reference) * median >= 0:
        return []
    return [
        f"by the mean over the {extent(scores)} it is the other way round: {_show(best)} against {_show(reference)}."
    ]


def _won_area(scores: xr.Dataset, target: str, label: str) -> list[str]:
    skill = scores["skill"].sel(model=label, target=target).isel(lead=0).to_numpy()
    weights = np.where(np.isfinite(skill), cell_weights(scores), 0.0)
    if weights.sum() <= 0:
        return []
    share = f"{100 * float(weights[skill > 0].sum() / weights.sum()):.0f}{PERCENT}"
    return [f"{label} has a lower error than persistence on {share} of the scored {extent(scores)}."]


def _against_plain(scores: xr.Dataset, target: str, rmse: pd.Series[float], labels: Sequence[str]) -> list[str]:
    plain = plain_network(scores)
    guided = [label for label in guided_networks(scores) if label in labels]
    if plain is None or plain not in labels:
        return []
    parts = []
    for label in guided:
        for one in compare(scores, target, label, [plain]):
            if one.sense == "same":
                parts.append(f"{label} {f'no difference found ({not_detected([one])})' if one.tested else 'the same'}")
            else:
                parts.append(f"{label} {_change(rmse[label], rmse[plain])}{' (significant)' if one.tested else ''}")
    text = f"against the plain {plain} ({_show(rmse[plain])}), the median RMSE is: {', '.join(parts)}."
    return [text] if parts else []


# Intervals, of any number of leads


def _coverage(scores: xr.Dataset, target: str, labels: Sequence[str]) -> list[str]:
    """State what share of the observations is in the 90 % interval of the best of some networks that has one."""
    label = best_network(scores, target, [label for label in with_intervals(scores, target) if label in labels])
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


def _led(phrase: str) -> str:
    return f"{phrase}, " if phrase else ""


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _show(value: float) -> str:
    return number(float(value), "rmse")


def _change(value: float, reference: float) -> str:
    """Difference in per cent of the reference, in words."""
    if reference == 0:
        return "infinitely higher"
    change = 100 * abs(value / reference - 1)
    size = f"{change:.0f}{PERCENT}" if change >= 10 else f"{change:.1f}{PERCENT}"
    return f"{size} {'lower' if value < reference else 'higher'}"
