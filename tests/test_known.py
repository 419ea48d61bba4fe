"""What is known when: no window of an outlook holds what was not known at the end of its issue day."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.models.horizon import Horizon
from soilcast.training.config import load_config
from soilcast.training.known import Known, horizon_of
from soilcast.training.samples import gather_windows

CELLS, DAYS, INPUTS, STATIC = 3, 40, 4, 2
LAYERS = ("swvl1", "swvl2")


def horizon(**changes: object) -> Horizon:
    told = {
        "length": 6,
        "leads": 4,
        "latency": 0,
        "dynamic": INPUTS,
        "static": STATIC,
        "ahead": (1, 3),
        "calendar": True,
        "lags": LAYERS,
        "layers": LAYERS[:1],
        "anchored": True,
        "rain": None,
    }
    return Horizon(**(told | changes))  # type: ignore[arg-type]


def known(seed: int = 0) -> Known:
    random = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    return Known(
        dynamic=some(CELLS, DAYS, INPUTS),
        lags=some(CELLS, DAYS, 2),
        anchor=some(CELLS, DAYS, 1),
        calendar=some(DAYS, 2),
        static=some(CELLS, STATIC),
        rain=some(CELLS, 2),
        physical=some(CELLS, 4),
    )


def changed_from(values: torch.Tensor, day: int, columns: list[int] | None = None) -> torch.Tensor:
    """Put something else on a day and on all that follow it; NaN would betray that they are read at all."""
    other = values.clone()
    chosen = list(range(values.shape[-1])) if columns is None else columns
    other[:, day:, chosen] = float("nan")
    return other


@settings(max_examples=60, deadline=None)
@given(
    issue=st.integers(8, 30),
    latency=st.integers(0, 5),
    leads=st.integers(1, 7),
    ahead=st.sets(st.integers(0, INPUTS - 1)),
    rain=st.booleans(),
)
def test_what_comes_after_what_is_known_does_not_matter(
    issue: int, latency: int, leads: int, ahead: set[int], rain: bool
) -> None:
    wanted = horizon(latency=latency, leads=leads, ahead=tuple(sorted(ahead | ({1} if rain else set()))))
    wanted = replace(wanted, rain=1) if rain else wanted
    cells, days = torch.arange(CELLS), torch.full((CELLS,), issue + 1)
    there = known()
    unknown = [column for column in range(INPUTS) if column not in wanted.ahead]
    future = changed_from(there.dynamic, issue + 1, unknown)
    future = changed_from(future, issue + leads + 1)
    later = replace(
        there,
        dynamic=future,
        lags=changed_from(there.lags, issue - latency + 1),
        anchor=changed_from(there.anchor, issue - latency + 1),
    )
    windows = there.gather(wanted, cells, days)
    assert windows.shape == (wanted.length + leads - 1, CELLS, wanted.channels["physical"].stop)
    assert torch.isfinite(windows).all()
    torch.testing.assert_close(later.gather(wanted, cells, days), windows, rtol=0, atol=0)


@pytest.mark.parametrize("path", [field.name for field in fields(Known)])
def test_what_is_known_does_matter(path: str) -> None:
    wanted = replace(horizon(), rain=1)
    cells, days = torch.arange(CELLS), torch.full((CELLS,), 20)
    other = replace(known(), **{path: getattr(known(1), path)})
    assert not torch.equal(other.gather(wanted, cells, days), known().gather(wanted, cells, days))


def test_every_channel_holds_what_it_says() -> None:
    wanted, there = horizon(latency=2), known()
    issue, cell = 20, 1
    window = there.gather(wanted, torch.tensor([cell]), torch.tensor([issue + 1]))[:, 0]
    part = {name: window[:, place] for name, place in wanted.channels.items()}
    for step in range(wanted.steps):
        day = issue + 1 + step - (wanted.length - 1)
        past = day - 1 <= issue
        assert part["past_known"][step] == past
        torch.testing.assert_close(part["past"][step], there.dynamic[cell, day - 1] * past)
        torch.testing.assert_close(part["ahead"][step], there.dynamic[cell, day, [1, 3]])
        torch.testing.assert_close(part["calendar"][step], there.calendar[day])
        seen = day - 1 <= issue - 2
        assert (part["lags_known"][step] == seen).all()
        torch.testing.assert_close(part["lags"][step], there.lags[cell, day - 1] * seen)
        torch.testing.assert_close(part["anchor"][step], there.anchor[cell, issue - 2])
        torch.testing.assert_close(part["static"][step], there.static[cell])


def test_a_missing_lag_is_flagged_and_zero() -> None:
    there = known()
    there.lags[0, 17, 1] = float("nan")
    window = there.gather(horizon(), torch.tensor([0]), torch.tensor([21]))[:, 0]
    step = 17 - 20 + 5
    channels = horizon().channels
    assert window[step, channels["lags"]][1] == 0
    assert window[step, channels["lags_known"]].tolist() == [1, 0]
    assert window[step + 1, channels["lags_known"]].tolist() == [1, 1]


def test_one_day_ahead_without_more_is_the_window_of_the_paper() -> None:
    config = load_config(settings=["outlook.lead_days=1", "outlook.target=level", "inputs.dynamic=[t2m,tp]"])
    wanted = horizon_of(config)
    there = replace(
        known(), dynamic=known().dynamic[..., :2], static=torch.randn(CELLS, 6), lags=torch.empty(CELLS, DAYS, 0)
    )
    cells, days = torch.tensor([0, 2, 1]), torch.tensor([9, 30, 39])
    window = there.gather(wanted, cells, days)
    paper = gather_windows(there.dynamic, there.static, cells, days, 7)
    seen = torch.cat([window[..., wanted.channels[name]] for name in ("past", "static")], dim=-1)
    torch.testing.assert_close(seen, paper, rtol=0, atol=0)
    assert (window[..., wanted.channels["past_known"]] == 1).all()
    assert wanted.seen == 2 + 1 + 6


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        (["inputs.lags=[swvl1]"], "inputs.lags is for outlooks: set outlook.lead_days"),
        (["inputs.calendar=true"], "inputs.calendar is for outlooks"),
        (["inputs.known_future=[tp]"], "inputs.known_future is for outlooks"),
        (["outlook.path=rollout"], "outlook.path is for outlooks: set outlook.lead_days"),
        (["outlook.lead_days=2"], "swvl1 is forecast from its own newest value.*inputs.lags"),
        (["outlook.lead_days=2", "inputs.lags=[swvl1]", "outlook.layers=[swvl1,swvl2]"], "swvl2 is forecast from"),
        (["inputs.known_future=[pev]"], "known_future names pev, which is not among inputs.dynamic"),
        (
            ["inputs.dynamic=[swvl1,tp]", "inputs.known_future=[swvl1]", "outlook.lead_days=2"],
            "known_future names swvl1: the soil moisture of days ahead is what is forecast",
        ),
        (
            ["outlook.lead_days=2", "inputs.lags=[swvl1]", "inputs.latency_days=7"],
            "latency_days 7 leaves none of the 7 days of sequence_length",
        ),
        (["outlook.lead_days=2", "inputs.lags=[swvl1]", "outlook.rain=1"], "need the rain ahead: name tp"),
        (["outlook.lead_days=2", "inputs.lags=[swvl1]", "outlook.head=bucket"], "need the rain ahead: name tp"),
        (
            ["outlook.lead_days=2", "inputs.lags=[swvl1]", "outlook.path=rollout", "outlook.first_day_leads=true"],
            "rollout has one free head",
        ),
        (
            [
                "outlook.lead_days=2",
                "inputs.lags=[swvl1]",
                "inputs.known_future=[tp]",
                "outlook.head=bucket",
                "outlook.rain=1",
            ],
            "bucket cannot fall with more rain",
        ),
        (
            ["outlook.lead_days=2", "inputs.lags=[swvl1]", "outlook.distribution=quantiles", "outlook.levels=[]"],
            "quantiles needs outlook.levels",
        ),
        (
            ["outlook.lead_days=2", "inputs.lags=[swvl1]", "inputs.dynamic=[tp,swvl1]"],
            "see soil moisture by inputs.lags",
        ),
        (["outlook.lead_days=2", "inputs.lags=[swvl1]", "loss.space=physical"], "loss.space is of the paper's design"),
        (
            ["model=phy-lstm", "outlook.lead_days=2", "inputs.lags=[swvl2]", "outlook.layers=[swvl2]"],
            "guides inputs.target swvl1, which is not among outlook.layers",
        ),
        (["outlook.lead_days=1", "outlook.levels=[0.9,0.1]"], "levels lie between 0 and 1, ascending"),
        (["inputs.lags=[swvl1,swvl1]", "outlook.lead_days=1"], "named twice"),
    ],
)
def test_a_config_that_cannot_be_known_is_refused(given_settings: list[str], message: str) -> None:
    with pytest.raises(Exception, match=message):
        load_config(settings=given_settings)


def test_positions_and_flags_are_those_of_the_config() -> None:
    config = load_config(
        settings=[
            "inputs.dynamic=[t2m,tp,sp]",
            "inputs.known_future=[sp,tp]",
            "inputs.lags=[swvl2,swvl1]",
            "inputs.latency_days=3",
            "inputs.calendar=true",
            "outlook.lead_days=5",
        ]
    )
    wanted = horizon_of(config)
    assert wanted.ahead == (2, 1)
    assert (wanted.lags, wanted.layers, wanted.anchored) == (("swvl2", "swvl1"), ("swvl1",), True)
    assert (wanted.length, wanted.leads, wanted.latency, wanted.steps) == (7, 5, 3, 11)
    assert np.isclose(
        sum(place.stop - place.start for place in wanted.channels.values()), wanted.channels["physical"].stop
    )
