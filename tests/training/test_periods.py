"""Training, validation and test of several periods, in any order: each day has one use, and nothing leaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.training import load_config, open_run
from soilcast.training.dataset import make_dataset
from soilcast.training.sections import SplitConfig
from soilcast.training.split import Periods, Split, days_in, period_slices, split_days
from soilcast.verify import evaluate
from tests.helpers.multiday import AHEAD, changed_cube, quick
from tests.helpers.small import small_cube

CELLS, DAYS, LEADS = 6, 780, 3
AXIS = np.datetime64("2018-01-01", "ns") + np.arange(DAYS) * np.timedelta64(1, "D").astype("timedelta64[ns]")
IN_THE_MIDDLE = (
    "split.test=2018-10-01:2018-12-31",
    "split.train=[2018-01-01:2018-09-30, 2019-01-01:2019-06-30]",
    "split.validation=2019-07-01:2019-12-31",
)
TEST_FIRST = ("split.test=2018-01-10:2018-06-30", "split.development=2018-07-01:2019-12-31")


def split(*settings: str) -> Split:
    return split_days(AXIS, load_config(settings=settings).split, "cube")


def test_periods_are_lists_in_any_order() -> None:
    found = split(*IN_THE_MIDDLE)
    assert (found.train, found.validation, found.test) == (
        (slice(0, 273), slice(365, 546)),
        (slice(546, 730),),
        (slice(273, 365),),
    )
    assert found.periods(AXIS)["train_period"] == "2018-01-01:2018-09-30,2019-01-01:2019-06-30"
    assert period_slices(AXIS, found.periods(AXIS)["train_period"], "run", "train") == found.train
    before = split(*TEST_FIRST)
    assert before.test[0].stop == before.train[0].start
    assert before.train[0].stop == before.validation[0].start


def test_adjacent_periods_are_one_and_validation_is_the_end_of_all() -> None:
    config = SplitConfig(test=("2020",), development=("2018", "2019-01:2019-12-31"))
    days = np.arange(np.datetime64("2018-01-01"), np.datetime64("2021-01-01")).astype("datetime64[ns]")
    assert split_days(days, config, "cube").train == (slice(0, 548),)
    parted = SplitConfig(test=("2018-07",), development=("2018-01:2018-06", "2019", "2020-12"), validation_share=0.5)
    found = split_days(days, parted, "cube")
    lengths = [sum(part.stop - part.start for part in parts) for parts in (found.train, found.validation)]
    assert abs(lengths[0] - lengths[1]) <= 1
    assert found.train[0] == slice(0, 181)
    assert found.validation[-1] == slice(1065, 1096)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (("split.test=[2018-03, 2018-03-20:2018-04-02]",), "2018-03-20 is in two of the periods"),
        (("split.test=[2018-03, 2031]",), "split.test 2031 is outside the cube"),
        (
            ("split.train=2018", "split.validation=2018-12:2019-01", "split.test=2019-06"),
            "split.train and split.validation have 31 day(s) in common, the first 2018-12-01",
        ),
        (
            ("split.train=2018", "split.validation=2019-01", "split.test=2019-01-31:2019-06-30"),
            "split.validation and split.test have 1 day(s) in common, the first 2019-01-31",
        ),
        (
            ("split.development=2018", "split.test=2018-06"),
            "split.development and split.test have 30 day(s) in common, the first 2018-06-01",
        ),
    ],
)
def test_periods_that_cannot_be_are_named(settings: tuple[str, ...], expected: str) -> None:
    with pytest.raises(SoilcastError) as caught:
        split(*settings)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (("split.train=2018",), "split.train and split.validation are given together"),
        (("split.train=2018", "split.validation=2019", "split.development=2018"), "in place of split.development"),
        (("split.test=[]",), "name at least one period"),
        (("split.test=[2018, last]",), "'last' is not a period"),
    ],
)
def test_a_split_that_says_two_things_is_refused(settings: tuple[str, ...], expected: str) -> None:
    with pytest.raises(SoilcastError) as caught:
        load_config(settings=settings)
    assert expected in str(caught.value)


@st.composite
def splits(draw: st.DrawFn) -> Split:
    """Cut three hundred days at some days, and use each part for training, validation, test or nothing."""
    ends = sorted(draw(st.sets(st.integers(1, 299), min_size=3, max_size=8)))
    parts = [slice(start, stop) for start, stop in zip([0, *ends], [*ends, 300], strict=True)]
    uses = draw(st.lists(st.integers(0, 3), min_size=len(parts), max_size=len(parts)))
    uses[:3] = draw(st.permutations([0, 1, 2]))
    chosen: list[Periods] = [
        tuple(part for part, use in zip(parts, uses, strict=True) if use == number) for number in range(3)
    ]
    return Split(*chosen)


@pytest.mark.parametrize("lags", [(), ("task.lags=[swvl1]", "task.latency={lags: 2}", "task.fill_days=1")])
@given(splits())
def test_no_sample_reaches_into_days_of_another_use(lags: tuple[str, ...], found: Split) -> None:
    window, leads = 5, 2
    cube = small_cube(3, 300).assign_attrs(content_sha256="-")
    config = load_config(
        settings=["task.dynamic=[tp]", "task.static=[]", f"task.window={window}", "task.lead_days=2", *lags]
    )
    try:
        dataset = make_dataset(cube, config, found, None)
    except SoilcastError:  # so short a period that it has no sample
        return
    whole = slice(0, 300)
    later = days_in((*found.validation, *found.test), whole), days_in(found.test, whole)
    for index, parts, hidden in zip(
        (dataset.training, dataset.validation), (found.train, found.validation), later, strict=True
    ):
        own = days_in(parts, whole)
        back = window if lags else 0
        for day in np.unique(index.at(np.arange(len(index))).days) + dataset.first:
            assert own[day : day + leads].all()
            assert not hidden[max(0, day - back) : day].any()
            assert day >= window


@pytest.mark.slow
@pytest.mark.parametrize("settings", [IN_THE_MIDDLE, TEST_FIRST], ids=["in the middle", "test first"])
@pytest.mark.parametrize(
    "task", [("task.fill_days=2", AHEAD), ("task.lags=[]", "head.predict=level", "loss.space=persistence")]
)
def test_training_does_not_see_soil_moisture_of_the_test(
    tmp_path: Path, settings: tuple[str, ...], task: tuple[str, ...]
) -> None:
    save_cube(small_cube(CELLS, DAYS), tmp_path / "cube")
    guided = ("loss.balance=single", "loss.weights=[0.5,0.5]") if "task.lags=[]" in task else ()
    (test,) = split(*settings).test
    changed_cube(tmp_path / "other", 0, ["swvl1", "swvl2", "swvl3"], days=test)
    weights = []
    for cube in ("cube", "other"):
        quick(tmp_path / cube, tmp_path / f"run-{cube}", *settings, *task, *guided)
        run = open_run(tmp_path / f"run-{cube}")
        weights.append([one.detach().numpy() for one in run.networks[0].parameters()])
    for mine, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_forecast_of_several_test_periods_has_their_days_alone(tmp_path: Path) -> None:
    save_cube(small_cube(CELLS, DAYS), tmp_path / "cube")
    periods = "2018-10-01:2018-10-20,2019-12-01:2019-12-31"
    quick(
        tmp_path / "cube",
        tmp_path / "run",
        "split.train=[2018-01-01:2018-09-30,2018-11]",
        "split.validation=2019-01:2019-06",
        f"split.test=[{periods}]",
        "head.predict=level",
        "task.lags=[]",
    )
    found = forecast(tmp_path / "run", tmp_path / "cube", tmp_path / "both")
    assert found.attrs["test_period"] == periods
    valid = np.unique(found["valid_time"].to_numpy())
    assert [str(day)[:10] for day in (valid[0], valid[-1])] == ["2018-10-01", "2019-12-31"]
    assert len(valid) == 51
    assert found.sizes["time"] == 51 - 2 * (LEADS - 1)
    scores = evaluate([tmp_path / "both"], tmp_path / "cube", tmp_path / "scores")
    assert np.isfinite(scores["rmse"]).all()
    for number, period in enumerate(periods.split(",")):
        one = forecast(tmp_path / "run", tmp_path / "cube", tmp_path / f"one-{number}", period=period)
        same = found.sel(time=one["time"])
        np.testing.assert_allclose(same["swvl1"], one["swvl1"], atol=1e-6)
