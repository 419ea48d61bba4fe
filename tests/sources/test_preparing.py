"""Preparing streams: the same bytes whatever the budget, the chunks, the workers and the number of stops."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pickle
import re
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import soilcast
from soilcast.cube import open_cube, pieces, planning, save_cube, store, stream, writing
from soilcast.errors import SoilcastError
from soilcast.memory import held_memory
from soilcast.sources import gridded
from soilcast.sources.landbench import landbench
from tests.helpers.forks import Death, ends, run_command, run_script, start_script, wait_until
from tests.helpers.landbench_plain import LEAST, everywhere, file_of, rewrite
from tests.helpers.landbench_tree import write_landbench_tree
from tests.helpers.preparing import content_of, fork_preparation, read_at_a_time, read_or_die, small_tree
from tests.helpers.small import few, small_cube
from tests.helpers.table_data import gridded_data, saved, write_recipe

MIB = 2**20


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine variables of two years and four cells: eighteen parts; not to be changed."""
    return small_tree(tmp_path_factory.mktemp("tree"), [2019, 2020])


@pytest.fixture(scope="module")
def expected(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The cube of that tree, made without a stop."""
    out = tmp_path_factory.mktemp("expected") / "cube"
    soilcast.prepare("landbench", [tree], out=out, resolution=4)
    return content_of(out)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def line(caught: pytest.ExceptionInfo[SoilcastError]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


def hash_by_hand(cube: xr.Dataset) -> str:
    """The hash of the content as docs/cube.md describes it."""
    dynamic = sorted(str(name) for name in cube.data_vars if "time" in cube[name].dims)
    digest = hashlib.sha256()
    for name in (*sorted(str(name) for name in cube.variables if name not in dynamic), *dynamic):
        one = cube[name]
        remarks = ("origin", "comment", "history")
        attributes = {key: in_single_precision(value) for key, value in one.attrs.items() if key not in remarks}
        described = [name, list(one.dims), one.dtype.newbyteorder("<").str, attributes]
        digest.update(json.dumps(described, sort_keys=True).encode())
        step = store.DAY_CHUNK if name in dynamic else max(1, *one.shape)
        for first in range(0, one.shape[-1], step):
            digest.update(one[..., first : first + step].to_numpy().tobytes())
    return digest.hexdigest()


def in_single_precision(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return np.asarray(value, dtype=np.float32).astype(np.float64).tolist()


# ---------------------------------------------------------------- the same bytes however it is read


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    cells=st.integers(1, 9),
    days=st.integers(1, 60),
    chunks=st.tuples(st.integers(1, 9), st.integers(1, 60)),
    read=st.integers(1, 60),
    kind=st.sampled_from(["in memory", "chunked", "computed", "read"]),
)
def test_any_chunks_and_pieces_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, cells: int, days: int, chunks: tuple[int, int], read: int, kind: str
) -> None:
    folder = tmp_path_factory.mktemp("same")
    with pytest.MonkeyPatch.context() as patch:
        for module in (store, stream):
            patch.setattr(module, "CELL_CHUNK", 2)
        for module in (store, pieces):
            patch.setattr(module, "DAY_CHUNK", 25)
        cube = few(cells, days)
        save_cube(cube, folder / "whole")
        made = cube.copy()
        for name in ("swvl1", "tp"):
            values = cube[name].to_numpy()
            lazy = {
                "in memory": lambda values: values,
                "chunked": lambda values: dask.array.from_array(values, chunks=chunks),
                "computed": lambda values: dask.array.from_array(Counting(values), chunks=chunks) * np.float32(1),
                "read": lambda values: dask.array.from_array(Counting(values), chunks=chunks),
            }[kind](values)
            made[name] = (("cell", "time"), lazy, cube[name].attrs)
        read_at_a_time(patch, read)
        save_cube(made, folder / "pieces")
        assert content_of(folder / "pieces") == content_of(folder / "whole")
        assert open_cube(folder / "pieces").attrs["content_sha256"] == hash_by_hand(cube)
        xr.testing.assert_equal(open_cube(folder / "pieces").load(), cube)


class Counting:
    """An array that notes the days that are read of it."""

    ndim = 2
    working_bytes = 0

    def __init__(self, values: np.ndarray) -> None:
        self._values, self.shape, self.dtype = values, values.shape, values.dtype
        self.read: Counter[int] = Counter()

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        self.read.update(range(*key[1].indices(self.shape[1])))
        return self._values[key]


@pytest.mark.parametrize("read", [1, 7, 366])
def test_every_day_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: int) -> None:
    cube = few(4, 500)
    counting = Counting(cube["tp"].to_numpy())
    cube["tp"] = (("cell", "time"), dask.array.from_array(counting, chunks=(4, 300)), cube["tp"].attrs)
    read_at_a_time(monkeypatch, read)
    save_cube(cube, tmp_path / "cube")
    assert counting.read == dict.fromkeys(range(500), 1)


@pytest.mark.slow
@pytest.mark.parametrize("read", [100, 366])
def test_every_day_of_every_file_is_decoded_once(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: dict[str, Any], read: int
) -> None:
    decoded: Counter[tuple[Path, int]] = Counter()
    genuine = gridded._gather

    def gather(file: gridded.Placed, days: slice, *given: Any) -> None:
        decoded.update((file.path, day) for day in range(days.start, days.stop))
        genuine(file, days, *given)

    monkeypatch.setattr(gridded, "_gather", gather)
    read_at_a_time(monkeypatch, read)
    soilcast.prepare("landbench", [tree], out=tmp_path / "cube", resolution=4)
    assert set(decoded.values()) == {1}
    assert len(decoded) == 9 * (365 + 366)
    assert content_of(tmp_path / "cube") == expected


@pytest.mark.slow
@pytest.mark.parametrize("stored", [(40, 2, 3), (7, 9, 18), (1, 5, 5), None])
def test_files_of_any_chunks_are_read_in_bands_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: tuple[int, int, int] | None
) -> None:
    grid = {"lats": np.arange(32.0, -33.0, -8.0), "lons": np.arange(0.0, 144.0, 8.0)}
    land = np.random.default_rng(1).random((9, 18)) < 0.6
    encoding = {} if stored is None else {"chunksizes": stored}
    write_landbench_tree(
        tmp_path, resolution="4", years=[2019], days=40, variables=LEAST, constants=(), **grid, land=land,
        encoding=encoding,
    )  # fmt: skip
    whole = landbench([tmp_path], resolution=4)["t2m"].to_numpy()
    sizes = []
    genuine = xr.DataArray.load

    def load(self: xr.DataArray, **options: Any) -> xr.DataArray:
        sizes.append(self.size)
        return genuine(self, **options)

    monkeypatch.setattr(gridded, "_DECODED_AT_A_TIME", 1)
    monkeypatch.setattr(xr.DataArray, "load", load)
    cube = landbench([tmp_path], resolution=4)
    np.testing.assert_array_equal(cube["t2m"].to_numpy(), whole)
    # One day of the grid, or what the file's own chunks hold together along the days and rows.
    rows = 1 if stored is None else min(stored[1], 9)
    together = 1 if stored is None else stored[0]
    assert max(sizes) <= max(9 * 18, together * rows * 18)


@pytest.mark.slow
def test_a_lazy_series_travels_small(tree: Path) -> None:
    series = pieces.source_of(landbench([tree], resolution=4)["t2m"].variable)
    again = pickle.loads(pickle.dumps(series))
    np.testing.assert_array_equal(again[:, 360:370], series[:, 360:370])
    points = 1800 * 3600
    index = np.flatnonzero(np.random.default_rng(0).random(points) < 0.25)
    axis = np.linspace(-90, 90, 1800), np.linspace(-180, 179, 3600)
    placed = [gridded.Placed("t2m", Path(f"{year}.nc"), "t2m", ("time", "lat", "lon"), np.arange(1800),
                             np.arange(3600), gridded.Conversion(1.0, 0.0)) for year in range(70)]  # fmt: skip
    global_series = gridded._Series(placed, [365] * 70, gridded.Grid(*axis, index))
    assert len(pickle.dumps(global_series)) < points / 8 + 100_000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(global_series))._grid.index, index)


# ---------------------------------------------------------------- killed, stopped, gone on with


@pytest.mark.slow
@pytest.mark.parametrize("change", [3, 90, 175])
def test_a_preparation_that_is_killed_goes_on(
    tree: Path, tmp_path: Path, expected: dict[str, Any], change: int
) -> None:
    out = tmp_path / "cubes" / "cube"
    out.parent.mkdir()
    assert ends(fork_preparation(tree, out, Death(change))) == -signal.SIGKILL
    assert not out.exists()
    assert ends(fork_preparation(tree, out)) == 0
    assert content_of(out) == expected
    assert left(out.parent) == ["cube"]


@pytest.mark.slow
@pytest.mark.parametrize(("days", "written", "step"), [(None, None, 53), (100, 64, 71)])
def test_a_preparation_that_is_killed_at_any_change_of_its_files_goes_on(
    tmp_path: Path, days: int | None, written: int | None, step: int
) -> None:
    """Of a table, in eight parts, which is prepared sooner than files of LandBench."""
    table, mapping = saved(gridded_data(), tmp_path / "data.nc"), write_recipe(tmp_path)
    soilcast.prepare("table", [table], out=tmp_path / "expected", mapping=mapping)
    expected = content_of(tmp_path / "expected")

    def killed_at(death: Death | None, out: Path) -> int | None:
        return ends(fork_preparation(table, out, death, days, mapping=mapping))

    killed, change = 0, 1
    while True:
        out = tmp_path / str(change) / "cube"
        out.parent.mkdir()
        code = killed_at(Death(change, written), out)
        # Once more: what goes on can be killed too.
        again = killed_at(Death(change // 2 + 1, written), out) if code else code
        assert killed_at(None, out) == 0
        assert content_of(out) == expected
        assert left(out.parent) == ["cube"]
        if not code:
            break
        killed += bool(code) + bool(again)
        change += step
    assert killed > 4


@pytest.mark.slow
def test_only_what_is_missing_is_read_again(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: dict[str, Any]
) -> None:
    out, told = tmp_path / "cube", []
    read = stop_after(monkeypatch, 5, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        soilcast.prepare("landbench", [tree], out=out, resolution=4, log=told.append)
    assert left(tmp_path) == ["cube.unfinished"]
    assert told == [f"5 of 18 parts of {out} are written: continue with --resume"]
    first = list(read)
    with pytest.raises(SoilcastError, match=r"continue with --resume, or start over with --overwrite") as caught:
        soilcast.prepare("landbench", [tree], out=out, resolution=4)
    line(caught)
    assert read == first  # before anything was read
    monkeypatch.undo()
    read = stop_after(monkeypatch, 100, KeyboardInterrupt)
    soilcast.prepare("landbench", [tree], out=out, resolution=4, resume=True)
    assert len(read) == 13
    assert not set(first) & set(read)
    assert content_of(out) == expected
    assert left(tmp_path) == ["cube"]


def stop_after(patch: pytest.MonkeyPatch, count: int, error: type[BaseException]) -> list[tuple[str, int]]:
    """Have reading stop after some pieces; gives the list of those that are read."""
    read: list[tuple[str, int]] = []
    genuine = pieces.Piece.read

    def stopping(self: pieces.Piece) -> np.ndarray:
        if len(read) == count:
            raise error
        read.append((self.variable, self.days.start))
        return genuine(self)

    patch.setattr(pieces.Piece, "read", stopping)
    return read


@pytest.mark.slow
def test_a_stop_before_anything_is_written_leaves_nothing(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    stop_after(monkeypatch, 0, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        soilcast.prepare("landbench", [tree], out=tmp_path / "cube", resolution=4, log=told.append)
    assert left(tmp_path) == []
    assert told == []


@pytest.mark.parametrize("name", ["cube", "cube.nc"])
def test_what_overwrites_is_made_beside_and_may_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    out, other = tmp_path / name, few(tp=0.01)
    save_cube(few(), out)
    stop_after(monkeypatch, 3, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        save_cube(other, out, overwrite=True)
    monkeypatch.undo()
    xr.testing.assert_equal(open_cube(out).load(), few())
    read = stop_after(monkeypatch, 100, KeyboardInterrupt)
    save_cube(other, out, overwrite=True, resume=True)
    assert len(read) == 1
    assert open_cube(out).attrs["content_sha256"] == hash_by_hand(other)
    assert left(tmp_path) == [name]


@pytest.mark.slow
def test_overwriting_starts_anew(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(monkeypatch, 5, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        soilcast.prepare("landbench", [tree], out=tmp_path / "cube", resolution=4)
    monkeypatch.undo()
    read = stop_after(monkeypatch, 100, KeyboardInterrupt)
    soilcast.prepare("landbench", [tree], out=tmp_path / "cube", resolution=4, overwrite=True)
    assert len(read) == 18
    assert left(tmp_path) == ["cube"]


# A command whose reading stands still after some parts.
STANDS_STILL = """
import sys, time
from soilcast.cli import main
from soilcast.cube import pieces
count, genuine = int(sys.argv.pop(1)), pieces.Piece.read
def read(self):
    global count
    count -= 1
    if count < 0:
        time.sleep(60)
    return genuine(self)
pieces.Piece.read = read
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_says_what_stands_and_is_gone_on_with(
    tree: Path, tmp_path: Path, expected: dict[str, Any], told: signal.Signals
) -> None:
    out = tmp_path / "cube"
    words = ["prepare", "landbench", str(tree), "--resolution", "4", "--out", str(out)]
    with start_script(STANDS_STILL, 5, *words) as process:
        progress = tmp_path / "cube.unfinished" / "cube.json"
        wait_until(lambda: progress.exists() and len(json.loads(progress.read_text())["done"]) == 5)
        with pytest.raises(SoilcastError, match="another soilcast process is writing it") as caught:
            soilcast.prepare("landbench", [tree], out=out, resolution=4, resume=True)
        line(caught)
        process.send_signal(told)
        said, errors = process.communicate()
    assert process.returncode == 130
    assert errors == "soilcast: stopped\n"
    assert said == f"5 of 18 parts of {out} are written: continue with --resume\n"
    assert left(tmp_path) == ["cube.unfinished"]
    done = run_command(*words, "--resume")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("peak memory ")
    assert content_of(out) == expected
    assert left(tmp_path) == ["cube"]


# ---------------------------------------------------------------- what is gone on with is the same


@pytest.fixture
def begun(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tree, and beside it a preparation of it that was stopped."""
    shutil.copytree(tree, tmp_path / "tree")
    with monkeypatch.context() as patch:
        stop_after(patch, 5, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            soilcast.prepare("landbench", [tmp_path / "tree"], out=tmp_path / "cube", resolution=4)
    return tmp_path


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(SoilcastError) as caught:
        soilcast.prepare("landbench", [folder / "tree"], out=folder / "cube", resume=True, resolution=4, **options)
    assert "start over with --overwrite" in str(caught.value)
    assert str(folder / "cube.unfinished") in str(caught.value)
    return line(caught)


@pytest.mark.slow
def test_unfinished_work_on_other_options_is_refused(begun: Path) -> None:
    assert "has days 2019-01-01 .. 2020-12-31 (731), this command 2019-01-01 .." in refusal(begun, years="2019")
    assert "has option years none, this command 2019:2020" in refusal(begun, years="2019:2020")
    assert "has option units none, this command {'tp': 'm d-1'}" in refusal(begun, units={"tp": "m d-1"})


@pytest.mark.slow
def test_unfinished_work_on_other_files_is_refused(begun: Path) -> None:
    file = file_of(begun / "tree", "tp", 2020)
    os.utime(file, ns=(1, 1))
    message = refusal(begun)
    assert f"has file {file} {file.stat().st_size} bytes of " in message
    assert message.split("this command ")[1].startswith(f"{file.stat().st_size} bytes of 1 ns")
    rewrite(file, lambda opened: opened * 0.5)
    assert f"has file {file}" in refusal(begun)


@pytest.mark.slow
def test_unfinished_work_on_other_cells_is_refused(begun: Path) -> None:
    small_tree(begun / "tree", [2019, 2020], land=np.array([[True, False], [True, True]]))
    assert re.search(r"has cells 4 \(\w+\), this command 3 \(\w+\)", refusal(begun))


@pytest.mark.slow
def test_unfinished_work_of_another_version_is_refused(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "versions", lambda: {"soilcast": "9.9"})
    assert "this command 9.9" in refusal(begun)


@pytest.mark.slow
def test_a_path_from_another_folder_is_the_same_path(
    begun: Path, monkeypatch: pytest.MonkeyPatch, expected: dict[str, Any]
) -> None:
    monkeypatch.chdir(begun / "tree")
    soilcast.prepare("landbench", ["."], out="../cube", resume=True, resolution=4)
    assert content_of(begun / "cube") == expected


@pytest.mark.slow
def test_a_cube_among_its_own_files_is_gone_on_with(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    out = tmp_path / "tree" / "cube"
    with monkeypatch.context() as patch:
        stop_after(patch, 5, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            soilcast.prepare("landbench", [tmp_path / "tree"], out=out, resolution=4)
    for _ in range(2):
        soilcast.prepare("landbench", [tmp_path / "tree"], out=out, resolution=4, resume=True)


@pytest.mark.slow
def test_a_finished_cube_is_left_as_it_is(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "cube"
    soilcast.prepare("landbench", [tree], out=out, resolution=4)
    times = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    (tmp_path / "cube.unfinished").mkdir()  # as a process leaves that is killed at its very end
    (tmp_path / "cube.unfinished" / ".soilcast-lock").touch()
    read = stop_after(monkeypatch, 0, KeyboardInterrupt)
    soilcast.prepare("landbench", [tree], out=out, resolution=4, resume=True)
    assert read == []
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == times
    assert left(tmp_path) == ["cube"]
    with pytest.raises(SoilcastError, match=r"cube is a cube of other files, options, cells or days: .*--overwrite"):
        soilcast.prepare("landbench", [tree], out=out, resolution=4, resume=True, years="2019")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("cube.json", b"{", r"cube\.json: damaged: start over"),
        ("cube.json", b"[]", r"cube\.json: damaged: start over"),
        ("cube.json", b'{"done": [0]}', r"cube\.json: damaged: start over"),
        ("cube.json", b'{"identity": {}, "done": 1}', r"cube\.json: damaged: start over"),
        ("cube.json", b'{"identity": {}, "done": [[0]]}', r"cube\.json: damaged: start over"),
        ("cube.zarr/q/c/0/0", b"rotten", "q cannot be read .*damaged; start over"),
        ("cube.zarr/q/c/0/0", None, "q cannot be read .*damaged; start over"),
    ],
)
def test_damaged_unfinished_work_is_refused(begun: Path, file: str, content: bytes | None, told: str) -> None:
    path = begun / "cube.unfinished" / file
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(SoilcastError, match=told) as caught:
        soilcast.prepare("landbench", [begun / "tree"], out=begun / "cube", resume=True, resolution=4)
    line(caught)


@pytest.mark.slow
def test_more_parts_than_a_cube_has_are_refused(begun: Path) -> None:
    path = begun / "cube.unfinished" / "cube.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"done": [99]}))
    with pytest.raises(SoilcastError, match=r"cube\.json: damaged: start over") as caught:
        soilcast.prepare("landbench", [begun / "tree"], out=begun / "cube", resume=True, resolution=4)
    line(caught)


@pytest.mark.slow
def test_a_value_out_of_bounds_leaves_nothing_to_go_on_from(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    small_tree(tmp_path / "tree", [2020], variables=("v10",), fields={"v10": everywhere(900.0)})
    with pytest.raises(SoilcastError, match=r"2020/10m_v_component_of_wind\.nc: v10 has"):
        soilcast.prepare("landbench", [tmp_path / "tree"], out=tmp_path / "cube", resolution=4)
    assert left(tmp_path) == ["tree"]


# ---------------------------------------------------------------- a full disk

FILLS = """
import sys
import numpy as np
from tests.helpers.small import few
from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from pathlib import Path
rain = np.random.default_rng(0).random((400, 400)) * 0.01
cube = few(400, 400, tp=rain, swvl1=0.3)
try:
    save_cube(cube, Path(sys.argv[1]), resume=True)
except SoilcastError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cube", "cube.nc"])
def test_a_full_disk_leaves_what_is_written(tmp_path: Path, name: str) -> None:
    """The limit on the size of a file stands for the full disk: the system tells both in the middle of a write."""

    def save(out: Path, limit: int | None) -> str:
        done = run_script(FILLS, out, room=limit)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = save(tmp_path / name, 300_000)
    assert said == (
        f"no space left on the disk of {tmp_path / name} (File too large): what is written is kept; free some space "
        "and continue with --resume\n"
    )
    assert left(tmp_path) == [f"{name}.unfinished"]
    assert json.loads((tmp_path / f"{name}.unfinished" / "cube.json").read_text())["done"] == [0, 1]
    assert save(tmp_path / name, None) == ""
    assert save(tmp_path / "whole", None) == ""
    assert open_cube(tmp_path / name).attrs["content_sha256"] == open_cube(tmp_path / "whole").attrs["content_sha256"]
    assert left(tmp_path) == sorted([name, "whole"])


# ---------------------------------------------------------------- memory


@pytest.mark.slow
@pytest.mark.parametrize("memory", [1, 100 * MIB])
def test_too_little_memory_is_named(tree: Path, tmp_path: Path, memory: int) -> None:
    with pytest.raises(SoilcastError) as caught:
        soilcast.prepare("landbench", [tree], out=tmp_path / "cube", resolution=4, memory=memory)
    found = re.search(
        rf"--memory {memory / MIB:.0f} MiB is too little: preparing LandBench 1\.0, .* takes at least (\d+) MiB: incr",
        line(caught),
    )
    assert found
    assert left(tmp_path) == []
    told: list[str] = []
    enough = (int(found[1]) + 50) * MIB  # what this process has come to hold meanwhile
    soilcast.prepare("landbench", [tree], out=tmp_path / "cube", resolution=4, memory=enough, log=told.append)
    budget = f"{enough // MIB:,}"
    assert re.fullmatch(rf"reading \d+ days at a time, to stay within {budget} MiB of memory", told[0])
    assert re.fullmatch(r"peak memory [\d,]+ MiB", told[1])


def test_days_are_as_many_as_there_is_room_for() -> None:
    cells, days = 1000, 900
    values = np.zeros((cells, days), dtype=np.float32)
    day = 4 * cells

    def planned(array: Any, room: int) -> int:
        variable = xr.Variable(("cell", "time"), array)
        memory = held_memory() + planning._WRITING_BYTES + room
        return planning.plan({"tp": variable}, (), memory, "a cube").days["tp"]

    slack = 64 * day  # what the process holds moves while this is computed
    counting = dask.array.from_array(Counting(values), chunks=(cells, 100))
    computed = dask.array.from_array(values, chunks=(cells, 10)) + np.float32(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "held_memory", lambda: 0)
        for array in (values, counting):
            for wanted in (1, 2, 100, 300):
                room = 2 * wanted * day
                variable = {"tp": xr.Variable(("cell", "time"), array)}
                assert planning.plan(variable, (), planning._WRITING_BYTES + room, "").days["tp"] == wanted
            with pytest.raises(SoilcastError, match="too little"):
                planning.plan(variable, (), planning._WRITING_BYTES + 2 * day - 1, "")
        # What dask computes is computed ten days at a time, six times held.
        variable = {"tp": xr.Variable(("cell", "time"), computed)}
        assert planning.plan(variable, (), planning._WRITING_BYTES + (60 + 2 * 57) * day, "").days["tp"] == 50
        with pytest.raises(SoilcastError, match="too little"):
            planning.plan(variable, (), planning._WRITING_BYTES + (60 + 20) * day - 1, "")
    assert planned(values, 3 * 366 * day + slack) == 366
    assert planning.plan({"tp": xr.Variable(("cell", "time"), values)}, (), None, "").days["tp"] == 366


# The command, and after it the most that the process has ever held, whatever started it.
TELLS_ITS_PEAK = """
import re
from soilcast.cli import main
try:
    main()
finally:
    print("held", re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], flush=True)
"""


@pytest.mark.slow
def test_the_command_keeps_within_its_memory(tmp_path: Path) -> None:
    axes = {"lats": np.linspace(80.0, -59.5, 200), "lons": np.arange(0.0, 360.0, 1.2)}
    packed = {"dtype": "int16", "scale_factor": 2e-3, "add_offset": 0.0, "_FillValue": -32767}
    fields = {name: lambda day, lat, lon: 0.2 + 1e-4 * day + 1e-3 * np.cos(lat) + 0.0 * lon for name in LEAST}
    fields["tp"] = everywhere(1e-3)
    fields["sp"] = everywhere(60.0)
    fields["t2m"] = lambda day, lat, lon: 60.0 * np.cos(day + lat) + 0.0 * lon
    fields["q"] = everywhere(0.004)
    fields["ssrd"] = everywhere(60.0)
    fields["strd"] = everywhere(60.0)
    write_landbench_tree(
        tmp_path / "tree", resolution="1", years=[2019], variables=LEAST, constants=(), **axes, fields=fields,
        units={"t2m": "degC", "sp": "kPa"}, encoding=packed,
    )  # fmt: skip

    def command(out: str, *options: str) -> tuple[int, str, str]:
        words = ["prepare", "landbench", str(tmp_path / "tree"), "--resolution", "1", "--out", str(tmp_path / out)]
        done = run_script(TELLS_ITS_PEAK, *words, *options)
        held = re.search(r"held (\d+)", done.stdout)
        assert held
        return int(held[1]) * 1024, done.stdout, done.stderr

    _, _, refused = command("a", "--memory", "100MiB")
    least = re.search(r"takes at least (\d+) MiB", refused)
    assert least, refused
    memory = int(least[1]) + 20
    small, said, errors = command("a", "--memory", f"{memory}MiB")
    assert errors == ""
    days = re.search(rf"^reading (\d+) days at a time, to stay within {memory:,} MiB of memory\n", said)
    assert days
    assert int(days[1]) < 365
    assert "peak memory " in said
    large, _, _ = command("b")
    assert small <= memory * MIB < large
    assert content_of(tmp_path / "a") == content_of(tmp_path / "b")


def test_progress_counts_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("soilcast.progress._EVERY", 0.0)
    with monkeypatch.context() as patch:
        stop_after(patch, 3, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            save_cube(few(), tmp_path / "cube")
    assert capsys.readouterr().err == ""
    save_cube(few(), tmp_path / "cube", resume=True, progress=True)
    assert re.search(r"prepare .*4/4", capsys.readouterr().err)


# ---------------------------------------------------------------- a cluster


@pytest.mark.slow
@pytest.mark.parametrize("days", [None, 50])
def test_a_cluster_makes_the_identical_cube(
    tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    expected: dict[str, Any],
    days: int | None,
) -> None:
    monkeypatch.chdir(tree)
    if days is not None:
        read_at_a_time(monkeypatch, days)
    soilcast.prepare("landbench", ["."], out=tmp_path / "cube", resolution=4, dask=address)
    assert content_of(tmp_path / "cube") == expected
    assert left(tmp_path) == ["cube"]


@pytest.mark.slow
def test_a_cluster_within_a_budget_makes_the_identical_cube(
    tree: Path, tmp_path: Path, address: str, expected: dict[str, Any]
) -> None:
    soilcast.prepare(
        "landbench", [tree], out=tmp_path / "cube", resolution=4, dask=address, memory=held_memory() + 300 * MIB
    )
    assert content_of(tmp_path / "cube") == expected
    with pytest.raises(SoilcastError, match="too little"):
        soilcast.prepare("landbench", [tree], out=tmp_path / "b", resolution=4, dask=address, memory=MIB)


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, expected: dict[str, Any]
) -> None:
    monkeypatch.setattr(writing, "_read_on_worker", functools.partial(read_or_die, tmp_path / "died"))
    read_at_a_time(monkeypatch, 50)
    soilcast.prepare("landbench", [tree], out=tmp_path / "cube", resolution=4, dask=address)
    assert (tmp_path / "died").exists()
    assert content_of(tmp_path / "cube") == expected


@pytest.mark.slow
def test_what_is_computed_or_in_memory_comes_out_the_same_on_a_cluster(tmp_path: Path, address: str) -> None:
    cube = small_cube(cells=5, days=800)
    save_cube(cube, tmp_path / "alone")
    lazy = cube.copy()
    for name in ("tp", "q", "swvl1"):
        lazy[name] = (("cell", "time"), dask.array.from_array(cube[name].to_numpy(), chunks=(2, 90)), cube[name].attrs)
    lazy["q"] = lazy["q"].copy(data=lazy["q"].data * np.float32(1))
    save_cube(lazy, tmp_path / "shared", dask=address)
    assert content_of(tmp_path / "shared") == content_of(tmp_path / "alone")


@pytest.mark.slow
def test_a_fault_that_a_worker_finds_is_told(tree: Path, tmp_path: Path, address: str) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    small_tree(tmp_path / "tree", [2020], variables=("v10",), fields={"v10": everywhere(900.0)})
    with pytest.raises(SoilcastError, match=r"2020/10m_v_component_of_wind\.nc: v10 has") as caught:
        soilcast.prepare("landbench", [tmp_path / "tree"], out=tmp_path / "cube", resolution=4, dask=address)
    line(caught)
    assert left(tmp_path) == ["tree"]


@pytest.mark.slow
def test_a_cluster_goes_on_and_is_gone_on_with(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, expected: dict[str, Any]
) -> None:
    genuine = stream.CubeStream.write
    written: list[int] = []

    def write(self: stream.CubeStream, number: int, parts: pieces.Parts) -> None:
        if len(written) == 6:
            raise KeyboardInterrupt
        written.append(number)
        genuine(self, number, parts)

    with monkeypatch.context() as patch:
        patch.setattr(stream.CubeStream, "write", write)
        with pytest.raises(KeyboardInterrupt):
            soilcast.prepare("landbench", [tree], out=tmp_path / "cube", resolution=4, dask=address)
    assert left(tmp_path) == ["cube.unfinished"]
    soilcast.prepare("landbench", [tree], out=tmp_path / "cube", resolution=4, resume=True)
    assert content_of(tmp_path / "cube") == expected


def test_no_more_is_out_than_memory_holds() -> None:
    variable = {"tp": xr.Variable(("cell", "time"), dask.array.zeros((1_000_000, 730), chunks=(-1, 10)))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "held_memory", lambda: 0)
        for room in (25 * MIB, 200 * MIB, 2000 * MIB):
            planned = planning.plan(variable, {"tp"}, planning._WRITING_BYTES + room, "")
            assert planning._RESULT_COPIES * (planned.results + 1) * planned.days["tp"] * 4_000_000 <= room
            assert planned.results >= 1
        with pytest.raises(SoilcastError, match="too little"):
            planning.plan(variable, {"tp"}, planning._WRITING_BYTES + 20 * MIB, "")
