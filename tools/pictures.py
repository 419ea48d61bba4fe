"""Make the pictures of README.md and docs/gallery.md by the commands, on built-in data; chromium photographs pages.

    python -m tools.pictures --out results

What exists in --out already is not made again. tools/results.py copies those of `soilcast reproduce`.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"

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
}
"""What each command makes -> the command."""

PAGES = {"report": ("demo/report.html", 2120), "coming": ("coming.html", 2200)}
"""Picture -> the page that it is of, and how much of it is shown [pixels]."""

_WIDTH = 1200


def photograph(page: Path, height: int, picture: Path) -> None:
    """Write the upper part of a page as PNG."""
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={_WIDTH},{height}"]
    subprocess.run(
        ["chromium", *options, f"--screenshot={picture}", page.resolve().as_uri()],
        check=True,
        stderr=subprocess.DEVNULL,
    )


def main() -> None:
    """Run what has not been run, and write docs/images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results"))
    out: Path = parser.parse_args().out
    for output, command in COMMANDS.items():
        if not (out / output).exists():
            print(f"soilcast {command.format(out=out)}", flush=True)
            subprocess.run([sys.executable, "-m", "soilcast", *shlex.split(command.format(out=out))], check=True)
    for name, (page, height) in PAGES.items():
        photograph(out / page, height, IMAGES / f"{name}.png")
    for path in (*(IMAGES / f"{name}.png" for name in PAGES), out / "drought.png", out / "region.png"):
        with Image.open(path) as picture:
            picture.convert("RGB").save(IMAGES / path.name, optimize=True)


if __name__ == "__main__":
    main()
