"""How the response to rain travels down: later and smaller with depth in the cube, and in the run?"""

from __future__ import annotations

from soilcast.auditing.estimates import Estimate
from soilcast.auditing.findings import Finding, Row
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
            about = {"group": group, "layer": layer, "samples": found.count[group]}
            known = [one.map(day) if one.value.size and _is_known(one) else one[0] for one in both]
            rows.append(Row.of(*known, absolute=_ONE_DAY, quantity=LAG, units="d", **about))
            sizes = both[0].map(largest), both[1].map(largest)
            if above is not None:
                shares = [size.over(other) for size, other in zip(sizes, above, strict=True)]
                rows.append(Row.of(*shares, relative=METHOD_ERROR, quantity=SHARE, units="1", **about))
            above = sizes
    return Finding(tuple(rows))


def _is_known(response: Estimate) -> bool:
    return bool((response.value == response.value).any())
