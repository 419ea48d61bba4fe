"""One table of text, such as CSV: its separator, header, units and rows, as text and as numbers."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from soilcast.errors import SoilcastError
from soilcast.sources.delimited.encoding import FALLBACK, NotATableError, encoding_of, open_text
from soilcast.sources.delimited.numbers import MISSING, NumberColumns

__all__ = ["NotATableError", "TextTable", "Texts", "is_table", "read_table", "table_name"]

_SEPARATORS = (",", ";", "\t", "|", " ")
"""In the order in which they are tried; a blank stands for any white space."""

_SUFFIXES = (".csv", ".tsv", ".txt", ".dat")
_COMMENT = re.compile(r"\s*(#+|%+|!+|//+)\s*")
_UNIT_IN_NAME = re.compile(r".*\[([^\[\]]+)\]")
_MOST_COLUMNS = 10_000
_HEAD_LINES = 200
_ROWS_AT_A_TIME = 1_000  # more would be walked again and again by the garbage collector


@dataclass(frozen=True)
class Texts:
    """A column of text.

    Parameters
    ----------
    codes
        Which of the values each row has, ``(row,)``.
    values
        The texts that occur, without blanks around them.
    """

    codes: npt.NDArray[np.int64]
    values: tuple[str, ...]


@dataclass(frozen=True)
class TextTable:
    """The rows of a file.

    Parameters
    ----------
    path
        The file.
    columns
        Names of all columns, in the order of the file.
    lines
        Line of each row in the file, counted from 1, ``(row,)``.
    time
        The columns of the time, if the file has them.
    name
        The column that names the cell of each row, if the file has it.
    numbers
        The columns that were asked for as numbers, ``(row,)``; NaN where a value is missing.
    units
        Column -> unit, from a row of units under the header or from brackets in its name: ``rain [mm]``.
    notes
        How the file was read, where that is not plain.
    """

    path: Path
    columns: tuple[str, ...]
    lines: npt.NDArray[np.int64]
    time: tuple[Texts, ...]
    name: Texts | None
    numbers: dict[str, npt.NDArray[np.float64]]
    units: dict[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Header:
    """Where the header of a file is: the number of its line, the lines above it, the separator, the names."""

    line: int
    above: int
    separator: str
    names: tuple[str, ...]


def is_table(path: Path) -> bool:
    """Whether a name is that of a table of text, such as ``a.csv``, ``a.TXT``, ``a.csv.gz`` or ``a.gz``."""
    last, before = path.suffix.lower(), Path(path.stem).suffix.lower()
    return last in _SUFFIXES or (last == ".gz" and before in ("", *_SUFFIXES))


def table_name(path: Path) -> str:
    """Name of a file without what says that it is a table: ``A`` of ``A.csv.gz``."""
    name = path.stem if path.suffix.lower() == ".gz" else path.name
    return Path(name).stem if Path(name).suffix.lower() in _SUFFIXES else name


def read_table(
    path: Path,
    *,
    time: Sequence[str],
    name: str | None,
    numbers: Collection[str],
    missing: Collection[str] = (),
    remedy: str,
) -> TextTable:
    """Read a table of text: any separator, decimal point or comma, UTF-8, UTF-16 or Windows-1252, plain or gzip.

    Parameters
    ----------
    path
        The file.
    time, name
        Columns of the time and of the cell: the header is the first line that has either.
    numbers
        Columns to read as numbers, where the file has them; the others are not read.
    missing
        Texts that stand for a missing value, beside nothing, NA, NaN and null.
    remedy
        What to do about a file without such a header.

    Raises
    ------
    SoilcastError
        The file cannot be read, is no text, or has no header or no row; a row has more or fewer fields than the
        header; a value is no number; a column that is to be read occurs twice.
    """
    encoding = encoding_of(path)
    with open_text(path, encoding) as stream:
        header = _find_header(path, stream, time, name, remedy)
    columns = _positions(path, header, {*time, *numbers, *([name] if name else [])})
    labels = [*(time if columns.keys() >= {*time} else ()), *([name] if name in columns else [])]
    with open_text(path, encoding) as stream:
        rows = _rows(path, header, islice(stream, header.line, None))
        first = next(rows, None)
        if first is None:
            raise SoilcastError(f"{path}: a header without any row: add the rows, or leave the file out")
        units = {label: match[1].strip() for label in columns if (match := _UNIT_IN_NAME.fullmatch(label))}
        if _holds_units(first[1], columns, time, name):
            written = {label: first[1][position].strip() for label, position in columns.items()}
            units |= {label: unit for label, unit in written.items() if unit not in ("", "-")}
        else:
            rows = chain([first], rows)
        lines: list[npt.NDArray[np.int64]] = []
        texts = {label: _TextColumn() for label in labels}
        values = NumberColumns(path, missing)
        while batch := list(islice(rows, _ROWS_AT_A_TIME)):
            lines.append(np.array([line for line, _ in batch], dtype=np.int64))
            fields = list(zip(*(row for _, row in batch), strict=True))
            for label, column in texts.items():
                column.add(fields[columns[label]])
            numeric = {label: fields[position] for label, position in columns.items() if label in numbers}
            values.add(numeric, lines[-1])
    if not lines:
        raise SoilcastError(f"{path}: a header and units without any row: add the rows, or leave the file out")
    notes = []
    if encoding.codec == FALLBACK:
        notes.append(f"{path.name}: read as Windows-1252 (Latin-1), since it is not UTF-8")
    if header.above:
        notes.append(f"{path.name}: {header.above} line(s) above the header are not read")
    read = {label: column.texts() for label, column in texts.items()}
    return TextTable(
        path,
        tuple(filter(None, header.names)),
        np.concatenate(lines),
        tuple(read[label] for label in time if label in read),
        read.get(name) if name else None,
        values.columns(),
        units,
        tuple(notes),
    )


class _TextColumn:
    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._parts: list[npt.NDArray[np.int64]] = []

    def add(self, texts: Sequence[str]) -> None:
        codes = self._codes
        self._parts.append(np.array([codes.setdefault(text.strip(), len(codes)) for text in texts], dtype=np.int64))

    def texts(self) -> Texts:
        return Texts(np.concatenate(self._parts), tuple(self._codes))


def _find_header(path: Path, stream: Iterable[str], time: Sequence[str], name: str | None, remedy: str) -> _Header:
    """Find the first line that names the columns of the time, or that of the cells; it may be marked as a comment."""
    above, first = 0, ""
    for number, line in enumerate(islice(stream, _HEAD_LINES), start=1):
        text, is_comment = line.strip("\r\n"), _COMMENT.match(line)
        for separator in _SEPARATORS:
            names = _split(text[is_comment.end() :] if is_comment else text, separator)
            if (time and {*time} <= {*names}) or name in names:
                if len(names) > _MOST_COLUMNS:
                    raise SoilcastError(
                        f"{path}: row {number} has {len(names)} columns: one row per day and cell is expected"
                    )
                return _Header(number, above, separator, names)
        if text.strip() and not is_comment:
            above += 1
            first = first or text
    expected = " or ".join(repr(one) for one in (", ".join(time), name) if one)
    raise NotATableError(f"{path}: no column {expected} (it begins with {_shortened(first)!r}): {remedy}")


def _split(line: str, separator: str) -> tuple[str, ...]:
    text = " ".join(line.split()) if separator == " " else line
    try:
        names = next(csv.reader([text], delimiter=separator, strict=True, skipinitialspace=True), [])
    except csv.Error:
        return ()
    return tuple(" ".join(name.split()) for name in names)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]} ..."


def _positions(path: Path, header: _Header, wanted: Collection[str]) -> dict[str, int]:
    columns: dict[str, int] = {}
    for position, name in enumerate(header.names):
        if name in wanted:
            if name in columns:
                raise SoilcastError(f"{path}: row {header.line}: column {name!r} occurs twice: rename one of the two")
            columns[name] = position
    return columns


def _rows(path: Path, header: _Header, stream: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Give line and fields of each row, without blank rows and comments."""
    lines = (" ".join(line.split()) for line in stream) if header.separator == " " else stream
    reader = csv.reader(lines, delimiter=header.separator, strict=True, skipinitialspace=True)
    width = len(header.names)
    begin = header.line + 1
    try:
        for row in reader:
            line, begin = begin, header.line + reader.line_num + 1
            if not row or (not row[0].strip() and not any(map(str.strip, row))):
                continue
            if len(row) != width:
                if _COMMENT.match(row[0]):
                    continue
                if len(row) < width or any(map(str.strip, row[width:])):
                    raise SoilcastError(
                        f"{path}: row {line} has {len(row)} fields, the header {width}: {_remedy_of_width(row, header)}"
                    )
                row = row[:width]
            yield line, row
    except csv.Error as error:
        raise SoilcastError(
            f"{path}: row {begin}: a quotation mark is not closed, or stands within a field: correct the row"
        ) from error


def _remedy_of_width(row: Sequence[str], header: _Header) -> str:
    if len(row) < len(header.names):
        return "the row is cut off; complete it"
    if header.separator == ",":
        return "put texts and numbers with a comma in quotation marks, or separate fields by semicolons"
    return "correct the row"


def _holds_units(row: Sequence[str], columns: dict[str, int], time: Sequence[str], name: str | None) -> bool:
    """Whether the row under the header holds units: no date, no cell of a static table, and no number but 1."""
    labels = [row[columns[label]] for label in time if label in columns]
    if not labels and name is not None and row[columns[name]].strip(" -").lower() not in ("", "unit", "units"):
        return False
    if any(character.isdigit() for label in labels for character in label):
        return False
    others = {row[at].strip() for one, at in columns.items() if one != name and one not in time} - {"1", "-"}
    others = {text for text in others if text.lower() not in MISSING}
    return any(re.search(r"[^\W\d_]|[%°]", text) for text in others) and not any(map(_is_number, others))


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[+-]?[\d.,]+([eE][+-]?\d+)?", text))
