"""Box plots of the cells by their climate."""

from __future__ import annotations

import matplotlib
import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.reporting import html
from soilcast.reporting.artifacts import end_leads
from soilcast.reporting.figures import DEEP, LOOK, PLAIN_NUMBERS, canvas, draw_boxes, svg
from soilcast.reporting.scores import PERSISTENCE, networks, targets
from soilcast.reporting.sections.score_maps import SKILL_NOTE, mapped_models
from soilcast.reporting.style import colours
from soilcast.reporting.tables import head, metrics_in, plain_head
from soilcast.reporting.wording import ahead, target_words
from soilcast.verify.climate import CLIMATES, cells_in
from soilcast.verify.metrics import METRICS

_BOXED = ("rmse", "skill", "r", "kge")


def zones(scores: xr.Dataset) -> html.Markup:
    """Draw box plots per main climate, at the first and the last lead."""
    palette = colours(scores)
    key = html.legend({label: palette[label] for label in [*networks(scores), PERSISTENCE]})
    text = (
        "Main climates of Köppen and Geiger. Boxes hold the middle half of the cells, the median in white; whiskers "
        "run from the 5th to the 95th percentile; every cell counts once. An axis that reaches far below −1 is "
        "logarithmic there."
    )
    is_single = scores.sizes["target"] == scores.sizes["lead"] == 1
    parts = []
    for target in targets(scores):
        for lead in end_leads(scores):
            blocks = _blocks(scores.sel(target=target, lead=lead))
            if blocks:
                heading = "" if is_single else html.heading(f"{target_words(target)}, {ahead(lead)}")
                parts += [heading, html.panels(blocks)]
    if not parts:
        return html.paragraph("No scored cell has a climate zone.", note=True)
    return html.paragraph(text, note=True) + key + html.joined(parts)


def zone_boxes(scores: xr.Dataset, metric: str, labels: list[str]) -> str | None:
    """Box plots of one metric per main climate, the models side by side; None where no cell has a value and a zone.

    Boxes hold the middle half of the cells, whiskers run from the 5th to the 95th percentile. Where they go deep,
    the axis is logarithmic beyond -1 .. 1: where soil moisture hardly moves, skill falls without bound.

    Parameters
    ----------
    scores
        Of one target and lead: metrics ``(model, cell)``.
    metric, labels
        What is drawn, of which models.
    """
    zone = scores["climate_zone"].to_numpy()
    palette = colours(scores)
    groups: dict[str, list[npt.NDArray[np.float64]]] = {}
    for climate in CLIMATES:
        inside = cells_in(climate, zone)
        samples = [_finite(scores[metric].sel(model=label).to_numpy()[inside]) for label in labels]
        if any(len(sample) for sample in samples):
            groups[f"{climate.letter} {climate.name}\n{int(inside.sum())} cells"] = samples
    if not groups:
        return None
    with matplotlib.rc_context(LOOK):
        figure, axes = canvas(5.6, 3.2)
        draw_boxes(axes, groups, [palette[label] for label in labels])
        axes.set_xticks(range(len(groups)), list(groups), fontsize=8.5)
        if METRICS[metric].units == "1" and axes.get_ylim()[0] < 0:
            axes.axhline(0, color="#9aa1ab", linewidth=0.9)
        if axes.get_ylim()[0] < DEEP:
            lowest = axes.get_ylim()[0]
            axes.set_yscale("symlog", linthresh=1.0, linscale=1.0)
            axes.set_ylim(2 * lowest, 1.0)
            axes.yaxis.set_major_formatter(PLAIN_NUMBERS)
        axes.set_ylabel(plain_head(metric))
        return svg(figure)


def _blocks(scores: xr.Dataset) -> list[str]:
    """Give the figures of one target and lead."""
    drawn = {metric: zone_boxes(scores, metric, mapped_models(scores, metric)) for metric in metrics_in(scores, _BOXED)}
    return [
        html.picture(uri, head(metric), SKILL_NOTE if metric == "skill" else "") for metric, uri in drawn.items() if uri
    ]


def _finite(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return values[np.isfinite(values)]
