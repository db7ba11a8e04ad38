"""What tests of models share."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from tempfile import mkdtemp

import pytest

from encoder.prepare.hub import prepare
from encoder.prepare.hub.graphs import TracedNetwork


@pytest.fixture(autouse=True)
def followed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No export needs the second way of torch: it is tried in silence, and takes twice as long."""
    module = sys.modules.get("torch.export")
    if module:
        first_way = module.export

        def export(*args: object, strict: bool = False, **options: object) -> object:
            assert not strict
            return first_way(*args, strict=False, **options)

        monkeypatch.setattr(module, "export", export)


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each graph that was exported, by any worker of this run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "graphs"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def exported_once(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Export networks with the same weights once: even the smallest takes seconds."""
    real = prepare.export

    def export(name: str, network: TracedNetwork, path: Path) -> None:
        content = blake2b(path.name.encode())
        for key, tensor in network.module.state_dict().items():
            content.update(key.encode() + tensor.numpy().tobytes())
        kept = graphs / content.hexdigest()
        if not kept.exists():
            real(name, network, path)
            made = Path(mkdtemp(dir=graphs))
            for file in path.parent.glob(f"{path.name}*"):
                shutil.copy(file, made)
            with suppress(OSError):  # another worker was faster
                made.rename(kept)
        shutil.copytree(kept, path.parent, dirs_exist_ok=True)

    monkeypatch.setattr(prepare, "export", export)
