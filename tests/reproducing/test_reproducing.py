"""The paper on any cube: the dossier whole, the same after any stop, and true in what it says."""

from __future__ import annotations

import functools
import re
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from torch import Tensor, nn

from soilcast import evaluate, reproduce, reproducing
from soilcast.cube import open_artifact, open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.experiments import PARTS, load_study
from soilcast.models import NETWORKS, NetworkDesign
from soilcast.reproducing import plans, scorer
from soilcast.reproducing.claims import Claim
from soilcast.reproducing.plans import StudyPlan, plan_study
from soilcast.reproducing.reported import reported
from soilcast.verify.agreement import measure_agreement
from soilcast.verify.aligned import Aligned
from soilcast.verify.estimates import Estimate, field_test
from soilcast.verify.metrics import METRICS, Metric
from soilcast.verify.summary import weighted_median
from soilcast.water import WaterConfig
from tests.helpers.figure_texts import watched_figures
from tests.helpers.forks import PATIENCE, run_command, start_command, wait_until
from tests.helpers.html_page import Page, loads_nothing_and_only_sorts
from tests.helpers.small import small_cube

TINY = [
    "train.epochs=2",
    "train.validate_every=1",
    "train.batches_per_epoch=5",
    "train.batch_size=16",
    "train.validation_samples=200",
    "network.hidden_size=8",
]
ROWS = {
    "LSTM": {"model": "lstm"},
    "PHY-LSTM": {"model": "phy-lstm"},
    "PHYs-LSTM": {"model": "phys-lstm"},
}
FIGURES = ("fig3", "fig4", "fig5")
FIGURE = ["pdf", "png", "txt"]


def study(path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump({"title": "Mine", "show": "table", "seeds": 2, "runs": ROWS} | changes))
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def text_of(page: Path) -> str:
    """The words of a page, without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.read_text())).split())


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reproducing") / "cube"
    save_cube(small_cube(cells=12, days=800), path)
    return path


@pytest.fixture(scope="module")
def everything(cube: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All parts; not to be changed."""
    out = tmp_path_factory.mktemp("everything")
    reproduce("all", cube, out, seeds=1, settings=TINY, jobs=1, log=lambda line: None)
    return out


@pytest.mark.slow
def test_the_dossier_holds_every_table_and_figure(everything: Path) -> None:
    found = content(everything / "dossier")
    tables = {f"{part}.csv" for part in PARTS} | {"runs.csv"}
    figures = {f"{part}.{ending}" for part in FIGURES for ending in ("pdf", "png", "txt")}
    assert set(found) == tables | figures | {"report.html", "report.md", "dossier.json"}
    for name in tables:
        assert len(pd.read_csv(everything / "dossier" / name))
    for part in FIGURES:
        assert found[f"{part}.pdf"].startswith(b"%PDF")
        with Image.open(everything / "dossier" / f"{part}.png") as picture:
            assert picture.size[0] >= 2000


@pytest.mark.slow
def test_the_page_is_one_file_that_asks_for_nothing(everything: Path) -> None:
    page = (everything / "dossier" / "report.html").read_text()
    loads_nothing_and_only_sorts(Page(page))
    for part in PARTS:
        assert f'id="{part}"' in page
    assert "The data are synthetic" in page
    assert "persistence" in page
    assert "Geng et al. (2024), on their data" in page


@pytest.mark.slow
def test_a_design_that_several_parts_ask_for_is_trained_once(everything: Path) -> None:
    # LSTM, A1-A4, B1-B4, C2-C5, four other D, three other readings of W1 and four of W2, nine placebos and a coin
    # toss; A4 = C1 and B4 = D3.
    assert len(list((everything / "runs").iterdir())) == 1 + 8 + 4 + 4 + 7 + 10
    runs = pd.read_csv(everything / "dossier" / "runs.csv")
    names = {row: set(part["run"]) for row, part in runs.groupby("model")}
    assert names["A4"] == names["C1"] == names["PHYs-LSTM"] == names["W2 printed"]
    assert names["B4"] == names["D3"] == names["PHY-LSTM"] == names["W1 printed"]
    assert names["A3"].isdisjoint(names["A4"])


