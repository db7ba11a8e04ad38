"""The text tower on the bundle's weights."""

from pathlib import Path

import numpy as np
import pytest

from encoder import MultiModalEncoder
from encoder.errors import ModelError
from encoder.towers import text


@pytest.fixture(scope="module")
def tower(bundle_home: Path) -> text.TextTower:
    return text.load(bundle_home / "text", n_threads=1)


def test_prepare_gives_marked_token_ids(tower: text.TextTower) -> None:
    ids = tower.prepare("A cat")

    assert ids.dtype == np.int64
    assert ids.tolist() == [101, 1037, 4937, 102]


def test_empty_text_has_a_vector(tower: text.TextTower) -> None:
    (row,) = tower.forward([tower.prepare("")]).rows

    assert np.isfinite(row).all()
    assert np.linalg.norm(row) == pytest.approx(1)


def test_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json is not a tokenizer.*models verify"):
        text.load_tokenizer(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("enable_dsre", [False, "auto"])
def test_a_vector_does_not_depend_on_neighbours(bundle_home: Path, enable_dsre: bool | str) -> None:
    assert bundle_home.is_dir()
    encoder = MultiModalEncoder(quantization="int8", enable_dsre=enable_dsre)
    words = "river mountain engine bread harvest violin storm galaxy lantern harbour market"
    texts = [f"{n} " + " ".join(words.split()[: 1 + n % 9]) for n in range(24)]
    texts += [f"{n} " + f"{words} " * (8 + n % 3) for n in range(6)]
    together = encoder.encode_multimodal(text=texts).text
    alone = [encoder.encode_multimodal(text=text).text for text in texts]
    assert together is not None
    cosines = [float(one @ other) for one, other in zip(together, alone, strict=True)]
    assert min(cosines) > 0.99999
