"""Sentences in several languages, and what is no sentence."""

from __future__ import annotations

import pytest

from ingest.language import language_of


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "The children are building a castle out of sand on the beach."),
        ("de", "Die Kinder bauen eine Burg aus Sand, und der Hund schaut zu."),
        ("fr", "Les enfants construisent un château de sable sur la plage."),
        ("es", "Los niños construyen un castillo de arena y el perro los mira."),
        ("it", "I bambini costruiscono un castello di sabbia sulla spiaggia."),
        ("pt", "As crianças constroem um castelo de areia na praia."),
        ("pl", "Dzieci budują zamek z piasku na plaży."),
        ("ru", "Поезд отправляется в девять часов утра."),
        ("tr", "Çocuklar sahilde kumdan kale yapıyor."),
        ("ja", "子供たちは砂浜で城を作っています。"),
    ],
)
def test_a_sentence_is_enough(language: str, text: str) -> None:
    assert language_of(text) == language
    assert language_of(text * 500) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "Foxes run.",
        "2024-01-01 12:30 14:45 " * 20,
        "import os\nfor x in range(10):\n    print(x)\n",
        "xq zzt kkkj fwm qpl " * 4,
    ],
)
def test_nothing_is_guessed(text: str) -> None:
    assert language_of(text) == ""
