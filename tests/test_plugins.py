"""Code of one's own from a plain file: through every command, and each fault in one line."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

import soilcast
from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.models import NETWORKS
from soilcast.models.baselines import BASELINES
from soilcast.plugins import Plugin, load_plugin, loaded_plugins, require_plugins, use_plugins
from soilcast.training import open_run, train
from soilcast.training.losses import LOSSES
from soilcast.training.produce import require_plugins_to_resume
from tests.helpers.small import small_cube
from tests.test_commands import refusal, run

GRU = '''"""A GRU, and a loss that is not the RMSE."""

import torch
from torch import nn

from soilcast.models import NETWORKS
from soilcast.models.distributions import Point
from soilcast.training.config import PRESETS
from soilcast.training.losses import LOSSES
from soilcast.training.produce import require_plugins_to_resume


def build_stacked_gru(design):
    return nn.GRU(design.layout.features, design.hidden_size, num_layers=2, batch_first=True)


class MeanAbsoluteError:
    distribution = Point()

    def __call__(self, prediction, targets):
        error = targets.error(prediction.level)
        there = torch.isfinite(error)
        total = torch.where(there, error, 0.0).abs().flatten(1).sum(dim=-1)
        return total / there.flatten(1).sum(dim=-1).clamp_min(1)


NETWORKS["stacked_gru"] = build_stacked_gru
LOSSES["mae"] = lambda quantiles: MeanAbsoluteError()
PRESETS["phy-gru"] = {
    "label": "PHY-GRU",
    "network": {"name": "stacked_gru"},
    "loss": {"name": "mae", "balance": "single", "weights": [0.5, 0.5]},
}
'''

METRIC = """
import numpy as np
from soilcast.verify import Metric, register_metric

def largest(aligned):
    return np.nanmax(np.abs(aligned.central.astype(np.float64) - aligned.observed), axis=1, initial=0.0)

register_metric(Metric("largest", "max", "largest error", "m3 m-3", "lower", needs=frozenset(), kernel=largest))
"""

SOURCE = """
from pathlib import Path

from soilcast.cube import open_cube
from soilcast.sources import SOURCES

def copied(paths, *, note: str, days: int = 800):
    return open_cube(paths[0]).isel(time=slice(0, days)).load().assign_attrs(title=note)

SOURCES["copied"] = copied
"""

LAZY = """
import dask.array
from soilcast.cube import open_cube
from soilcast.sources import SOURCES

class Stored:
    \"\"\"Values that are read when they are asked for.\"\"\"

    def __init__(self, path, name):
        self.path, self.name = path, name
        with open_cube(path) as cube:
            self.shape, self.dtype, self.ndim = cube[name].shape, cube[name].dtype, cube[name].ndim

    def __getitem__(self, where):
        with open_cube(self.path) as cube:
            return cube[self.name][where].to_numpy()

def lazy(paths):
    cube = open_cube(paths[0])
    made = cube.load()
    for name in ("tp", "t2m"):
        values = dask.array.from_array(Stored(paths[0], name), asarray=False, name=False)
        made[name] = made[name].dims, values, made[name].attrs
    return made

