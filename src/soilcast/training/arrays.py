"""Large arrays in memory, or mapped from files where memory is short."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import resource
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soilcast.errors import SoilcastError

Array = npt.NDArray[Any]
Allocate = Callable[[str, tuple[int, ...], npt.DTypeLike], Array]

_UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_COMPLETE = "complete.json"


def parse_bytes(text: str) -> int:
    """Read an amount of memory such as ``2GiB`` [bytes].

    Raises
    ------
    SoilcastError
        It is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2] not in _UNITS or not float(found[1]):
        raise SoilcastError(f"--memory {text}: not an amount of memory: write it as 2GiB or 1500MiB")
    return int(float(found[1]) * _UNITS[found[2]])


def peak_memory() -> int:
    """The most memory that this process has held so far [bytes]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def held_memory() -> int:
    """The memory that this process holds now [bytes]."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * mmap.PAGESIZE if pages.is_file() else peak_memory()


def make_arrays(folder: Path | None, identity: Mapping[str, Any], fill: Callable[[Allocate], Any]) -> dict[str, Array]:
    """Give arrays in memory, or mapped from files, which are filled unless that has been done already.

    Parameters
    ----------
    folder
        Where the files of all identities are; None for memory.
    identity
        All that the arrays depend on, as JSON has it; arrays of another identity lie beside.
    fill
        Called with a function that allocates an array by its name, shape and type.

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
    place = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
    if not (place / _COMPLETE).is_file():
        partial = folder / f".{place.name}.partial-{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:

            def allocate(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
                made[name] = np.lib.format.open_memmap(partial / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
                return made[name]

            fill(allocate)
            forget_pages(made.values(), write=True)
            sizes = {file.name: file.stat().st_size for file in sorted(partial.iterdir())}
            (partial / _COMPLETE).write_text(json.dumps({"identity": identity, "sizes": sizes}), encoding="utf-8")
            if place.exists():
                shutil.rmtree(place)
            partial.rename(place)
        except OSError:
            if not (place / _COMPLETE).is_file():  # else another process has made the same meanwhile
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return _open(place)


def _open(place: Path) -> dict[str, Array]:
    try:
        sizes = json.loads((place / _COMPLETE).read_text(encoding="utf-8"))["sizes"]
        # A file that is too short would end the process when its missing part is read.
        if any((place / name).stat().st_size != size for name, size in sizes.items()):
            raise ValueError("a file has another size")
        # Mapped for this process alone: torch knows no arrays that cannot be written, and nothing here writes to them.
        return {Path(name).stem: np.load(place / name, mmap_mode="c", allow_pickle=False) for name in sizes}
    except (OSError, ValueError, KeyError) as error:
        raise SoilcastError(f"{place}: damaged ({error}): remove it and start again") from error


def forget_pages(arrays: Iterable[npt.NDArray[np.generic]], *, write: bool = False) -> None:
    """Let go of the memory that mapped arrays were read or written through; the files keep what it held."""
    for array in arrays:
        base: Any = array
        while base is not None and not isinstance(base, mmap.mmap):
            base = base.base if isinstance(base, np.ndarray) else getattr(base, "obj", None)
        if base is not None:
            if write:
                base.flush()
            base.madvise(mmap.MADV_DONTNEED)
