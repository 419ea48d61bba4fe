"""The times of the rows of a table of text, whose faults name the file and the row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from soilcast.errors import SoilcastError
from soilcast.sources.delimited import TextTable
from soilcast.sources.delimited.dates import NotADateError, Stamps, read_stamps

_DAYS = np.array(["1678-01-01", "2261-12-31"], dtype="datetime64[D]")
"""Days outside these overflow datetime64[ns], which wraps around in silence."""


def time_texts(table: TextTable) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Code of each row ``(row,)``, and the texts of the times; of several columns with a blank between them."""
    if not table.time:
        return np.zeros(0, dtype=np.int64), []
    if len(table.time) == 1:
        return table.time[0].codes, list(table.time[0].values)
    stacked, codes = np.unique(np.stack([column.codes for column in table.time]), axis=1, return_inverse=True)
    written = [[text.removesuffix(".0") for text in column.values] for column in table.time]
    texts = [" ".join(column[code] for column, code in zip(written, times, strict=True)) for times in stacked.T]
    return codes.ravel(), texts


def stamps_of(
    table: TextTable,
    codes: npt.NDArray[np.int64],
    texts: Sequence[str],
    column: str,
    time_format: str | None,
    order: str | None,
) -> Stamps:
    """Read the times of a table.

    Parameters
    ----------
    table
        The table, for messages.
    codes, texts
        As `time_texts` gives them.
    column
        Name of the column of the time, or of the columns.
    time_format, order
        See `soilcast.sources.delimited.dates.read_stamps`.

    Raises
    ------
    SoilcastError
        A text is no date, can be more than one, or lies outside 1678 .. 2261.
    """
    try:
        stamps = read_stamps(texts, columns=len(table.time), time_format=time_format, order=order)
    except NotADateError as error:
        line = table.lines[np.argmax(codes == error.position)]
        raise SoilcastError(
            f"{table.path}: row {line}, column {column!r}: {texts[error.position]!r} {error.reason}"
        ) from error
    outside = (stamps.days < _DAYS[0]) | (stamps.days > _DAYS[1])
    if outside.any():
        line = table.lines[np.argmax(outside[codes])]
        raise SoilcastError(
            f"{table.path}: row {line}, column {column!r}: {texts[int(np.argmax(outside))]!r} is not within "
            f"{_DAYS[0]} .. {_DAYS[1]}: correct the date"
        )
    return stamps