SOURCES["lazy"] = lazy
"""

AHEAD = ["--set", "task.lead_days=3"]
QUICK = [
    "--set", "train.epochs=2", "--set", "train.validate_every=1", "--set", "train.batches_per_epoch=5",
    "--set", "network.hidden_size=8",
]  # fmt: skip
SETTINGS = [word for word in (*AHEAD, *QUICK) if word != "--set"]


@pytest.fixture(autouse=True)
def _unloaded() -> Iterator[None]:
    use_plugins([])
    yield
    use_plugins([])


@pytest.fixture
def gru(tmp_path: Path) -> Path:
    return written(tmp_path / "gru.py", GRU)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def said(path: Path) -> str:
    """Load what must be refused; give the one line."""
    before = dict(NETWORKS)
    with pytest.raises(SoilcastError) as caught:
        load_plugin(path)
    assert dict(NETWORKS) == before, "nothing of it stays"
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_registers_and_is_known_by_its_hash(gru: Path) -> None:
    made = load_plugin(gru)
    assert made.parts == ("network stacked_gru", "loss mae", "model phy-gru")
    assert loaded_plugins() == (made,)
    assert soilcast.load_config(model="phy-gru").loss.name == "mae"
    assert NETWORKS.plugin_of("stacked_gru") == made
    assert NETWORKS.plugin_of("lstm") is None
    assert str(made) == f"gru.py (sha256 {made.sha256[:12]})"
    assert not (gru.parent / "__pycache__").exists()
    use_plugins([])
    assert "stacked_gru" not in NETWORKS


def test_the_same_content_is_run_once(gru: Path, tmp_path: Path) -> None:
    count = tmp_path / "count"
    gru.write_text(GRU + f"\nopen({str(count)!r}, 'a').write('.')\n")
    made = load_plugin(gru)
    assert load_plugin(gru) is made
    assert load_plugin(shutil.copy(gru, tmp_path / "copy.py")) is made
    assert count.read_text() == "."


def test_a_file_that_has_changed_takes_the_place_of_what_it_was(gru: Path) -> None:
    before = load_plugin(gru)
    gru.write_text(GRU.replace('LOSSES["mae"]', 'LOSSES["absolute"]').replace('"name": "mae"', '"name": "absolute"'))
    after = load_plugin(gru)
    assert before.sha256 != after.sha256
    assert loaded_plugins() == (after,)
    assert "absolute" in LOSSES
    assert "mae" not in LOSSES


def test_a_name_is_registered_once(gru: Path, tmp_path: Path) -> None:
    own = written(tmp_path / "own.py", 'from soilcast.models import NETWORKS\nNETWORKS["lstm"] = None\n')
    assert said(own) == (
        f"plugin {own}, line 2: network lstm is registered twice, first by soilcast, or by the script: give it another "
        "name"
    )
    twice = written(tmp_path / "twice.py", GRU + 'NETWORKS["stacked_gru"] = build_stacked_gru\n')
    assert "network stacked_gru is registered twice, first by this plugin: give it another name" in said(twice)
    made = load_plugin(gru)
    other = written(tmp_path / "other.py", "# another\n" + GRU)
    assert f"network stacked_gru is registered twice, first by {made}: give it another name" in said(other)
    metric = written(tmp_path / "metric.py", METRIC.replace('"largest"', '"rmse"', 1))
    assert "metric rmse: the name is taken" in said(metric)


def test_a_script_may_replace_what_a_plugin_registered(gru: Path) -> None:
    load_plugin(gru)
    NETWORKS["stacked_gru"] = mine = NETWORKS["lstm"]
    assert NETWORKS.plugin_of("stacked_gru") is None
    use_plugins([])
    assert NETWORKS.pop("stacked_gru") is mine


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("x = 1\nx ++ = 2\n", 2, "SyntaxError: invalid syntax"),
        ("\nimport no_such_package\n", 2, "No module named 'no_such_package': install it; no file beside the plugin"),
        ("import torch\n\n1 / 0\n", 3, "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(0)\n", 2, "SystemExit: 0"),
        ('def f():\n    raise ValueError("two\\nlines")\n\nf()\n', 2, "ValueError: two lines"),
        ("import json\njson.loads('')\n", 2, "JSONDecodeError: Expecting value"),
        ("\0", None, "SyntaxError: source code string cannot contain null bytes"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_by_its_line(
    tmp_path: Path, text: str, line: int | None, told: str
) -> None:
    file = written(tmp_path / "own.py", 'from soilcast.models import NETWORKS\nNETWORKS["own"] = 1\n' + text)
    message = said(file)
    assert message.startswith(f"plugin {file}{f', line {line + 2}' if line else ''}: "), message
    assert told in message
    assert "own" not in NETWORKS


def test_what_is_no_file_of_python_is_refused(tmp_path: Path) -> None:
    assert said(tmp_path / "none.py") == f"plugin {tmp_path / 'none.py'}: no such file"
    assert said(tmp_path).endswith(": no such file")
    assert "not a Python file: give one whose name ends in .py" in said(written(tmp_path / "own.txt", GRU))


def test_a_file_does_not_see_those_beside_it(tmp_path: Path) -> None:
    written(tmp_path / "beside.py", "x = 1\n")
    assert "No module named 'beside'" in said(written(tmp_path / "own.py", "import beside\n"))


def test_an_artifact_is_not_believed_in_what_it_says_of_plugins(gru: Path) -> None:
    for recorded in ("gru.py", [{"name": "gru.py"}], [{"name": "\x1b[2Jgru.py", "sha256": "0", "parts": []}], {}):
        with pytest.raises(SoilcastError, match="run: its record of plugins is damaged"):
            require_plugins(recorded, "run")
    # A path in it is a name, and never loaded.
    with pytest.raises(SoilcastError, match="which is not loaded"):
        require_plugins([{"name": str(gru), "sha256": "0", "parts": ["network stacked_gru"]}], "run")
    assert loaded_plugins() == ()


@pytest.mark.slow
def test_an_installed_plugin_needs_no_path(tmp_path: Path) -> None:
    """A package with an entry point, in a process of its own."""
    package = tmp_path / "site"
    written(package / "lab_gru.py", GRU)
    about = package / "lab_gru-2.1.dist-info"
    written(about / "METADATA", "Metadata-Version: 2.1\nName: lab-gru\nVersion: 2.1\n")
    written(about / "entry_points.txt", "[soilcast.plugins]\ngru = lab_gru\n")

    def python(lines: str) -> str:
        surroundings = os.environ | {"PYTHONPATH": os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-c", "import soilcast\n" + lines]
        done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    lines = "print(soilcast.load_config(model='phy-gru').network.name)\n"
    lines += "from soilcast.plugins import loaded_plugins\nprint(loaded_plugins())"
    assert python(lines).startswith("stacked_gru\n(Plugin(name='lab-gru 2.1', sha256='")
    wanted = [{"name": "lab-gru 2.0", "sha256": "0" * 64, "parts": ["network stacked_gru"]}]
    told = python(f"from soilcast import plugins\nplugins.load_installed()\nplugins.require_plugins({wanted}, 'run')")
    assert "lab-gru 2.0 (sha256 000000000000), but lab-gru 2.1 (sha256 " in told
    with pytest.raises(SoilcastError, match=r"lab-gru 2.0 .*, which is not installed: install it"):
        require_plugins(wanted, "run")
    with pytest.raises(SoilcastError, match=r"a worker lacks the installed plugin lab-gru 2\.0"):
        use_plugins([Plugin("lab-gru 2.0", "0" * 64)])
    written(package / "lab_gru.py", "1 / 0\n")
    assert "installed plugin lab-gru 2.1: ZeroDivisionError: division by zero" in python("soilcast.train")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain file beside the data."""
    path = tmp_path_factory.mktemp("plugins")
    save_cube(small_cube(cells=12, days=800), path / "cube")
    written(path / "gru.py", GRU)
    written(path / "metric.py", METRIC)
    return path


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    """A run of the plugin, guided, three days ahead."""
    words = ["train", "--plugin", folder / "gru.py", "--model", "phy-gru", *AHEAD, *QUICK]
    told, _ = run(*words, "--cube", folder / "cube", "--out", folder / "run")
    assert told.splitlines()[-1].startswith("PHY-GRU: finished")
    return folder / "run"


