"""One look for every model and every metric, the same in all figures and maps of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import xarray as xr
from matplotlib.colors import Colormap, ListedColormap

from soilcast.colours import Colouring
from soilcast.reporting.scores import PERSISTENCE, baselines, networks
from soilcast.verify.metrics import METRICS, Metric

# Okabe and Ito (2008): distinguishable under every common form of colour blindness.
_NETWORKS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_BASELINES = ("#6b7280", "#9aa1ab", "#c3c8cf", "#7c6a54", "#ab9a84", "#54706a", "#8aa39d")
OBSERVED = "#111827"
RAIN = "#7aa6c9"


@dataclass(frozen=True)
class MapStyle:
    """How a metric is drawn on a map.

    Parameters
    ----------
    colours
        A matplotlib colour map that survives colour blindness, or its name.
    centred
        Whether 0 is the middle of the scale.
    low, high
        What the ends of the scale mean, in a word or two.
    reach
        Colours end at this distance from 0 at the latest: a metric without a lower bound would else be all one colour.
    """

    colours: str | Colormap
    centred: bool
    low: str
    high: str
    reach: float = float("inf")


def style_of_colouring(colouring: Colouring) -> MapStyle:
    """Give how a quantity is drawn on a map, as `soilcast.colours` has it."""
    colours = colouring.colours if isinstance(colouring.colours, str) else ListedColormap([*colouring.colours])
    return MapStyle(colours, colouring.centred, colouring.low, colouring.high)


MAPS: dict[str, MapStyle] = {
    "rmse": MapStyle("viridis", False, "small error", "large error"),
    "skill": MapStyle("RdBu", True, "worse than persistence", "better than persistence", reach=1.0),
    "r": MapStyle("cividis", False, "weak", "strong", reach=1.0),
    "kge": MapStyle("cividis", False, "poor", "good", reach=1.0),
    "bias": MapStyle("BrBG", True, "forecast too dry", "forecast too wet"),
}
"""The metrics of soilcast that are mapped, in the order of the page."""

_DEFAULTS: dict[str, MapStyle] = {
    "higher": MapStyle("cividis", False, "poor", "good"),
    "lower": MapStyle("viridis", False, "good", "poor"),
    "zero": MapStyle("BrBG", True, "too low", "too high"),
    "nominal": MapStyle("cividis", False, "low", "high"),
}
"""How a metric that somebody registered is mapped, by which of its values is best."""

DIFFERENCE = MapStyle("PuOr", True, "less consistent", "more consistent")
"""For the change of consistency against the plain network."""

IMPROVEMENT = MapStyle("RdBu", True, "less consistent", "more consistent")
"""The same in the colours of the paper's Figure 4: blue better, red worse."""


def style_of(metric: str, metrics: Mapping[str, Metric] = METRICS) -> MapStyle:
    """How a metric is drawn on a map: see `MAPS`; one that is not in it by which of its values is best."""
    return MAPS.get(metric, _DEFAULTS[metrics[metric].best])


def colours(scores: xr.Dataset) -> dict[str, str]:
    """Colour of every model: hues for networks, muted ones for baselines, the first greys."""
    return palette(networks(scores), baselines(scores))


def palette(networks: Sequence[str], baselines: Sequence[str]) -> dict[str, str]:
    """Colour of every label, of networks and of baselines: see `colours`."""
    greys = [PERSISTENCE, *(label for label in baselines if label != PERSISTENCE)]
    return _cycle(networks, _NETWORKS) | _cycle(greys, _BASELINES)


def pretty_units(units: str) -> str:
    """Units in print: ``m3 m-3`` becomes m³ m⁻³ without a line break; empty for a pure number."""
    if units in ("", "1"):
        return ""
    raised = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
    words = []
    for word in units.split():
        stem = word.rstrip("0123456789-")
        words.append(stem + word[len(stem) :].translate(raised))
    return "\N{NO-BREAK SPACE}".join(words)


def _cycle(labels: Sequence[str], palette: Sequence[str]) -> dict[str, str]:
    return {label: palette[position % len(palette)] for position, label in enumerate(labels)}
