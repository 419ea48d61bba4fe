"""Whether a stored cube, forecast or scores are what was written: the hash of the content, the manifest, the version.

The *content hash* is of what the numbers are and mean, whatever the format and the chunks. The *manifest* is of the
bytes as they lie on the disk: of each variable a hash of its metadata and of the size and checksum of every chunk. A
chunk ends in a checksum of its own, which is verified when it is read; so opening compares a few bytes of each chunk,
and nothing that was changed, swapped or moved is read in silence.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from soilcast.errors import SoilcastError

MANIFEST = "manifest"
"""Attribute with the manifest: a JSON text, variable -> hash; that of the empty name is of the attributes."""

VERSION = "soilcast_version"
"""Entry of an opened dataset's encoding: which version of the artifact it is."""

CODECS = frozenset(
    {
        *("bytes", "endian", "transpose", "sharding_indexed", "vlen-utf8", "vlen-bytes", "string", "bytes2d"),
        *("blosc", "zstd", "gzip", "zlib", "lz4", "lzma", "bz2", "snappy"),
        *("crc32c", "crc32", "adler32", "fletcher32"),
        *("shuffle", "delta", "fixedscaleoffset", "quantize", "bitround", "packbits", "astype"),
    }
)
"""Codecs of Zarr that compute numbers or texts alone; whatever else a store asks for is refused."""

_FREE_TEXTS = ("origin", "comment", "history")
"""Attributes of a variable that do not count as content: where it came from."""

_HDF5_OWN = (
    "CLASS",
    "NAME",
    "DIMENSION_LIST",
    "REFERENCE_LIST",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
    "_NCProperties",
)

_TAIL = 64
"""Bytes at the end of a chunk that hold its checksum; smaller chunks count whole."""

_LARGEST_METADATA = 1 << 26


class ContentHash:
    """SHA-256 of what a cube holds: of every variable the name, dimensions, type, attributes and values.

    Static variables and coordinates come first, by name; then the dynamic ones, by name, a block of days after the
    other. Attributes that say where values come from do not count.

    Parameters
    ----------
    skeleton
        The cube without its dynamic variables.
    """

    def __init__(self, skeleton: xr.Dataset) -> None:
        self._digest = hashlib.sha256()
        for name in sorted(map(str, skeleton.variables)):
            variable = skeleton.variables[name]
            values = np.ascontiguousarray(variable.to_numpy())
            self.begin(name, variable.dims, values.dtype, variable.attrs)
            self.add(np.char.encode(values.astype(np.str_), "utf-8") if values.dtype.kind in "OUT" else values)

    def begin(self, name: str, dims: tuple[Any, ...], dtype: np.dtype[Any], attributes: Mapping[Any, Any]) -> None:
        """Go on with the next variable."""
        kind = "text" if dtype.kind in "OUST" else dtype.newbyteorder("<").str
        described = {str(key): _plain(value) for key, value in attributes.items() if key not in _FREE_TEXTS}
        self._digest.update(json.dumps([name, [*map(str, dims)], kind, described], sort_keys=True).encode())

    def add(self, values: np.ndarray[Any, Any]) -> None:
        """Go on with values of the variable."""
        little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
        self._digest.update(little.reshape(-1).view(np.uint8).data)

    def hexdigest(self) -> str:
        """The hash."""
        return self._digest.hexdigest()


def manifest_of(path: Path) -> dict[str, str]:
    """Compute the manifest of a Zarr folder or a NetCDF-4 file as it lies on the disk.

    Raises
    ------
    SoilcastError
        A link leads out of the folder, or something is neither file nor folder.
    OSError, ValueError, RuntimeError
        It cannot be read.
    """
    return _manifest_of_store(path) if path.is_dir() else _manifest_of_file(path)


def seal_store(store: Path) -> None:
    """Write the manifest of a finished Zarr folder into it."""
    file = store / "zarr.json"
    described = json.loads(file.read_text(encoding="utf-8"))
    described["attributes"][MANIFEST] = json.dumps(_manifest_of_store(store))
    file.write_text(json.dumps(described, indent=2), encoding="utf-8")