@pytest.mark.slow
def test_the_whole_path_with_a_network_and_a_loss_of_ones_own(folder: Path, trained: Path, tmp_path: Path) -> None:
    digest = load_plugin(folder / "gru.py").sha256
    recorded = [{"name": "gru.py", "sha256": digest, "parts": ["model phy-gru", "network stacked_gru", "loss mae"]}]
    opened = open_run(trained)
    assert opened.record["plugins"] == recorded
    assert {"train_mae", "train_physical"} <= opened.log[-1].keys()
    given = ["--plugin", folder / "gru.py"]
    run("forecast", trained, "--cube", folder / "cube", "--out", tmp_path / "forecast", *given)
    with xr.open_zarr(tmp_path / "forecast", consolidated=False) as made:
        assert made.sizes["lead"] == 3
        assert np.isfinite(made["swvl1"]).all()
        assert json.loads(made.attrs["provenance"])["plugins"] == recorded
    # A forecast stands for itself: its scores need no network, but the metric that is asked for.
    words = ["evaluate", tmp_path / "forecast", "--cube", folder / "cube"]
    run(*words, "--out", tmp_path / "scores")
    told, _ = run(*words, "--out", tmp_path / "more", "--plugin", folder / "metric.py")
    assert "largest error, median over the cells by area, by lead" in told
    with xr.open_dataset(tmp_path / "more" / "scores.nc", engine="h5netcdf") as scores:
        provenance = json.loads(scores.attrs["provenance"])
    assert provenance["plugins_of_forecasts"] == {"PHY-GRU": recorded}
    assert [one["parts"] for one in provenance["plugins"]] == [["metric largest"]]
    run("report", tmp_path / "more", "--out", tmp_path / "page.html")
    told, _ = run("inspect", trained, *given)
    assert told.startswith("run: PHY-GRU")


