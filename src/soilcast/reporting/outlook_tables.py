"""The table of outlooks: a row a model, a column a lead, the ratio to persistence above the RMSE."""

from __future__ import annotations

from html import escape

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.reporting.outlook_scores import as_shown, baselines, leads, medians, ratios
from soilcast.reporting.scores import PERSISTENCE, networks
from soilcast.reporting.tables import number


def lead_table(scores: xr.Dataset, target: str) -> str:
    """Draw the table of one target as HTML.

    Of the RMSE ratio to persistence and the RMSE [m3 m-3] the area-weighted medians over the cells. A ratio below 1 is
    tinted, the least of a lead has a dot, both by the digits shown.

    Parameters
    ----------
    scores
        Scores of outlooks.
    target
        The variable that is forecast.
    """
    labels = [*networks(scores), *baselines(scores)]
    ratio = ratios(scores, target).sel(model=labels).to_numpy()
    rmse = medians(scores, scores["rmse"].sel(target=target)).sel(model=labels).to_numpy()
    tinted, best = as_shown(ratio) < 1, _least(ratio)
    body = []
    for row, label in enumerate(labels):
        cells = []
        for column in range(ratio.shape[1]):
            kinds = [name for name, there in (("lead", tinted), ("top", best)) if there[row, column]]
            attribute = f' class="{" ".join(kinds)}"' if kinds else ""
            upper, lower = number(ratio[row, column], "ratio"), number(rmse[row, column], "rmse")
            cells.append(f"<td{attribute}><b>{upper}</b><i>{lower}</i></td>")
        kind = "network" if label in networks(scores) else "baseline"
        first = " first" if label == PERSISTENCE else ""
        body.append(f'<tr class="{kind}{first}"><th scope=row>{escape(label)}</th>{"".join(cells)}</tr>')
    heads = "".join(f"<th scope=col>{lead}</th>" for lead in leads(scores))
    return (
        '<div class="scroll"><table class="scores narrow"><thead><tr>'
        f'<th scope="col">Days ahead</th>{heads}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def _least(ratio: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Mark the least of each column and what ties with it to the digits shown; none where all tie."""
    rounded = np.where(np.isfinite(ratio), as_shown(ratio), np.inf)
    least = (rounded == rounded.min(axis=0)) & np.isfinite(rounded)
    return np.asarray(least & (least.sum(axis=0) < np.isfinite(rounded).sum(axis=0)))
