"""How the response to rain travels down: later and smaller with depth in the cube, and in the run?"""

from __future__ import annotations

import numpy as np

from soilcast.auditing.estimates import NONE, Estimate
from soilcast.auditing.findings import About, Finding, Row
from soilcast.auditing.rain_pulse import METHOD_ERROR, day_of_largest, largest, responses
from soilcast.auditing.subject import Array, Subject

LAG, SHARE = "day of the largest response", "largest response as a share of that of the layer above"

_ONE_DAY = 1.0


def deep_layers(subject: Subject) -> Finding:
    """Compare the day of the largest response, and its size beside that of the layer above, from the surface down."""
    layers = sorted(subject.task.layers)
    if len(layers) < 2:
        return Finding(notes=("The run forecasts one layer, so nothing is found of how rain travels down.",))
    found = responses(subject)
    if isinstance(found, str):
        return Finding()  # the probe of the pulse says why

    def day(response: Array) -> Array:
        return found.since[day_of_largest(response)].astype(float)

    rows = []
    for group in found.run:
        above: tuple[Estimate, Estimate] | None = None
        for layer in layers:
            both = found.of(subject.task, group, layer)
            about: About = {"group": group, "layer": layer, "samples": found.count[group]}
            days = [one.map(day) if np.isfinite(one.value).any() else NONE for one in both]
            rows.append(Row.of(LAG, "d", *days, absolute=_ONE_DAY, **about))
            sizes = both[0].map(largest), both[1].map(largest)
            if above is not None:
                shares = [size.over(other) for size, other in zip(sizes, above, strict=True)]
                rows.append(Row.of(SHARE, "1", *shares, relative=METHOD_ERROR, **about))
            above = sizes
    return Finding(tuple(rows))
