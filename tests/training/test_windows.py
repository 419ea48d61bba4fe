"""What is known when: no window, of training or of a forecast, holds what was not known at the end of its issue day."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from soilcast.task import Layout, Task
from soilcast.training.damped import DampedAnomaly
from soilcast.training.windows import WindowSource, mask_lags

CELLS, DAYS = 3, 40
DYNAMIC = ("t2m", "tp", "sp", "q")
STATIC = ("clay", "sand")
LAYERS = ("swvl1", "swvl2")
LATENCIES: tuple[dict[str, int], ...] = (
    {},
    {"all": 2},
    {"dynamic": 2, "lags": 5},
    {"swvl1": 3},
    {"lags": 3, "swvl2": 0},
    {"t2m": 1, "q": 4},
)


def task(**changes: Any) -> Task:
    known = {
        "window": 6,
        "lead_days": 4,
        "dynamic": DYNAMIC,
        "static": STATIC,
        "calendar": True,
        "lags": LAYERS,
        "known_future": ("tp", "q"),
    }
    return Task(**(known | changes))


def source(seed: int = 0, layers: int = 1, leads: int = 4) -> WindowSource:
    random = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    return WindowSource(
        dynamic=some(CELLS, DAYS, len(DYNAMIC)),
        lags=some(CELLS, DAYS, len(LAYERS)),
        newest=some(CELLS, DAYS, layers),
        calendar=some(DAYS, 2),
        static=some(CELLS, len(STATIC)),
        rain=some(CELLS, 1, 2),
        physical=some(CELLS, 4 * layers),
        mass=some(CELLS, 2).abs(),
        neighbours=torch.randint(-1, CELLS, (CELLS, 8), generator=random),
        ready=some(CELLS, DAYS) > -1.0,
        damped=DampedAnomaly(some(DAYS, 3), some(CELLS, leads, layers, 3), some(CELLS, leads, layers)),
    )


def changed_from(values: Tensor, day: int, column: int) -> Tensor:
    """Put NaN on a day and on all that follow it; it would betray that they are read at all."""
    other = values.clone()
    other[:, max(0, day) :, column] = float("nan")
    return other


def without_what_is_later(there: WindowSource, wanted: Task, issue: int) -> WindowSource:
    """Put NaN wherever something is later than what is known on an issue day."""
    dynamic, lags, newest = there.dynamic, there.lags, there.newest
    for column, name in enumerate(wanted.dynamic):
        ahead = wanted.lead_days if name in wanted.known_future else -wanted.latency_of(name)
        dynamic = changed_from(dynamic, issue + ahead + 1, column)
    for column, name in enumerate(wanted.lags):
        lags = changed_from(lags, issue - wanted.latency_of(name) + 1, column)
    for column, name in enumerate(wanted.layers):
        newest = changed_from(newest, issue - wanted.latency_of(name) + 1, column)
    return replace(there, dynamic=dynamic, lags=lags, newest=newest)


@settings(max_examples=120, deadline=None)
@given(
    issue=st.integers(8, 30),
    latency=st.sampled_from(LATENCIES),
    leads=st.integers(1, 7),
    ahead=st.sets(st.sampled_from(DYNAMIC)),
    physical=st.booleans(),
    damped=st.booleans(),
    mass=st.booleans(),
    neighbourhood=st.sampled_from([1, 3]),
    layers=st.sampled_from([("swvl1",), LAYERS]),
)
def test_what_comes_after_what_is_known_does_not_matter(
    issue: int,
    latency: dict[str, int],
    leads: int,
    ahead: set[str],
    physical: bool,
    damped: bool,
    mass: bool,
    neighbourhood: int,
    layers: tuple[str, ...],
) -> None:
    ahead = ahead | ({"tp"} if physical else set())
    ahead = {name for name in ahead if not task(latency=latency, known_future=()).latency_of(name)}
    physical = physical and "tp" in ahead
    wanted = task(
        latency=latency, lead_days=leads, known_future=tuple(sorted(ahead)), layers=layers, neighbourhood=neighbourhood
    )
    layout = Layout(wanted, physical, damped, mass)
    cells, days = torch.arange(CELLS), torch.full((CELLS,), issue + 1)
    there = source(layers=len(layers), leads=leads)
    windows = there.gather(layout, cells, days)
    assert windows.shape == (wanted.window + leads - 1, CELLS, layout.channels["damped"].stop)
    assert torch.isfinite(windows).all()
    later = without_what_is_later(there, wanted, issue)
    torch.testing.assert_close(later.gather(layout, cells, days), windows, rtol=0, atol=0)


@pytest.mark.parametrize("latency", LATENCIES[1:])
def test_the_last_day_that_is_known_of_each_input_does_matter(latency: dict[str, int]) -> None:
    wanted, issue = task(latency=latency, known_future=()), 20
    layout, there = Layout(wanted), source()
    cells, days = torch.arange(CELLS), torch.full((CELLS,), issue + 1)
    windows = there.gather(layout, cells, days)
    for part, names in (("dynamic", wanted.dynamic), ("lags", wanted.lags), ("newest", wanted.layers)):
        for column, name in enumerate(names):
            other = getattr(there, part).clone()
            other[:, issue - wanted.latency_of(name), column] += 1.0
            assert not torch.equal(replace(there, **{part: other}).gather(layout, cells, days), windows), name


@pytest.mark.parametrize("part", [field.name for field in fields(WindowSource)])
def test_what_is_known_does_matter(part: str) -> None:
    wanted = task(neighbourhood=3)
    layout = Layout(wanted, physical=True, damped=True, mass=True)
    cells, days = torch.arange(CELLS), torch.full((CELLS,), 20)
    there, another = (with_forecasts(source(seed), wanted, first=seed) for seed in (0, 1))
    other = replace(there, **{part: getattr(another, part)})
    assert not torch.equal(other.gather(layout, cells, days), there.gather(layout, cells, days))


def with_forecasts(there: WindowSource, wanted: Task, first: int = 0) -> WindowSource:
    """Let the observed weather ahead be what was forecast on each issue day from ``first`` on."""
    columns = [wanted.dynamic.index(name) for name in wanted.known_future]
    issues = range(first, DAYS - wanted.lead_days)
    ahead = [there.dynamic[:, issue + 1 : issue + 1 + wanted.lead_days, columns] for issue in issues]
    return replace(there, ahead=torch.stack(ahead, dim=1), first_issue=first)


@pytest.mark.parametrize("window", [1, 6])
@pytest.mark.parametrize("known", [("tp", "q"), ("sd", "q", "tp")])
@pytest.mark.parametrize("physical", [True, False])
def test_forecasts_that_come_true_are_the_observed_weather(window: int, known: tuple[str, ...], physical: bool) -> None:
    wanted = task(window=window, dynamic=("t2m", "tp", "sd", "q"), known_future=known)
    layout = Layout(wanted, physical)
    cells, days = torch.tensor([[0, 1], [2, 0]]), torch.tensor([[20, 13], [9, 30]])
    there = replace(source(), rain=torch.linspace(0.5, 2.0, 6 * CELLS).reshape(CELLS, 3, 2))
    observed = there.gather(layout, cells, days)
    for first in (0, 8):
        assert torch.equal(with_forecasts(there, wanted, first).gather(layout, cells, days), observed)


@pytest.mark.parametrize("physical", [True, False])
def test_the_forecast_of_the_issue_day_alone_is_known_of_the_days_ahead(physical: bool) -> None:
    wanted, issue = task(), 20
    layout = Layout(wanted, physical)
    cells, days = torch.arange(CELLS), torch.full((CELLS,), issue + 1)
    there = with_forecasts(source(), wanted, first=3)
    windows = there.gather(layout, cells, days)
    assert there.ahead is not None
    others = torch.full_like(there.ahead, float("nan"))
    others[:, issue - 3] = there.ahead[:, issue - 3]
    dynamic = there.dynamic.clone()
    dynamic[:, issue + 1 :] = float("nan")
    assert torch.equal(replace(there, ahead=others, dynamic=dynamic).gather(layout, cells, days), windows)


@pytest.mark.parametrize("latency", LATENCIES)
def test_every_channel_holds_what_its_name_says(latency: dict[str, int]) -> None:
    ahead = tuple(name for name in ("tp", "sp") if not task(latency=latency, known_future=()).latency_of(name))
    wanted, there = task(latency=latency, known_future=ahead, lead_days=3, window=7), source()
    layout = Layout(wanted)
    issue, cell = 20, 1
    window = there.gather(layout, torch.tensor([cell]), torch.tensor([issue + 1]))[:, 0]
    part = {name: window[:, place] for name, place in layout.channels.items()}
    groups = sorted({wanted.latency_of(name) for name in DYNAMIC})
    assert part["past_known"].shape[1] == len(groups)
    for step in range(layout.steps):
        day = issue + 1 + step - (wanted.window - 1)
        for column, name in enumerate(DYNAMIC):
            is_known = day - 1 <= issue - wanted.latency_of(name)
            expected = there.dynamic[cell, day - 1, column] if is_known else torch.tensor(0.0)
            torch.testing.assert_close(part["past"][step, column], expected)
        assert part["past_known"][step].tolist() == [float(day - 1 <= issue - late) for late in groups]
        torch.testing.assert_close(part["ahead"][step], there.dynamic[cell, day, [DYNAMIC.index(one) for one in ahead]])
        torch.testing.assert_close(part["calendar"][step], there.calendar[day])
        for column, name in enumerate(LAYERS):
            is_known = day - 1 <= issue - wanted.latency_of(name)
            assert part["lags_known"][step, column] == float(is_known)
            expected = there.lags[cell, day - 1, column] if is_known else torch.tensor(0.0)
            torch.testing.assert_close(part["lags"][step, column], expected)
        torch.testing.assert_close(part["newest"][step], there.newest[cell, issue - wanted.latency_of("swvl1")])
        torch.testing.assert_close(part["static"][step], there.static[cell])
    assert layout.features == window.shape[1]


def test_the_damped_anomaly_of_each_forecast_day_lies_in_its_step() -> None:
    """C_t + rho (SM_{t-lag} - C_{t-lag}), with rho of each lead and the newest soil moisture, two days old."""
    wanted = task(latency={"lags": 2}, known_future=(), layers=LAYERS)
    layout, there = Layout(wanted, damped=True), source(layers=2)
    issue, cell, damped = 20, 1, there.damped
    assert damped is not None
    window = there.gather(layout, torch.tensor([cell]), torch.tensor([issue + 1]))[:, 0, layout.channels["damped"]]
    assert window[: wanted.window - 1].eq(0).all()
    for lead in range(1, wanted.lead_days + 1):
        for layer in range(2):
            climate = damped.harmonics @ damped.climatology[cell, lead - 1, layer]
            anomaly = there.newest[cell, issue - 2, layer] - climate[issue - 2]
            expected = climate[issue + lead] + damped.damping[cell, lead - 1, layer] * anomaly
            torch.testing.assert_close(window[wanted.window - 2 + lead, layer], expected)


def test_what_a_bucket_computes_with_is_behind_what_the_network_sees() -> None:
    layout, there = Layout(task(), physical=True), source()
    issue, cell = 20, 2
    window = there.gather(layout, torch.tensor([cell]), torch.tensor([issue + 1]))[:, 0]
    offset, scale = there.rain[cell, 0]
    for step in range(layout.steps):
        falling = there.dynamic[cell, issue + 1 + step - 5, DYNAMIC.index("tp")] * scale + offset
        torch.testing.assert_close(window[step, layout.channels["rain"]], falling[None])
        torch.testing.assert_close(window[step, layout.channels["physical"]], there.physical[cell])
    assert layout.features == layout.channels["rain"].start
    unseen = there.gather(Layout(task()), torch.tensor([cell]), torch.tensor([issue + 1]))[:, 0]
    assert torch.equal(window[:, : layout.features], unseen)


def test_snow_of_two_days_is_there_where_it_is_known_ahead() -> None:
    known = task().model_copy(update={"dynamic": ("t2m", "tp", "sd", "q"), "known_future": ("tp", "sd")})
    layout, there = Layout(known, physical=True), source()
    scale = torch.tensor([[0.001, 2.0], [0.1, 3.0], [0.1, 3.0]])
    there = replace(there, rain=scale.expand(CELLS, -1, -1))
    window = there.gather(layout, torch.tensor([2]), torch.tensor([21]))[:, 0, layout.channels["rain"]]
    for step in range(layout.steps):
        day = 21 + step - 5
        normalised = torch.stack([there.dynamic[2, at, column] for at, column in ((day, 1), (day, 2), (day - 1, 2))])
        torch.testing.assert_close(window[step], normalised * scale[:, 1] + scale[:, 0])


@pytest.mark.parametrize(
    ("ahead", "inputs"),
    [
        (("tp",), ["tp"]),
        (("tp", "smlt"), ["tp"]),
        (("tp", "sf", "smlt"), ["tp", "sf", "smlt"]),
        (("tp", "sd"), ["tp", "sd", "sd the day before"]),
        (("sf", "sd", "smlt", "tp"), ["tp", "sd", "sd the day before"]),
    ],
)
def test_snow_is_told_by_its_depth_or_by_both_fluxes(ahead: tuple[str, ...], inputs: list[str]) -> None:
    known = task(dynamic=("tp", "sf", "smlt", "sd"), known_future=ahead)
    assert list(Layout(known, physical=True).surface_inputs) == inputs
    assert Layout(known).surface_inputs == {}


def test_a_missing_lag_is_flagged_and_zero() -> None:
    there, layout = source(), Layout(task())
    there.lags[0, 17, 1] = float("nan")
    window = there.gather(layout, torch.tensor([0]), torch.tensor([21]))[:, 0]
    step, channels = 17 - 20 + 5, layout.channels
    assert window[step, channels["lags"]][1] == 0
    assert window[step, channels["lags_known"]].tolist() == [1, 0]
    assert window[step + 1, channels["lags_known"]].tolist() == [1, 1]


@settings(deadline=None)
@given(st.integers(1, 6), st.data())
def test_one_day_ahead_without_lags_it_is_the_papers_window(length: int, data: st.DataObject) -> None:
    """The weather of the days before, then what does not change: nothing else, and no flag."""
    paper = Task(window=length, dynamic=("t2m", "tp"), static=("clay", "sand", "silt"))
    layout = Layout(paper)
    there = replace(
        source(),
        dynamic=torch.arange(CELLS * DAYS * 2, dtype=torch.float32).reshape(CELLS, DAYS, 2),
        static=torch.arange(CELLS * 3, dtype=torch.float32).reshape(CELLS, 3),
        lags=torch.empty(CELLS, DAYS, 0),
        newest=torch.empty(CELLS, DAYS, 0),
    )
    cell = data.draw(st.integers(0, CELLS - 1))
    day = data.draw(st.integers(length, DAYS))
    windows = there.gather(layout, torch.tensor([cell]), torch.tensor([day]))
    assert windows.shape == (length, 1, 5)
    assert layout.features == 5
    for step in range(length):
        expected = torch.cat((there.dynamic[cell, day - length + step], there.static[cell]))
        assert torch.equal(windows[step, 0], expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"lags": ()},
        {"lags": (), "lead_days": 1},
        {"lags": ("swvl2",)},
        {"lags": ("swvl2",), "lead_days": 1, "layers": ("swvl1",)},
    ],
)
def test_sequences_hold_the_steps_of_every_window(changes: dict[str, Any]) -> None:
    wanted = task(calendar=False, known_future=(), **changes)
    layout = Layout(wanted)
    assert layout.is_sequence
    there = source()
    there = replace(there, lags=there.lags[..., : len(wanted.lags)], newest=there.newest[..., :0])
    if wanted.lags:
        there.lags[1, 12] = float("nan")
    sequences = there.sequences(layout, slice(0, CELLS), slice(5, 30), torch.device("cpu"))
    for first in range(25 - wanted.window + 1):
        days = torch.full((CELLS,), 5 + first + wanted.window)
        windows = there.gather(layout, torch.arange(CELLS), days)[: wanted.window]
        assert torch.equal(sequences[:, first : first + wanted.window].transpose(0, 1), windows)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lags": (), "known_future": ()},
        {"lags": (), "calendar": False},
        {"lags": ("swvl1",), "known_future": (), "calendar": False},
        {"lags": (), "known_future": (), "calendar": False, "latency": {"t2m": 1}},
        {"lags": ("swvl2",), "known_future": (), "calendar": False, "latency": {"lags": 1}},
    ],
)
def test_windows_that_differ_by_issue_day_are_no_sequence(changes: dict[str, Any]) -> None:
    assert not Layout(task(**changes)).is_sequence


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7])
def test_the_share_of_lags_that_is_asked_for_is_masked_with_its_flag(share: float) -> None:
    layout, there = Layout(task()), source()
    there.lags[0, 15] = float("nan")
    cells, days = torch.arange(CELLS).repeat(400), torch.randint(10, 30, (400 * CELLS,))
    windows = there.gather(layout, cells, days)
    masked = mask_lags(windows, layout, share, torch.Generator().manual_seed(3))
    lags, flags = layout.channels["lags"], layout.channels["lags_known"]
    known = windows[..., flags] == 1
    gone = known & (masked[..., flags] == 0)
    hidden = gone.sum() / known.sum()
    # The share of n independent draws scatters by less than 0.5 / sqrt(n): 5 times that is never reached.
    assert abs(float(hidden) - share) < 2.5 / float(known.sum()) ** 0.5
    assert (masked[..., lags][gone] == 0).all()
    assert torch.equal(masked[..., lags][~gone], windows[..., lags][~gone])
    others = [column for column in range(windows.shape[-1]) if not lags.start <= column < flags.stop]
    assert torch.equal(masked[..., others], windows[..., others])
    again = mask_lags(windows, layout, share, torch.Generator().manual_seed(3))
    assert torch.equal(again, masked)


def test_positions_are_those_of_the_task() -> None:
    wanted = Task(
        dynamic=("t2m", "tp", "sp"),
        static=STATIC,
        known_future=("sp", "tp"),
        lags=("swvl2", "swvl1"),
        latency={"lags": 3},
        calendar=True,
        lead_days=5,
    )
    layout = Layout(wanted)
    assert layout.ahead == (2, 1)
    assert (layout.lag_latency, layout.layer_latency, layout.dynamic_latency) == ((3, 3), (3,), (0, 0, 0))
    assert (wanted.soil_layers, wanted.sees_own_layers, layout.steps) == (("swvl1", "swvl2"), True, 11)
    counts = {name: layout.count(name) for name in layout.channels}
    assert counts == {
        "past": 3, "past_known": 1, "ahead": 2, "calendar": 2, "lags": 2, "lags_known": 2, "newest": 1, "static": 2,
        "mass": 0, "around": 0, "rain": 0, "physical": 0, "damped": 0,
    }  # fmt: skip
    ends = np.cumsum(list(counts.values()))
    assert [place.stop for place in layout.channels.values()] == ends.tolist()
