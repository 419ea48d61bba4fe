"""An artifact is there whole, or not at all: whatever happens while it is written."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from soilcast.errors import SoilcastError
from soilcast.files import atomic_write, harmless_table, locked, refuse_existing, sha256_of
from tests.helpers import ROOT

# A child that tells when half is written, and then waits for its end.
HALF_WRITTEN = """
import sys, time
from pathlib import Path
from soilcast.files import atomic_write
with atomic_write(Path(sys.argv[1]), kind=sys.argv[3], overwrite=True) as partial:
    if sys.argv[2] == "folder":
        partial.mkdir()
        (partial / "half").write_text("new")
    else:
        partial.write_text("new")
    print("half", flush=True)
    time.sleep(60)
"""

# A child that holds a lock until it is killed.
LOCKED = """
import sys, time
from pathlib import Path
from soilcast.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

SAVE = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.helpers.small import small_cube
from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
cube = small_cube(60, 400)
if int(sys.argv[3]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
for name in ("cube.zarr", "cube.nc"):
    try:
        save_cube(cube, Path(sys.argv[1]) / name)
    except SoilcastError as error:
        print(error)
"""

# Where the system lets us, a real disk of 100 kB: a tmpfs in a mount namespace of the child's own.
ON_A_TINY_DISK = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUSER = 0x00020000, 0x10000000
user, group = os.getuid(), os.getgid()
if libc.unshare(NEWNS):
    if libc.unshare(NEWNS | NEWUSER):
        raise SystemExit(77)
    try:
        for file, text in ("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1"):
            with open(f"/proc/self/{file}", "w") as stream:
                stream.write(text)
    except OSError:
        raise SystemExit(77)
libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None)
if libc.mount(b"tmpfs", os.fsencode(sys.argv[1]), b"tmpfs", 0, b"size=100k"):
    raise SystemExit(77)
exec(sys.argv[4])
print("left:", os.listdir(sys.argv[1]))
"""


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


KIND = {"file": "page", "folder": "run"}


def write(path: Path, form: str, text: str) -> None:
    """Write a page or a run, or what is known as one."""
    if form == "folder":
        path.mkdir()
        (path / "run.json").write_text(json.dumps({"soilcast_kind": "run", "text": text}))
    else:
        path.write_text(f'<!doctype html><meta name="generator" content="soilcast">{text}')


def content(path: Path) -> str:
    if path.is_dir():
        return str(json.loads((path / "run.json").read_text())["text"])
    return path.read_text().rpartition(">")[2]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_was_written_stands_under_its_name_and_nothing_beside_it(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "deep" / "er" / "out"
    with atomic_write(out, kind=KIND[kind]) as partial:
        assert not out.exists()
        write(partial, kind, "new")
    assert content(out) == "new"
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_exists_is_refused_before_any_work(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    write(out, kind, "old")
    with (
        pytest.raises(SoilcastError, match=r"out exists already: give another --out, or --overwrite to replace it$"),
        atomic_write(out, kind=KIND[kind]),
    ):
        pytest.fail("the work began")
    assert content(out) == "old"
    with pytest.raises(SoilcastError, match="exists already"):
        refuse_existing(out, overwrite=False)
    refuse_existing(out, kind=KIND[kind], overwrite=True)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_overwriting_replaces_all_of_what_stood_there(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    write(out, kind, "old")
    if out.is_dir():
        (out / "log.jsonl").write_text("stale")
    with atomic_write(out, kind=KIND[kind], overwrite=True) as partial:
        write(partial, kind, "new")
        assert content(out) == "old"
    assert content(out) == "new"
    assert not (out / "log.jsonl").exists()
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("old", ["file", "folder"])
def test_overwriting_a_link_leaves_alone_what_it_points_to(tmp_path: Path, old: str) -> None:
    target, out = tmp_path / "target", tmp_path / "out"
    write(target, old, "old")
    out.symlink_to(target)
    with atomic_write(out, kind=KIND[old], overwrite=True) as partial:
        write(partial, old, "new")
    assert content(out) == "new"
    assert not out.is_symlink()
    assert content(target) == "old"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, SoilcastError])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_fault_midway_leaves_the_old_and_no_trace(tmp_path: Path, kind: str, error: type[BaseException]) -> None:
    out = tmp_path / "out"
    write(out, kind, "old")
    with pytest.raises(error, match=r"^midway$"), atomic_write(out, kind=KIND[kind], overwrite=True) as partial:  # noqa: PT012
        write(partial, kind, "new")
        raise error("midway")
    assert content(out) == "old"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("old", [False, True])
def test_what_a_killed_process_left_is_cleared_by_the_next_command_on_the_name(
    tmp_path: Path, kind: str, old: bool
) -> None:
    out = tmp_path / "out"
    if old:
        write(out, kind, "old")
    with half_written(out, kind) as child:
        assert len(list(tmp_path.glob(".out.partial-*"))) == 1
        child.send_signal(signal.SIGKILL)
        assert child.wait(timeout=30) == -signal.SIGKILL
    if old:
        assert content(out) == "old"
        with pytest.raises(SoilcastError, match="exists already"):  # a command that is refused clears too
            refuse_existing(out, overwrite=False)
        assert list(tmp_path.iterdir()) == [out]
    else:
        assert not out.exists()
    with atomic_write(out, kind=KIND[kind], overwrite=True) as partial:
        write(partial, kind, "next")
    assert content(out) == "next"
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_living_process_writes_is_left_alone_by_others(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with half_written(out, "folder") as child:
        with atomic_write(out, kind="run") as partial:
            write(partial, "folder", "other")
        assert len(list(tmp_path.glob(".out.partial-*/out/half"))) == 1
        child.kill()


@contextmanager
def half_written(out: Path, kind: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has written half of something."""
    command = [sys.executable, "-c", HALF_WRITTEN, out, kind, KIND[kind]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        yield child


def test_what_stepped_aside_comes_back_if_the_process_was_killed_before_the_new_came(tmp_path: Path) -> None:
    out, left = tmp_path / "out", tmp_path / f".out.partial-{'0' * 16}"
    left.mkdir()
    (left / "lock").touch()
    write(left / "out.replaced", "folder", "old")
    refuse_existing(out, kind="run", overwrite=True)
    assert content(out) == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_files_of_others_that_are_called_alike_are_left_alone(tmp_path: Path) -> None:
    others = [tmp_path / f".out.{name}" for name in ("partial-1", "replaced-77", "partial-0123", "partial")]
    for other in others:
        other.write_text("mine")
    with atomic_write(tmp_path / "out", kind="page") as partial:
        write(partial, "file", "new")
    assert [other.read_text() for other in others] == ["mine"] * len(others)


def test_a_device_without_space_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "file", "old")
    with (  # noqa: PT012
        pytest.raises(SoilcastError, match=r"^no space left on the disk of .*out: nothing was written; free some"),
        atomic_write(out, kind="page", overwrite=True) as partial,
    ):
        partial.symlink_to("/dev/full")  # the kernel itself answers ENOSPC there
        partial.write_bytes(b"new")
    assert content(out) == "old"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
def test_a_cube_that_outgrows_the_limit_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    ended = run(SAVE, tmp_path, ROOT, 20_000)
    assert ended.returncode == 0, ended.stderr
    zarr, netcdf = ended.stdout.splitlines()
    assert zarr.startswith(f"{tmp_path / 'cube.zarr'} exceeds the maximum file size")
    assert netcdf.startswith(f"{tmp_path / 'cube.nc'} exceeds the maximum file size")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_full_disk_under_a_cube_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    ended = run(ON_A_TINY_DISK, tmp_path, ROOT, 0, SAVE)
    told = "no space left on the disk of"
    if ended.returncode == 77:  # no disk may be mounted here: files that may not grow are the nearest real thing
        ended = run(SAVE + 'print("left:", list(Path(sys.argv[1]).iterdir()))', tmp_path, ROOT, 8000)
        told = "exceeds the maximum file size"
    assert ended.returncode == 0, ended.stderr
    zarr, netcdf, left = ended.stdout.splitlines()
    assert told in zarr
    assert told in netcdf
    assert left == "left: []"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file" / "out", tmp_path / "file" / "deeper" / "out", tmp_path / ("long" * 100)):
        with (
            pytest.raises(SoilcastError, match=r"cannot be written \(.*\): give another --out$"),
            atomic_write(out, kind="page"),
        ):
            pytest.fail("the work began")


OURS = {
    "run.json": json.dumps({"soilcast_kind": "run"}),
    "zarr.json": json.dumps({"attributes": {"soilcast_kind": "cube"}}),
    "dossier.json": json.dumps({"soilcast_kind": "dossier", "files": []}),
}


@pytest.mark.parametrize(
    "marks", [{}, *({name: text} for name, text in OURS.items()), *({name: "{}"} for name in OURS)]
)
@pytest.mark.parametrize("kind", ["run", "cube", "dossier", "scores"])
def test_even_overwrite_spares_a_folder_that_holds_something_of_others(
    tmp_path: Path, marks: dict[str, str], kind: str
) -> None:
    theirs = tmp_path / "thesis"
    theirs.mkdir()
    for name, text in marks.items():
        (theirs / name).write_text(text)
    (theirs / "chapter.tex").write_text("years of work")
    with (
        pytest.raises(SoilcastError, match=r"thesis is a folder that soilcast did not write.*give another --out"),
        atomic_write(theirs, kind=kind, overwrite=True),
    ):
        pytest.fail("the work began")
    assert (theirs / "chapter.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    "theirs",
    [
        *(b"", b"years of work", b"PK\3\4docx", b"\x89PNG\r\n\x1a\nholiday", b"II*\0map", b"%PDF-1.7"),
        *(b"\x89HDF\r\n\x1a\n", b"<!doctype html><title>mine</title>", b"cell,text\n", b"name,lat,lon\n"),
    ],
)
@pytest.mark.parametrize("kind", ["page", "picture", "GeoTIFF", "table", "cube", "run"])
def test_even_overwrite_spares_a_file_of_others(tmp_path: Path, theirs: bytes, kind: str) -> None:
    out = tmp_path / "thesis"
    out.write_bytes(theirs)
    with (
        pytest.raises(SoilcastError, match=r"thesis is a file that soilcast did not write, so it is not replaced"),
        atomic_write(out, kind=kind, overwrite=True),
    ):
        pytest.fail("the work began")
    assert out.read_bytes() == theirs


def test_a_slip_replaces_no_artifact_of_another_kind(tmp_path: Path) -> None:
    out = tmp_path / "cube"
    out.mkdir()
    (out / "zarr.json").write_text(OURS["zarr.json"])
    with (
        pytest.raises(SoilcastError, match=r"cube is a cube, which a run does not replace: give another --out"),
        atomic_write(out, kind="run", overwrite=True),
    ):
        pytest.fail("the work began")
    refuse_existing(out, kind="cube", overwrite=True)


def test_another_fault_of_the_system_stays_loud(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "out", kind="page"):
        (tmp_path / "absent").read_text()


def test_a_work_that_writes_nothing_is_a_defect(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "out", kind="page"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_text_that_looks_like_a_formula_is_a_text_in_a_spreadsheet() -> None:
    texts = ["=HYPERLINK(1)", "+1+1", "-cmd", "@SUM(A1)", "\tx", "\rx", "Lech", "a=b", "-0.25", "+1e5", ""]
    table = pd.DataFrame({"name": texts, "value": np.arange(len(texts)) - 5.0, "=x": 1})
    harmless = harmless_table(table)
    formulas = ["'=HYPERLINK(1)", "'+1+1", "'-cmd", "'@SUM(A1)", "'\tx", "'\rx"]
    assert [*harmless["name"]] == [*formulas, "Lech", "a=b", "-0.25", "+1e5", ""]
    assert [*harmless.columns] == ["name", "value", "'=x"]
    assert (harmless["value"] == table["value"]).all()
    assert [*table["name"]] == texts


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("removed", [False, True])
def test_a_lock_is_refused_while_it_is_held_and_free_when_its_holder_is_killed(tmp_path: Path, removed: bool) -> None:
    file = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", LOCKED, file], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(SoilcastError, match=r"^busy$"), locked(file, "busy"):
            pytest.fail("two hold it")
        if removed:  # as its holder does at the end
            file.unlink()
        child.kill()
    with locked(file, "busy"), pytest.raises(SoilcastError, match=r"^busy$"), locked(file, "busy"):
        pytest.fail("two hold it")


def test_a_lock_that_was_removed_while_another_waited_for_it_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with locked(file):
        waiting = subprocess.Popen([sys.executable, "-c", LOCKED, file], stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        file.unlink()
    with waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "held\n"
        assert file.exists()
        with pytest.raises(SoilcastError, match=r"^busy$"), locked(file, "busy"):
            pytest.fail("two hold it")
        waiting.kill()


@pytest.mark.slow
def test_no_module_imports_what_windows_lacks() -> None:
    lacking = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert lacking.isdisjoint(name.partition(".")[0] for name in names), file
