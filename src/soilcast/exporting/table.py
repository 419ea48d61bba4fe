"""Write a field as CSV: a line for each lead and cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from soilcast.exporting.selecting import Field


def write_table(field: Field, partial: Path, out: Path) -> None:
    """Write a field: cell, its name if it has one, latitude, longitude, days and lead, and the value.

    Parameters
    ----------
    field
        What to write; missing values are left empty.
    partial
        Where to write.
    out
        What it will be called.
    """
    cells = field.opened.sizes["cell"]
    places = {
        name: field.opened[name].to_numpy() for name in ("cell", "cell_name", "lat", "lon") if name in field.opened
    }
    with partial.open("w", encoding="utf-8", newline="") as stream:
        for number, (band, values) in enumerate(zip(field.bands, field.values, strict=True)):
            columns: dict[str, Any] = dict(places)
            if field.issue is not None:
                columns["issue_date"] = np.full(cells, str(field.issue))
            if band.lead is not None:
                columns["lead"] = np.full(cells, band.lead)
            if band.day is not None:
                columns["date" if field.kind == "cube" else "valid_date"] = np.full(cells, str(band.day))
            if field.quantile is not None:
                columns["quantile"] = np.full(cells, field.quantile)
            columns[field.name] = pd.array(values).astype("Int16") if field.is_whole else values
            # Seven digits are what float32 holds, and a hand's breadth of the place of a cell is enough.
            pd.DataFrame(columns).to_csv(
                stream, index=False, header=number == 0, float_format="%.7g", lineterminator="\n"
            )
