"""Sentences in several languages, and what is no sentence."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from ingest import language as detection
from ingest.language import language_of

GERMAN = "Die Kinder bauen eine Burg aus Sand, und der Hund schaut zu."


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


@pytest.fixture
def unread() -> Iterator[None]:
    """As in a new process."""
    detection._identifier.cache_clear()
    yield
    detection._identifier.cache_clear()


@pytest.mark.moderate
@pytest.mark.usefixtures("unread")
def test_the_package_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path))
    assert language_of(GERMAN) == "de"
    detection._identifier.cache_clear()
    monkeypatch.delattr("py3langid.langid.LanguageIdentifier.from_model_file")
    assert language_of(GERMAN) == "de"
    assert language_of("12:30 " * 40) == ""


@pytest.mark.moderate
@pytest.mark.usefixtures("unread")
def test_a_damaged_cache_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path))
    (tmp_path / "language" / version("py3langid")).mkdir(parents=True)
    (tmp_path / "language" / version("py3langid") / "nb_pc.npy").write_bytes(b"")
    assert language_of(GERMAN) == "de"


@pytest.mark.moderate
@pytest.mark.usefixtures("unread")
def test_a_cache_that_takes_nothing_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path / "file"))
    assert language_of(GERMAN) == "de"
