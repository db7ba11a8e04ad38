"""What needs an extra says which."""

from __future__ import annotations

import pickle
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import encoder
from encoder.errors import MissingExtraError, ModelError
from encoder.models.hub import open_joint
from encoder.prepare.bundle.networks import load_network
from encoder.prepare.gates.fit import calibrate_text
from encoder.prepare.quantized_tower import quantize_tower
from encoder.quant.report import SensitivityReport
from encoder.runtime.openvino import OpenVinoSession
from encoder.system import extras
from encoder.system.extras import is_installed

ROOT = Path(__file__).parents[3]
HERE = Path("here")
APART = {"all", "azure", "gcs", "sftp"}
"""Not part of `all`: clouds that few use, and a library under the LGPL."""
NEEDS: dict[str, tuple[str, Callable[[], object]]] = {
    "Quantizer": ("torch", lambda: encoder.Quantizer),
    "network": ("torch", lambda: load_network("bundle:english", "text")),
    "quantize": ("torch", lambda: quantize_tower("bundle:english", "text", HERE)),
    "gate": ("torch", lambda: calibrate_text("bundle:english", [])),
    "hub": ("hub,torch", lambda: open_joint("org/name", None, None)),
    "openvino": ("openvino", lambda: OpenVinoSession(HERE)),
    "plot": ("plot", lambda: SensitivityReport((), "kl", 1, 1).plot(HERE)),
}


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda _: False)


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("name", NEEDS)
def test_what_needs_an_extra_names_it(name: str) -> None:
    extra, use = NEEDS[name]
    with pytest.raises(MissingExtraError) as caught:
        use()
    assert str(caught.value).endswith(f"pip install 'anymodal[{extra}]'")


def test_every_extra_that_is_named_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = project["optional-dependencies"]
    for module, extra in extras._EXTRAS.items():
        assert any(one.replace("-", "_").startswith(module) for one in asked[extra]), module
    assert set(asked["all"][0].removeprefix("anymodal[")[:-1].split(",")) == asked.keys() - APART


def test_a_module_that_is_not_there_is_not_installed() -> None:
    assert is_installed("numpy")
    assert not is_installed("no_such_module")
    assert not is_installed("no_such_module.part")


def test_the_error_crosses_processes() -> None:
    error = MissingExtraError("A test", ["torch"], "pip install 'anymodal[torch]'")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.modules) == (str(error), ("torch",))
    assert isinstance(error, ModelError)
