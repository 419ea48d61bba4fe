"""What an artifact says it was made from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from soilcast import provenance
from soilcast.provenance import code_sha256

PACKAGE = Path(provenance.__file__).parent


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(PACKAGE / "water", tmp_path / "water")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    return tmp_path / "water" / "balance.py"


def test_comments_and_docstrings_do_not_change_the_hash_of_code(package: Path) -> None:
    before = code_sha256(["water"])
    source = package.read_text()
    docstring = source.splitlines()[0]
    assert docstring.startswith('"""')
    package.write_text(source.replace(docstring, '"""Other words."""\n# and a comment'))
    assert code_sha256(["water"]) == before


def test_what_code_does_changes_its_hash(package: Path) -> None:
    before = code_sha256(["water"])
    source = package.read_text()
    assert '"paper": 1.0' in source
    package.write_text(source.replace('"paper": 1.0', '"paper": -1.0'))
    assert code_sha256(["water"]) != before


def test_a_file_beside_the_rooms_counts_too(package: Path) -> None:
    task = package.parent.parent / "task.py"
    shutil.copy(PACKAGE / "task.py", task)
    rooms = ["task.py", "water"]
    before = code_sha256(rooms)
    assert before != code_sha256(["water"])
    source = task.read_text()
    task.write_text(f"# a comment\n{source}")
    assert code_sha256(rooms) == before
    task.write_text(source.replace("_LONGEST_LATENCY = 60", "_LONGEST_LATENCY = 61"))
    assert code_sha256(rooms) != before