@pytest.mark.slow
def test_reproduced_by_two_processes(folder: Path, tmp_path: Path) -> None:
    rows = {"GRU": {"model": "phy-gru"}, "LSTM": {"model": "lstm"}}
    study = tmp_path / "mine.yaml"
    study.write_text(yaml.safe_dump({"title": "Mine", "show": "table", "runs": rows}))
    words = ["reproduce", study, "--cube", folder / "cube", *AHEAD, *QUICK, "--seeds", "1"]
    run(*words, "--out", tmp_path / "out", "--plugin", folder / "gru.py", "--jobs", "2")
    assert "GRU" in (tmp_path / "out" / "dossier" / "report.html").read_text()
    (made,) = json.loads((tmp_path / "out" / "dossier" / "dossier.json").read_text())["plugins"]
    load_plugin(folder / "gru.py")
    networks = {open_run(path).config.network.name for path in (tmp_path / "out" / "runs").iterdir()}
    assert networks == {"stacked_gru", "lstm"}
    # With another file of that name the runs are others, too.
    changed = written(tmp_path / "own" / "gru.py", GRU + "# changed\n")
    told, _ = run(*words, "--out", tmp_path / "out", "--plugin", changed, "--jobs", "1")
    assert "2 runs, 1 of them done" in told
    assert "no such model: did you mean phy-lstm? (your own: --plugin FILE.py)" in refusal(
        *words, "--out", tmp_path / "out"
    )
    assert made["name"] == "gru.py"


@pytest.mark.slow
def test_a_run_without_its_plugin_is_refused(folder: Path, trained: Path, tmp_path: Path) -> None:
    made = load_plugin(folder / "gru.py")
    changed = written(tmp_path / "gru.py", GRU + "# changed\n")
    cube = ["--cube", folder / "cube", "--out"]
    for words in (
        ["forecast", trained, *cube, tmp_path / "out"],
        ["train", "--init", trained, *cube, tmp_path / "out"],
        ["train", "--model", "phy-gru", "--resume", *cube, trained],
        ["inspect", trained],
    ):
        told = refusal(*words)
        assert told == (
            f"soilcast: {trained}: its model phy-gru, network stacked_gru, loss mae came from the plugin {made}, which "
            "is not loaded: give it as --plugin gru.py, in Python to soilcast.load_plugin\n"
        )
        told = refusal(*words, "--plugin", changed)
        assert f"came from the plugin {made}, but gru.py (sha256 " in told
        assert "is loaded, which differs: give the file it was made with" in told


