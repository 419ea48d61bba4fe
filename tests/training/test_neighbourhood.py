"""Networks that see the cells around a cell: which these are, what is seen of them, and that nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import soilcast
from soilcast.cube import Grid, neighbours, save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.forecasting.block import BlockForecaster
from soilcast.forecasting.request import Request
from soilcast.training import load_config, train
from soilcast.training.build import layout_of
from soilcast.training.dataset import make_dataset
from soilcast.training.split import split_days
from tests.helpers.serving import client
from tests.helpers.small import small_cube

CELLS, DAYS = 14, 500
QUICK = (
    "train.epochs=2",
    "train.validate_every=1",
    "train.batches_per_epoch=5",
    "train.batch_size=16",
    "train.validation_samples=100",
    "network.hidden_size=5",
    "split.test=2019-04-01:2019-05-15",
    "task.dynamic=[t2m,tp]",
    "task.static=[elevation]",
    "task.neighbourhood=3",
)
SEVERAL = (
    "task.lags=[swvl1]",
    "task.lead_days=3",
    "task.latency={lags: 2}",
    "task.known_future=[tp]",
    "task.calendar=true",
    "head.predict=change",
)
NETWORKS = ("cnn", "conv_lstm")


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("neighbourhood") / "cube"
    save_cube(small_cube(CELLS, DAYS), path)
    return path


def test_neighbours_lie_around_a_cell_row_by_row() -> None:
    # Of a grid of 3 x 4, not round the Earth; land is X:  X X . .  /  . X X .  /  X . . X
    grid = Grid(np.array([2.0, 1.0, 0.0]), np.array([0.0, 1.0, 2.0, 3.0]), np.array([0, 1, 5, 6, 8, 11]))
    assert neighbours(grid, 3).tolist() == [
        [-1, -1, -1, -1, 1, -1, -1, 2],
        [-1, -1, -1, 0, -1, -1, 2, 3],
        [0, 1, -1, -1, 3, 4, -1, -1],
        [1, -1, -1, 2, -1, -1, -1, 5],
        [-1, -1, 2, -1, -1, -1, -1, -1],
        [3, -1, -1, -1, -1, -1, -1, -1],
    ]


def test_neighbours_across_180_degrees_are_found() -> None:
    lon = np.arange(-180.0, 180.0, 45.0)
    grid = Grid(np.array([10.0, -35.0]), lon, np.array([0, 7, 8, 12]))
    found = neighbours(grid, 3)
    assert found[0].tolist() == [-1, -1, -1, 1, -1, -1, 2, -1]  # cells 7 and 0 of a row lie side by side
    assert found[1].tolist() == [-1, -1, -1, -1, 0, -1, -1, 2]
    half = Grid(grid.lat, lon[:6], np.array([0, 5]))  # ends before it has gone round
    assert (neighbours(half, 3) == -1).all()


@pytest.mark.parametrize("width", [3, 5])
def test_who_is_a_neighbour_has_this_one_as_neighbour(width: int) -> None:
    index = np.flatnonzero(np.random.default_rng(0).random(12 * 18) < 0.4)
    grid = Grid(np.linspace(-60, 60, 12), np.linspace(-180, 160, 18), index)
    found = neighbours(grid, width)
    for cell, around in enumerate(found):
        for place, other in enumerate(around):
            if other >= 0:
                assert found[other, len(around) - 1 - place] == cell


@pytest.mark.parametrize("settings", [(), SEVERAL], ids=["next day", "several days"])
def test_what_is_seen_of_a_neighbour_is_what_it_sees_of_itself(settings: tuple[str, ...]) -> None:
    gaps = small_cube(CELLS, DAYS)
    gaps["t2m"][3, 300:320] = np.nan
    gaps.attrs["content_sha256"] = "0"
    config = load_config(settings=[*QUICK, *settings])
    split = split_days(gaps["time"].to_numpy(), config.split, "cube")
    samples = make_dataset(gaps, config, split, None).samples
    layout = layout_of(config)
    around = samples.source.neighbours
    assert around is not None
    assert (around >= 0).any()
    assert (around < 0).any()
    day, own = 310, layout.own_features
    cells = torch.arange(CELLS)
    windows = samples.source.gather(layout, cells, torch.full_like(cells, day))
    assert windows.shape == (layout.steps, CELLS, layout.features)
    seen = windows[..., layout.channels["around"]].unflatten(-1, (8, own + 1))
    for cell in range(CELLS):
        for place, other in enumerate(around[cell].tolist()):
            if other < 0 or other == 3:  # 3 lacks an input in this window
                assert (seen[:, cell, place] == 0).all()
            else:
                assert torch.equal(seen[:, cell, place, :own], windows[:, other, :own])
                assert (seen[:, cell, place, own] == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("settings", [(), SEVERAL], ids=["next day", "several days"])
def test_any_block_of_cells_gives_the_same_forecast(
    cube: Path, tmp_path: Path, network: str, settings: tuple[str, ...]
) -> None:
    run = train(cube, tmp_path / "run", load_config(settings=[*QUICK, *settings, f"network.name={network}"]))
    weather = ("observed",) if run.config.task.known_future else ()
    opened = Request(str(tmp_path / "run"), str(cube), weather=weather).open()
    forecaster = BlockForecaster(opened, 1, torch.device("cpu"))
    whole = forecaster(slice(0, CELLS)).mean
    assert np.isfinite(whole).any()
    for size in (2, 6):
        parts = [forecaster(slice(start, min(start + size, CELLS))).mean for start in range(0, CELLS, size)]
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_what_neighbours_know_matters_and_what_others_know_or_comes_later_does_not(
    cube: Path, tmp_path: Path, network: str
) -> None:
    settings = [*QUICK, "task.lags=[swvl1]", "head.predict=change", f"network.name={network}"]
    train(cube, tmp_path / "run", load_config(settings=settings))
    issue, at = "2019-04-10", 464
    expected = forecast(tmp_path / "run", cube, tmp_path / "expected", issue=issue)["swvl1"].to_numpy()
    made = small_cube(CELLS, DAYS)
    grid = Grid(made["grid_lat"].to_numpy(), made["grid_lon"].to_numpy(), made["cell"].to_numpy())
    around = neighbours(grid, 3)
    changed = next(cell for cell in range(CELLS) if (around == cell).any())
    for name in ("t2m", "swvl1"):
        values = made[name].to_numpy().copy()
        values[changed, at - 3] *= np.float32(0.98)
        values[:, at + 1 :] *= np.float32(0.97)
        made[name] = (("cell", "time"), values, made[name].attrs)
    save_cube(made, tmp_path / "changed")
    found = forecast(tmp_path / "run", tmp_path / "changed", tmp_path / "found", issue=issue)["swvl1"].to_numpy()
    differs = (found != expected).any(axis=tuple(range(1, found.ndim)))
    sees = (around == changed).any(axis=1)
    sees[changed] = True
    np.testing.assert_array_equal(differs, sees)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("network.name=cnn", "task.neighbourhood=1"), "set task.neighbourhood=3, or network.name=lstm"),
        (("network.name=ea_lstm", "task.static=[]"), "tells cells apart by task.static, which is empty"),
        (("network.name=mc_lstm", "task.dynamic=[t2m]"), "conserves the mass of the rain: add tp to task.dynamic"),
        (("task.neighbourhood=2",), "task.neighbourhood: Input should be 1, 3, 5 or 7"),
    ],
)
def test_a_network_without_what_it_needs_is_refused(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(SoilcastError, match=message):
        load_config(settings=[*QUICK, *settings])


def test_cells_without_a_grid_have_no_neighbours(tmp_path: Path) -> None:
    save_cube(small_cube(CELLS, DAYS, grid=False), tmp_path / "places")
    with pytest.raises(SoilcastError, match=r"places: its cells are stations, .*: set task\.neighbourhood=1 "):
        train(tmp_path / "places", tmp_path / "run", load_config(settings=[*QUICK, "network.name=conv_lstm"]))
    assert not (tmp_path / "run").exists()


def test_a_cube_that_lacks_what_tells_cells_apart_is_refused(tmp_path: Path) -> None:
    config = load_config(settings=[*QUICK, "task.static=auto", "task.neighbourhood=1", "network.name=ea_lstm"])
    save_cube(small_cube(CELLS, DAYS, drop=config.task.static), tmp_path / "none")
    with pytest.raises(SoilcastError, match=r"none: network\.name=ea_lstm tells cells apart by task\.static"):
        train(tmp_path / "none", tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("network", ["gru", "ea_lstm", "mc_lstm", "transformer", *NETWORKS])
def test_every_network_goes_the_whole_way_guided_and_with_quantiles(cube: Path, tmp_path: Path, network: str) -> None:
    settings = [*QUICK, *SEVERAL, f"network.name={network}", "loss.name=quantiles", "task.quantiles=[0.1,0.5,0.9]"]
    settings += ["loss.balance=multi", "loss.weights=[0.5,0.5]", "train.ensemble=2", "task.window=9"]
    run = train(cube, tmp_path / "run", load_config(settings=settings))
    assert run.config.label == network
    assert all(np.isfinite(line["train_loss"]) for line in run.log)
    made = forecast(tmp_path / "run", cube, tmp_path / "forecast", weather="observed")
    assert made.sizes["lead"] == 3
    known = np.isfinite(made["swvl1"]).any(dim=("time", "lead"))
    assert known.any()
    if network == "ea_lstm":
        absent = run.networks[0].absent()
        assert absent
        for member in run.networks:
            for name, where in absent.items():
                weight = member.get_parameter(name)
                assert (weight[where] == 0).all()
                assert (weight[~where] != 0).any()


@pytest.mark.slow
def test_an_ea_lstm_trains_by_any_engine(cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [*QUICK, "task.neighbourhood=1", "network.name=ea_lstm", "network.dropout=0"]
    made = []
    for engine in ("torch", "portable"):
        monkeypatch.setenv("SOILCAST_ENGINE", engine)
        made.append(train(cube, tmp_path / engine, load_config(settings=settings)))
    for one, other in zip(made[0].networks[0].parameters(), made[1].networks[0].parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_what_alters_one_cell_alone_refuses_a_run_that_sees_others(cube: Path, tmp_path: Path) -> None:
    settings = [*QUICK, *SEVERAL, "network.name=cnn"]
    train(cube, tmp_path / "run", load_config(settings=settings))
    with pytest.raises(SoilcastError, match=r"run: it sees the cells around a cell too, which an audit does not draw"):
        soilcast.audit(tmp_path / "run", cube, tmp_path / "audit")
    made = forecast(tmp_path / "run", cube, tmp_path / "forecast", weather="observed")
    runs = {made.attrs["weights_sha256"]: tmp_path / "run"}
    with client(tmp_path / "forecast", cube=cube, runs=runs) as http:
        (found,) = http.get("/map/catalogue").json()["collections"]
        assert not found["can_what_if"]
        where = {"collection": found["id"], "lat": float(made["lat"][0]), "lon": float(made["lon"][0])}
        assert "sees the cells around a cell too" in http.get("/map/place", params=where).json()["reasons"]["what_if"]
