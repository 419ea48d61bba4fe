"""What every test may ask for: the real data, a cluster, a browser; and what holds for all of them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from multiprocessing.forkserver import _forkserver
from multiprocessing.resource_tracker import _resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

# Workers of pytest-xdist share the cores: threads of each that wait for one another would spin for time that others
# need. Trainings take as many threads as their config says all the same. Read once, when numpy and torch are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import psutil
import pytest

with contextlib.suppress(ImportError):
    import pyproj  # noqa: F401 - before any test imports eccodes: see soilcast.eccodes_library

from tests.helpers import SHARED
from tests.helpers.browser import NAMES as BROWSERS
from tests.helpers.browser import find as find_browser
from tests.helpers.browser import launched

if TYPE_CHECKING:
    from distributed import LocalCluster
    from playwright.sync_api import Browser

_OURS = "SOILCAST_TESTS_OF"
"""Variable of the environment by which the processes are known that tests started, whoever their parent is by now."""

# The same examples each time: whether a push may go in is not for luck to say. Look for new ones with
# --hypothesis-profile=search.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("search", max_examples=1000, deadline=None)
hypothesis.settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fail-on-skipped-shared", action="store_true", help="fail, instead of skip, the tests of real data without it"
    )
    parser.addoption(
        "--fail-on-skipped-browser",
        action="store_true",
        help="fail, instead of skip, the tests of the page without one",
    )


def pytest_configure() -> None:
    """Wait for no disk, and let Ctrl-C stop what tests start.

    No test cuts the power, and whatever else ends a process loses nothing that the system has. Ctrl-C may be ignored
    where a shell (``&``) or a scheduler has it ignored in whatever it starts: that is inherited, and a command that was
    started so is right to ignore it too.
    """
    os.fsync = lambda descriptor: None  # type: ignore[assignment]
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """See in the end that no process is left that a test started, and end it."""
    os.environ[_OURS] = str(os.getpid())
    yield
    _, left = psutil.wait_procs([one for one in psutil.process_iter() if _is_left(one)], timeout=20)
    for one in left:
        one.kill()
    told = [f"{one.pid}: {one.info['cmdline']}" for one in left]
    assert not told, "tests left processes behind: " + "; ".join(told)


def _is_left(process: psutil.Process) -> bool:
    # Python's own two end with this process.
    if process.pid in (os.getpid(), _forkserver._forkserver_pid, _resource_tracker._pid):  # type: ignore[attr-defined]
        return False
    try:
        process.info = process.as_dict(["cmdline", "environ"])
    except psutil.NoSuchProcess:
        return False
    return (process.info["environ"] or {}).get(_OURS) == str(os.getpid())


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest) -> Path:
    """Folder of the real data; a test that needs it is skipped where it is absent, and fails in CI."""
    if not SHARED.is_dir():
        refuse = pytest.fail if request.config.getoption("--fail-on-skipped-shared") else pytest.skip
        refuse(f"the real data of {SHARED} is not here")
    return SHARED


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Chromium, which starts once; a test that needs it is skipped where it is absent, and fails in CI."""
    if find_browser() is None:
        refuse = pytest.fail if request.config.getoption("--fail-on-skipped-browser") else pytest.skip
        refuse(f"no browser is here: {' or '.join(BROWSERS)}")
    with launched() as started:
        yield started


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    """A dask cluster on loopback of two worker processes, which nannies start again when they die."""
    from distributed import LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with LocalCluster(host="127.0.0.1", **options) as started:
        started.scheduler.allowed_failures = 1
        yield started


@pytest.fixture
def address(cluster: LocalCluster) -> str:
    """Of the cluster's scheduler, with both workers there."""
    cluster.wait_for_workers(2, timeout=300)  # those that an earlier test killed are started again
    return str(cluster.scheduler_address)