def test_an_unfinished_training_asks_for_its_plugin(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the power is out")

    made = load_plugin(folder / "gru.py")
    # By its name, since the package shows the function.
    monkeypatch.setattr(importlib.import_module("soilcast.training.produce"), "save_run", fail)
    monkeypatch.setattr("soilcast.training.checkpoint.Checkpoints.is_due", lambda self: True)
    config = soilcast.load_config(settings=SETTINGS, model="phy-gru")
    with pytest.raises(OSError, match="the power is out"):
        train(folder / "cube", tmp_path / "run", config)
    require_plugins_to_resume(tmp_path / "run")
    use_plugins([])
    changed = load_plugin(written(tmp_path / "gru.py", GRU.replace("not the RMSE", "another")))
    with pytest.raises(SoilcastError, match=r"is of plugin gru.py .{12}\.\.\., but this training of"):
        train(folder / "cube", tmp_path / "run", config, resume=True)
    for loaded, told in ((changed, "which differs"), (None, "which is not loaded: give it as --plugin gru.py")):
        use_plugins([loaded] if loaded else [])
        with pytest.raises(SoilcastError, match=told) as caught:
            require_plugins_to_resume(tmp_path / "run")
        assert f"run.unfinished/checkpoint.safetensors: its network, head or loss came from the plugin {made}" in str(
            caught.value
        )


@pytest.mark.slow
def test_a_source_of_ones_own_is_prepared_and_updated(folder: Path, tmp_path: Path) -> None:
    own = written(tmp_path / "own.py", SOURCE)
    words = ["prepare", "copied", folder / "cube", "--out", tmp_path / "cube", "--option", "note=mine"]
    assert "no such source copied" in refusal(*words)
    told = refusal(*words[:5], "--plugin", own)
    assert "source copied needs --option note=VALUE; its options are --option note=VALUE, --option days=VALUE" in told
    told, _ = run(*words, "--option", "days=700", "--plugin", own)
    assert "cube: mine" in told
    assert "700 days" in told
    with soilcast.open_cube(tmp_path / "cube") as cube:
        (made,) = json.loads(cube.attrs["provenance"])["plugins"]
    assert (made["name"], made["parts"]) == ("own.py", ["source copied"])
    update = ["update", tmp_path / "cube", folder / "cube"]
    assert "its source copied came from the plugin own.py (sha256 " in refusal(*update)
    changed = written(tmp_path / "other" / "own.py", SOURCE + "# changed")
    assert "is loaded, which differs: give the file it was made with" in refusal(*update, "--plugin", changed)


@pytest.mark.slow
def test_processes_of_torchrun_have_it(folder: Path, tmp_path: Path) -> None:
    launcher = ["torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m", "soilcast"]
    words = ["train", "--plugin", "gru.py", "--model", "phy-gru", *AHEAD, *QUICK, "--cube", "cube", "--out"]
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *words, str(tmp_path / "run")],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    load_plugin(folder / "gru.py")
    assert '"processes": 2' in open_run(tmp_path / "run").record["provenance"]


@pytest.mark.slow
def test_workers_of_a_cluster_have_it_and_none_that_was_before(folder: Path, tmp_path: Path, address: str) -> None:
    """Workers see no file of it: it travels with the work."""
    config = soilcast.load_config(settings=SETTINGS)
    gru = written(tmp_path / "gru.py", GRU)
    for text in (GRU, GRU.replace("not the RMSE", "another"), GRU + METRIC):
        load_plugin(written(gru, text))
        config = soilcast.load_config(settings=SETTINGS, model="phy-gru")
        train(folder / "cube", tmp_path / "run", config, overwrite=True)
        gru.unlink()
        made = [
            soilcast.forecast(tmp_path / "run", folder / "cube", tmp_path / str(dask), dask=dask, overwrite=True)
            for dask in (None, address)
        ]
        np.testing.assert_array_equal(*(one["swvl1"].to_numpy() for one in made))
    scores = [
        soilcast.evaluate([tmp_path / "None"], folder / "cube", tmp_path / f"scores-{dask}", dask=dask)
        for dask in (None, address)
    ]
    np.testing.assert_array_equal(*(one["largest"].to_numpy() for one in scores))
    load_plugin(written(tmp_path / "own.py", LAZY))
    soilcast.prepare("lazy", [folder / "cube"], out=tmp_path / "copy", dask=address)
    with soilcast.open_cube(tmp_path / "copy") as copy, soilcast.open_cube(folder / "cube") as cube:
        np.testing.assert_array_equal(copy["tp"].to_numpy(), cube["tp"].to_numpy())


@pytest.mark.slow
def test_a_baseline_of_ones_own_is_scored_beside_the_others(folder: Path, tmp_path: Path) -> None:
    lines = "import numpy as np\nfrom soilcast.models.baselines import BASELINES, persistence\n"
    lines += "BASELINES['wetter'] = lambda *given, **options: persistence(*given, **options) + np.float32(0.01)\n"
    config = soilcast.load_config(settings=SETTINGS)
    train(folder / "cube", tmp_path / "run", config)
    soilcast.forecast(tmp_path / "run", folder / "cube", tmp_path / "forecast")
    load_plugin(written(tmp_path / "own.py", lines))
    scores = soilcast.evaluate([tmp_path / "forecast"], folder / "cube", tmp_path / "scores")
    assert scores["model"].to_numpy().tolist()[1:] == list(BASELINES)
    assert list(BASELINES)[-1] == "wetter"
    assert scores["is_baseline"].sel(model="wetter")
    soilcast.report([tmp_path / "scores"], tmp_path / "page.html")
    assert json.loads(scores.attrs["provenance"])["plugins"][0]["parts"] == ["baseline wetter"]