@pytest.mark.slow
@pytest.mark.parametrize("part", FIGURES)
def test_no_text_of_a_figure_lies_on_another(
    everything: Path, cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    shutil.copytree(everything / "runs", tmp_path / "runs")
    with watched_figures(monkeypatch) as figures:
        reproduce(part, cube, tmp_path, seeds=1, settings=TINY, jobs=1, log=lambda line: None)
    assert figures


@pytest.mark.slow
def test_the_second_time_nothing_is_trained_and_the_dossier_is_the_same(everything: Path, cube: Path) -> None:
    before = content(everything / "dossier")
    touched = {file: file.stat().st_mtime_ns for file in (everything / "runs").rglob("*")}
    told: list[str] = []
    reproduce("all", cube, everything, seeds=1, settings=TINY, jobs=1, log=told.append)
    assert {file: file.stat().st_mtime_ns for file in (everything / "runs").rglob("*")} == touched
    assert content(everything / "dossier") == before
    runs = len(list((everything / "runs").iterdir()))
    assert f"{runs} runs, {runs} of them done" in told[0]


@pytest.mark.slow
def test_the_sentences_say_what_the_tables_hold(everything: Path) -> None:
    sentences_hold(everything / "dossier", "table1", ("A1", "A4", "B1", "B4"), seeds=1)


def sentences_hold(dossier: Path, study: str, rows: Sequence[str], seeds: int) -> None:
    """See that the sentences on the RMSE of some rows against LSTM say what their table holds."""
    words = text_of(dossier / "report.html")
    table = pd.read_csv(dossier / f"{study}.csv")
    medians = table[table["statistic"] == "median"].set_index(["model", "metric"])
    base = medians.loc[("LSTM", "rmse"), "value"]
    for row in rows:
        found = medians.loc[(row, "rmse")]
        assert found["seeds"] == seeds
        spoken = rf"(?:No difference in [^.]* between {row} and LSTM|{row} (?:beats|is worse than) LSTM)[^]]*]"
        (sentence,) = {said for said in re.findall(spoken, words) if " RMSE " in said}
        numbers = re.findall(r"−?\d+\.\d", sentence.split(row)[-1])[:3]
        value, low, high = (float(one.replace("−", "-")) for one in numbers)
        ahead = -1 if found["difference"] <= 0 else 1
        expected = [100 * ahead * found[name] / base for name in ("difference", "difference_low", "difference_high")]
        assert value == pytest.approx(expected[0], abs=0.051)
        assert (low, high) == pytest.approx(sorted(expected[1:]), abs=0.051)
        assert ("No difference" in sentence) == (found["p_adjusted"] > 0.05)
        significant = "better" if found["difference"] < 0 else "worse"
        assert found["verdict"] == ("no difference" if found["p_adjusted"] > 0.05 else significant)


@pytest.mark.slow
def test_persistence_and_climatology_stand_beside_the_networks(everything: Path) -> None:
    table = pd.read_csv(everything / "dossier" / "table1.csv")
    rows = list(dict.fromkeys(table["model"]))
    assert rows == ["LSTM", *(f"A{n}" for n in range(1, 5)), *(f"B{n}" for n in range(1, 5)), *rows[-3:]]
    assert set(rows[-3:]) == {"persistence", "climatology", "damped anomaly"}
    assert set(table["metric"]) >= {"r", "rmse", "r2", "kge", "consistency_w1", "consistency_w2_masked"}


@pytest.mark.slow
def test_the_ledger_tells_the_readings_apart(everything: Path, cube: Path) -> None:
    ledger = pd.read_csv(everything / "dossier" / "readings.csv").set_index("model")
    assert ledger.loc["W1 code", "snow"] == "code"
    assert ledger.loc["W2 inflow", "sign"] == "inflow"
    # On a bucket that closes its balance, the sign of the water that enters tells which way soil moisture moves.
    assert ledger.loc["W1 inflow", "agreeing"] > ledger.loc["W1 printed", "agreeing"] + 0.1
    shares = ledger.loc[[row for row in ledger.index if row.startswith("W")], ["agreeing", "kept", "kept_train"]]
    assert (shares.loc["W2 complete"] > 0.999).all()
    others = shares.drop("W2 complete")
    assert ((others > 0) & (others < 1)).all(axis=None)
    placebos = ledger.loc[[f"Placebo of {row}" for row in shares.index], "kept_train"]
    np.testing.assert_allclose(placebos, shares["kept_train"], atol=0.03)


def test_every_reading_has_its_placebo_and_code_is_as_the_authors_have_it(cube: Path) -> None:
    with open_cube(cube) as opened:
        plan, runs = plan_study("readings", load_study("readings"), opened, [])
    guided = [name for name, row in plan.rows.items() if row.config.balance and not name.startswith("Placebo")]
    assert len(guided) == 9
    for name in guided:
        config, placebo = plan.rows[name].config, plan.rows[f"Placebo of {name}"].config
        assert (config.water.placebo, placebo.water.placebo) == ("none", "observed")
        assert placebo == config.model_copy(update={"water": placebo.water})
        assert placebo.water.model_copy(update={"placebo": "none"}) == config.water
    assert plan.rows["Placebo: coin toss"].config.water.placebo == "coin_toss"
    assert len(runs) == 3 * len(plan.rows) == 3 * (1 + 2 * 9 + 1)
    for name in ("W1 code", "W2 code"):
        config = plan.rows[name].config
        assert (config.water.ties, config.train.monitor, config.normalise.static) == ("drop", "data_loss", "z_score")
        assert (config.water.snow, config.water.runoff, config.train.sampling) == ("code", "total", "shared_day")
        assert config.train.validation_dropout
        assert config.normalise.method == "min_max"


@pytest.mark.slow
def test_readings_are_compared_with_their_placebos_at_every_lead(cube: Path, tmp_path: Path) -> None:
    inflow = {"snow": "closing", "sign": "inflow"}
    runs = {
        "LSTM": {"model": "lstm"},
        "Placebo: coin toss": {"model": "phys-lstm", "water": {**inflow, "placebo": "coin_toss"}},
        "W2 inflow": {"model": "phys-lstm", "water": inflow},
    }
    mine = study(tmp_path / "mine.yaml", show="readings", seeds=1, runs=runs, placebos=["W2 inflow"])
    settings = [*TINY, "task.lead_days=2", "task.lags=[swvl1]"]
    reproduce(mine, cube, tmp_path / "out", settings=settings, jobs=1, log=lambda line: None)
    dossier = tmp_path / "out" / "dossier"
    words = text_of(dossier / "report.html")
    for name in ("mine", "mine-lead2"):
        table = pd.read_csv(dossier / f"{name}.csv").set_index("model")
        assert list(table.index[:4]) == ["LSTM", "Placebo: coin toss", "W2 inflow", "Placebo of W2 inflow"]
        coin, reading, placebo = (table.loc[row] for row in table.index[1:4])
        assert (reading["placebo"], placebo["placebo"], coin["placebo"]) == ("none", "observed", "coin_toss")
        assert placebo["kept_train"] == pytest.approx(reading["kept_train"], abs=0.03)
        assert coin["kept_train"] == pytest.approx(0.5, abs=0.05)
        assert np.isfinite(reading["agreeing"])
        assert table.loc[["Placebo of W2 inflow", "Placebo: coin toss"], ["agreeing", "kept"]].isna().all(axis=None)
    # Each sentence on a reading is followed by that on its placebo, at both leads, in four metrics.
    assert words.count("Only the difference between a reading and its placebo can be credited") == 2
    compared = re.findall(r"(?<!of )W2 inflow (?:beats|is worse than|and) (LSTM|Placebo of W2 inflow)", words)
    assert compared == ["LSTM", "Placebo of W2 inflow"] * 8
    assert "can be credited to the water balance" in (dossier / "report.md").read_text()


@pytest.mark.slow
def test_figure_5_shows_a_cell_of_each_climate_with_its_rain(everything: Path, cube: Path) -> None:
    series = pd.read_csv(everything / "dossier" / "fig5.csv")
    with open_cube(cube) as opened:
        first = series[series["cell"] == series["cell"].iloc[0]]
        there = opened.sel(time=first["time"].to_numpy().astype("datetime64[ns]"))
        position = list(opened["cell"].to_numpy()).index(first["cell"].iloc[0])
        np.testing.assert_allclose(first["observed"], there["swvl1"][position], rtol=1e-5)
        np.testing.assert_allclose(first["precipitation"], there["tp"][position], rtol=1e-5)
        zones = opened["climate_zone"].to_numpy()
    mains = {next(n for n, last in enumerate((3, 7, 16, 28, 30)) if zone <= last) for zone in zones}
    assert series["cell"].nunique() == len(mains)
    assert {"LSTM", "PHY-LSTM", "PHYs-LSTM"} <= set(series)


@pytest.mark.slow
def test_finer_climates_are_drawn_on_request(cube: Path, tmp_path: Path) -> None:
    mine = study(tmp_path / "mine.yaml", show="zones", seeds=1, runs={"LSTM": ROWS["LSTM"]})
    reproduce(mine, cube, tmp_path / "out", settings=TINY, jobs=1, zones="fine", log=lambda line: None)
    drawn = set(pd.read_csv(tmp_path / "out" / "dossier" / "mine.csv")["climate"])
    with open_cube(cube) as opened:
        assert len(drawn) == len(set(opened["climate_zone"].to_numpy()))
    with pytest.raises(SoilcastError, match="--zones finest: did you mean fine"):
        reproduce(mine, cube, tmp_path / "out", zones="finest")


@pytest.mark.slow
def test_a_cube_without_some_variables_runs_what_it_can_and_says_what_not(tmp_path: Path) -> None:
    save_cube(small_cube(cells=12, days=800, drop=["e", "sro", "u10", "climate_zone"]), tmp_path / "cube")
    told: list[str] = []
    out = tmp_path / "out"
    reproduce("table1", tmp_path / "cube", out, seeds=1, settings=TINY, jobs=1, log=told.append)
    runs = pd.read_csv(out / "dossier" / "runs.csv").set_index("model")
    assert set(runs.index[runs["status"] == "skipped"]) == {"A2", "A3", "A4", "B2", "B3", "B4"}
    assert "no e, which W1" in runs.loc["B2", "why"]
    assert any(line.startswith("table1: B4 is skipped: no e, sro, which W1") for line in told)
    words = text_of(out / "dossier" / "report.html")
    assert "B2 is skipped: " in words
    assert "Inputs of the paper that the cube lacks, left out of all runs: u10." in words
    assert "] (days only), adjusted p " in words
    trained = runs.dropna(subset="best_is_last")
    late = (trained["best_epoch"] == trained["epochs"]).sum()
    assert late == trained["best_is_last"].astype(bool).sum()
    warning = f"{late} of {len(trained)} runs are not converged: the lowest validation loss is that of the last epoch"
    assert (warning in words) == (late > 0)
    for part in ("fig3", "fig4"):
        reproduce(part, tmp_path / "cube", out, seeds=1, settings=TINY, jobs=1, log=told.append)
    reproduce("table2", tmp_path / "cube", out, seeds=1, settings=TINY, jobs=1, log=told.append)
    assert any("C1, C2, C3, C4, C5 are skipped: " in line for line in told)
    reproduce("fig5", tmp_path / "cube", out, seeds=1, settings=TINY, jobs=1, log=told.append)
    assert "PHY-LSTM is skipped" in text_of(out / "dossier" / "report.html")


@pytest.mark.slow
def test_one_run_that_fails_loses_no_other_and_is_told_each_time(cube: Path, tmp_path: Path) -> None:
    runs = {**ROWS, "wild": {"model": "lstm", "train": {"learning_rate": 1e30}}}
    mine = study(tmp_path / "mine.yaml", runs=runs, seeds=1)
    found = []
    for _ in range(2):
        told: list[str] = []
        reproduce(mine, cube, tmp_path / "out", settings=TINY, jobs=1, log=told.append)
        assert any(" failed: training diverged" in line for line in told)
        found.append(content(tmp_path / "out" / "dossier"))
    assert found[0] == found[1]
    words = text_of(tmp_path / "out" / "dossier" / "report.html")
    assert "failed: training diverged in epoch" in words
    assert set(pd.read_csv(tmp_path / "out" / "dossier" / "mine.csv")["model"]) >= {"LSTM", "PHY-LSTM"}
    only = study(tmp_path / "only.yaml", runs={"LSTM": runs["wild"]}, seeds=1)
    with pytest.raises(SoilcastError, match=r"no run was completed \(training diverged"):
        reproduce(only, cube, tmp_path / "out", settings=TINY, jobs=1, log=told.append)


@pytest.mark.slow
def test_killed_anywhere_and_started_again_it_gives_the_same_dossier(cube: Path, tmp_path: Path) -> None:
    mine = study(tmp_path / "mine.yaml")
    settings = [*TINY, "train.epochs=15"]
    reproduce(mine, cube, tmp_path / "expected", settings=settings, jobs=1, log=lambda line: None)
    out = tmp_path / "out"
    words = ["reproduce", mine, "--cube", cube, "--out", out]
    words += [argument for setting in settings for argument in ("--set", setting)]
    # Six runs: a stop as the first are trained, and as the first is done; then further on, and in the last steps.
    for jobs, stop, moment in (
        (2, signal.SIGKILL, "runs/*.unfinished/log.jsonl"),
        (1, signal.SIGTERM, "runs/*/run.json"),
        (1, signal.SIGKILL, "forecasts/*/zarr.json"),
        (1, signal.SIGINT, "runs/*.unfinished/log.jsonl"),
        (1, signal.SIGKILL, "dossier/*.csv"),
    ):
        before = len(list(out.glob(moment)))
        with start_command(*words, "--jobs", jobs) as process:
            wait_until(lambda: process.poll() is not None or len(list(out.glob(moment))) > before)  # noqa: B023 (at once)
            if process.poll() is None:
                process.send_signal(stop)
            assert "Traceback" not in process.communicate()[1]
    end = time.monotonic() + PATIENCE
    while (done := run_command(*words, "--jobs", 1)).returncode != 0:
        # Processes whose parent was killed end with the epoch that they are in, and until then hold what they write.
        assert "another soilcast process is writing it" in done.stderr + done.stdout
        assert time.monotonic() < end
    assert content(tmp_path / "out" / "dossier") == content(tmp_path / "expected" / "dossier")


@pytest.mark.slow
def test_quick_is_said_to_be_quick(cube: Path, tmp_path: Path) -> None:
    quick = {"seeds": 1, "config": {"train": {"epochs": 1, "batches_per_epoch": 2, "validate_every": 1}}}
    mine = study(tmp_path / "mine.yaml", quick=quick)
    reproduce(mine, cube, tmp_path / "out", quick=True, jobs=1, log=lambda line: None)
    words = text_of(tmp_path / "out" / "dossier" / "report.html")
    assert "Quick: every training was shortened" in words
    assert "3 of 3 runs are not converged: the lowest validation loss is that of the last epoch" in words
    assert set(pd.read_csv(tmp_path / "out" / "dossier" / "runs.csv")["epochs"]) == {1}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("table3", r"table3: neither a part of the paper nor a file: did you mean table"),
        ("unknown key", r"unknown key run: did you mean runs\?"),
        ("no reference", r"reference: there is no run B4: valid are LSTM, PHY-LSTM, PHYs-LSTM"),
        ("bad setting", r"run LSTM: .*unknown key train\.epoch: did you mean train\.epochs\?"),
        ("show", r"show: .*'pie'"),
        ("placebo", r"placebos: there is no run B4: valid are LSTM, PHY-LSTM, PHYs-LSTM"),
        ("no balance", r"run Placebo of LSTM: .*water\.placebo has no effect while loss\.balance is none"),
        ("a baseline's name", r"runs: climatology is the name of a baseline"),
    ],
)
def test_faults_of_a_study_are_named(part: str, message: str, cube: Path, tmp_path: Path) -> None:
    changes = {
        "unknown key": {"run": {}},
        "no reference": {"reference": "B4"},
        "bad setting": {"runs": {"LSTM": {"train": {"epoch": 3}}}},
        "show": {"show": "pie"},
        "placebo": {"placebos": ["B4"]},
        "no balance": {"placebos": ["LSTM"]},
        "a baseline's name": {"runs": {"LSTM": {"model": "lstm"}, "climatology": {"model": "lstm"}}},
    }
    name = study(tmp_path / "mine.yaml", **changes[part]) if part in changes else part
    with pytest.raises(SoilcastError, match=message):
        reproduce(name, cube, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_study_does_not_hide_a_table_of_the_dossier(cube: Path, tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match=r"runs\.yaml: the name runs is that of another table"):
        reproduce(study(tmp_path / "runs.yaml"), cube, tmp_path / "out")


def test_a_cube_in_which_nothing_can_be_run_is_named(tmp_path: Path) -> None:
    names = ["t2m", "u10", "v10", "tp", "sp", "q", "ssrd", "strd"]
    save_cube(small_cube(cells=12, days=800, drop=names), tmp_path / "bare")
    save_cube(small_cube(cells=12, days=800, drop=["swvl1"]), tmp_path / "dry")
    for cube, message in (("bare", "bare: none of the inputs t2m, .* name others"), ("dry", "dry: no target swvl1")):
        with pytest.raises(SoilcastError, match=message):
            reproduce("table1", tmp_path / cube, tmp_path / "out")
    guided = study(tmp_path / "mine.yaml", runs={"LSTM": {"model": "phy-lstm", "water": {"terms": ["P", "E"]}}})
    save_cube(small_cube(cells=12, days=800, drop=["e"]), tmp_path / "cube")
    with pytest.raises(SoilcastError, match=r"the variables of every run are missing: .*no e"):
        reproduce(guided, tmp_path / "cube", tmp_path / "out", log=lambda line: None)


def test_a_folder_of_somebody_else_is_not_replaced(cube: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "dossier").mkdir(parents=True)
    (tmp_path / "out" / "dossier" / "thesis.tex").write_text("years of work")
    mine = study(tmp_path / "mine.yaml", seeds=1, runs={"LSTM": ROWS["LSTM"]})
    with pytest.raises(SoilcastError, match="a folder that soilcast did not write"):
        reproduce(mine, cube, tmp_path / "out", settings=TINY, jobs=1, log=lambda line: None)
    assert not (tmp_path / "out" / "runs").exists()  # told before hours of training
    assert (tmp_path / "out" / "dossier" / "thesis.tex").exists()


def names_of(cube: Path, settings: list[str], **changes: object) -> dict[str, tuple[str, ...]]:
    with open_cube(cube) as opened:
        plan, _ = plan_study("table1", load_study("table1").model_copy(update=changes), opened, settings)
    return {name: row.runs for name, row in plan.rows.items()}


@pytest.mark.slow
def test_a_run_is_named_by_all_that_its_weights_depend_on(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names_of(cube, [])
    assert names_of(cube, ["train.device=cpu", "train.threads=2"]) == before
    longer = names_of(cube, ["train.epochs=3"])
    assert all(set(longer[row]).isdisjoint(before[row]) for row in before)
    snow = names_of(cube, ["water.snow=closing"])
    assert snow["LSTM"] == before["LSTM"]  # which no water balance guides
    assert snow["B4"] != before["B4"]
    save_cube(small_cube(cells=12, days=800, seed=1), tmp_path / "other")
    assert names_of(tmp_path / "other", [])["LSTM"] != before["LSTM"]
    assert "task.py" in plans.ROOMS
    renamed = {name: {**keys, "label": f"mine {name}"} for name, keys in load_study("table1").runs.items()}
    assert names_of(cube, [], runs=renamed) == before
    assert names_of(cube, ["task.lead_days=2"])["LSTM"] != before["LSTM"]
    monkeypatch.setattr(plans, "code_in_use", lambda: "other code")
    assert names_of(cube, [])["LSTM"] != before["LSTM"]


SEVERAL = [*TINY, "task.lead_days=2", "task.lags=[swvl1]", "task.layers=[swvl1,swvl2]", "water.deep_layers=[swvl3]"]
SHOWN = {"table": [], "zones": FIGURE, "consistency": FIGURE, "series": FIGURE}


@pytest.fixture(scope="module")
def several(cube: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of study but of readings two days ahead, each with a dossier of its own; not to be changed."""
    out = tmp_path_factory.mktemp("several")
    for show in SHOWN:
        made = study(out / f"my-{show}.yaml", show=show, seeds=1)
        reproduce(made, cube, out / "out", settings=SEVERAL, jobs=1, log=lambda line: None)
        shutil.copytree(out / "out" / "dossier", out / show)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("show", SHOWN)
def test_a_study_of_several_days_is_shown_at_every_lead(several: Path, show: str) -> None:
    endings = ["csv", *SHOWN[show]]
    names = {f"my-{show}{lead}.{ending}" for lead in ("", "-lead2") for ending in endings}
    assert set(content(several / show)) == names | {"report.html", "report.md", "dossier.json", "runs.csv"}
    words = text_of(several / show / "report.html")
    assert "Mine, 1 day ahead" in words
    assert "Mine, 2 days ahead" in words
    assert "swvl1, 1 to 2 days ahead" in words
    assert "## Mine, 2 days ahead" in (several / show / "report.md").read_text()
    assert (several / show / f"my-{show}.csv").read_bytes() != (several / show / f"my-{show}-lead2.csv").read_bytes()
    assert len(list((several / "out" / "runs").iterdir())) == len(ROWS)  # all studies share them


@pytest.mark.slow
def test_the_scores_of_a_lead_are_those_of_evaluate(several: Path, cube: Path, tmp_path: Path) -> None:
    runs = pd.read_csv(several / "table" / "runs.csv").set_index("model")["run"]
    forecasts = [several / "out" / "forecasts" / run for run in runs]
    scores = evaluate(forecasts, cube, tmp_path / "scores")
    for lead, name in ((1, "my-table"), (2, "my-table-lead2")):
        table = pd.read_csv(several / "table" / f"{name}.csv").set_index(["statistic", "metric", "model"])["value"]
        at = scores.sel(target="swvl1", lead=lead)
        for row, run in {**runs, "persistence": "persistence"}.items():
            for metric in ("rmse", "kge", "consistency_w1", "consistency_w2_masked"):
                expected = weighted_median(at[metric].sel(model=run).to_numpy(), at["area"].to_numpy())
                assert table["median", metric, row] == pytest.approx(expected, rel=1e-4, nan_ok=True), (lead, metric)
    paper = pd.read_csv(several / "table" / "my-table-lead2.csv")[["paper_low", "paper_high"]]
    assert paper.isna().all(axis=None)  # which reports the next day alone
    assert (several / "table" / "report.html").read_text().count("Geng et al. (2024), on their data") == 1


@pytest.mark.slow
def test_series_of_a_lead_are_of_the_days_that_it_forecasts(several: Path, cube: Path) -> None:
    series = pd.read_csv(several / "series" / "my-series-lead2.csv")
    first = series[series["cell"] == series["cell"].iloc[0]]
    run = pd.read_csv(several / "series" / "runs.csv").set_index("model")["run"]["LSTM"]
    days = first["time"].to_numpy().astype("datetime64[ns]")
    with open_cube(cube) as opened:
        position = list(opened["cell"].to_numpy()).index(first["cell"].iloc[0])
        np.testing.assert_allclose(first["observed"], opened["swvl1"][position].sel(time=days), rtol=1e-5)
    with open_artifact(several / "out" / "forecasts" / run, "forecast") as opened:
        np.testing.assert_array_equal(opened["valid_time"].sel(lead=2).to_numpy(), days)
        np.testing.assert_allclose(first["LSTM"], opened["swvl1"][position].sel(lead=2), rtol=1e-5)


def test_rows_that_cannot_be_scored_together_are_refused_before_any_work(cube: Path, tmp_path: Path) -> None:
    for keys, message in (
        ({"task": {"lead_days": 3}}, "run far: task.lead_days is 3, but 1 in run LSTM"),
        ({"task": {"layers": ["swvl2"]}}, "run far: the first of task.layers is swvl2, but swvl1 in run LSTM"),
        ({"split": {"validation_share": 0.5}}, "run far: split.validation_share is 0.5, but 0.25 in run LSTM"),
    ):
        mine = study(tmp_path / "mine.yaml", runs={"LSTM": ROWS["LSTM"], "far": {"model": "lstm", **keys}})
        with pytest.raises(SoilcastError, match=message):
            reproduce(mine, cube, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weather_ahead_that_the_cube_lacks_is_left_out(tmp_path: Path) -> None:
    save_cube(small_cube(cells=12, days=800, drop=["u10"]), tmp_path / "cube")
    with open_cube(tmp_path / "cube") as opened:
        plan, _ = plan_study("table1", load_study("table1"), opened, ["task.known_future=[tp,u10]"])
    assert (plan.task.known_future, plan.left_out) == (("tp",), ("u10",))


def two_parts(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Let `all` be two studies of one run each: the first of LSTM, the second of PHY-LSTM."""
    first = load_study("table1").model_copy(update={"runs": {"LSTM": ROWS["LSTM"]}, "title": "One"})
    runs = {"PHY-LSTM": {**ROWS["PHY-LSTM"], **changes}}
    second = first.model_copy(update={"runs": runs, "reference": "PHY-LSTM", "title": "Two"})
    monkeypatch.setattr(reproducing, "PARTS", ("table1", "table2"))
    monkeypatch.setattr(reproducing, "load_study", {"table1": first, "table2": second}.get)


@pytest.mark.slow
def test_a_study_stands_in_the_dossier_once_its_own_runs_are_done(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_parts(monkeypatch)
    reproduce("all", cube, tmp_path / "whole", seeds=1, settings=TINY, jobs=1, log=lambda line: None)

    def stop(line: str) -> None:
        if "phy-lstm" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce("all", cube, tmp_path / "out", seeds=1, settings=TINY, jobs=1, log=stop)
    dossier = tmp_path / "out" / "dossier"
    found = content(dossier)
    assert found["table1.csv"] == (tmp_path / "whole" / "dossier" / "table1.csv").read_bytes()
    assert "table2.csv" not in found
    words = text_of(dossier / "report.html")
    assert "Not all runs are done: Two will follow." in words
    assert set(pd.read_csv(dossier / "runs.csv")["status"]) == {"finished", "not yet trained"}
    told: list[str] = []
    reproduce("all", cube, tmp_path / "out", seeds=1, settings=TINY, jobs=1, log=told.append)
    assert content(dossier) == content(tmp_path / "whole" / "dossier")
    # All was trained by then, so that there was nothing to write early.
    assert not [line for line in told if "to come" in line]


@pytest.mark.slow
def test_a_study_is_scored_beside_the_trainings_in_other_processes(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_parts(monkeypatch, train={"epochs": 400, "patience": 400})
    told: list[str] = []
    settings = [setting for setting in TINY if not setting.startswith("train.epochs")] + ["train.batches_per_epoch=20"]
    quick = load_study("table1").model_copy(update={"runs": {"LSTM": {**ROWS["LSTM"], "train": {"epochs": 1}}}})
    second = reproducing.load_study("table2")
    monkeypatch.setattr(reproducing, "load_study", {"table1": quick, "table2": second}.get)
    reproduce("all", cube, tmp_path / "out", seeds=1, settings=settings, jobs=2, log=told.append)
    order = [next(n for n, line in enumerate(told) if text in line) for text in ("to come: table2", "phy-lstm-")]
    assert order == sorted(order)
    assert told[-1].endswith("the dossier of table1, table2")


@pytest.mark.slow
def test_a_fault_in_scoring_takes_no_run_along(cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_parts(monkeypatch)
    score = scorer.score_study

    def fail(plan: StudyPlan, *given: object, **options: object) -> object:
        if plan.name == "table1":
            raise SoilcastError("no cell-day")
        return score(plan, *given, **options)

    monkeypatch.setattr(scorer, "score_study", fail)
    told: list[str] = []
    reproduce("all", cube, tmp_path / "out", seeds=1, settings=TINY, jobs=1, log=told.append)
    assert "table1 cannot be scored yet: no cell-day" in told
    words = text_of(tmp_path / "out" / "dossier" / "report.html")
    assert "It could not be scored: no cell-day" in words
    assert {"table2.csv", "runs.csv"} <= set(content(tmp_path / "out" / "dossier"))
    monkeypatch.setattr(scorer, "score_study", lambda *given, **options: fail(replace(given[0], name="table1")))
    with pytest.raises(SoilcastError, match="no cell-day"):
        reproduce("all", cube, tmp_path / "out", seeds=1, settings=TINY, jobs=1, log=told.append)
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 2


class Mean(nn.Module):
    """A network of one's own: the output of each step is linear in its inputs."""

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__()
        self.layer = nn.Linear(design.layout.features, design.hidden_size)

    def forward(self, inputs: Tensor) -> tuple[Tensor, None]:
        return self.layer(inputs), None


def bias_of_dry_days(aligned: Aligned) -> np.ndarray:
    dry = aligned.observed <= aligned.driest
    return np.nanmean(np.where(dry, aligned.central - aligned.observed, np.nan), axis=1)


@pytest.mark.slow
def test_a_network_and_a_metric_of_ones_own_are_reproduced(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Metric("dry_bias", "dry bias", "bias of dry days", "m3 m-3", "zero", frozenset(), bias_of_dry_days)
    monkeypatch.setitem(METRICS, "dry_bias", own)
    monkeypatch.setitem(NETWORKS, "mean", Mean)
    mine = study(tmp_path / "mine.yaml", runs={"LSTM": ROWS["LSTM"], "mean": {"network": {"name": "mean"}}})
    reproduce(mine, cube, tmp_path / "out", settings=TINY, jobs=1, log=lambda line: None)
    table = pd.read_csv(tmp_path / "out" / "dossier" / "mine.csv").set_index(["model", "metric", "statistic"])
    found = table.loc["mean", "dry_bias", "median"]
    assert np.isfinite([found["value"], found["difference"]]).all()
    assert np.isnan([found["p"], found["p_adjusted"], found["low"]]).all()
    assert np.isfinite(table.loc["persistence", "dry_bias", "median"]["value"])
    words = text_of(tmp_path / "out" / "dossier" / "report.html")
    assert "is not tested, since days cannot be resampled in a user-defined metric" in words
    sentences_hold(tmp_path / "out" / "dossier", "mine", ("mean",), seeds=2)
    # The name of a run holds the code of its network, which is to be in a file.
    source, before = tmp_path / "mine.py", names_of(cube, [], runs={"LSTM": {"network": {"name": "mean"}}})
    source.write_text("other = 'code'")
    monkeypatch.setattr(plans.inspect, "getsourcefile", lambda part: str(source))
    after = names_of(cube, [], runs={"LSTM": {"network": {"name": "mean"}}})
    assert after != before
    monkeypatch.undo()
    monkeypatch.setitem(NETWORKS, "mean", functools.partial(Mean))
    with pytest.raises(SoilcastError, match=r"network\.name=mean has no source file"):
        names_of(cube, [], runs={"LSTM": {"network": {"name": "mean"}}})


@pytest.mark.slow
def test_a_network_that_other_processes_have_not_registered_is_named(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NETWORKS, "mean", Mean)
    mine = study(tmp_path / "mine.yaml", runs={"LSTM": {"network": {"name": "mean"}}})
    told: list[str] = []
    with pytest.raises(SoilcastError, match=r"network\.name=mean is not registered in the worker process: use jobs=1"):
        reproduce(mine, cube, tmp_path / "out", settings=TINY, jobs=2, log=told.append)


def test_what_the_paper_reports_is_what_it_reports(shared: Path) -> None:
    prose = (shared.parent / "paper" / "METHOD.md").read_text()
    text = (shared.parent / "paper" / "geng2024.txt").read_text()
    for ranges in reported().ranges:
        for low, high in (ranges.r, ranges.rmse, ranges.r2, ranges.kge):
            decimals = 4 if low < 0.1 else 3
            assert f"{low:.{decimals}f}-{high:.{decimals}f}" in prose
            assert f"{low:.{decimals}f}" in text
    for changes in reported().changes:
        for name in ("r", "rmse", "r2", "kge"):
            assert f"{getattr(changes, name):+.1f} %" in prose
            assert f"{abs(getattr(changes, name)):.1f}%" in text


def claim(metric: str, value: float, reach: float, p: float, seeds: int = 3) -> Claim:
    """A claim whose adjusted p-value is twice its own."""
    number = np.asarray
    estimate = Estimate(number(value), number(value - reach), number(value + reach), number(p), number(1.5 * reach))
    field = field_test(
        Estimate(number([value, -value]), *(number([np.nan] * 2),) * 2, number([1e-9, 0.9]), number([np.nan] * 2)),
        metric,
        np.array([1.0, 3.0]),
    )
    return Claim("PHYs-LSTM", "LSTM", metric, estimate, 0.02, field, field, seeds, 12, 2 * p)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (
            claim("rmse", -0.002, 0.001, 0.01),
            "PHYs-LSTM beats LSTM in RMSE by 10.0 % [5.0, 15.0], adjusted p 0.020; significantly better in 25 %, worse "
            "in 0 % of the land area (for these trained networks alone: better in 25 %, worse in 0 %).",
        ),
        (
            claim("rmse", 0.002, 0.001, 0.0001),
            "PHYs-LSTM is worse than LSTM in RMSE by 10.0 % [5.0, 15.0], adjusted p < 0.001; significantly better in 0 "
            "%, worse in 25 % of the land area (for these trained networks alone: better in 0 %, worse in 25 %).",
        ),
        (
            claim("kge", 0.01, 0.02, 0.4, seeds=1),
            "No difference in KGE found between PHYs-LSTM and LSTM (differences below 0.030 could not have been seen "
            "reliably): PHYs-LSTM is better by 0.010 [−0.010, 0.030] (days only), adjusted p 0.800; over days alone, "
            "significantly better in 25 %, worse in 0 % of the land area.",
        ),
        (  # by itself it would be significant, among the others it is not
            claim("rmse", -0.002, 0.0018, 0.03),
            "No difference in RMSE found between PHYs-LSTM and LSTM (differences below 13.5 % could not have been seen "
            "reliably): PHYs-LSTM is better by 10.0 % [1.0, 19.0], adjusted p 0.060; significantly better in 25 %, "
            "worse in 0 % of the land area (for these trained networks alone: better in 25 %, worse in 0 %).",
        ),
        (
            claim("consistency_w2_masked", -0.01, 0.005, 0.01),
            "PHYs-LSTM is worse than LSTM in consistency with W2 under the observed mask by 1.0 percentage points "
            "[0.5, 1.5], adjusted p 0.020; significantly better in 0 %, worse in 25 % of the land area (for these "
            "trained networks alone: better in 0 %, worse in 25 %).",
        ),
    ],
)
def test_sentences_are_true_whichever_way_the_numbers_point(made: Claim, expected: str) -> None:
    assert made.sentence() == expected


def test_what_is_not_tested_is_said_not_to_be() -> None:
    nothing = np.asarray(np.nan)
    made = claim("rmse", 0.002, 0.001, 0.01)
    estimate = Estimate(made.estimate.value, nothing, nothing, nothing, nothing)
    untested = replace(made, estimate=estimate, p_adjusted=np.nan)
    assert "is not tested, since the test period has fewer than 6 blocks of days: PHYs-LSTM is worse by 10.0 %" in (
        untested.sentence()
    )


def test_agreement_by_hand(tmp_path: Path) -> None:
    # W1 of P alone: 1, 2, 1, 1, 3, 2 mm. dW: 0, +, -, 0, +, -.
    rain = np.array([[1.0, 2.0, 1.0, 1.0, 3.0, 2.0]]) / 1000
    moisture = np.array([[0.20, 0.22, 0.21, 0.25, 0.24, 0.24]])
    cube = small_cube(cells=1, days=6, tp=rain, swvl1=moisture)
    readings = {"P": ("single", WaterConfig(terms=("P",)))}
    # Days 2 (up, up), 3 (down, down), 5 (up, down) and 6 (down, still) have a sign; Eq. 13 drops day 5 alone, and day 6
    # does not move.
    found = measure_agreement(cube, "swvl1", readings, [slice(0, 6)])["P"]
    assert (found.kept, found.agreeing) == (3 / 4, 2 / 3)
    without_ties = {"P": ("single", WaterConfig(terms=("P",), ties="drop"))}
    found = measure_agreement(cube, "swvl1", without_ties, [slice(0, 6)])["P"]
    assert (found.kept, found.agreeing) == (2 / 4, 2 / 3)
    later = measure_agreement(cube, "swvl1", readings, [slice(4, 6)])["P"]
    assert (later.kept, later.agreeing) == (1 / 2, 0.0)
    empty = measure_agreement(cube, "swvl1", readings, [slice(0, 1)])["P"]
    assert np.isnan([empty.kept, empty.agreeing]).all()