def refuse_unlike_manifest(path: Path, written: object) -> None:
    """Raise `SoilcastError` unless an artifact is as it was written.

    Parameters
    ----------
    path
        The artifact.
    written
        Its attribute `MANIFEST`.
    """
    try:
        expected = json.loads(written) if isinstance(written, str) else None
    except (ValueError, RecursionError):
        expected = None
    if not isinstance(expected, dict):
        raise SoilcastError(
            f"{path}: it has no manifest: other software wrote or changed it, or it is damaged; create it again"
        )
    there = manifest_of(path)
    differing = sorted(name for name in {*expected, *there} if expected.get(name) != there.get(name))
    if differing:
        names = ", ".join(name or "its attributes" for name in differing[:3])
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise SoilcastError(
            f"{path}: {names}{more} changed after it was written: it is damaged, or other software changed it; "
            "create it again"
        )


def version_of(path: Path) -> tuple[int, ...]:
    """Tell whether what stands at a path was replaced: which file it is, of what size and time."""
    file = path / "zarr.json"
    about = (file if file.is_file() else path).stat()
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


def refuse_replaced(opened: xr.Dataset) -> None:
    """Raise `SoilcastError` if another version of an artifact stands where this one was opened."""
    path, version = opened.encoding.get(VERSION, (None, None))
    if path is None:
        return
    try:
        same = version_of(path) == version
    except OSError:
        same = False
    if not same:
        raise SoilcastError(f"{path}: it was replaced or changed while it was read: run the command again")


def refuse_changed(opened: xr.Dataset) -> None:
    """Raise `SoilcastError` if an artifact is no longer what was opened: looks at the manifest anew."""
    refuse_replaced(opened)
    path, _ = opened.encoding.get(VERSION, (None, None))
    if path is not None:
        try:
            refuse_unlike_manifest(path, opened.encoding[MANIFEST])
        except (SoilcastError, OSError, ValueError, RuntimeError) as error:
            raise SoilcastError(
                f"{path}: it was replaced or changed while it was read: run the command again"
            ) from error


def refuse_foreign_codecs(described: object, where: object) -> None:
    """Raise `SoilcastError` for a Zarr array whose metadata ask for a codec that could do more than compute numbers.

    Parameters
    ----------
    described
        The metadata of an array or a group of Zarr 2 or 3, parsed.
    where
        The store, for the message.
    """
    for name in _codec_names(described):
        if name.removeprefix("numcodecs.") not in CODECS:
            raise SoilcastError(
                f"{where}: its values are stored with the codec {name[:60]!r}, which is not among those that can be "
                "read safely: write it again as plain numbers (zstd, blosc, gzip)"
            )
    if isinstance(described, dict) and _is_object(described):
        raise SoilcastError(f"{where}: contains objects, which may run code: write it again with numbers only")


def refuse_special(path: Path) -> None:
    """Raise `SoilcastError` for a device or a pipe, on which reading could wait or go on for ever."""
    if not path.is_file() and not path.is_dir():
        raise SoilcastError(f"{path}: neither a file nor a folder: give another path")


def check_store(store: Path, *, metadata: bool = True) -> None:
    """Refuse a Zarr folder that reaches outside or asks for code, before anything opens it.

    Raises
    ------
    SoilcastError
        A link leads out of the folder, something is neither file nor folder, metadata are damaged or too large, or a
        codec is not on the list.
    """
    for file in _files_of(store):
        if metadata and file.name in ("zarr.json", ".zarray", ".zmetadata"):
            try:
                if file.stat().st_size > _LARGEST_METADATA:
                    raise ValueError("too large")
                described = json.loads(file.read_bytes())
            except (ValueError, RecursionError) as error:
                raise SoilcastError(
                    f"{store}: {file.relative_to(store.resolve())} is damaged ({error}): download or create it again"
                ) from error
            for one in described["metadata"].values() if file.name == ".zmetadata" else (described,):
                refuse_foreign_codecs(one, store)


def _codec_names(described: object) -> Iterator[str]:
    """Names of all codecs of an array's metadata, those inside shards included."""
    if not isinstance(described, dict):
        return
    lists = [described.get("filters"), described.get("codecs"), described.get("index_codecs")]
    lists += [[described["compressor"]]] if described.get("compressor") else []
    for codec in (codec for codecs in lists if isinstance(codecs, list) for codec in codecs):
        name = (
            codec if isinstance(codec, str) else codec.get("id", codec.get("name")) if isinstance(codec, dict) else ""
        )
        yield str(name)
        if isinstance(codec, dict):
            yield from _codec_names(codec.get("configuration"))


