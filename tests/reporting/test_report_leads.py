"""The page on scores of several leads, with metrics of one's own and tested differences."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.reporting.sections import leads, score_maps, scoreboard, series, uncertainty
from soilcast.reporting.sections.headline import headline
from soilcast.reporting.sections.significance import significance
from soilcast.reporting.tables import lead_table
from soilcast.verify.metrics import METRICS, Metric
from soilcast.verify.summary import summarise
from tests.helpers.html_page import Page, anchors, counted_pictures, loads_nothing_and_only_sorts, report_page, rows_of
from tests.helpers.scores_factory import BASELINES, few, loaded, make_scores, with_tests

TWO = ("LSTM", "PHYs-LSTM")


def tinted(page: Page) -> int:
    return sum(tag == "td" and "lead" in str(attributes.get("class", "")).split() for tag, attributes in page.tags)


# Several leads


@pytest.fixture(scope="module")
def scores() -> xr.Dataset:
    made = make_scores(
        networks=TWO, with_quantiles=("LSTM",), targets=("swvl1", "swvl2"), cells=30, picks=1, leads=4, days=90,
        weather="observed", latency_days=5,
    )  # fmt: skip
    made["area"][:] = 1.0  # so that medians over the area are those of numpy
    return made


@pytest.fixture(scope="module")
def by_lead(scores: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return report_page(tmp_path_factory.mktemp("leads"), scores)


@pytest.mark.slow
def test_page_of_several_leads_loads_nothing_and_runs_nothing(by_lead: Page) -> None:
    loads_nothing_and_only_sorts(by_lead)


@pytest.mark.slow
def test_every_section_and_picture_of_several_leads_is_there(by_lead: Page) -> None:
    names = "scores leads maps series zones physics uncertainty extremes training provenance"
    assert anchors(by_lead) == {f"{name}0" for name in names.split()}
    # For each of two targets: maps of the ratio at three leads; folded, RMSE, R, KGE and bias of two networks and
    # persistence and the skill of two; the change of W1 and of W2. Four curves of errors, four of uncertainty, four of
    # extremes, two of consistency, a reliability diagram and a rank histogram, a cell with fans, four box plots at
    # two leads. And two training curves.
    assert counted_pictures(by_lead) == {
        "png": 2 * (3 + 4 * 3 + 2 + 2),
        "svg": 2 * (4 + 4 + 4 + 2 + 2 + 1 + 4 * 2) + 2,
    }


@pytest.mark.slow
def test_what_was_known_when_is_stated_plainly(by_lead: Page) -> None:
    for text in (
        "synthetic weather",
        "observed weather: the score of a perfect weather forecast",
        "With observed weather of the days ahead (a perfect weather forecast, an upper bound), over 8 pairs of target",
        "that of 5 days before the issue day",
        "2018-01-01 to 2019-06-28",
        "2020-01-01 to 2020-12-31",
        "29 of 30",
        "87 a cell",
        "1 to 4 days",
        "volumetric soil water, layer 2 (swvl2)",
        "From lead 2 on, the soil moisture that the same forecast has for the day before stands for the observed.",
    ):
        assert text in by_lead.text


@pytest.mark.parametrize(
    ("weather", "latency", "texts"),
    [
        ("none", 0, ("none: a forecast knows the weather up to its issue day", "that of the issue day")),
        ("forecast", 1, ("a weather forecast", "that of 1 day before the issue day")),
        ("none; of a kind", 2, ("none: a forecast knows the weather up to its issue day; of a kind",)),
        (
            "A: none; B: forecast",
            2,
            ("A: none: a forecast knows the weather up to its issue day; B: a weather forecast",),
        ),
    ],
)
def test_other_weather_and_latency(weather: str, latency: int, texts: tuple[str, ...]) -> None:
    drawn = headline(loaded(few(weather=weather, latency_days=latency)))
    assert all(f">{text}<" in drawn for text in texts)


@pytest.mark.slow
def test_tables_show_the_medians_of_the_scores(scores: xr.Dataset, by_lead: Page) -> None:
    below = 0
    for label in (*TWO, *BASELINES):
        tables = rows_of(by_lead, label)[:2]
        for target, cells in zip(("swvl1", "swvl2"), tables, strict=True):
            one = scores.sel(model=label, target=target)
            for lead, cell in zip((1, 2, 3, 4), cells[1:], strict=True):
                ratio, rmse = (float(np.nanmedian(one[name].sel(lead=lead))) for name in ("ratio", "rmse"))
                assert cell.split() == [f"{ratio:.3f}", f"{rmse:.4f}"]
                below += float(f"{ratio:.3f}") < 1
    assert tinted(Page("".join(lead_table(loaded(scores), target) for target in ("swvl1", "swvl2")))) == below > 0


@pytest.mark.slow
def test_first_and_last_lead_have_the_table_of_every_metric(scores: xr.Dataset, by_lead: Page) -> None:
    summary = summarise(scores)
    tables = [row for row in rows_of(by_lead, "PHYs-LSTM") if len(row) == 10]
    places = [("swvl1", 1), ("swvl2", 1), ("swvl1", 4), ("swvl2", 4)]
    for (target, lead), row in zip(places, tables, strict=True):
        one = summary.loc[("PHYs-LSTM", target, lead)]
        assert row[2].split() == [f"{one['rmse_median']:.4f}", f"{one['rmse_mean']:.4f}"]
        assert row[9].split()[0] == f"{one['consistency_w2_median']:.3f}"


@pytest.mark.slow
def test_network_without_quantiles_is_in_no_diagram(by_lead: Page) -> None:
    captions = [str(a["alt"]) for tag, a in by_lead.tags if tag == "img"]
    assert captions.count("LSTM: reliability") == captions.count("LSTM: rank histogram") == 2
    assert not [caption for caption in captions if caption.startswith("PHYs-LSTM: r")]


@pytest.mark.slow
def test_same_scores_of_several_leads_give_the_same_pictures() -> None:
    one, two = loaded(few()), loaded(few())
    for section in (leads.errors, score_maps.by_lead, series.fans):
        assert section(one) == section(two)


@pytest.mark.slow
def test_one_cell_and_no_quantiles(tmp_path: Path) -> None:
    bare = few(cells=1, leads=2, with_quantiles=(), gridded=False)
    found = report_page(tmp_path, bare)
    assert "no network gives intervals" in found.text
    assert "No network gives quantiles" in found.text
    assert not anchors(found) & {"maps0", "uncertainty0"}
    ratio = [float(one) for one in bare["ratio"].sel(model="LSTM").squeeze()]
    assert rows_of(found, "LSTM")[0][1].split()[0] == f"{ratio[0]:.3f}"
    numbers = f"with a median RMSE ratio to persistence of {ratio[0]:.3f} at lead 1 and {ratio[1]:.3f} at lead 2."
    assert f", by the digits shown, {numbers}" in found.text


def test_scores_that_know_no_quantiles_at_all() -> None:
    bare = loaded(few(with_quantiles=()))
    assert "quantile" not in bare.sizes
    assert "Bands" not in series.fans(bare)


def test_scores_that_lost_their_diagrams() -> None:
    bare = loaded(few().drop_vars(["reliability", "rank_histogram"]))
    assert "Rank histogram" not in uncertainty.uncertainty(bare)


@pytest.mark.slow
def test_one_lead_that_is_not_the_first(tmp_path: Path) -> None:
    page = report_page(tmp_path, few(leads=3).isel(lead=[2]))
    assert "Leads day 3" in page.text
    # Maps of four metrics of a network and persistence and of the skill; a series, two diagrams and a training curve.
    assert counted_pictures(page) == {"png": 4 * 2 + 1, "svg": 1 + 2 + 1}


@pytest.mark.slow
def test_nothing_scored(tmp_path: Path) -> None:
    empty = few()
    for name, values in empty.data_vars.items():
        if values.dims == ("model", "target", "lead", "cell"):
            empty[name][:] = np.nan
    found = report_page(tmp_path, empty)
    assert "no verdict" in found.text
    assert rows_of(found, "LSTM")[0][1] == "–"
    assert "0 of 5" in found.text


@pytest.mark.slow
def test_a_target_and_a_lead_that_were_not_scored() -> None:
    holed = few(targets=("swvl1", "swvl2"))
    for name, values in holed.data_vars.items():
        if values.dims == ("model", "target", "lead", "cell"):
            holed[name].loc[{"target": "swvl2"}] = np.nan
            holed[name].loc[{"lead": 2}] = np.nan
    holed = loaded(holed)
    drawn = headline(holed)
    assert "over 2 pairs of target and lead the best network of each target is better than the best baseline" in drawn
    assert "swvl2: no verdict" in drawn
    assert "at 2 of 3 leads (1, 3)" in drawn
    tables = "".join(lead_table(holed, target) for target in ("swvl1", "swvl2"))
    assert tables.count("<td><b>–</b></td>") == 4 * (1 + 3)
    assert scoreboard.by_lead(holed).count("<td><b>–</b></td>") > 4 * (1 + 3)
    assert "swvl2: no cell has a ratio to persistence." in score_maps.by_lead(holed)


def test_order_of_dimensions_and_leads_does_not_matter() -> None:
    straight = with_tests(few())
    turned = loaded(straight.transpose(*reversed(list(straight.sizes))).isel(lead=[2, 0, 1]))
    xr.testing.assert_identical(turned, loaded(straight))


@pytest.mark.slow
def test_texts_from_files_of_several_leads_are_escaped(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script><img src="https://example.org/x.png" onerror="x">$\\frac$'
    named = {"networks": (evil,), "with_quantiles": (evil,), "targets": (evil,), "title": evil, "content": evil}
    bad = few(leads=2, gridded=False, **named)
    bad = with_tests(bad.assign_coords(cell_name=("cell", [evil] * 5)).assign_attrs(weather=evil))
    found = report_page(tmp_path, bad)
    loads_nothing_and_only_sorts(found)
    assert all(uri.startswith("data:image/") for uri in found.pictures())
    assert evil.split("$")[0] not in (tmp_path / "report.html").read_text(encoding="utf-8")


# A metric of one's own, and tested differences


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "best", "registered"),
    [(1, "higher", True), (3, "lower", False), (1, "zero", False), (1, "nominal", True)],
)
def test_own_metric_is_in_the_table_and_the_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, best: str, registered: bool
) -> None:
    own = Metric("medae", "M<A>E", "median absolute error", "m3 m-3", best, frozenset(), lambda aligned: aligned)  # type: ignore[arg-type]
    if registered:
        monkeypatch.setitem(METRICS, "medae", own)
    scores = few(leads=count)
    scores["medae"] = (scores["rmse"] * 0.7).assign_attrs(own.attributes)
    page = report_page(tmp_path, scores)
    header = next(row for row in page.rows if row[0].strip() == "Model")
    assert header[-1].split() == ["M<A>E", "m³", "m⁻³"]
    shown = next(row for row in rows_of(page, "LSTM") if len(row) == len(header))[-1]
    assert shown.split()[0] == f"{summarise(scores).loc[('LSTM', 'swvl1', 1), 'medae_median']:.4f}"
    assert "M<A>E: median absolute error" in page.text
    assert counted_pictures(page)["png"] == 4 * 2 + 1 + 2 + (3 if count == 3 else 0)


@pytest.mark.slow
def test_own_metric_of_unknown_attributes_is_drawn(tmp_path: Path) -> None:
    scores = few(leads=1)
    scores["medae"] = scores["rmse"].assign_attrs(best="purple", symbol=7)
    page = report_page(tmp_path, scores)
    assert next(row for row in page.rows if row[0].strip() == "Model")[-1].split() == ["7", "m³", "m⁻³"]


def test_tested_metric_that_is_none_is_refused(tmp_path: Path) -> None:
    tested = with_tests(few()).assign_coords(tested_metric=["rmse", "purple"])
    with pytest.raises(SoilcastError, match="tested_metric names an unknown metric: the file is damaged"):
        report_page(tmp_path, tested)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_tested_differences_have_a_section(tmp_path: Path, count: int) -> None:
    scores = with_tests(few(networks=TWO, leads=count), LSTM=0.001)
    page = report_page(tmp_path, scores)
    assert "significance0" in anchors(page)
    assert "not tested" not in page.text
    rows = rows_of(page, "LSTM − persistence")
    for name in ("rmse", "crps"):
        tested = scores.sel(tested_metric=name, row="LSTM", reference="persistence", target="swvl1")
        shown = [f"{float(one):.4f}".replace("-", "−") for one in tested["difference"]]
        if count > 1:
            assert rows.pop(0)[1:] == [f"{one} 0.001" for one in shown]
        for lead in range(1, count + 1):
            one, row = tested.sel(lead=lead), rows.pop(0)
            assert row[1:3] == ["1 day" if lead == 1 else f"{lead} days", shown[lead - 1]]
            assert row[3].replace("−", "-").split()[0] == f"{float(one['difference_low']):.4f}"
            assert row[4:7] == [
                f"{float(one['difference_detectable']):.4f}",
                "0.001",
                f"{float(one['difference_ratio']):.3f}",
            ]
            assert [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in row[7:]] == ["75 %", "12 %"]
    assert not rows
    assert len(rows_of(page, "PHYs-LSTM − climatology")) == 2 * (count + (count > 1))
    colours = [str(a.get("class")) for tag, a in page.tags if tag == "td"]
    assert "worse" not in colours
    assert colours.count("lead") >= 2 * 3 * count  # two metrics and three baselines
    assert re.search(r"LSTM \(best of 2 networks\) is significantly better than .* at (all 3 leads|lead 1)", page.text)


def test_significantly_worse_is_tinted_otherwise() -> None:
    drawn = significance(loaded(with_tests(few(factors={"LSTM": 1.3}), ("persistence",), LSTM=0.0001)))
    assert drawn.count('class="worse"') == 2 * 3  # RMSE by lead and in full; the CRPS is better
    assert "&lt; 0.001" in drawn


def test_tests_that_found_nothing() -> None:
    tested = with_tests(few())
    tested["difference"][:] = np.nan
    assert significance(loaded(tested)) == "<p>No difference could be tested.</p>"
