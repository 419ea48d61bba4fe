"""What every test may ask for: the real data, and small cubes."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fail-on-skipped-shared", action="store_true", help="fail, instead of skip, the tests of real data without it"
    )


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest) -> Path:
    """Folder of the real data; a test that needs it is skipped where it is absent, and fails in CI."""
    if not SHARED.is_dir():
        refuse = pytest.fail if request.config.getoption("--fail-on-skipped-shared") else pytest.skip
        refuse(f"the real data of {SHARED} is not here")
    return SHARED
