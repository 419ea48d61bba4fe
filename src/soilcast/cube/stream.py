"""A cube on disk while it is made: blocks go in as they come, and what is in survives whatever ends the work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr

from soilcast.cube.contract import GENUINE, VARIABLES
from soilcast.cube.identity import ContentHash
from soilcast.cube.pieces import Parts, blocks_of
from soilcast.cube.plausibility import FEWEST_DAYS, UNUSUAL, Tally, doubts_of, imbalance, refuse_certain
from soilcast.cube.store import CELL_CHUNK, zarr_encoding
from soilcast.errors import SoilcastError, raise_system_fault
from soilcast.files import flush_to_disk, link_or_copy, replace_file
from soilcast.workplace import first_difference

PROGRESS = "cube.json"

_CHUNKS_AT_ONCE = 4
"""Chunks that are compressed side by side."""


class UnfinishedStore:
    """A Zarr store of which some parts are there and others are to come: which ones is noted beside it.

    Parameters
    ----------
    place
        Folder to work in.
    name
        Of the store and of what is noted: ``NAME.zarr`` and ``NAME.json``.
    parts
        How many there are.
    identity
        What the values depend on, by name: unfinished work on anything else is refused, and the name said.
    """

    def __init__(self, place: Path, name: str, parts: int, identity: Mapping[str, Any]) -> None:
        self.store, self._progress = place / f"{name}.zarr", place / f"{name}.json"
        self._parts, self._identity = parts, json.loads(json.dumps(identity, default=str))
        # Without its store, what is noted has been put into its place and was taken from there since.
        self.is_begun = self._progress.exists() and self.store.exists()
        self.done = self._read() if self.is_begun else set[int]()

    @property
    def missing(self) -> list[int]:
        """Numbers of the parts that are not there yet."""
        return [number for number in range(self._parts) if number not in self.done]

    def note_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes that are known at the end."""
        zarr.open_group(self.store, mode="r+").attrs.update(attributes)

    def discard(self) -> None:
        """Forget the unfinished work: it is done."""
        self._progress.unlink(missing_ok=True)

    def _note(self) -> None:
        content = json.dumps({"identity": self._identity, "done": sorted(self.done), **self._noted()})
        replace_file(self._progress, content.encode())

    def _noted(self) -> dict[str, Any]:
        """What else is noted of the parts that are there."""
        return {}

    def _take_noted(self, content: Mapping[str, Any]) -> None:
        """Take back what `_noted` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is not that.
        """

    def _read(self) -> set[int]:
        damaged = SoilcastError(f"{self._progress}: damaged: start over with --overwrite")
        try:
            content = json.loads(self._progress.read_text(encoding="utf-8"))
            found, done = dict(content["identity"]), {int(number) for number in content["done"]}
            self._take_noted(content)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise_system_fault(error)
            raise damaged from error
        if (name := first_difference(self._identity, found)) is not None:
            raise SoilcastError(
                f"{self._progress}: the unfinished output has {name} {found.get(name, 'none')}, this command "
                f"{self._identity.get(name, 'none')}: resume with the same options, or start over with --overwrite"
            )
        if not done <= {*range(self._parts)}:
            raise damaged
        return done


