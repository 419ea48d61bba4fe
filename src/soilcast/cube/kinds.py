"""What kind of artifact a path says that it is, told without the libraries that open it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from soilcast.cube.contract import CONTRACT_VERSION
from soilcast.errors import SoilcastError, raise_system_fault
from soilcast.provenance import written_by

FORMATS: dict[str, int] = {"forecast": 4, "scores": 4, "verdict": 1}
"""Kinds of artifacts that carry the number of their format as ``soilcast_format`` -> the one of this soilcast."""

_FORMER_KINDS = {"outlook": "forecast", "outlook_scores": "scores"}
_AGAIN = {"forecast": "forecast again", "scores": "evaluate again"}

_ATTRIBUTES = ("soilcast_kind", "soilcast_contract", "soilcast_format", "provenance")
"""All that tells the kind of an artifact and its format."""

_ZARR_2 = (".zgroup", ".zarray", ".zattrs", ".zmetadata")
_LARGEST_METADATA = 1 << 26


def refuse_missing(path: Path, kind: str) -> None:
    """Raise `SoilcastError` for a path at which nothing stands."""
    if not path.exists():
        raise SoilcastError(f"{path}: no such {kind}")


def refuse_other_kind(path: Path, kind: str, *others: str) -> None:
    """Raise `SoilcastError` for a path that cannot be an artifact of this ``kind``, or of one of others.

    It takes milliseconds. What is left to `soilcast.cube.store.open_artifact` is whether it is what was written.

    Raises
    ------
    SoilcastError
        There is nothing, it is no Zarr store and no NetCDF file, it is something else or of another format.
    """
    refuse_missing(path, kind)
    if path.is_dir():
        if not any((path / name).exists() for name in ("zarr.json", *_ZARR_2)):
            raise unreadable(path, kind, "GroupNotFoundError")
        attributes = _attributes_of_store(path / "zarr.json")
    else:
        attributes = _attributes_of_file(path, kind)
    if attributes is not None and all(
        isinstance(attributes.get(name, ""), str | int | np.integer) for name in _ATTRIBUTES
    ):
        refuse_attributes(attributes, path, kind, *others)


def refuse_attributes(attributes: Mapping[Any, Any], path: Path, kind: str, *others: str) -> None:
    """Raise `SoilcastError` for attributes of another kind than ``kind`` and others, or of another format."""
    kinds = (kind, *others)
    found = attributes.get("soilcast_kind")
    _refuse_other_format(attributes, path, *kinds)
    if found not in kinds:
        wanted = " or ".join(map(_with_article, kinds))
        this = _with_article(str(found)) if found else "not of soilcast"
        raise SoilcastError(f"{path}: {wanted} is expected, but this is {this}")


def refuse_other_contract(attributes: Mapping[Any, Any], path: str | Path) -> None:
    """Raise `SoilcastError` for the attributes of a cube of another contract."""
    version = attributes.get("soilcast_contract")
    if version != CONTRACT_VERSION:
        raise SoilcastError(
            f"{path}: cube contract {version}, but this soilcast reads {CONTRACT_VERSION}: prepare the cube again"
        )


def unreadable(path: Path, kind: str, fault: str) -> SoilcastError:
    """Say that a path cannot be read at all; ``fault`` is the name of the exception."""
    return SoilcastError(f"{path}: cannot be read as a {kind} ({fault}): damaged or of another format; create it again")


def _refuse_other_format(attributes: Mapping[Any, Any], path: Path, *kinds: str) -> None:
    """Raise `SoilcastError` for what is of one of these kinds, but of the format of another soilcast."""
    found = str(attributes.get("soilcast_kind"))
    if found == "cube" and "cube" in kinds:
        refuse_other_contract(attributes, path)
    kind = found if found in kinds else _FORMER_KINDS.get(found, found)
    if kind not in kinds or kind not in FORMATS:
        return
    written = attributes.get("soilcast_format", 1) if kind == found else 1
    if isinstance(written, int | np.integer) and written == FORMATS[kind]:
        return
    writer = written_by(str(attributes.get("provenance", "")))
    what = kind if kind.endswith("s") else _with_article(kind)
    raise SoilcastError(
        f"{path}: {what} of {writer} (format {written}), but this version of soilcast reads format {FORMATS[kind]}: "
        f"{_AGAIN[kind]}"
    )


def _with_article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind.replace('_', ' ')}"


def _attributes_of_store(metadata: Path) -> Mapping[Any, Any] | None:
    """Attributes of a group of Zarr 3; None where they cannot be told, which is for others to say."""
    if not metadata.is_file() or metadata.stat().st_size > _LARGEST_METADATA:
        return None
    try:
        described = json.loads(metadata.read_bytes())
        is_group = described["node_type"] == "group"
        attributes = described.get("attributes", {})
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    return attributes if is_group and isinstance(attributes, dict) else None


def _attributes_of_file(path: Path, kind: str) -> Mapping[Any, Any] | None:
    """Attributes of a NetCDF-4 file; None where they cannot be told, which is for others to say."""
    import h5py  # takes longer to import than all else here

    if not path.is_file():  # a device or a pipe, on which reading could wait for ever
        return None
    try:
        with h5py.File(path, "r") as opened:
            found = {name: opened.attrs[name] for name in _ATTRIBUTES if name in opened.attrs}
    except OSError as error:
        raise_system_fault(error)
        raise unreadable(path, kind, type(error).__name__) from error
    except (ValueError, RuntimeError, KeyError, TypeError):
        return None
    return {name: value[0] if np.shape(value) == (1,) else value for name, value in found.items()}  # NetCDF's numbers
