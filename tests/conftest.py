"""What every test may ask for: the real data, and small cubes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster

from tests.helpers import SHARED


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


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A dask cluster on loopback of two worker processes, which nannies start again when they die."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with LocalCluster(host="127.0.0.1", **options) as started:
        started.scheduler.allowed_failures = 1
        yield started


@pytest.fixture
def address(cluster: LocalCluster) -> str:
    """Of the cluster's scheduler, with both workers there."""
    cluster.wait_for_workers(2, timeout=60)  # those that an earlier test killed are started again
    return str(cluster.scheduler_address)
