"""Which forecasts lie at the paths that are served, and which cube, runs and scores lie beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from soilcast.cube.identity import version_of
from soilcast.ownership import kind_of

_UNFINISHED = ".unfinished"
_STORE = "zarr.json"


class Finder:
    """Looks through paths again and again; what it has seen it looks into once.

    Parameters
    ----------
    paths
        Artifacts, or folders in which they lie, or in whose folders they lie.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._kinds: dict[tuple[Path, tuple[int, ...]], str | None] = {}

    def look(self) -> dict[str, list[Path]]:
        """Give what lies there, by its kind, in the order of paths; ``?`` is what cannot be told and may be damaged."""
        found: dict[str, list[Path]] = {}
        seen: dict[tuple[Path, tuple[int, ...]], str | None] = {}
        for path in dict.fromkeys(self._candidates()):
            try:
                key = path, version_of(path)
            except OSError:  # it has just been replaced or removed
                continue
            seen[key] = self._kinds[key] if key in self._kinds else kind_of(path) or _suspect(path)
            if (kind := seen[key]) is not None:
                found.setdefault(kind, []).append(path)
        self._kinds = seen
        return found

    def _candidates(self) -> Iterator[Path]:
        for path in self._paths:
            if not path.is_dir() or _is_artifact(path):
                yield path
                continue
            for inside in _entries(path):
                if not inside.is_dir() or _is_artifact(inside):
                    yield inside
                else:
                    yield from (one for one in _entries(inside) if not one.is_dir() or _is_artifact(one))


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, but for what is hidden or unfinished."""
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return []
    return [one for one in inside if not one.name.startswith(".") and not one.name.endswith(_UNFINISHED)]


def _is_artifact(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (_STORE, "run.json", "scores.nc", "verdict.nc"))


def _suspect(path: Path) -> str | None:
    """Tell what may be a damaged forecast from what is something else."""
    return "?" if (path / _STORE).exists() or path.suffix == ".nc" else None
