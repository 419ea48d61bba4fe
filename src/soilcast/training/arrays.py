"""Large arrays in memory, or mapped from files where memory is short."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soilcast.errors import SoilcastError
from soilcast.files import FULL_DISK, locked

Array = npt.NDArray[Any]
Allocate = Callable[[str, tuple[int, ...], npt.DTypeLike], Array]

_COMPLETE = "complete.json"
_PARTIAL = ".partial"
_LOCK = ".lock"
_DIGITS = 16
"""Of the hash of what arrays depend on, which names their folder."""


def make_arrays(
    folder: Path | None, identity: Mapping[str, Any], fill: Callable[[Allocate], Any], *, low_memory: bool = False
) -> dict[str, Array]:
    """Give arrays in memory, or mapped from files, which are filled unless that has been done already.

    Parameters
    ----------
    folder
        Where the files of all identities are; None for memory.
    identity
        All that the arrays depend on, as JSON has it; arrays of another identity lie beside.
    fill
        Called with a function that allocates an array by its name, shape and type.
    low_memory
        Have mapped arrays read in small pieces, which is slower and brings no more into memory than it must.

    Returns
    -------
    Name -> array. Files that are not complete (the process was killed meanwhile) are filled anew.
    """
    made: dict[str, Array] = {}
    if folder is None:

        def in_memory(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
            made[name] = np.empty(shape, dtype=dtype)
            return made[name]

        fill(in_memory)
        return made
    text = json.dumps(identity, sort_keys=True)
    place = folder / hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
    if not (place / _COMPLETE).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / _LOCK):
            for left in folder.glob(f".{'[0-9a-f]' * _DIGITS}{_PARTIAL}"):  # by processes that were killed
                shutil.rmtree(left)
            if not (place / _COMPLETE).is_file():  # else another process has made the same meanwhile
                _fill_files(place, identity, fill)
    return _open(place, low_memory=low_memory)


def _fill_files(place: Path, identity: Mapping[str, Any], fill: Callable[[Allocate], Any]) -> None:
    partial = place.with_name(f".{place.name}{_PARTIAL}")
    partial.mkdir()
    made: list[Array] = []

    def allocate(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        file = partial / f"{name}.npy"
        made.append(_page_by_page(np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)))
        # Taken from the disk now: one that is full when a page is written ends the process without a word.
        if hasattr(os, "posix_fallocate"):
            with file.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
        return made[-1]

    try:
        fill(allocate)
        forget_pages(made, write=True)
        sizes = {file.name: file.stat().st_size for file in sorted(partial.iterdir())}
        (partial / _COMPLETE).write_text(json.dumps({"identity": identity, "sizes": sizes}), encoding="utf-8")
        if place.exists():
            shutil.rmtree(place)
        partial.rename(place)
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        raise SoilcastError(
            f"no space left on the disk of {place.parent} for samples that do not fit in memory: free some space, or "
            "increase --memory"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _open(place: Path, *, low_memory: bool) -> dict[str, Array]:
    try:
        sizes = json.loads((place / _COMPLETE).read_text(encoding="utf-8"))["sizes"]
        # A file that is too short would end the process when its missing part is read.
        if any(Path(name).name != name or (place / name).stat().st_size != size for name, size in sizes.items()):
            raise ValueError("a file has another size")
        # Mapped for this process alone: torch knows no arrays that cannot be written, and nothing here writes to them.
        mapped = {Path(name).stem: np.load(place / name, mmap_mode="c", allow_pickle=False) for name in sizes}
        return {name: _page_by_page(array) if low_memory else array for name, array in mapped.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SoilcastError(f"{place}: damaged ({error}): remove it and run the command again") from error


def forget_pages(arrays: Iterable[npt.NDArray[np.generic]], *, write: bool = False) -> None:
    """Let go of the memory that mapped arrays were read or written through; the files keep what it held."""
    for array in arrays:
        if write and (mapping := _mapping_of(array)) is not None:
            mapping.flush()
        _advise(array, "MADV_DONTNEED")


def _page_by_page(array: Array) -> Array:
    """Have the system read and write a mapped array in small pieces: else one value may bring 2 MiB around it along."""
    _advise(array, "MADV_RANDOM")
    return array


def _advise(array: npt.NDArray[np.generic], advice: str) -> None:
    mapping = _mapping_of(array)
    if mapping is not None and hasattr(mmap, advice):  # not on Windows
        mapping.madvise(getattr(mmap, advice))


def _mapping_of(array: npt.NDArray[np.generic]) -> mmap.mmap | None:
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = base.base if isinstance(base, np.ndarray) else getattr(base, "obj", None)
    return base
