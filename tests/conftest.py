"""What every test may ask for: the real data, and small cubes."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the real data; a test that needs it is skipped where it is absent (and CI then fails)."""
    if not SHARED.is_dir():
        pytest.skip(f"the real data of {SHARED} is not here")
    return SHARED
