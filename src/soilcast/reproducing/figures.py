"""Figures 3 to 5: box plots by climate, maps of the change of consistency, series of a few cells."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from soilcast.cube import open_artifact, open_cube, read
from soilcast.models.baselines import BASELINES
from soilcast.reporting import html
from soilcast.reporting.figures import WIDE, day_axis, draw_boxes, draw_observed, on_screen, print_look, printed
from soilcast.reporting.maps import Canvas, robust_scale
from soilcast.reporting.scores import PERSISTENCE
from soilcast.reporting.style import IMPROVEMENT, OBSERVED, RAIN, palette, pretty_units
from soilcast.reporting.tables import head, number, plain, plain_head
from soilcast.reporting.wording import location_name
from soilcast.reproducing.claims import make_claim, signed, with_adjusted_p
from soilcast.reproducing.reported import SCORES
from soilcast.reproducing.section import Section, csv, listed, placeholder
from soilcast.reproducing.study_scores import StudyScores, guiding_reading
from soilcast.verify.climate import CLIMATE_SETS, Climate, cells_in, climate_of
from soilcast.verify.estimates import field_test
from soilcast.verify.kernels import skill_over
from soilcast.verify.series import pick_cells

_LOWEST = -1.0
"""Axes of R, R2 and KGE end here: a few cells whose soil moisture hardly varies would dominate them."""

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Array = npt.NDArray[np.float64]


def show_zones(scores: StudyScores) -> Section:
    """Figure 3: box plots of the scores by climate, the models side by side."""
    if "climate_zone" not in scores.cells:
        return placeholder("The cube has no climate zones: nothing to draw.")
    name, zones = scores.name, _zones(scores)
    if not zones:
        return placeholder("No cell has a climate zone: nothing to draw.")
    models = [*scores.networks, PERSISTENCE]
    colours = palette(scores.networks, list(BASELINES))
    with print_look():
        figure = Figure(figsize=(WIDE, 5.6), layout="constrained")
        for axes, metric, letter in zip(figure.subplots(2, 2).flat, SCORES, "ABCD", strict=True):
            groups = {
                f"{zone.letter}\n{inside.sum()}": [_by_cell(scores, model, metric, inside) for model in models]
                for zone, inside in zones.items()
            }
            draw_boxes(axes, groups, [colours[model] for model in models])
            axes.set_xticks(range(len(groups)), list(groups), fontsize=8 if len(groups) < 8 else 5.5)
            axes.set_title(f"{letter}  {plain_head(metric)}", loc="left")
            if metric != "rmse" and axes.get_ylim()[0] < _LOWEST:
                axes.set_ylim(_LOWEST, 1.02)
        patches = [Patch(color=colours[model], label=model) for model in models]
        figure.legend(handles=patches, loc="outside upper center", ncols=len(models))
        files, picture = printed(figure, name), on_screen(figure)
    names = ", ".join(f"{zone.letter} {zone.name}".strip() for zone in zones)
    quantity = f"soil moisture {scores.ahead}" if scores.ahead else "next-day soil moisture"
    caption = (
        f"Scores of {quantity} by climate of Köppen and Geiger ({names}; beneath each the number of cells). "
        "Every cell counts once, with its mean over the seeds; boxes hold the middle half, the median in white, "
        "whiskers run from the 5th to the 95th percentile. Axes of R, R² and KGE end at "
        f"{signed(_LOWEST, 0)}."
    )
    frame = _zone_frame(scores, zones, models)
    rows = frame[frame["sentence"] != ""].to_dict("records")
    first = [_in_zone(row) for row in rows if row["metric"] == "rmse"]
    others = [_in_zone(row) for row in rows if row["metric"] != "rmse"]
    folded = html.folded("The same in R, R² and KGE", html.listed(others))
    return _section(scores, files, picture, caption, frame, first, folded)


def show_consistency(scores: StudyScores) -> Section:
    """Figure 4: maps of the improvement of physical consistency over the reference."""
    metrics = {row: _guiding_metric(scores, row) for row in scores.others}
    rows = [row for row, metric in metrics.items() if metric in scores.sample.metrics]
    if scores.reference is None or not rows:
        return placeholder("There is no physics-guided network, or no water balance to evaluate it by.")
    name, reference = scores.name, scores.reference
    compared = [(row, metrics[row] + end) for row in rows for end in ("", "_masked")]
    fields = {
        (row, metric): field_test(scores.sample.compare_in_cells(row, reference, metric), metric, scores.sample.area)
        for row, metric in compared
    }
    scale = robust_scale(np.stack([field.difference for field in fields.values()]), IMPROVEMENT)
    if scale is None:
        return placeholder("No cell has a consistency to compare.")
    canvas = Canvas(scores.cells)
    height = WIDE / 2 * canvas.shape[0] / canvas.shape[1]
    with print_look():
        figure = Figure(figsize=(WIDE, (height + 0.25) * len(rows) + 0.6), layout="constrained")
        panels = figure.subplots(len(rows), 2, squeeze=False)
        for axes, (row, metric) in zip(panels.flat, compared, strict=True):
            field = fields[row, metric]
            canvas.draw(axes, field.difference, scale, field.better | field.worse, width=0.92 * WIDE / 2)
            axes.set_title(f"{row}, {head(metric).removeprefix('Consistency ')}", loc="left")
        colours = ScalarMappable(Normalize(100 * scale.low, 100 * scale.high), scale.style.colours)
        bar = figure.colorbar(colours, ax=panels, orientation="horizontal", shrink=0.6, aspect=40)
        bar.set_label(f"change of the share of consistent days against {reference} [percentage points]; blue better")
        files, picture = printed(figure, name), on_screen(figure)
    caption = (
        f"Improvement of physical consistency (Eq. 19) over {reference}, mean over the seeds; blue better, red worse. "
        "W1 is the balance without deep soil water, W2 the one with it; with the observed mask only the days count on "
        "which the observed soil moisture followed the balance (Eq. 13), which needs the day's observation. "
        f"{scores.compared_with}Dots: significant "
        "over days and seeds (false discovery rate 5 %). Grey land was not scored. Coast: Natural Earth."
    )
    sentences = [make_claim(scores, row, reference, metric).sentence() for row, metric in compared]
    table = _cell_table(scores.cells)
    frame = pd.concat(
        [
            table.assign(model=row, metric=metric, difference=field.difference, better=field.better, worse=field.worse)
            for (row, metric), field in fields.items()
        ]
    )
    return _section(scores, files, picture, caption, frame, sentences)


def show_series(scores: StudyScores) -> Section:
    """Figure 5: observed and forecast soil moisture of a cell of median skill in each climate, with its rain."""
    name = scores.name
    picks = pick_cells(_skills(scores))
    time, observed, predicted, rain = _series(scores, picks)
    colours = palette(scores.networks, list(BASELINES))
    with print_look():
        figure = Figure(figsize=(WIDE, 1.75 * len(picks) + 0.5), layout="constrained")
        rows = figure.subplots(2 * len(picks), 1, sharex=True, height_ratios=[1, 2.6] * len(picks), squeeze=False)[:, 0]
        for number_, (above, axes) in enumerate(zip(rows[::2], rows[1::2], strict=True)):
            if rain is not None:
                above.bar(time, 1000 * np.nan_to_num(rain[number_]), width=1.0, color=RAIN, linewidth=0)
            above.set_ylabel(f"rain\n[{pretty_units('mm d-1')}]", fontsize=6)
            above.tick_params(labelsize=6)
            above.set_title(_location(scores, picks[number_]), loc="left")
            draw_observed(axes, time, observed[number_], width=1.1)
            for row in scores.networks:
                axes.plot(time, predicted[row][number_], color=colours[row], linewidth=0.8)
            axes.set_ylabel(f"soil moisture\n[{pretty_units('m3 m-3')}]", fontsize=6.5)
            axes.tick_params(labelsize=6.5)
        day_axis(rows[-1], time[0], time[-1], 12)
        shown = {"observed": OBSERVED} | {row: colours[row] for row in scores.networks}
        lines = [Line2D([], [], color=colour, label=label) for label, colour in shown.items()]
        figure.legend(handles=lines, loc="outside upper center", ncols=len(lines))
        files, picture = printed(figure, name), on_screen(figure)
    caption = (
        "Observed and forecast soil moisture of the test period, mean over the seeds, and rain above it. Cells are "
        "chosen automatically: in each main climate the one of median skill against persistence, where they are in two "
        "climates or more; else those at the quantiles 0.1, 0.5 and 0.9 of the RMSE."
    )
    frame = pd.DataFrame(
        {
            "time": np.tile(time.astype("datetime64[D]").astype(str), len(picks)),
            "cell": np.repeat(scores.cells["cell"].to_numpy()[picks], len(time)),
            "lat": np.repeat(scores.cells["lat"].to_numpy()[picks], len(time)),
            "lon": np.repeat(scores.cells["lon"].to_numpy()[picks], len(time)),
            "observed": observed.ravel(),
            **({} if rain is None else {"precipitation": rain.ravel()}),
            **{row: values.ravel() for row, values in predicted.items()},
        }
    )
    errors = [f"{_location(scores, pick)}: RMSE {_errors(scores, int(pick))}." for pick in picks]
    return _section(scores, files, picture, caption, frame, errors)


def _zones(scores: StudyScores) -> dict[Climate, npt.NDArray[np.bool_]]:
    zone = scores.cells["climate_zone"].to_numpy()
    scored = np.isfinite(scores.sample.cells[scores.networks[0]]["rmse"]).any(axis=0)
    zones = {climate: cells_in(climate, zone) & scored for climate in CLIMATE_SETS[scores.plan.zones]}
    return {climate: inside for climate, inside in zones.items() if inside.any()}


def _by_cell(scores: StudyScores, model: str, metric: str, inside: npt.NDArray[np.bool_]) -> Array:
    values = scores.sample.cells[model][metric].mean(axis=0)[inside]
    return np.asarray(values[np.isfinite(values)])


def _zone_frame(
    scores: StudyScores, zones: dict[Climate, npt.NDArray[np.bool_]], models: Sequence[str]
) -> pd.DataFrame:
    """One row a climate, metric and model: the box, and the comparison of the model with the reference."""
    records = []
    of_zones = with_adjusted_p([scores.among(inside) for inside in zones.values()])
    for (zone, inside), zone_scores in zip(zones.items(), of_zones, strict=True):
        for metric in SCORES:
            for model in models:
                values = _by_cell(scores, model, metric, inside)
                quantiles = np.quantile(values, _QUANTILES) if len(values) else np.full(len(_QUANTILES), np.nan)
                record: dict[str, object] = {"climate": zone.letter, "name": zone.name}
                record |= {"metric": metric, "model": model}
                record |= {f"q{100 * share:02.0f}": value for share, value in zip(_QUANTILES, quantiles, strict=True)}
                record |= {"cells": len(values), "verdict": "", "sentence": ""}
                if model in scores.others and scores.reference is not None and len(values):
                    claim = make_claim(zone_scores, model, scores.reference, metric)
                    record |= {"verdict": claim.verdict, "sentence": claim.sentence()}
                records.append(record)
    return pd.DataFrame(records)


def _in_zone(row: Mapping[Hashable, object]) -> str:
    return f"{row['climate']} {row['name']}".strip() + f": {row['sentence']}"


def _guiding_metric(scores: StudyScores, row: str) -> str:
    reading = guiding_reading(scores.plan.rows[row])
    return "" if reading is None else {"single": "consistency_w1", "multi": "consistency_w2"}[reading[0]]


def _skills(scores: StudyScores) -> xr.Dataset:
    """Input of `pick_cells`: RMSE and skill of the networks, mean over the seeds."""
    errors = {row: scores.sample.cells[row]["rmse"].mean(axis=0) for row in scores.networks}
    persistence = scores.sample.cells[PERSISTENCE]["rmse"][0]
    rmse = np.stack(list(errors.values()))
    skill = skill_over(rmse, persistence, scores.blocks.moves)
    skills = xr.Dataset(
        {"rmse": (("model", "cell"), rmse), "skill": (("model", "cell"), skill)},
        coords={"cell": scores.cells["cell"]},
    )
    skills["is_baseline"] = ("model", np.zeros(len(errors), dtype=np.bool_))
    if "climate_zone" in scores.cells:
        skills["climate_zone"] = scores.cells["climate_zone"]
    return skills


def _series(
    scores: StudyScores, picks: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.datetime64], Array, dict[str, Array], Array | None]:
    """Days, observations, forecasts (mean over the seeds) and rain of some cells, ``(pick, time)``."""
    target, order = scores.plan.task.target, np.argsort(picks)
    back = np.argsort(order)
    predicted: dict[str, Array] = {}
    for row in scores.networks:
        of_seeds = []
        for label in scores.rows[row].values():
            with open_artifact(scores.forecasts[label], "forecast") as opened:
                of_seeds.append(read(opened.isel(lead=scores.lead - 1), target, picks[order])[back])
                time = (opened["time"] + np.timedelta64(scores.lead, "D")).to_numpy()
        predicted[row] = np.mean(of_seeds, axis=0, dtype=np.float64)
    with open_cube(scores.cube) as cube:
        tested = cube.sel(time=slice(time[0], time[-1]))
        observed = read(tested, target, picks[order])[back].astype(np.float64)
        rain = read(tested, "tp", picks[order])[back].astype(np.float64) if "tp" in cube else None
    return time, observed, predicted, rain


def _location(scores: StudyScores, pick: int) -> str:
    cell = scores.cells.isel(cell=int(pick))
    climate = climate_of(float(cell["climate_zone"])) if "climate_zone" in cell else None
    return (f"{climate.letter} {climate.name}: " if climate else "") + location_name(cell)


def _errors(scores: StudyScores, pick: int) -> str:
    return (
        ", ".join(
            f"{row} {number(float(scores.sample.cells[row]['rmse'][:, pick].mean()), 'rmse')}"
            for row in (*scores.networks, PERSISTENCE)
        )
        + f" {pretty_units('m3 m-3')}"
    )


def _cell_table(cells: xr.Dataset) -> pd.DataFrame:
    names = [name for name in ("cell", "cell_name", "lat", "lon", "area", "climate_zone") if name in cells.variables]
    return pd.DataFrame({name: cells[name].to_numpy() for name in names})


def _section(
    scores: StudyScores,
    drawn: Mapping[str, bytes],
    picture: str,
    caption: str,
    frame: pd.DataFrame,
    sentences: Sequence[str],
    folded: str = "",
) -> Section:
    """Put a figure together: its files, its caption, its numbers, and sentences on them."""
    name, title = scores.name, scores.title
    files = {**drawn, f"{name}.csv": csv(frame), f"{name}.txt": (caption + "\n").encode()}
    markdown = f"![{plain(title)}]({name}.png)\n\n{plain(caption)}\n\n{listed(sentences)}"
    return Section(html.picture(picture, f"{title}.", caption) + html.listed(sentences) + folded, markdown, files)
