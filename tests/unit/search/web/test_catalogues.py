"""Each language of the page has every text of it, and no other."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest

from encoder.types import AUDIO, IMAGE, TEXT, VIDEO
from ingest.kinds.registry import OURS, label_of
from search.api.schemas import JobOut
from search.likelihood import likelihood

WEB = Path(__file__).parents[4] / "search/web"
CATALOGUES = {path.stem: json.loads(path.read_text()) for path in (WEB / "i18n").glob("*.json")}
ATTRIBUTES = ("placeholder", "aria-label", "title")
STRING = r'"((?:[^"\\]|\\.)*)"'
STAGES = (
    "queue decode plan understand encode search lexical names filter fuse fetch judge explain"
    " serialize other network text image audio video asset mixed"
)
PLACES = "page slide sheet line"


class Texts(HTMLParser):
    """The texts of a document, and what its attributes say; not what has its own `lang`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("noscript", "title") or (tag == "option" and "lang" in dict(attributes)):
            self._inside.append(tag)
        self._take(*(value or "" for name, value in attributes if name in ATTRIBUTES))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            self._inside.remove(tag)

    def handle_data(self, data: str) -> None:
        self._take(" ".join(data.split()))

    def _take(self, *texts: str) -> None:
        if not self._inside:
            self.found |= {
                text for text in texts if re.search("[a-z]", text) and text != "anymodal"
            }


def written() -> set[str]:
    """What the page's code and document say in English; for counts, the plural form."""
    document = Texts()
    document.feed((WEB / "index.html").read_text())
    found = document.found
    for module in (WEB / "js").glob("*.js"):
        code = module.read_text()
        found |= set(re.findall(rf"\bt\(\s*{STRING}", code))
        found |= {many for _, many in re.findall(rf'\btn\([^"]*{STRING},\s*{STRING}', code)}
    return found


def named() -> set[str]:
    """Words that come from the server: stages, states, places, kinds to filter by."""
    states = get_args(JobOut.model_fields["state"].annotation)
    media = (TEXT, IMAGE, AUDIO, VIDEO)
    shown = {name for kind in OURS if kind.name in media for name in label_of(kind)}
    return {*states, *STAGES.split(), *PLACES.split(), "light", "dark"} | shown


@pytest.mark.parametrize("language", CATALOGUES)
def test_a_catalogue_has_what_the_page_says(language: str) -> None:
    said = written()
    assert len(said) > 150
    labels = {label_of(kind)[0] for kind in OURS}  # most are names of formats
    assert set(CATALOGUES[language]) - labels == (said | named()) - labels
    assert {label for label in labels if label[0].islower()} <= set(CATALOGUES[language])


def values(text: str) -> list[str]:
    """The names of the values in a text."""
    return sorted(re.findall(r"\{\w+\}", text))


@pytest.mark.parametrize("language", CATALOGUES)
def test_a_translation_keeps_its_values(language: str) -> None:
    for text, translation in CATALOGUES[language].items():
        forms = translation.values() if isinstance(translation, dict) else [translation]
        for form in forms:
            assert values(form) == values(text), form
            assert form.strip() == form != ""


def test_the_page_uses_the_words_of_the_command_for_a_likelihood() -> None:
    code = (WEB / "js/format.js").read_text()
    limits = re.search(r"\[VERY_LIKELY, LIKELY, POSSIBLE\] = (\[.+\])", code)
    assert limits is not None
    words = [likelihood(limit, weak=True) for limit in json.loads(limits[1])]
    assert words == ["very likely", "likely", "possible"]
    below = [likelihood(limit - 0.01, weak=True) for limit in json.loads(limits[1])]
    assert below == ["likely", "possible", "unlikely"]
    assert {*words, *below} <= written()


def test_the_page_offers_its_catalogues() -> None:
    document = (WEB / "index.html").read_text()
    offered = re.search('data-languages="([^"]+)"', document)
    assert offered is not None
    assert sorted(offered[1].split()) == sorted([*CATALOGUES, "en"])
    assert re.findall('<option value="(..)" lang="(..)">', document) == [
        (code, code) for code in offered[1].split()
    ]
