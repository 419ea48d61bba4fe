"""What a CSV table cannot say itself, in a file beside it (W3C's CSV on the Web): unit, source, licence of values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from soilcast.exporting.field import Field
from soilcast.ownership import DESCRIPTION_START, GENERATOR

_TERMS = {"title": "dc:title", "source": "dc:source", "license": "dc:license", "issue_date": "dc:issued"}
"""What every export says -> its name in the vocabulary of Dublin Core."""


def write_description(fields: Sequence[Field], table: Path, partial: Path) -> None:
    """Write what every export says of its values, and of each column its unit.

    Parameters
    ----------
    fields
        Those of the table.
    table
        The table.
    partial
        Where to write.
    """
    told = fields[0].about()
    columns = [
        {
            "name": fields[0].name if len(fields) == 1 else one.column,
            "datatype": "integer" if one.is_whole else "number",
            "dc:description": one.long_name,
            "unit": one.units,
        }
        for one in fields
    ]
    content: dict[str, Any] = {"software": GENERATOR, "url": table.name}
    content |= {_TERMS[name]: told[name] for name in _TERMS if name in told}
    content |= {name: told[name] for name in ("nature", "regions") if name in told}
    text = json.dumps(content | {"notes": columns}, indent=1, ensure_ascii=False)
    partial.write_text(f"{DESCRIPTION_START},{text[1:]}\n", encoding="utf-8")
