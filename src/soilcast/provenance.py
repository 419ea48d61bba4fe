"""What an artifact was made from: versions, inputs, time. Every file that soilcast writes carries it."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from soilcast.errors import printable

_PACKAGES = ("soilcast", "numpy", "xarray", "zarr", "torch")


def versions() -> dict[str, str]:
    """Versions of soilcast, of Python and of the packages that shape a result."""
    return {"python": platform.python_version(), **_of_packages()}


@functools.cache
def _of_packages() -> dict[str, str]:
    # Kept: to look takes milliseconds, every artifact asks, and what is imported does not change.
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def code_sha256(rooms: Sequence[str]) -> str:
    """Hash what the code of some rooms of soilcast does; comments, docstrings and layout do not count.

    Parameters
    ----------
    rooms
        Folders of the package, such as ``water``, and files at its top, such as ``task.py``.
    """
    package = Path(__file__).parent
    digest = hashlib.sha256(platform.python_version().encode())  # which reads code in its own way
    places = [package / room for room in rooms]
    files = [path for place in places for path in ([place] if place.is_file() else place.rglob("*"))]
    for file in sorted(path for path in files if path.suffix in (".py", ".c")):
        digest.update(f"{file.relative_to(package).as_posix()}\0{_does(file)}\0".encode())
    return digest.hexdigest()


def file_sha256(file: Path) -> str:
    """Hash what the code of one file does, as `code_sha256` does."""
    return hashlib.sha256(_does(file).encode()).hexdigest()


def _does(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    return _without_docstrings(text) if file.suffix == ".py" else text


def _without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]  # type: ignore[attr-defined]
    return ast.dump(tree)


def history_of(provenance: object) -> dict[str, str]:
    """Say a provenance as CF's attribute ``history`` does: a line of time, command and version for each step in order.

    Parameters
    ----------
    provenance
        What `stamp` gave, and what was ``appended`` to it.

    Returns
    -------
    The attribute; nothing where the text says nothing of the kind.
    """
    try:
        made = json.loads(str(provenance))
        steps = [made, *made.get("appended", [])]
        lines = [f"{one['created']} {one['made_by']} (soilcast {one['versions']['soilcast']})" for one in steps]
        return {"history": "\n".join(lines)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def written_by(provenance: str) -> str:
    """Name the soilcast that a provenance is from: ``soilcast 0.1.0``."""
    try:
        return f"soilcast {json.loads(provenance)['versions']['soilcast']}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "another soilcast"


def input_of(provenance: object, name: str) -> Any:
    """Give one of the inputs that `stamp` was given; None where the text has none of that name."""
    try:
        return json.loads(str(provenance)).get(name)
    except (ValueError, AttributeError, RecursionError):
        return None


def stamp(made_by: str, **inputs: Any) -> str:
    """Provenance of one artifact as a JSON text, to be kept in its ``provenance`` attribute.

    Parameters
    ----------
    made_by
        The function or command that made it.
    inputs
        What it was made from: paths, hashes, options. Values must fit JSON. Users and passwords of addresses are left
        out.
    """
    text = json.dumps(
        {
            "made_by": made_by,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            **inputs,
        },
        default=str,
    )
    return printable(text)
