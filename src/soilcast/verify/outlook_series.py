"""The few cells of outlooks that are shown as series: what was observed, and what was forecast on each issue day."""

from __future__ import annotations

import numpy as np
import xarray as xr

from soilcast.verify.blocks import GROUP
from soilcast.verify.outlook_blocks import OutlookCase, load_outlooks, open_outlook_files
from soilcast.verify.series import Positions, rain_of

_MOISTURE = {"units": "m3 m-3"}


def outlook_series(case: OutlookCase, picks: Positions, cube: xr.Dataset) -> dict[str, xr.Variable]:
    """Series of the picked cells.

    Parameters
    ----------
    case
        What is judged.
    picks
        Positions along cell, ``(pick,)``.
    cube
        The opened cube.

    Returns
    -------
    ``pick_cell(pick)``, ``observed(target, pick, day)``, ``predicted(model, target, pick, time, lead)``; if any model
    has quantiles, ``predicted_quantile(model, target, pick, time, lead, quantile)``, NaN where it has not; and, if the
    cube has it, ``precipitation(pick, day)`` [m d-1]. ``day`` are the test days, ``time`` the issue days.
    """
    levels = case.all_levels
    shape = (len(case.models), len(case.targets), len(picks), case.issues, case.leads)
    observed = np.empty((len(case.targets), len(picks), case.test.stop - case.test.start), dtype=np.float32)
    predicted = np.empty(shape, dtype=np.float32)
    quantiles = np.full((*shape, len(levels)), np.nan, dtype=np.float32)
    with open_outlook_files(case) as opened:
        for p, pick in enumerate(picks):
            first = int(pick) // GROUP * GROUP
            cells = slice(first, min(first + GROUP, cube.sizes["cell"]))
            for t, target in enumerate(case.targets):
                loaded = load_outlooks(case, opened, target, cells)
                observed[t, p] = loaded.history[pick - first, case.test]
                for m, (label, central) in enumerate(loaded.central.items()):
                    predicted[m, t, p] = central[pick - first]
                    if label in loaded.quantiles:
                        own = [levels.index(level) for level in case.levels[label][target]]
                        quantiles[m, t, p][..., own] = loaded.quantiles[label][pick - first]
    by_issue = ("model", "target", "pick", "time", "lead")
    series = {
        "pick_cell": xr.Variable("pick", picks, {"long_name": "position along cell of a cell that is shown"}),
        "observed": xr.Variable(("target", "pick", "day"), observed, {"long_name": "observed", **_MOISTURE}),
        "predicted": xr.Variable(by_issue, predicted, {"long_name": "forecast", **_MOISTURE}),
    }
    if levels:
        series["predicted_quantile"] = xr.Variable(
            (*by_issue, "quantile"), quantiles, {"long_name": "quantile of the forecast", **_MOISTURE}
        )
    return series | rain_of(picks, cube, case.test, "day")
