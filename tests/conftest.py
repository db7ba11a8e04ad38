"""What tests of every kind share."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from encoder.models.bundle.declaration import Bundle, read_bundle
from encoder.models.bundle.folder import bundle_folder
from encoder.prepare.bundle.fetch import fetch
from encoder.types import TEXT
from tests.support.milvus_server import MilvusServer
from workers.environment import Options, begin

# The small bundle, whatever the default is; processes that tests start see it too.
os.environ["ANYMODAL_ENCODER__MODEL"] = "bundle:english"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the other cores are for the other workers

_SERVER = pytest.StashKey[MilvusServer]()

# What this machine or user cannot run is left out, and said at the top of the report.
_IS_ROOT = os.geteuid() == 0
_OF_TORCH = {name for name in ("torch", "sentence_transformers", "mteb") if not find_spec(name)}
_LEFT_OUT = {"torch": bool(_OF_TORCH), "root": not _IS_ROOT}
collect_ignore = ["unit/encoder/onnx"] if _OF_TORCH else []


def pytest_report_header() -> list[str]:
    """One line for each reason why tests are left out."""
    return [
        f"{', '.join(sorted(_OF_TORCH))} not installed: tests that import them are left out"
        if mark == "torch"
        else "not root: tests that mount disks or change users are left out"
        for mark, is_left_out in _LEFT_OUT.items()
        if is_left_out
    ]


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
    """Leave out tests by their marks."""
    out = {
        item
        for item in items
        if any(item.get_closest_marker(mark) for mark, is_out in _LEFT_OUT.items() if is_out)
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
    begin(Options())
    yield
    begin(Options())


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
