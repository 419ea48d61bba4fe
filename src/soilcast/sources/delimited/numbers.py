"""Numbers as people write them: with a point or a comma for the decimals, and with texts for what is missing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilcast.errors import SoilcastError

MISSING = frozenset(("", "na", "n/a", "#n/a", "<na>", "nan", "null", "none"))
"""Texts that can be nothing but a missing value, in lower case."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WITH_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}([,.' ]\d{3})+([.,]\d*)?", re.ASCII)
_SIGNS = str.maketrans({"−": "-", "\N{NO-BREAK SPACE}": None})


class NumberColumns:
    """The columns of numbers of one file, rows after rows.

    Parameters
    ----------
    path
        The file, for messages.
    missing
        Texts that stand for a missing value beside `MISSING`.
    """

    def __init__(self, path: Path, missing: Collection[str] = ()) -> None:
        self._path, self._missing = path, frozenset(missing)
        self._parts: dict[str, list[npt.NDArray[np.float64]]] = {}
        self._comma: str | None = None
        self._has_points = False

    def add(self, columns: Mapping[str, Sequence[str]], lines: npt.NDArray[np.int64]) -> None:
        """Add rows; the first number with decimals decides whether they follow a point or a comma.

        Parameters
        ----------
        columns
            Name -> texts, ``(row,)``.
        lines
            Line of each row, ``(row,)``.

        Raises
        ------
        SoilcastError
            A text is neither a number nor a missing value.
        """
        if self._comma is None and not self._has_points:
            whole = {name: "".join(texts) for name, texts in columns.items()}
            self._comma = next((text for name in columns if (text := _decimal_comma(whole[name], columns[name]))), None)
            self._has_points = self._comma is None and any("." in text for text in whole.values())
        for name, texts in columns.items():
            self._parts.setdefault(name, []).append(self._values(name, texts, lines))

    def columns(self) -> dict[str, npt.NDArray[np.float64]]:
        """Every column, ``(row,)``."""
        return {name: np.concatenate(parts) for name, parts in self._parts.items()}

    def _values(self, name: str, texts: Sequence[str], lines: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        plain = texts if self._comma is None else [_with_point(text) for text in texts]
        values = np.array(pd.to_numeric(np.array(plain, dtype=object), errors="coerce"), dtype=np.float64)
        numbers: dict[str, float] = {}
        for row in np.flatnonzero(~np.isfinite(values)).tolist():
            text = plain[row]
            if text not in numbers:
                number = self._number(text)
                if number is None:
                    raise self._refusal(name, texts[row].strip(), int(lines[row]))
                numbers[text] = number
            values[row] = numbers[text]
        return values

    def _number(self, text: str) -> float | None:
        text = text.translate(_SIGNS).strip()
        if text.lower() in MISSING or text in self._missing:
            return float("nan")
        number = float(text) if _NUMBER.fullmatch(text) else float("inf")
        return number if np.isfinite(number) else None

    def _refusal(self, name: str, text: str, line: int) -> SoilcastError:
        where = f"{self._path}: row {line}, column {name!r}: {text!r}"
        if self._comma is not None and "." in text:
            return SoilcastError(f"{where} has a point, but {self._comma!r} a decimal comma: write all numbers alike")
        if _THOUSANDS.fullmatch(text):
            return SoilcastError(f"{where} may have separators of thousands: write numbers without them, as 1234.5")
        return SoilcastError(
            f"{where} is not a number: correct it, or if it stands for a missing value say so in the mapping "
            f'(missing: ["{text}"])'
        )


def _decimal_comma(whole: str, texts: Sequence[str]) -> str | None:
    """Give a text whose comma can only be that of decimals: 0,25 or 12,5 but not 1,234."""
    if "," not in whole:
        return None
    for text in dict.fromkeys(text.strip() for text in texts if "," in text):
        if _WITH_COMMA.fullmatch(text) and not _THOUSANDS.fullmatch(text):
            return text
    return None


def _with_point(text: str) -> str:
    """Write the decimals of a number after a point; what has a point already is no number then."""
    return text.replace(",", ".") if "." not in text else text.replace(".", "·")
