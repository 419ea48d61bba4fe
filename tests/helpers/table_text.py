"""A small table of stations written as people write them: separators, decimals, dates, encodings, splits."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

MAPPING = """title: stations
content: observation
{keys}cells: {{lat: lat, lon: lon, name: station, area: equal}}
variables:
  swvl1: {{name: sm, unit: m3 m-3, thickness: {{value: 70, unit: mm}}}}
  t2m: {{name: t2m, unit: degC}}
  tp: {{name: pr, unit: mm}}
"""


def stations(days: int = 20, cells: Sequence[str] = ("A", "B"), seed: int = 0) -> pd.DataFrame:
    """A long table of texts: time (ISO), station, lat, lon, sm, t2m, pr."""
    random = np.random.default_rng(seed)
    time = pd.date_range("2020-01-05", periods=days).strftime("%Y-%m-%d")
    parts = []
    for number, cell in enumerate(cells):
        numbers = {
            "sm": random.integers(1000, 4000, days) / 10_000,
            "t2m": random.integers(-900, 2500, days) / 100,
            "pr": random.integers(0, 300, days) / 10,
        }
        texts = {name: [repr(float(value)) for value in values] for name, values in numbers.items()}
        place = {"lat": repr(48.5 - number / 2), "lon": repr(10.25 + number / 4)}
        parts.append(pd.DataFrame({"time": time, "station": cell, **place, **texts}))
    return pd.concat(parts, ignore_index=True)


def write_text(path: Path, frame: pd.DataFrame, *, separator: str = ",", encoding: str = "utf-8") -> Path:
    """Write a table of texts; gzip if the name ends in .gz."""
    content = frame.to_csv(index=False, sep=separator).encode(encoding)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix.lower() == ".gz" else content)
    return path


def write_mapping(folder: Path, **keys: str) -> Path:
    """Write `MAPPING` with further keys of its top, as YAML writes their values."""
    path = folder / "mapping.yaml"
    path.write_text(MAPPING.format(keys="".join(f"{key}: {value}\n" for key, value in keys.items())))
    return path


def with_decimal_comma(frame: pd.DataFrame) -> pd.DataFrame:
    """Write the numbers with a comma."""
    numbers = [name for name in frame.columns if name not in ("time", "station")]
    return frame.assign(**{name: frame[name].str.replace(".", ",") for name in numbers})


def with_dates(frame: pd.DataFrame, written: Callable[[pd.Series], pd.Series] | str) -> pd.DataFrame:
    """Write the days in another way: a format of strftime, or a function of the days."""
    days = pd.to_datetime(frame["time"])
    return frame.assign(time=days.dt.strftime(written) if isinstance(written, str) else written(days))


DATES: Mapping[str, Callable[[pd.Series], pd.Series] | str] = {
    "ISO": "%Y-%m-%d",
    "slashes": "%Y/%m/%d",
    "compact": "%Y%m%d",
    "day first": "%d/%m/%Y",
    "day first, points": "%d.%m.%Y",
    "month first": "%m/%d/%Y",
    "named month": "%d-%b-%Y",
    "American": "%B %d, %Y",
    "midnight": "%Y-%m-%d 00:00:00",
    "UTC": "%Y-%m-%dT00:00:00Z",
    "offset": "%Y-%m-%dT00:00:00+02:00",
    "noon": "%Y-%m-%d 12:00",
}
"""Ways to write days, which are read without a word in the mapping."""
