"""Sounds by their makers' descriptions, in three languages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.bundle_quality.questions import embed
from benchmarks.bundle_quality.report import Figure, Subject
from benchmarks.bundle_quality.sounds import Clips, rows_of
from benchmarks.bundle_quality.sources import FOLDER
from benchmarks.corpora import picture_sets
from benchmarks.harness.ranking_measures import first_ranks
from encoder.loading import load_model
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch
from encoder.towers.model import Model

LANGUAGES = {"en": "", "de": "de.utf8=", "zh": "zh_CN.utf8="}
"""What a line of a description begins with; the English one is the first."""
_SOUNDING = ("animals", "hobbies", "household", "naturalforces", "vehicles")
_AT = (1, 10)

ABOUT = """
Protocol, written before the first run.

- The stamps of Debian's tuxpaint-stamps-default (GPL-2) that have a sound, in its folders of what
  sounds by itself (animals, hobbies, household, natural forces, vehicles). Left out are numbers,
  food, flags, signs, feasts, space and military, where a sound is often a voice or a jingle.
- A stamp's description is its query: one sentence in English, German and Chinese, by the makers and
  their translators. Candidates are all these sounds; right is a sound whose stamp has the same
  English description. Many descriptions name a breed or a colour that nobody hears.
- Nobody here had listened to these sounds or measured anything on them. Pictures of the same
  stamps were an evaluation of pictures. Nothing is chosen by these figures.
"""


class Stamp(NamedTuple):
    """A sound, and its description in each of `LANGUAGES`; empty where there is none."""

    sound: Path
    descriptions: dict[str, str]


def stamps(folder: Path) -> list[Stamp]:
    """The stamps below a folder that have a sound and a description."""
    found = []
    for path in sorted(folder.rglob("*.ogg")):
        told = path.with_suffix(".txt")
        if told.exists() and set(_SOUNDING) & set(path.parts):
            lines = [line.strip() for line in told.read_text("utf-8").splitlines()]
            found.append(Stamp(path, {name: _line(lines, by) for name, by in LANGUAGES.items()}))
    return [stamp for stamp in found if stamp.descriptions["en"]]


def _line(lines: Sequence[str], begins: str) -> str:
    if not begins:
        return lines[0] if lines else ""
    return next((one.removeprefix(begins) for one in lines if one.startswith(begins)), "")


def figures(
    name: str, model: Model, found: Sequence[Stamp], languages: Sequence[str]
) -> Iterator[Figure]:
    """What a model finds."""
    rows = rows_of(model, Clips([stamp.sound for stamp in found], np.zeros(len(found), np.int64)))
    english = np.array([stamp.descriptions["en"] for stamp in found])
    for language in languages:
        asked = [place for place, one in enumerate(found) if one.descriptions[language]]
        texts = [found[place].descriptions[language] for place in asked]
        scores = embed(model, texts, asked=True) @ rows.T
        ranks = first_ranks(scores, english[asked][:, None] == english)
        for k in _AT:
            hits = (ranks < k).astype(np.float64)
            yield Figure(f"{name}: {language} → sound", f"R@{k}", hits, np.arange(len(asked)))


def measure() -> Iterator[Figure]:
    """Both bundles in int8."""
    picture_sets.stamps(FOLDER / "stamps")
    found = stamps(FOLDER / "stamps")
    for bundle in ("multilingual", "english"):
        fetch(read_bundle(bundle))
        model = load_model(f"bundle:{bundle}", quantization="int8")
        languages = list(LANGUAGES) if bundle == "multilingual" else ["en"]
        yield from figures(f"{bundle}, among {len(found)}", model, found, languages)


SUBJECT = Subject("sounds by their makers' words", ABOUT, lambda: list(measure()))
