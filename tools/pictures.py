"""Make the pictures of README.md and docs/gallery.md by the commands; chromium photographs pages.

    python -m tools.pictures --out results --data ../shared/data

They are of built-in data, but for the map, which is of a real land model's Moselle. What exists in --out already is not
made again. tools/results.py copies those of `soilcast reproduce`.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
_MOSELLE = "mhm_moselle/mhm_moselle_12km_daily_1990_1993.nc"
_LAYERS = "[swvl1,swvl2,swvl3]"
_ISSUES = [f"1993-{day}" for day in ("06-29", "06-30", "07-01", "07-02", "07-03", "07-04", "07-05")]

COMMANDS: dict[str, str] = {
    "demo/report.html": "demo --out {out}/demo",
    "planet": "prepare planet --resolution 4 --years 2011:2020 --out {out}/planet",
    "week": "train --cube {out}/planet --model multi-day --out {out}/week --set task.lead_days=7 "
    "--set train.epochs=40 --set train.batches_per_epoch=100 --set train.validate_every=4 "
    "--set train.validation_samples=20000",
    "coming": "forecast {out}/week --cube {out}/planet --from 2020-12-31 --out {out}/coming",
    "coming.html": "report {out}/coming --cube {out}/planet --out {out}/coming.html",
    "drought.png": "export {out}/coming --variable swvl1_drought --lead 7 --out {out}/drought.png",
    "delaware": "prepare delaware --out {out}/delaware",
    "region.png": "export {out}/delaware --variable swvl1 --day 1980-09-30 --out {out}/region.png",
    "moselle/cube": f"prepare table {{data}}/{_MOSELLE} --mapping {ROOT}/src/soilcast/sources/table/mappings/"
    "mhm_moselle.yaml --out {out}/moselle/cube",
    "moselle/weather": "degrade {out}/moselle/cube --variables tp,t2m,pev --leads 10 --out {out}/moselle/weather",
    "moselle/runs/week": "train --cube {out}/moselle/cube --weather {out}/moselle/weather --model multi-day "
    "--label 'Moselle, 12 km' --out {out}/moselle/runs/week --set task.lead_days=10 --set task.dynamic=[t2m,tp,pev,sd] "
    f"--set task.static=[] --set task.layers={_LAYERS} --set task.lags={_LAYERS} --set task.known_future=[t2m,tp,pev] "
    "--set split.test=1993 --set split.development=1990-01-11:1992-12-31 --set train.epochs=8 "
    "--set train.batches_per_epoch=100 --set train.validate_every=1 --set train.validation_samples=6000",
    "moselle-hindcast": "forecast {out}/moselle/runs/week --cube {out}/moselle/cube --weather {out}/moselle/weather "
    "--out {out}/moselle-hindcast",
    "moselle/scores": "evaluate {out}/moselle-hindcast --cube {out}/moselle/cube --out {out}/moselle/scores",
    **{
        f"moselle/forecasts/{issue}": "forecast {out}/moselle/runs/week --cube {out}/moselle/cube "
        f"--weather {{out}}/moselle/weather --from {issue} --out {{out}}/moselle/forecasts/{issue}"
        for issue in _ISSUES
    },
}
"""What each command makes -> the command."""

PAGES = {"report": ("demo/report.html", 2120), "coming": ("coming.html", 2200)}
"""Picture -> the page that it is of, and how much of it is shown [pixels]."""

_WIDTH = 1200


@dataclass(frozen=True)
class Map:
    """A picture of the page of ``soilcast serve``.

    Parameters
    ----------
    folder
        What is served.
    state
        What the page shows, as its address has it.
    size
        Width and height of the window [pixels].
    is_dark
        Whether the reader's system is dark.
    """

    folder: str
    state: str
    size: tuple[int, int]
    is_dark: bool = False


_PLACE = "issue=1993-07-05&lead=4&lat=48.92&lon=6.48"
MAPS = {
    "map": Map("moselle", _PLACE, (1360, 860)),
    "map-phone": Map("moselle", f"{_PLACE}&variable=swvl1_percentile", (390, 844), is_dark=True),
}
"""Picture -> the map that it is of."""


def photograph(page: Path, height: int, picture: Path) -> None:
    """Write the upper part of a page as PNG."""
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={_WIDTH},{height}"]
    subprocess.run(
        ["chromium", *options, f"--screenshot={picture}", page.resolve().as_uri()],
        check=True,
        stderr=subprocess.DEVNULL,
    )


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder and give the address."""
    command = [sys.executable, "-m", "soilcast", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
        finally:
            server.terminate()


def photograph_map(shown: Map, address: str, picture: Path) -> None:
    """Write a map as PNG, once all is drawn."""
    with sync_playwright() as playwright:
        options = ["--enable-unsafe-swiftshader", "--hide-scrollbars"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        width, height = shown.size
        scheme: Literal["dark", "light"] = "dark" if shown.is_dark else "light"
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=2)
        page.goto(f"{address}#{shown.state}")
        page.wait_for_selector('#map[aria-busy="false"]', timeout=120_000)
        page.wait_for_selector('#place[aria-busy="false"] canvas', timeout=120_000)
        page.wait_for_timeout(4000)  # names of places fade in
        page.screenshot(path=picture)
        browser.close()
    with Image.open(picture) as taken:
        taken.convert("RGB").quantize(256).save(picture, optimize=True)


def main() -> None:
    """Run what has not been run, and write docs/images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the real data")
    given = parser.parse_args()
    out: Path = given.out
    for output, pattern in COMMANDS.items():
        if not (out / output).exists():
            command = pattern.format(out=out, data=given.data)
            print(f"soilcast {command}", flush=True)
            (out / output).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, "-m", "soilcast", *shlex.split(command)], check=True)
    for name, (page, height) in PAGES.items():
        photograph(out / page, height, IMAGES / f"{name}.png")
    for name, shown in MAPS.items():
        with served(out / shown.folder) as address:
            photograph_map(shown, address, IMAGES / f"{name}.png")
    for path in (*(IMAGES / f"{name}.png" for name in PAGES), out / "drought.png", out / "region.png"):
        with Image.open(path) as picture:
            picture.convert("RGB").save(IMAGES / path.name, optimize=True)


if __name__ == "__main__":
    main()
