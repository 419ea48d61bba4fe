"""Whether a file is text at all, in which encoding, and whether it is compressed: told from its bytes."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from soilcast.errors import SoilcastError

FALLBACK = "cp1252"
"""Windows-1252, which Latin-1 is a part of: what a text is read as that is no UTF-8."""

_GZIP = b"\x1f\x8b"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_COMPRESSED = "compressed in a way that is not read: unpack it, or compress it with gzip"
_NO_TABLE = "export the table as CSV"
_FOREIGN = (
    (b"\xd0\xcf\x11\xe0", f"an Excel workbook (XLS): {_NO_TABLE}"),
    (b"PAR1", f"a Parquet file: {_NO_TABLE}"),
    (b"SQLite format 3", f"an SQLite database: {_NO_TABLE}"),
    (b"%PDF", f"a PDF document: {_NO_TABLE}"),
    (b"\x89HDF", "a NetCDF-4 or HDF5 file: name it .nc"),
    (b"CDF\x01", "a NetCDF file: name it .nc"),
    (b"CDF\x02", "a NetCDF file: name it .nc"),
    (b"BZh", _COMPRESSED),
    (b"\xfd7zXZ", _COMPRESSED),
    (b"\x28\xb5\x2f\xfd", _COMPRESSED),
    (b"7z\xbc\xaf", _COMPRESSED),
    (b"Rar!", _COMPRESSED),
)
_BLOCK = 1 << 20
_LONGEST_LINE = 1 << 20


class NotATableError(SoilcastError):
    """A file is no table of text, whatever its name says."""


@dataclass(frozen=True)
class Encoding:
    """How the text of a file is to be read: its codec, and whether through gzip."""

    codec: str
    is_gzip: bool


def encoding_of(path: Path) -> Encoding:
    """Tell the encoding of a text from all its bytes.

    Raises
    ------
    SoilcastError
        The file cannot be read, is empty, is something else than text, or has a line that no table has.
    """
    if not path.is_file():
        raise SoilcastError(f"{path}: not a file: name a table of text")
    with _reading(path):
        with path.open("rb") as stream:
            is_gzip = stream.read(2) == _GZIP
        with _bytes_of(path, is_gzip) as stream:
            head = stream.read(4096)
            _refuse_foreign(path, head)
            codec = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
            return Encoding(_checked(path, head, stream, codec), is_gzip)


@contextmanager
def open_text(path: Path, encoding: Encoding) -> Iterator[io.TextIOWrapper]:
    """Open a text whose encoding is known; line ends stay as they are, as the module ``csv`` wants them.

    Raises
    ------
    SoilcastError
        The file cannot be read, or its gzip is damaged.
    """
    errors = "strict" if encoding.codec != FALLBACK else "replace"
    with (
        _reading(path),
        _bytes_of(path, encoding.is_gzip) as stream,
        io.TextIOWrapper(stream, encoding=encoding.codec, errors=errors, newline="") as text,
    ):
        yield text


@contextmanager
def _bytes_of(path: Path, is_gzip: bool) -> Iterator[BinaryIO]:
    with cast(BinaryIO, gzip.open(path)) if is_gzip else path.open("rb") as stream:
        yield stream


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SoilcastError(f"{path}: its gzip is damaged or truncated: download or compress it again") from error
    except UnicodeError as error:
        raise SoilcastError(f"{path}: is no text in {_named(error)}: save it as UTF-8") from error
    except OSError as error:
        raise SoilcastError(f"{path}: cannot be read ({error.strerror or error}): check its permissions") from error


def _named(error: UnicodeError) -> str:
    return getattr(error, "encoding", "the encoding that its first bytes name").upper()


def _refuse_foreign(path: Path, head: bytes) -> None:
    if not head.strip():
        raise NotATableError(f"{path}: the file is empty: download or write it again")
    for magic, description in _FOREIGN:
        if head.startswith(magic):
            raise NotATableError(f"{path}: {description}")
    if head.startswith(b"PK\x03\x04"):
        if b"[Content_Types].xml" in head or b"xl/" in head or b"opendocument.spreadsheet" in head:
            raise NotATableError(f"{path}: a workbook (XLSX or ODS): {_NO_TABLE}")
        raise NotATableError(f"{path}: a zip archive: unpack it")
    start = head.lstrip(codecs.BOM_UTF8).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise NotATableError(f"{path}: a web page or XML, such as that of a log-in, no table: download the file again")
    if start.startswith((b"{", b"[")):
        raise NotATableError(f"{path}: JSON: {_NO_TABLE}")


def _checked(path: Path, head: bytes, stream: BinaryIO, codec: str) -> str:
    """Read all bytes, and give the codec that decodes them."""
    decoder = codecs.getincrementaldecoder(codec)("strict")
    wide = codec in ("utf-16", "utf-32")
    block, line, length, is_utf8 = head, 1, 0, True
    while block:
        if not wide and b"\0" in block:
            number = line + block[: block.index(b"\0")].count(b"\n")
            raise NotATableError(
                f"{path}: line {number} holds a NUL byte: the file is damaged, or UTF-16 without its mark: save it as "
                "UTF-8"
            )
        if is_utf8:
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                if codec != "utf-8":
                    raise
                is_utf8 = False
        ends = [position for position in (block.rfind(b"\n"), block.rfind(b"\r")) if position >= 0]
        length = len(block) - 1 - max(ends) if ends else length + len(block)
        line += block.count(b"\n")
        if length > _LONGEST_LINE:
            raise NotATableError(
                f"{path}: line {line} is longer than 1 MiB: a table of one row per day and cell is expected"
            )
        block = stream.read(_BLOCK)
    if is_utf8:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            if codec != "utf-8":
                raise
            is_utf8 = False
    return codec if is_utf8 else FALLBACK
