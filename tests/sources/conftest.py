"""What tests of LandBench ask for: a small tree of it, and copies in which files are written anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.landbench_plain import LATS, LEAST, LONS
from tests.helpers.landbench_tree import CONSTANTS, DYNAMIC, write_landbench_tree


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of the required variables, 40 days of 2019; tests copy it and write what differs."""
    root = tmp_path_factory.mktemp("landbench")
    write_landbench_tree(
        root, resolution="4", lats=LATS, lons=LONS, years=[2019], days=40, variables=LEAST, constants=()
    )
    return root


@pytest.fixture
def tree(plain: Path, tmp_path: Path) -> Callable[..., Path]:
    """A function that gives a copy of the plain tree, with the files written anew that its options concern."""

    def build(*names: str, **options: Any) -> Path:
        root = tmp_path / "tree"
        shutil.copytree(plain, root)
        touched = {*names, *options.get("fields", {}), *options.get("units", {}), *options.get("attributes", {})}
        settings: dict[str, Any] = {"resolution": "4", "lats": LATS, "lons": LONS, "years": [2019], "days": 40}
        settings["variables"] = [name for name in DYNAMIC if name in touched]
        settings["constants"] = [name for name in CONSTANTS if name in touched]
        write_landbench_tree(root, **(settings | options))
        return root

    return build
