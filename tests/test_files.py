"""An artifact is there whole, or not at all: whatever happens while it is written."""

from __future__ import annotations

import ast
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from soilcast.errors import SoilcastError
from soilcast.files import atomic_write, locked, refuse_existing, sha256_of
from tests.helpers import ROOT

# A child that tells when half is written, and then waits for its end.
HALF_WRITTEN = """
import sys, time
from pathlib import Path
from soilcast.files import atomic_write
with atomic_write(Path(sys.argv[1]), overwrite=True) as partial:
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


def write(path: Path, kind: str, text: str) -> None:
    if kind == "folder":
        path.mkdir()
        (path / "zarr.json").write_text(text)  # by which a folder is known as an artifact
    else:
        path.write_text(text)


def content(path: Path) -> str:
    return (path / "zarr.json" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_was_written_stands_under_its_name_and_nothing_beside_it(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "deep" / "er" / "out"
    with atomic_write(out) as partial:
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
        atomic_write(out),
    ):
        pytest.fail("the work began")
    assert content(out) == "old"
    with pytest.raises(SoilcastError, match="exists already"):
        refuse_existing(out, overwrite=False)
    refuse_existing(out, overwrite=True)


@pytest.mark.parametrize("old", ["file", "folder"])
@pytest.mark.parametrize("new", ["file", "folder"])
def test_overwriting_replaces_all_of_what_stood_there(tmp_path: Path, old: str, new: str) -> None:
    out = tmp_path / "out"
    write(out, old, "old")
    if out.is_dir():
        (out / "stale").write_text("stale")
    with atomic_write(out, overwrite=True) as partial:
        write(partial, new, "new")
        assert content(out) == "old"
    assert content(out) == "new"
    assert not (out / "stale").exists()
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("old", ["file", "folder"])
def test_overwriting_a_link_leaves_alone_what_it_points_to(tmp_path: Path, old: str) -> None:
    target, out = tmp_path / "target", tmp_path / "out"
    write(target, old, "old")
    out.symlink_to(target)
    with atomic_write(out, overwrite=True) as partial:
        write(partial, "folder", "new")
    assert content(out) == "new"
    assert not out.is_symlink()
    assert content(target) == "old"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, SoilcastError])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_fault_midway_leaves_the_old_and_no_trace(tmp_path: Path, kind: str, error: type[BaseException]) -> None:
    out = tmp_path / "out"
    write(out, kind, "old")
    with pytest.raises(error, match=r"^midway$"), atomic_write(out, overwrite=True) as partial:  # noqa: PT012
        write(partial, kind, "new")
        raise error("midway")
    assert content(out) == "old"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("old", [False, True])
def test_a_killed_process_leaves_the_old_or_nothing(tmp_path: Path, kind: str, old: bool) -> None:
    out = tmp_path / "out"
    if old:
        write(out, kind, "old")
    child = subprocess.Popen([sys.executable, "-c", HALF_WRITTEN, out, kind], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        child.send_signal(signal.SIGKILL)
        assert child.wait(timeout=30) == -signal.SIGKILL
    if old:
        assert content(out) == "old"
    else:
        assert not out.exists()
    with atomic_write(out, overwrite=True) as partial:
        write(partial, kind, "next")
    assert content(out) == "next"


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("left", ["partial", "replaced"])
def test_what_a_killed_process_of_the_same_number_left_is_no_hindrance(tmp_path: Path, kind: str, left: str) -> None:
    write(tmp_path / f".out.{left}-{os.getpid()}", kind, "left")
    out = tmp_path / "out"
    write(out, "folder", "old")
    with atomic_write(out, overwrite=True) as partial:
        write(partial, "folder", "new")
    assert content(out) == "new"
    assert list(tmp_path.iterdir()) == [out]


def test_a_device_without_space_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("old")
    with (  # noqa: PT012
        pytest.raises(SoilcastError, match=r"^no space left on the disk of .*out: nothing was written; free some"),
        atomic_write(out, overwrite=True) as partial,
    ):
        partial.symlink_to("/dev/full")  # the kernel itself answers ENOSPC there
        partial.write_bytes(b"new")
    assert out.read_text() == "old"
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
            atomic_write(out),
        ):
            pytest.fail("the work began")


def test_even_overwrite_spares_a_folder_of_others(tmp_path: Path) -> None:
    theirs = tmp_path / "thesis"
    theirs.mkdir()
    (theirs / "chapter.tex").write_text("years of work")
    with (
        pytest.raises(SoilcastError, match=r"thesis is a folder that soilcast did not write.*give another --out$"),
        atomic_write(theirs, overwrite=True),
    ):
        pytest.fail("the work began")
    assert (theirs / "chapter.tex").read_text() == "years of work"


def test_another_fault_of_the_system_stays_loud(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "out"):
        (tmp_path / "absent").read_text()


def test_a_work_that_writes_nothing_is_a_defect(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


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
