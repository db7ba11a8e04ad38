"""Names of models."""

from pathlib import Path

import pytest

from encoder.errors import BundleError, ModelError
from encoder.loading import load_model


@pytest.mark.parametrize("spec", ["", "smell", "hf:", "dir:", "bundle:", "http://x"])
def test_unknown_kind_lists_the_known(spec: str) -> None:
    with pytest.raises(ModelError, match=r"bundle:default, hf:org/name") as caught:
        load_model(spec)

    assert repr(spec) in caught.value.problem


def test_an_unknown_bundle_lists_the_known() -> None:
    with pytest.raises(ModelError, match=r"no bundle:other.*bundle:default, bundle:english"):
        load_model("bundle:other")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere does not exist"):
        load_model(f"dir:{tmp_path / 'nowhere'}")


def test_bundle_refuses_another_device() -> None:
    with pytest.raises(ModelError, match="device='cuda'"):
        load_model("bundle:english", device="cuda")


def test_bundle_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_HOME", str(tmp_path))

    with pytest.raises(BundleError, match="anymodal bundle fetch"):
        load_model("bundle:english")
