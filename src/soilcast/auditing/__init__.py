"""What did it learn? A run's responses to its inputs, probed, beside those of the cube's own land model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from soilcast.auditing.findings import Finding
from soilcast.auditing.page import audit_page
from soilcast.auditing.probes import PROBES
from soilcast.auditing.rain_pulse import responses
from soilcast.auditing.subject import MOST_CELLS, Subject, open_subject
from soilcast.auditing.words import sentences
from soilcast.errors import SoilcastError
from soilcast.files import atomic_write, harmless_table, refuse_existing
from soilcast.provenance import stamp

__all__ = ["audit"]

PAGE, TABLE, RECORD = "audit.html", "probes.csv", "audit.json"
FORMAT = 1

_COLUMNS = {
    "group": "cells",
    "layer": "layer",
    "about": "input",
    "quantity": "quantity",
    "units": "units",
    "run": "run",
    "run_error": "run_error",
    "cube": "cube",
    "cube_error": "cube_error",
    "allowance": "method_error",
    "deviation": "deviation",
    "samples": "cell_days",
    "differs": "differs",
}


def audit(
    run: str | Path,
    cube: str | Path,
    out: str | Path,
    *,
    period: str | None = None,
    samples: int = 2000,
    seed: int = 0,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Probe what a run has learnt, and compare it with the cube's own land model.

    The probes: the response of each layer to a pulse of rain (sign, size, decay time, and how it travels down), the
    time scale of drying, forecasts out of bounds, and the sensitivity to each input by gradients and by exchanging
    blocks of days. By main climate, with standard errors; the cube's own numbers come from its soil moisture and
    weather alone.

    Parameters
    ----------
    run
        Output of `train`.
    cube
        With the run's inputs, on cells that it can forecast, and with its soil moisture to compare with.
    out
        Folder to write: the page ``audit.html``, ``probes.csv`` with all numbers, and ``audit.json`` with their
        provenance.
    period
        Days that are forecast, such as 2019 or 2019-03-01:2019-10-31; by default the run's test period.
    samples
        Cell-days that each probe draws at most, of 60 cells at most.
    seed
        Of what is drawn: the same numbers again from the same seed.
    overwrite
        Replace ``out`` if it exists.

    Returns
    -------
    The table of ``probes.csv``: a row for each probe, group of cells, layer and quantity.

    Raises
    ------
    SoilcastError
        ``out`` exists; too few samples; what `forecast` refuses; no forecast of the period can be made.
    """
    out, run, cube = Path(out), Path(run), Path(cube)
    refuse_existing(out, kind="audit", overwrite=overwrite)
    if samples < 1 or seed < 0:
        raise SoilcastError(f"--samples {samples} --seed {seed}: give 1 sample or more, and a seed of 0 or more")
    subject = open_subject(run, cube, period, samples, seed)
    with atomic_write(out, kind="audit", overwrite=overwrite) as partial:
        findings = probed(subject)
        rows = [row for finding in findings.values() for row in finding.rows]
        told = sentences(rows)
        options = {"period": period, "samples": samples, "seed": seed}
        record = _record(subject, findings, told, {"run": str(run), "cube": str(cube), **options})
        table = _table(findings)
        partial.mkdir()
        harmless_table(table).to_csv(partial / TABLE, index=False, float_format="%.6g")
        (partial / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        label = str(subject.run.record["label"])
        page = audit_page(findings, told, label, _facts(subject), record)
        (partial / PAGE).write_text(page, encoding="utf-8", errors="replace")
    return table


def probed(subject: Subject) -> dict[str, Finding]:
    """Give what each probe finds."""
    try:
        return {name: probe(subject) for name, probe in PROBES.items()}
    finally:
        responses.cache_clear()  # which two probes share, and which holds the subject


def _table(findings: Mapping[str, Finding]) -> pd.DataFrame:
    records = [
        {"probe": name, **{column: getattr(row, part) for part, column in _COLUMNS.items()}}
        for name, finding in findings.items()
        for row in finding.rows
    ]
    return pd.DataFrame(records, columns=["probe", *_COLUMNS.values()])


def _record(
    subject: Subject, findings: Mapping[str, Finding], told: list[str], inputs: Mapping[str, Any]
) -> dict[str, Any]:
    run = subject.run.record
    return {
        "soilcast_kind": "audit",
        "format": FORMAT,
        "label": run["label"],
        "weights_sha256": run["weights_sha256"],
        "cube_sha256": subject.cube.attrs["content_sha256"],
        "sentences": told,
        "notes": {name: list(finding.notes) for name, finding in findings.items()},
        "provenance": json.loads(stamp("soilcast audit", **inputs)),
    }


def _facts(subject: Subject) -> dict[str, str]:
    days = subject.days[subject.period].astype("datetime64[D]")
    task = subject.task
    cells = f"{len(subject.cells)} drawn" if len(subject.cells) == MOST_CELLS else f"{len(subject.cells)}"
    return {
        "Data": str(subject.cube.attrs["content"]),
        "Cells": cells,
        "Period": f"{days[0]} to {days[-1]}",
        "Forecasts": f"{', '.join(task.layers)}, leads 1 to {task.lead_days} d"
        if task.lead_days > 1
        else f"{task.target}, lead 1 d",
        "Inputs": ", ".join((*task.dynamic, *task.static, *(f"observed {one}" for one in task.lags))),
        "Weather of the forecast days": f"{', '.join(task.known_future)} of the cube" if task.known_future else "",
    }
