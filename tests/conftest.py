"""What tests of every kind share."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest

from encoder.models.bundle.declaration import Bundle, bundle_folder, read_bundle
from encoder.prepare.bundle.fetch import fetch
from encoder.system.environment import begin
from encoder.types import TEXT
from tests.support.milvus_server import MilvusServer

# The small bundle, whatever the default is; processes that tests start see it too.
os.environ["ANYMODAL_ENCODER__MODEL"] = "bundle:english"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the other cores are for the other workers

# How long an example takes says nothing on a busy machine.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

_SERVER = pytest.StashKey[MilvusServer]()

# What this machine or user cannot run is left out, and said at the end of the report.
_OF_TORCH = {name for name in ("torch", "sentence_transformers", "mteb") if not find_spec(name)}
_MISSING = {
    mark: how
    for mark, is_missing, how in (
        ("torch", _OF_TORCH, "`make test GROUP=dev` installs torch, or pip install torch"),
        ("root", os.geteuid() != 0, "run them as root: they mount disks and change users"),
    )
    if is_missing
}
collect_ignore = ["unit/encoder/onnx"] if _OF_TORCH else []
_QUICK_ROOMS = [
    Path(__file__).with_name(name)
    for name in ("unit", "contract", "property", "test_architecture.py", "test_project.py")
]
_OWN_TARGET = ("milvus", "compose", "node")
_CONTRACT = Path(__file__).with_name("contract")
_WEIGHTS = {
    "bundle_home",
    "multilingual_home",
    "e5_bundle",
    "e5_folder",
    "speech_folder",
    "ocr_folder",
}
"""Fixtures of real weights, which take seconds to open; the fast tier has none of them."""
_BROWSER = Path(__file__).with_name("browser")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The tiers of the Makefile, and whether all that is needed must be there."""
    parser.addoption("--tier", choices=["fast", "test", "rest"], help="the tests of a make target")
    parser.addoption(
        "--complete", action="store_true", help="fail if a test is left out or skipped"
    )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """One line for each reason why tests are left out."""
    for mark, how in _MISSING.items():
        terminalreporter.write_line(f"Left out: tests that need {mark}. To run them: {how}.")
    if _is_incomplete(config):
        terminalreporter.write_line("With --complete, no test may be left out or skipped.")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With ``--complete``, a test that was left out or skipped fails the run."""
    if session.exitstatus == pytest.ExitCode.OK and _is_incomplete(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _is_incomplete(config: pytest.Config) -> bool:
    reporter = config.pluginmanager.get_plugin("terminalreporter")  # none in a worker of xdist
    is_partial = bool(_MISSING or (reporter and reporter.stats.get("skipped")))
    return bool(config.getoption("--complete") and reporter and is_partial)


def _tier(item: pytest.Item) -> str:
    """The smallest tier that runs a test; empty for those with a make target of their own."""
    if any(map(item.get_closest_marker, _OWN_TARGET)) or item.path.is_relative_to(_BROWSER):
        return ""
    if item.get_closest_marker("end_to_end"):
        return "test"
    is_quick_room = any(item.path.is_relative_to(room) for room in _QUICK_ROOMS)
    if not is_quick_room or item.get_closest_marker("slow"):
        return "rest"
    is_heavy = (
        item.path.is_relative_to(_CONTRACT)
        or not _WEIGHTS.isdisjoint(getattr(item, "fixturenames", ()))
        or not {"torch", "nn"}.isdisjoint(vars(getattr(item, "module", item)))
        or item.get_closest_marker("moderate")
    )
    return "test" if is_heavy else "fast"


class _WithoutTorch(pytest.Module):
    """A file of tests, which holds none if it imports what comes with torch."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        try:
            yield from super().collect()
        except self.CollectError as error:
            if getattr(error.__cause__, "name", None) not in _OF_TORCH:
                raise


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Leave out files that need what is not installed; None for pytest's own way."""
    return _WithoutTorch.from_parent(parent, path=module_path) if _OF_TORCH else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests by their marks and their tier."""
    tier = config.getoption("--tier")
    tiers = {"test": ("fast", "test")}.get(tier, (tier,))
    out = {
        item
        for item in items
        if any(map(item.get_closest_marker, _MISSING)) or (tier and _tier(item) not in tiers)
    }
    config.hook.pytest_deselected(items=list(out))
    items[:] = [item for item in items if item not in out]


@pytest.fixture(scope="session")
def bundle_home() -> Path:
    """The folder of the English bundle; fetched once, into the user's own cache."""
    return fetch(read_bundle("english"))


@pytest.fixture(scope="session")
def multilingual_home() -> Path:
    """The folder of the multilingual bundle, for the few tests that need all of it."""
    return fetch(read_bundle("multilingual"))


def _alone(name: str, folder_name: str) -> Bundle:
    """A part of the multilingual bundle as a separate bundle, fetched in the same way."""
    bundle = read_bundle("multilingual")
    alone = replace(bundle, folder_name=folder_name, parts={name: bundle.parts[name]})
    fetch(alone)
    return alone


@pytest.fixture(scope="session")
def e5_bundle() -> Bundle:
    """The multilingual bundle's text part."""
    return _alone(TEXT, "e5-alone")


@pytest.fixture(scope="session")
def e5_folder(e5_bundle: Bundle) -> Path:
    """The folder of that part."""
    return bundle_folder(e5_bundle) / TEXT


@pytest.fixture(scope="session")
def speech_folder() -> Path:
    """Whisper base, which recognizes many languages."""
    return bundle_folder(_alone("speech", "speech-alone")) / "speech"


@pytest.fixture(scope="session")
def ocr_folder() -> Path:
    """The folder of the part that reads text in pictures."""
    return bundle_folder(_alone("ocr", "ocr-v1")) / "ocr"


@pytest.fixture(scope="session")
def milvus_server(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[MilvusServer]:
    """The genuine Milvus server, for tests that are marked with ``milvus``."""
    with MilvusServer(tmp_path_factory.mktemp("milvus")) as server:
        pytestconfig.stash[_SERVER] = server
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the server printed when a test that uses it fails."""
    report = yield
    server = item.config.stash.get(_SERVER, None)
    if report.failed and server and item.get_closest_marker("milvus"):
        report.sections.append(("Milvus", server.log()))
    return report


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """Each test reads the settings as a new process does; so do fixtures after this one."""
    begin({})
    yield
    begin({})


@pytest.fixture(autouse=True)
def operators() -> None:
    """Read torch's table of ONNX operators once: building it takes a second per export."""
    module = sys.modules.get("torch.onnx._internal.exporter._registration")
    made = module and module.ONNXRegistry.from_torchlib
    if module and not hasattr(made, "cache_clear"):
        module.ONNXRegistry.from_torchlib = staticmethod(functools.cache(made))


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Files that others may read, though commands in this process make theirs private."""
    before = os.umask(0o022)
    yield
    os.umask(before)
