"""Training curves of the networks."""

from __future__ import annotations

from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.reporting import html
from soilcast.reporting.artifacts import json_attribute, source_file
from soilcast.reporting.figures import LOOK, canvas, log_ticks, svg
from soilcast.reporting.scores import networks, not_converged
from soilcast.reporting.style import OBSERVED, colours
from soilcast.training.run_record import NOT_CONVERGED


def training(scores: xr.Dataset) -> html.Markup:
    """Draw training curves, a panel for each network that has a log."""
    logs = json_attribute(scores, "training_logs")
    palette = colours(scores)
    drawn = []
    for label in networks(scores):
        if logs.get(label):
            uri, detail = _training_curve(label, logs[label], palette[label], source_file(scores))
            warning = f"; {NOT_CONVERGED}" if label in not_converged(scores) else ""
            drawn.append(html.picture(uri, label, f"{detail}{warning}"))
    if not drawn:
        return html.paragraph("The scores carry no training log.", note=True)
    return html.paragraph(
        "Loss by epoch, on a logarithmic axis. Each model has its own loss (Eq. 8): levels cannot be compared.",
        note=True,
    ) + html.panels(drawn, three=len(drawn) > 2)


def _training_curve(label: str, log: Any, colour: str, file: str) -> tuple[str, str]:
    """Draw the loss of one run by epoch, on a log axis: training as a line, validation as dots; and caption it.

    ``log`` are records with ``epoch``, ``train_loss`` and ``validation_loss`` (None where it was not validated);
    ``file`` is where it is from, for the message of the `SoilcastError` that a log of another form raises.
    """
    try:
        epoch = np.array([float(record["epoch"]) for record in log])
        train = np.array([_loss(record.get("train_loss")) for record in log])
        valid = np.array([_loss(record.get("validation_loss")) for record in log])
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise SoilcastError(
            f"{file}: the training log of {label} cannot be read: the file is damaged; evaluate again"
        ) from error
    validated = np.isfinite(valid)
    with matplotlib.rc_context(LOOK):
        figure, axes = canvas(4.6, 2.8)
        axes.plot(epoch, train, color=colour, alpha=0.55, linewidth=1.4, label="training")
        axes.plot(
            epoch[validated],
            valid[validated],
            color=OBSERVED,
            marker="o",
            markersize=3.5,
            linewidth=0.9,
            label="validation",
            linestyle=":",
        )
        losses = np.concatenate([train, valid])
        if (losses[np.isfinite(losses)] > 0).any():
            log_ticks(axes)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6, integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
        axes.legend(frameon=False, loc="best")
        picture = svg(figure)
    if not validated.any():
        return picture, f"{len(epoch)} epochs, without validation"
    lowest = int(np.nanargmin(valid))
    return picture, f"{len(epoch)} epochs; lowest validation loss {valid[lowest]:.4g} at epoch {epoch[lowest]:.0f}"


def _loss(value: Any) -> float:
    return np.nan if value is None else float(value)