def _is_object(described: Mapping[str, Any]) -> bool:
    """Whether an array of Zarr 2 holds Python objects that are not texts."""
    dtype = described.get("dtype")
    filters = described.get("filters") or []
    texts = [one for one in filters if isinstance(one, dict) and one.get("id") in ("vlen-utf8", "vlen-bytes")]
    return isinstance(dtype, str) and dtype.endswith("O") and len(texts) != len(filters)


def _files_of(store: Path) -> Iterator[Path]:
    """Every file of a store; what a link of it leads to is inside too."""
    home = store.resolve()
    for folder, folders, files in os.walk(home):
        for name in (*folders, *files):
            path = Path(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                if not path.resolve().is_relative_to(home):
                    raise SoilcastError(f"{store}: {path.relative_to(home)} is a link out of the folder: copy it there")
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise SoilcastError(f"{store}: {path.relative_to(home)} is neither a file nor a folder: remove it")
        yield from (Path(folder, name) for name in files)


def _manifest_of_store(store: Path) -> dict[str, str]:
    root = json.loads((store / "zarr.json").read_text(encoding="utf-8"))
    root["attributes"].pop(MANIFEST, None)
    entries = {"": _short(json.dumps(root, sort_keys=True).encode())}
    for folder in sorted(one.name for one in os.scandir(store) if one.is_dir()):
        if (store / folder / "zarr.json").is_file():
            digest = hashlib.sha256()
            _add_folder(digest.update, str(store / folder), "")
            entries[folder] = digest.hexdigest()[:32]
    return entries


def _add_folder(update: Callable[[bytes], object], folder: str, name: str) -> None:
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        inside = f"{name}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            _add_folder(update, entry.path, inside)
        elif entry.is_file(follow_symlinks=False):
            size = entry.stat(follow_symlinks=False).st_size
            descriptor = os.open(entry.path, os.O_RDONLY)
            try:
                whole = size if inside == "/zarr.json" else min(size, _TAIL)
                end = _read_at(descriptor, whole, size - whole)
            finally:
                os.close(descriptor)
            update(f"{inside}\0{size}\0".encode() + end)
        else:
            raise SoilcastError(f"{entry.path}: a link, or neither a file nor a folder: copy the file there")


def _manifest_of_file(path: Path) -> dict[str, str]:
    entries: dict[str, str] = {}
    with h5py.File(path, "r") as file, path.open("rb") as raw:
        entries[""] = _short(json.dumps(_attributes_of(file), sort_keys=True).encode())

        def add(name: str, stored: Any) -> None:
            if not isinstance(stored, h5py.Dataset):
                return
            dims = [[scale.name for scale in dim.values()] for dim in stored.dims]
            about = [_attributes_of(stored), str(stored.dtype), stored.shape, dims, stored.external, stored.is_virtual]
            digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
            if stored.dtype.kind == "O":
                digest.update(json.dumps(np.asarray(stored[()]).tolist(), default=str).encode())
            elif stored.chunks is None:
                digest.update(np.asarray(stored[()]).tobytes())
            else:
                chunks: list[Any] = []
                stored.id.chunk_iter(chunks.append)
                for chunk in sorted(chunks, key=lambda one: one.chunk_offset):
                    size = min(chunk.size, _TAIL)
                    end = _read_at(raw.fileno(), size, chunk.byte_offset + chunk.size - size)
                    digest.update(f"{chunk.chunk_offset}\0{chunk.size}\0{chunk.filter_mask}".encode() + end)
            entries[name] = digest.hexdigest()[:32]

        file.visititems(add)
    return entries


def _attributes_of(stored: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value in stored.attrs.items() if name not in _HDF5_OWN and name != MANIFEST}


def _read_at(descriptor: int, count: int, position: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, position)
    os.lseek(descriptor, position, os.SEEK_SET)
    return os.read(descriptor, count)


def _plain(value: Any) -> Any:
    """An attribute as JSON has it, the same whether it was just set or read again in single precision."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(one) for one in value] if len(np.shape(value)) else _plain(np.asarray(value)[()])
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | float | np.number):
        with np.errstate(over="ignore"):
            return float(np.float32(value))
    return str(value)


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
