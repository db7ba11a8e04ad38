"""The bundle's model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoder.calibration.tables import CalibrationTable
from encoder.errors import BundleError, ModelError
from encoder.loading import load_model
from encoder.models.bundle.declaration import IMAGE_LABELS, read_bundle
from encoder.models.bundle.model import load, names_of, space_of
from encoder.types import IMAGE, TEXT, Modality


@pytest.mark.slow
@pytest.mark.usefixtures("bundle_home")
def test_a_text_query_loads_no_other_model() -> None:
    code = """
import sys
from encoder.loading import load_model
tower = load_model("bundle:english", device="cpu").towers["text"]
tower.forward([tower.prepare("rain")])
print({"torch", "transformers", "PIL", "librosa", "faster_whisper", "av"} & set(sys.modules))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "set()"


@pytest.mark.usefixtures("bundle_home")
def test_fingerprint_follows_the_tables_not_the_calibration(tmp_path: Path) -> None:
    bundle = read_bundle("english")
    before = load(bundle).space.fingerprint
    table = Path(shutil.copy(IMAGE_LABELS, tmp_path))
    image = replace(bundle.parts["image"], tables={"labels": table})
    other = replace(
        bundle, calibration=CalibrationTable({}, {}), parts={**bundle.parts, "image": image}
    )
    assert load(other).space.fingerprint == before

    with table.open("ab") as file:
        file.write(b"!")
    assert load(other).space.fingerprint != before


def test_fingerprint_is_the_same_wherever_the_tables_lie(tmp_path: Path) -> None:
    bundle = read_bundle("english")
    moved = []
    for folders in (("a", "b"), ("b", "a")):
        parts = dict(bundle.parts)
        for name, folder in zip(("image", "audio"), folders, strict=True):
            place = tmp_path / folder / name
            place.mkdir(parents=True)
            tables = {
                use: Path(shutil.copy(table, place)) for use, table in parts[name].tables.items()
            }
            parts[name] = replace(parts[name], tables=tables)
        moved.append(space_of(replace(bundle, parts=parts), None, False).fingerprint)

    assert moved == [space_of(bundle, None, False).fingerprint] * 2


@pytest.mark.parametrize(
    ("name", "precision", "dense", "merged"),
    [
        ("english", "int8", "00798be2f916cd24", {"7cab0ef472047da8", "481643b8f4392a30"}),
        ("english", None, "501ec820819859f8", {"2ab6dddd868d0569"}),
        ("multilingual", "int8", "ef3d97ad48d71b57", {"5c17a449652dcdad"}),
        ("multilingual", None, "2e8fd8071420a964", {"edbcac6367e76af5"}),
    ],
)
def test_a_space_has_the_names_of_all_stores_made_with_it(
    name: str, precision: str | None, dense: str, merged: set[str]
) -> None:
    """With merged tokens, and windows that share an embedding, a space had another name."""
    spaces = [space_of(read_bundle(name), precision, wish) for wish in (False, True, "auto")]

    assert {space.fingerprint for space in spaces} == {dense}
    for space in spaces:
        assert {dense, *merged} <= space.names
        assert {space.among([other, "0" * 16]).fingerprint for other in merged} == merged
        assert space.among([*merged, dense]).fingerprint == dense
    assert names_of(dense) == names_of(min(merged)) == spaces[0].names


@pytest.mark.usefixtures("bundle_home")
@pytest.mark.parametrize("modality", [TEXT, IMAGE])
def test_vectors_are_the_same_in_one_thread_in_two_and_side_by_side(modality: Modality) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3, 50, 60, 3), np.uint8)
    contents = {
        TEXT: [
            "",
            "Ünïcödé 東京 🐈",
            "a boat in the red harbour",
            "a red boat in the harbour, " * 20,
        ],
        IMAGE: list(noise),
    }[modality]
    found = []
    for n_threads in (1, 2):
        tower = load_model("bundle:english", n_threads=n_threads, quantization="int8").towers
        prepared = [tower[modality].prepare(content) for content in contents]
        found.append(np.concatenate([tower[modality].forward([one]).rows for one in prepared]))
        found.append(tower[modality].forward(prepared).rows)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


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
