"""The stack, started once, with the demo's files in it."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import httpx
import pytest

from examples.samples import make_samples
from tests.compose import images
from tests.compose.engine import Engine, why_not
from tests.compose.stack import Stack, ended, upload
from tests.support.compose_files import ROOT

FOLDER = ROOT / ".compose-test"
_STACK = pytest.StashKey[Stack]()


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Podman with the images; none of its processes run afterwards.

    The images stay in `FOLDER`, which ``make clean`` removes.
    """
    reason = why_not()
    if reason:
        pytest.skip(reason)
    engine = Engine(FOLDER)
    reason = engine.problem()
    if reason:
        pytest.skip(f"podman starts no container here: {reason}")
    images.make_images(engine)
    with engine.serving():
        yield engine
    engine.podman("container", "rm", "--all", "--force", "--time=0")
    shutil.rmtree(engine.temporary, ignore_errors=True)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The demo's files of all kinds."""
    folder = tmp_path_factory.mktemp("corpus") / "media"
    return [path for path, _ in make_samples(folder)]


@pytest.fixture(scope="session")
def stack(engine: Engine, corpus: list[Path], pytestconfig: pytest.Config) -> Iterator[Stack]:
    """Up and healthy; the corpus was ingested through the API."""
    stack = Stack(engine)
    pytestconfig.stash[_STACK] = stack
    try:
        stack.make_key()
        stack.up()
        with stack.client() as client:
            done = ended(client, upload(client, corpus))
        assert (done["ingested"], done["failed"]) == (len(corpus), 0), done
        yield stack
    finally:
        stack.down("--volumes", "--timeout", "20")


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    """For its API."""
    with stack.client() as client:
        yield client


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the containers wrote where a test failed."""
    report = yield
    stack = item.config.stash.get(_STACK, None)
    if report.failed and stack and item.get_closest_marker("compose"):
        report.sections.append(("Containers", stack.logs()))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured, for the log that is committed."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