class CubeStream(UnfinishedStore):
    """A cube of which some blocks of days of some variables are there and others are to come.

    Parameters
    ----------
    place
        Folder to work in.
    skeleton
        The cube without its dynamic variables, in memory.
    dynamic
        Attributes of each dynamic variable, sorted by name.
    identity
        What the values depend on, by name: unfinished work on anything else is refused, and the name said.
    """

    def __init__(
        self,
        place: Path,
        skeleton: xr.Dataset,
        dynamic: Mapping[str, Mapping[str, Any]],
        identity: Mapping[str, Any],
    ) -> None:
        blocks = blocks_of(skeleton.sizes["time"])
        self.units = [(name, days) for name in dynamic for days in blocks]
        self.clipped: dict[str, int] = {}
        super().__init__(place, "cube", len(self.units), identity)
        self._place, self._cells, self._blocks = place, skeleton.sizes["cell"], len(blocks)
        self._taken: dict[int, Path] = {}
        if self.is_begun:
            self._remove_halves()
        else:
            self._create(skeleton, dynamic)
        self._hash, self._attributes = ContentHash(skeleton), dynamic
        self._hashed = 0
        self._skeleton = skeleton
        self._origins = {
            name: str(one.get("origin", skeleton.attrs.get("source", ""))).partition(": ")[0]
            for name, one in dynamic.items()
        }
        self._tallies = {name: Tally(skeleton["area"].to_numpy().astype(np.float64)) for name in dynamic}
        group = zarr.open_group(self.store, mode="r+")
        self._arrays: dict[str, Any] = {name: group[name] for name in dynamic}

    def parts(self, number: int, pieces: list[slice]) -> Parts:
        """Room to put a unit's pieces together in."""
        return Parts(self._place / f"block-{number}.raw", self._cells, pieces)

    def write(self, number: int, parts: Parts) -> None:
        """Write a unit to the disk, then note that it is there."""
        name, days = self.units[number]
        self._hash_what_is_there()
        hashed = number == self._hashed
        if hashed:
            self._begin(number)
        for cells in self._cell_blocks():
            values = parts.read(cells)
            if hashed:
                self._take_in(name, cells, values)
            self._arrays[name][cells, days] = values
        if hashed:
            self._refuse_certain(name)
        self._flush(number)
        parts.discard()
        self.done.add(number)
        self._note()
        self._hashed += hashed

    def take(self, numbers: Collection[int], store: Path) -> None:
        """Take units as they are from a store whose layout is the same (`same_layout`).

        Their files become files of both stores, where the disk can do that: neither store may be written to in place.
        """
        for number in numbers:
            for chunk in self._chunks(number, slice(0, self._cells)):
                chunk.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(store / chunk.relative_to(self.store), chunk)
            self._taken[number] = store
        self.done.update(numbers)

    def _noted(self) -> dict[str, Any]:
        return {"clipped": self.clipped}

    def _take_noted(self, content: Mapping[str, Any]) -> None:
        self.clipped = {str(name): int(count) for name, count in content["clipped"].items()}

    def finish(self, provenance: str) -> None:
        """Add what is known at the end: the hash of the content, the notes that follow from the values."""
        self._hash_what_is_there()
        assert self._hashed == len(self.units), "units are missing"
        records = {name: tally.record() for name, tally in self._tallies.items()}
        records = {name: one for name, one in records.items() if one.days >= FEWEST_DAYS}
        notes = [f"{UNUSUAL}{doubt.sentence}" for doubt in (*doubts_of(records), *imbalance(records))]
        for name, count in sorted(self.clipped.items()):
            row = VARIABLES[name]
            bounds = f"{row.valid_min:g} .. {row.valid_max:g} {row.units}"
            notes.append(f"{name}: {count} value(s) a rounding beyond {bounds} set to the bound")
        lines = [*str(self._skeleton.attrs.get("notes", "")).splitlines(), *notes]
        added = {"notes": "\n".join(dict.fromkeys(lines))} if lines else {}
        self.note_attributes({"content_sha256": self._hash.hexdigest(), "provenance": provenance, **added})

    def _refuse_certain(self, name: str) -> None:
        if name not in str(self._skeleton.attrs.get(GENUINE, "")).split():
            refuse_certain(name, self._tallies[name].record(), self._origins[name])

    def _take_in(self, name: str, cells: slice, values: npt.NDArray[np.float32]) -> None:
        """Each value once, in the order of the units: into the hash, and into what is known of its variable."""
        self._hash.add(values)
        self._tallies[name].add(cells, values)

    def _hash_what_is_there(self) -> None:
        """Go on with the hash, whose order is that of the units, as far as they are there."""
        while self._hashed in self.done:
            name, days = self.units[self._hashed]
            self._begin(self._hashed)
            for cells in self._cell_blocks():
                self._take_in(name, cells, self._stored(self._hashed, name, cells, days))
            self._refuse_certain(name)
            self._hashed += 1

    def _begin(self, number: int) -> None:
        if number % self._blocks == 0:
            name = self.units[number][0]
            self._hash.begin(name, ("cell", "time"), np.dtype(np.float32), self._attributes[name])

    def _stored(self, number: int, name: str, cells: slice, days: slice) -> npt.NDArray[np.float32]:
        try:
            for chunk in self._chunks(number, cells):
                chunk.stat()  # zarr reads one that is not there as zeros
            values: npt.NDArray[np.float32] = np.ascontiguousarray(self._arrays[name][cells, days])
        except (OSError, ValueError, RuntimeError) as error:
            raise_system_fault(error)
            if (taken := self._taken.get(number)) is not None:
                raise SoilcastError(
                    f"{taken}: {name} cannot be read ({error}): the store is damaged; create it again"
                ) from error
            raise SoilcastError(
                f"{self.store}: {name} cannot be read ({error}): the unfinished output is damaged; start over with "
                "--overwrite"
            ) from error
        return values

    def _cell_blocks(self) -> list[slice]:
        step = CELL_CHUNK * _CHUNKS_AT_ONCE
        return [slice(start, min(start + step, self._cells)) for start in range(0, self._cells, step)]

    def _chunks(self, number: int, cells: slice) -> list[Path]:
        """Files of a unit's chunks."""
        folder = self.store / self.units[number][0] / "c"
        rows = range(cells.start // CELL_CHUNK, -(-cells.stop // CELL_CHUNK))
        return [folder / str(row) / str(number % self._blocks) for row in rows]

    def _flush(self, number: int) -> None:
        chunks = self._chunks(number, slice(0, self._cells))
        for file in chunks:
            flush_to_disk(file)
        for folder in {chunks[0].parents[1], *(file.parent for file in chunks)}:
            flush_to_disk(folder, inside=False)

    def _create(self, skeleton: xr.Dataset, dynamic: Mapping[str, Mapping[str, Any]]) -> None:
        import dask.array  # a second to import, for which who opens a cube should not wait

        for left in (self.store, self._progress):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        whole = skeleton.copy()
        shape = (skeleton.sizes["cell"], skeleton.sizes["time"])
        for name, attributes in dynamic.items():
            empty = dask.array.zeros(shape, dtype=np.float32, chunks=-1)
            whole[name] = (("cell", "time"), empty, dict(attributes))
        encoding = {str(name): zarr_encoding(variable) for name, variable in whole.variables.items()}
        encoding["time"] |= {"units": "days since 1950-01-01", "calendar": "standard", "dtype": "int64"}
        whole.to_zarr(self.store, zarr_format=3, consolidated=False, encoding=encoding, compute=False, mode="w")
        flush_to_disk(self.store)

    def _remove_halves(self) -> None:
        """Remove what was being written when the work broke off."""
        for left in [*self._place.glob("block-*.raw"), *self.store.rglob("*.partial")]:
            left.unlink()
        for name in {name for name, _ in self.units}:
            numbers = [number for number in sorted(self.done) if self.units[number][0] == name]
            whole = {chunk for number in numbers for chunk in self._chunks(number, slice(0, self._cells))}
            for found in (self.store / name / "c").glob("*/*"):
                if found not in whole:
                    found.unlink()


def same_layout(store: Path, other: Path, variable: str) -> bool:
    """Whether two stores cut, compress and check the values of a variable in the same way, whatever their sizes."""
    found = []
    for one in (store, other):
        described = json.loads((one / variable / "zarr.json").read_text(encoding="utf-8"))
        found.append({key: value for key, value in described.items() if key not in ("shape", "attributes")})
    return bool(found[0] == found[1])
