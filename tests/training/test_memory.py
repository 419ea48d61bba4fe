"""--memory holds, and costs nothing but time: samples that are mapped from files give the same bits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from soilcast.cube import PAPER_DYNAMIC, PAPER_STATIC, assemble, cells_of_places, open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.memory import parse_bytes
from soilcast.training import inputs as inputs_module
from soilcast.training import load_config, open_run, train
from soilcast.training.arrays import make_arrays
from soilcast.training.config import Config
from soilcast.training.dataset import make_dataset
from soilcast.training.samples import SAMPLERS, SampleIndices
from soilcast.training.split import split_days
from tests.helpers.processes import Job, bits, fork_command
from tests.helpers.small import small_cube

MIB = 2**20

SEVERAL_DAYS = (
    "task.lead_days=3",
    "task.lags=[swvl1,swvl2]",
    "task.latency={lags: 2, ssrd: 1}",
    "task.known_future=[tp]",
    "task.calendar=true",
    "task.quantiles=[0.1,0.5,0.9]",
    "task.fill_days=1",
)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("memory") / "cube"
    made = small_cube(cells=10, days=800)
    rain = made["tp"].to_numpy().copy()
    rain[2, 100:120] = np.nan  # days that cannot be drawn
    save_cube(made.assign(tp=(("cell", "time"), rain, made["tp"].attrs)), path)
    return path


def config(*changes: str, model: str = "phys-lstm") -> Config:
    quick = ("train.epochs=4", "train.validate_every=2", "train.batches_per_epoch=10", "network.hidden_size=8")
    return load_config(settings=["train.threads=1", *quick, *changes], model=model)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("lstm", ()),
        ("phy-lstm", ("normalise.scope=global", "train.sampling=shared_day")),
        ("phys-lstm", ("loss.space=physical", "train.ensemble=2", "normalise.method=z_score")),
        ("phys-lstm", ("task.window=30",)),
        ("lstm", SEVERAL_DAYS),
        ("phy-lstm", (*SEVERAL_DAYS, "task.layers=[swvl1,swvl2]", "loss.space=persistence", "loss.bounds=1")),
    ],
)
def test_mapped_samples_give_the_same_bits(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, changes: tuple[str, ...]
) -> None:
    chosen = config(*changes, model=model)
    train(cube, tmp_path / "in memory", chosen)
    monkeypatch.setattr(inputs_module, "BLOCK_BYTES", 40_000)  # two cells at a time
    train(cube, tmp_path / "in memory, in twos", chosen)
    train(cube, tmp_path / "mapped", chosen, samples=tmp_path / "samples")
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "samples").rglob("*")}
    train(cube, tmp_path / "mapped, let go", chosen, samples=tmp_path / "samples", memory=2**40)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "samples").rglob("*")} == kept
    for name in ("in memory, in twos", "mapped", "mapped, let go"):
        assert bits(tmp_path / name) == bits(tmp_path / "in memory")


@pytest.mark.parametrize("changes", [(), (*SEVERAL_DAYS, "loss.space=persistence")], ids=["paper", "several days"])
@pytest.mark.parametrize("sampling", SAMPLERS)
def test_what_is_drawn_does_not_depend_on_where_samples_are(
    cube: Path, tmp_path: Path, sampling: str, changes: tuple[str, ...]
) -> None:
    opened, chosen = open_cube(cube), config(*changes)
    split = split_days(opened["time"].to_numpy(), chosen.split, "cube")
    drawn = []
    for folder, low_memory in ((None, False), (tmp_path, True)):
        dataset = make_dataset(opened, chosen, split, folder, low_memory=low_memory)
        assert bool(dataset.samples.mapped) == low_memory
        draw = SAMPLERS[sampling](dataset.training, 50, 64, np.random.default_rng(3))
        drawn.append((draw, dataset.samples.gather(SampleIndices(draw.cells[:, np.newaxis], draw.days[:, np.newaxis]))))
    (expected, windows), (found, mapped) = drawn
    np.testing.assert_array_equal(found.cells, expected.cells)
    np.testing.assert_array_equal(found.days, expected.days)
    np.testing.assert_array_equal(mapped.windows, windows.windows)
    parts = {name: value for name, value in vars(windows.targets).items() if value is not None}
    assert set(parts) == {"observed", "previous", "water_sign", "depth"} | ({"error_scale"} if changes else set())
    for name, values in parts.items():
        np.testing.assert_array_equal(getattr(mapped.targets, name), values)


def test_trainings_of_several_models_share_their_samples(cube: Path, tmp_path: Path) -> None:
    def files() -> set[str]:
        return {path.parent.name for path in tmp_path.glob("samples/*/dynamic.npy")}

    train(cube, tmp_path / "a", config(model="lstm"), samples=tmp_path / "samples")
    first = files()
    train(cube, tmp_path / "b", config(model="phys-lstm"), samples=tmp_path / "samples")
    assert files() == first
    assert len(first) == 1
    train(cube, tmp_path / "c", config("normalise.method=z_score"), samples=tmp_path / "samples")
    assert len(files()) == 2


@given(
    st.integers(1, 10_000), st.sampled_from([("", 1), ("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30), ("GB", 10**9)])
)
def test_amounts_of_memory_are_read(number: int, unit: tuple[str, int]) -> None:
    assert parse_bytes(f"{number}{unit[0]}") == parse_bytes(f" {number} {unit[0]}") == number * unit[1]


@pytest.mark.parametrize("text", ["", "much", "-2GiB", "2 gib", "0", "0GiB", "2GiBs", "1e9", "nan", "2,5GiB", "GiB"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(SoilcastError, match=r"^--memory .*: not an amount of memory: write it as 2GiB or 1500MiB$"):
        parse_bytes(text)


def test_fractions_of_memory_are_read() -> None:
    assert parse_bytes("1.5GiB") == 1536 * MIB


def test_too_little_memory_is_refused_before_anything_is_made(cube: Path, tmp_path: Path) -> None:
    with pytest.raises(SoilcastError) as caught:
        train(cube, tmp_path / "run", config(), memory=100 * MIB)
    least = re.search(r"--memory 100 MiB is too little for .*cube: .* takes at least (\d+) MiB", str(caught.value))
    assert least
    assert list(tmp_path.iterdir()) == []
    # What it names is enough, but for what this process has come to hold meanwhile.
    run = train(cube, tmp_path / "run", config(), memory=(int(least[1]) + 50) * MIB)
    assert run.record["memory_bytes"] == (int(least[1]) + 50) * MIB


@pytest.mark.parametrize("fault", ["short", "gone", "header", "not complete", "pickle", "index"])
def test_damaged_files_of_samples_are_refused_or_made_anew(cube: Path, tmp_path: Path, fault: str) -> None:
    chosen = config(model="lstm")
    train(cube, tmp_path / "expected", chosen, samples=tmp_path / "samples")
    dynamic = next(tmp_path.glob("samples/*/dynamic.npy"))
    content = dynamic.read_bytes()
    index = dynamic.with_name("complete.json")
    if fault == "short":
        dynamic.write_bytes(content[:-4096])
    elif fault == "gone":
        dynamic.unlink()
    elif fault == "header":
        dynamic.write_bytes(b"\0" * 64 + content[64:])
    elif fault == "pickle":
        array = np.empty(3, dtype=object)
        np.save(dynamic, array, allow_pickle=True)
        sizes = json.loads(index.read_text())
        sizes["sizes"]["dynamic.npy"] = dynamic.stat().st_size
        index.write_text(json.dumps(sizes))
    elif fault == "index":
        index.write_text("[1]")
    else:
        index.unlink()
        train(cube, tmp_path / "run", chosen, samples=tmp_path / "samples")
        assert bits(tmp_path / "run") == bits(tmp_path / "expected")
        return
    with pytest.raises(SoilcastError, match=r"samples.*: damaged \(.*\): remove it and run the command again"):
        train(cube, tmp_path / "run", chosen, samples=tmp_path / "samples")
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_named_by_a_path_is_not_read(tmp_path: Path) -> None:
    make_arrays(tmp_path / "samples", {}, lambda allocate: allocate("values", (3,), np.float32))
    np.save(tmp_path / "secret.npy", np.zeros(3))
    index = next(tmp_path.glob("samples/*/complete.json"))
    sizes = {"../../secret.npy": (tmp_path / "secret.npy").stat().st_size}
    index.write_text(json.dumps({"identity": {}, "sizes": sizes}))
    with pytest.raises(SoilcastError, match="damaged"):
        make_arrays(tmp_path / "samples", {}, lambda allocate: None)


def large_cube(tiles: int) -> xr.Dataset:
    """A cube of a hundred cells, over and over: ``tiles`` times."""
    tile = small_cube(cells=100, days=1500)
    names = (*PAPER_DYNAMIC, "swvl1", "slthick1", *PAPER_STATIC)
    random, cells = np.random.default_rng(0), 100 * tiles
    places = cells_of_places(
        random.uniform(-60, 70, cells),
        random.uniform(-180, 180, cells),
        np.full(cells, 1e8),
        list(map(str, range(cells))),
    )
    lazy = {name: dask.array.from_array(tile[name].to_numpy()) for name in names}
    return assemble(
        {name: dask.array.concatenate([values] * tiles) for name, values in lazy.items()},
        cells=places,
        time=tile["time"].to_numpy(),
        title="A large world for tests",
        source="small",
        content="synthetic weather",
    )


@pytest.mark.slow
def test_the_command_keeps_within_its_memory(tmp_path: Path) -> None:
    save_cube(large_cube(110), tmp_path / "cube")
    settings = (
        "train.epochs=2",
        "train.validate_every=1",
        "train.batches_per_epoch=100",
        "train.validation_samples=2000",
        "network.hidden_size=8",
    )
    in_memory, mapped = (Job(tmp_path / "cube", tmp_path / name, settings, "lstm") for name in ("a", "b"))
    _, refused = fork_command(mapped, "--memory", "100MiB").communicate()
    least = re.search(r"takes at least (\d+) MiB", refused)
    assert least, refused
    memory = int(least[1]) + 16
    peaks = {}
    for job, options in ((in_memory, ()), (mapped, ("--memory", f"{memory}MiB"))):
        process = fork_command(job, *options)
        printed, errors = process.communicate()
        assert process.returncode == 0, errors
        peaks[job.out.name] = open_run(job.out).record["peak_memory_bytes"]
        assert f"peak memory {peaks[job.out.name] / MIB:,.0f} MiB" in printed
    assert peaks["b"] <= memory * MIB < peaks["a"]
    assert bits(in_memory.out) == bits(mapped.out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "cube"]
