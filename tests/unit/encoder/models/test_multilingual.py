"""The bundle of many languages: what is declared, and that its parts meet in one space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.models.bundle.declaration import bundle_names, read_bundle
from encoder.models.bundle.kinds import kind_named
from encoder.models.bundle.model import space_of
from encoder.types import AUDIO, IMAGE, TEXT, Item, Waveform
from examples import sounds

RAIN = ["the sound of rain", "Regen auf dem Dach", "下雨的声音"]
BELL = ["a church bell", "eine Kirchenglocke", "教堂的钟声"]


@pytest.fixture(scope="module")
def encoder(multilingual_home: Path) -> MultiModalEncoder:
    assert multilingual_home.is_dir()
    config = EncoderConfig(n_threads=1)
    return MultiModalEncoder("bundle:multilingual", quantization="int8", config=config)


@pytest.mark.parametrize("name", bundle_names())
def test_all_that_a_bundle_names_is_there(name: str) -> None:
    declared = read_bundle(name)
    assert declared.size_bytes <= 350e6
    assert set(declared.calibration.constants) == {TEXT, IMAGE, AUDIO}
    assert set(declared.calibration.floors) == {TEXT, IMAGE, AUDIO}
    for part in declared.parts.values():
        assert kind_named(part.kind).open
        assert all(path.is_file() for path in (*part.tables.values(), *part.gates.values()))
        assert all(len(wheel.sha256) == 64 and wheel.members for wheel in part.wheels)


def test_reading_pictures_is_no_part_of_the_space() -> None:
    identity = space_of(read_bundle("multilingual"), "int8", "auto").identity
    assert {"text", "image", "audio", "speech", "tables"} <= identity.keys()
    assert "ocr" not in identity


def test_a_text_is_above_the_floor_for_what_it_says_and_below_for_letters(
    encoder: MultiModalEncoder,
) -> None:
    space, floor = encoder.space, encoder.space.floors[TEXT]
    row = encoder.encode_multimodal(text="The ferry to the island leaves at nine.").text
    texts = ["when does the boat to the island leave?", "qwpzt hgkrx vbnmm"]
    queries = encoder.encode_multimodal(text=texts, role="query").text
    asked, levels = space.asked(queries)
    meant, letters = space.calibration[TEXT].apply(asked @ row, levels)
    assert letters < floor.among(1, queries[1])
    assert meant > floor.among(1, queries[0])


def test_a_question_finds_its_answer_in_another_language(encoder: MultiModalEncoder) -> None:
    told = [
        "The ferry to the island leaves at nine in the morning.",
        "On Sundays the bakery sells nothing but rolls.",
        "The bridge was destroyed by the flood of 1923.",
    ]
    asked = ["什么时候有船去岛上？", "Was gibt es sonntags beim Bäcker?", "桥是什么时候被毁的？"]
    rows = encoder.encode_multimodal(text=told).text
    queries = encoder.encode_multimodal(text=asked, role="query").text
    assert (queries @ rows.T).argmax(axis=1).tolist() == [0, 1, 2]


def test_a_sound_is_called_by_its_name_in_three_languages(encoder: MultiModalEncoder) -> None:
    drawn = (sounds.rain(), sounds.church_bell())
    heard = [Waveform(samples, sounds.RATE) for samples in drawn]
    rows = encoder.encode_multimodal(audio=heard).audio
    for rain, bell in zip(RAIN, BELL, strict=True):
        queries = encoder.encode_multimodal(text=[rain, bell], role="query").text
        assert (rows @ queries.T).argmax(axis=1).tolist() == [0, 1]


def test_a_picture_has_a_row_for_sentences_and_one_for_names(encoder: MultiModalEncoder) -> None:
    picture = np.full((64, 64, 3), 128, np.uint8)
    (rows,) = encoder.encode_rows([Item(IMAGE, picture)])
    assert rows.shape == (2, 384)
    assert len(encoder.space.calibration[IMAGE].further) == 1
