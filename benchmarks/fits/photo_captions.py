"""Photographs that people described in English, German and Chinese; fetched, never committed.

Protocol, written before the first run. The sentences are xFlickrCO's (Bugliarello et al. 2022): one
per language for each of 1,000 photographs of COCO's test split, written by people who saw the
photograph (German, Chinese), or one of COCO's own (English). The queries ask for the photographs
whose files `captioned_pictures` has: those with COCO's number, and those whose only caption is the
English sentence, if neither list has that sentence twice. They are the candidates, too. Each
sentence is encoded as a query; a photograph has as many rows as the model gives it, of which the
best counts. The report has R@1, R@5 and R@10 by language, and twice the standard error.

No picture head is fitted on these photographs, nor on any that share a caption with them
(`held_back`). The head's settings were chosen on other photographs, in English
(benchmarks/picture_head.md).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fits.captioned_pictures import IGLUE, Captioned

LANGUAGES = ("en", "de", "zh")
FURTHER = ("es", "id", "ja", "ru", "tr")
_ANNOTATIONS = "datasets/xFlickrCO/annotations"
_COCO = "COCO_"


@dataclass(frozen=True)
class Asked:
    """A photograph, and a sentence about it for each of `LANGUAGES`."""

    picture: Captioned
    sentences: tuple[str, ...]


def asked(pictures: Sequence[Captioned]) -> list[Asked]:
    """The photographs among all that are asked for."""
    described = _described()
    numbered = {picture.name: picture for picture in pictures}
    singles = [picture for picture in pictures if len(picture.captions) == 1]
    by_caption = {bare(picture.captions[0]): picture for picture in singles}
    twice = _twice(bare(picture.captions[0]) for picture in singles)
    twice |= _twice(bare(sentences[0]) for sentences in described.values())
    found = []
    for number, sentences in described.items():
        english = bare(sentences[0])
        picture = numbered.get(number) or (
            by_caption.get(english) if english not in twice else None
        )
        if picture:
            found.append(Asked(picture, sentences))
    return found


def held_back(pictures: Sequence[Captioned]) -> set[str]:
    """The names of photographs that no head may be fitted on."""
    tests = asked(pictures)
    said = {bare(one) for test in tests for one in (*test.picture.captions, test.sentences[0])}
    same = {picture.name for picture in pictures if said & {*map(bare, picture.captions)}}
    return same | {test.picture.name for test in tests}


def not_asked(pictures: Sequence[Captioned]) -> list[tuple[str, ...]]:
    """Sentences about the other photographs, in `LANGUAGES` and `FURTHER`."""
    tests = {test.sentences for test in asked(pictures)}
    described = _described(LANGUAGES + FURTHER)
    return [said for said in described.values() if said[: len(LANGUAGES)] not in tests]


def _described(languages: Sequence[str] = LANGUAGES) -> dict[str, tuple[str, ...]]:
    """One sentence per language, by COCO's number."""
    places = [IGLUE.files() / _ANNOTATIONS / language / "test.jsonl" for language in languages]
    sentences = [_sentences(path) for path in places]
    return {number: tuple(of[number] for of in sentences) for number in sentences[0]}


def _sentences(path: Path) -> dict[str, str]:
    found = {}
    for line in path.read_text("utf-8").splitlines():
        one = json.loads(line)
        if one["img_path"].startswith(_COCO):
            found[str(int(Path(one["img_path"]).stem.rpartition("_")[2]))] = one["sentences"][0]
    return found


def bare(sentence: str) -> str:
    """The words of a sentence alone.

    >>> bare("Two dogs, playing.")
    'two dogs playing'
    """
    return " ".join(re.findall(r"\w+", sentence.lower()))


def _twice(sentences: Iterable[str]) -> set[str]:
    return {sentence for sentence, count in Counter(sentences).items() if count > 1}
