"""The verdict on outlooks in plain sentences: at which leads the best network wins, and whether its intervals hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.reporting.outlook_scores import (
    DAMPED,
    against,
    as_shown,
    baselines,
    best_network,
    leads,
    means,
    medians,
    ratios,
    targets,
    with_intervals,
)
from soilcast.reporting.scores import PERSISTENCE, networks
from soilcast.reporting.tables import number
from soilcast.reporting.verdict import UNTESTED

HELD = (0.88, 0.92)
"""A 90 % interval that covers as many of the observations is said to hold."""

_PERCENT = "\N{NO-BREAK SPACE}%"


def outlook_verdict(scores: xr.Dataset) -> list[str]:
    """Say for each target how the best network stands to the baselines, and how many observations its interval covers.

    The area-weighted median over the cells of the RMSE ratio decides, to the digits shown.

    Returns
    -------
    Sentences, plain text (not escaped): the first on all targets, then two a target; the last one says that
    significance is not tested.
    """
    if not networks(scores):
        return ["Only baselines were scored: there is no network to judge."]
    names = targets(scores)
    each = [sentence for target in names for sentence in (_standing(scores, target), *_coverage(scores, target))]
    return [*([] if len(names) == 1 else [_over_all(scores)]), *each, UNTESTED]


def wins(scores: xr.Dataset, target: str, label: str, baseline: str) -> npt.NDArray[np.bool_]:
    """Tell at which leads a model's median RMSE ratio to a baseline is below 1 to the digits shown, ``(lead,)``."""
    if baseline == PERSISTENCE:
        ratio = ratios(scores, target).sel(model=label)
    else:
        ratio = medians(scores, against(scores, target, baseline).sel(model=label))
    return np.asarray(as_shown(ratio.to_numpy()) < 1)


def _over_all(scores: xr.Dataset) -> str:
    known = {target: best_network(scores, target) for target in targets(scores)}
    judged = {target: label for target, label in known.items() if label is not None}
    if not judged:
        return "No verdict: the networks and persistence have no cell with an error in common."
    scored = {target: np.isfinite(ratios(scores, target).sel(model=label)) for target, label in judged.items()}
    total = sum(int(there.sum()) for there in scored.values())
    parts = []
    for baseline in baselines(scores):
        won = sum(int(wins(scores, target, label, baseline).sum()) for target, label in judged.items())
        parts.append(f"{_named(baseline)} at {'all' if won == total else f'{won} of'} {total}")
    return f"Over {total} pairs of target and lead, the best network of each target beats {_listed(parts)}."


def _standing(scores: xr.Dataset, target: str) -> str:
    label = best_network(scores, target)
    if label is None:
        return f"{target}: no verdict, as the networks and persistence have no cell with an error in common."
    there = leads(scores)
    ratio = ratios(scores, target).sel(model=label).to_numpy()
    first, last = (number(float(one), "ratio") for one in ratio[[0, -1]])
    numbers = f"median RMSE ratio {first}"
    if len(there) > 1:
        numbers += f" at lead {there[0]} and {last} at lead {there[-1]}"
    won = {baseline: wins(scores, target, label, baseline) for baseline in baselines(scores)}
    others = [f"{_named(baseline)} at {_at(there, won[baseline])}" for baseline in won if baseline != PERSISTENCE]
    rest = f" It beats {_listed(others)}." if others else ""
    if not won[PERSISTENCE].any():
        which = f"no network beats persistence at any lead; best is {label}"
        if len(networks(scores)) == 1:
            which = f"{label} beats persistence at no lead"
        return f"{target}: {which} ({numbers}).{rest}"
    return f"{target}: {label} beats persistence at {_at(there, won[PERSISTENCE])} ({numbers}).{rest}"


def _coverage(scores: xr.Dataset, target: str) -> list[str]:
    """Say what share of the observations lies in the 90 % interval of the best network that has one."""
    inside = with_intervals(scores, target)
    if not inside:
        return [f"{target}: no network gives intervals."]
    label = best_network(scores.sel(model=[*inside, PERSISTENCE]), target)
    if label is None:
        return []
    covered = means(scores, scores["coverage_90"].sel(target=target, model=label)).to_numpy()
    known = covered[np.isfinite(covered)]
    low, high = (f"{100 * share:.1f}" for share in (known.min(), known.max()))
    shares = f"{low}{_PERCENT}" if low == high else f"{low} to {high}{_PERCENT}"
    text = f"{target}: the 90{_PERCENT} interval of {label} covers {shares} of the observations"
    held = (as_shown(covered) >= HELD[0]) & (as_shown(covered) <= HELD[1])
    band = f"88 to 92{_PERCENT}"
    if held.all():
        return [f"{text}: about 90{_PERCENT} ({band}) at {_at(leads(scores), held)}."]
    if known.min() > HELD[1]:
        return [f"{text}: more than {band} at every lead, so the interval is too wide."]
    if known.max() < HELD[0]:
        return [f"{text}: less than {band} at every lead, so the interval is too narrow."]
    return [f"{text}: about 90{_PERCENT} ({band}) only at {_at(leads(scores), held)}."]


def _at(there: Sequence[int], chosen: npt.NDArray[np.bool_]) -> str:
    """Name leads: all 10 leads; 4 of 10 leads (1 to 3, 7); no lead."""
    if not chosen.any():
        return "no lead"
    if len(there) == 1:
        return f"lead {there[0]}"
    if chosen.all():
        return f"all {len(there)} leads"
    runs: list[list[int]] = []
    for position in np.flatnonzero(chosen):
        if runs and runs[-1][-1] == position - 1:
            runs[-1].append(int(position))
        else:
            runs.append([int(position)])
    spans = [f"{there[run[0]]}" if len(run) == 1 else f"{there[run[0]]} to {there[run[-1]]}" for run in runs]
    return f"{int(chosen.sum())} of {len(there)} leads ({', '.join(spans)})"


def _named(baseline: str) -> str:
    return f"the {baseline}" if baseline == DAMPED else baseline


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
