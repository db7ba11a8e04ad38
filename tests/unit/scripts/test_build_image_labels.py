"""The table of image labels and the script that builds it."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.build_image_labels import (
    TABLE,
    Nouns,
    label_embeddings,
    parse_synset,
    read_descriptions,
    read_offsets,
    sentences,
)

ROOT = "00000000 03 n 01 thing 0 000 | whatever there is  "
FISH = "00000051 05 n 02 fish 0 finned_animal 0 002 @ 00000000 n 0000 ~ 00000000 n 0000 | it swims"
DATA = f"{ROOT}\n{FISH}\n".encode()


@pytest.fixture(scope="module")
def table() -> dict[str, np.ndarray]:
    with np.load(TABLE, allow_pickle=False) as archive:
        return dict(archive)


def test_table_holds_a_unit_row_for_each_class(table: dict[str, np.ndarray]) -> None:
    rows = table["embeddings"]
    assert rows.dtype == np.float16
    assert rows.shape == (1000, 384)
    assert np.linalg.norm(rows.astype(np.float32), axis=1) == pytest.approx(1, abs=2e-3)


def test_table_is_in_the_order_of_imagenet(table: dict[str, np.ndarray]) -> None:
    names = table["names"]
    assert len(names) == len(read_offsets()) == 1000
    assert [names[i] for i in (0, 207, 283, 999)] == [
        "tench",
        "golden retriever",
        "Persian cat",
        "toilet tissue",
    ]


def test_like_classes_lie_nearer_than_unlike(table: dict[str, np.ndarray]) -> None:
    rows = table["embeddings"].astype(np.float32)
    golden, labrador, teapot = (rows[i] for i in (207, 208, 849))
    assert golden @ labrador > golden @ teapot + 0.3


def test_synset_is_parsed() -> None:
    synset = parse_synset(FISH)
    assert synset.lemmas == ("fish", "finned animal")
    assert synset.hypernyms == (0,)
    assert synset.gloss == "it swims"


def test_sentences_name_define_classify_and_describe() -> None:
    assert sentences(Nouns(DATA), 51, "wet animal") == [
        "fish",
        "it swims",
        "fish, a kind of thing",
        "wet animal",
        "fish: wet animal",
    ]


def test_each_class_is_described_in_a_line() -> None:
    descriptions = read_descriptions()
    assert len(descriptions) == 1000
    assert all(10 < len(line) < 100 for line in descriptions)


def test_wrong_offset_is_refused() -> None:
    with pytest.raises(LookupError, match=r"WordNet 3\.0"):
        Nouns(DATA)[7]


def test_row_is_the_normalized_sum() -> None:
    vectors = {"a": [1.0, 0.0], "b": [0.0, 1.0]}
    rows = label_embeddings(
        lambda texts: np.array([vectors[text] for text in texts], np.float32), [["a", "b"], ["b"]]
    )
    assert rows == pytest.approx(np.array([[0.5**0.5, 0.5**0.5], [0, 1]]), abs=1e-3)
