"""The bundle's towers as networks, and their calibration data."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from encoder.errors import InputError, ModelError
from encoder.prepare.bundle.networks import load_network
from encoder.prepare.calibration_files import evenly, files, paragraphs, texts

pytestmark = pytest.mark.usefixtures("bundle_home")


@pytest.mark.parametrize("tower", ["text", "image", "audio"])
def test_each_tower_runs_on_its_example(tower: str) -> None:
    network = load_network("bundle:english", tower)
    with torch.inference_mode():
        output = network.module(**network.example)
    first = output[0] if isinstance(output, tuple) else output
    assert first.shape[0] == 2
    assert torch.isfinite(first).all()
    assert set(network.dynamic_axes) == set(network.example)


def test_text_brings_its_own_data() -> None:
    batches = load_network("bundle:english", "text").read(None, 256)
    lengths = [batch["input_ids"].shape[1] for batch in batches]
    assert sum(len(batch["mask"]) for batch in batches) == 256
    assert max(lengths[:8]) > 30 > min(lengths[:8])  # any first few batches are a sample


def test_pictures_are_read_as_the_tower_reads_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / f"{i}.png")
    (batch,) = load_network("bundle:english", "image").read(tmp_path, 9)
    assert batch["pixels"].shape == (3, 3, 260, 260)
    assert batch["pixels"].abs().max() <= 1


def test_media_towers_say_what_they_need(tmp_path: Path) -> None:
    for tower, what in (("image", "pictures"), ("audio", "sounds")):
        read = load_network("bundle:english", tower).read
        with pytest.raises(InputError, match=f"Expected a folder with {what}"):
            read(None, 9)
        with pytest.raises(InputError, match="which holds none"):
            read(tmp_path, 9)


def test_other_towers_and_models_are_refused() -> None:
    with pytest.raises(InputError, match="Expected text, image, audio"):
        load_network("bundle:english", "video")
    with pytest.raises(ModelError, match=r"pass it to encoder\.Quantizer"):
        load_network("hf:org/model", "text")


def test_texts_come_from_a_file_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Too short\n\nA paragraph that says something.\n")
    (tmp_path / "b.md").write_text("Another one, which goes\non over two lines.\n")
    (tmp_path / "c.bin").write_text("This paragraph is in a file of another kind.")
    both = ["A paragraph that says something.", "Another one, which goes on over two lines."]
    assert texts(tmp_path, 9) == both
    assert texts(tmp_path / "a.txt", 9) == both[:1]
    assert texts(tmp_path, 1) == both[:1]
    (tmp_path / "a.txt").write_text("short")
    with pytest.raises(InputError, match="no text in"):
        texts(tmp_path / "a.txt", 9)


def test_a_draw_is_spread_over_all() -> None:
    assert evenly(range(100), 4) == [0, 25, 50, 75]
    assert evenly("ab", 4) == ["a", "b"]
    assert list(paragraphs("\n\n \n\n")) == []
    with pytest.raises(InputError, match="got nothing"):
        files(None, {".x"}, "things", 9)
