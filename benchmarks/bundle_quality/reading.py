"""Text in pictures: the share of characters misread on screens and scans.

The protocol was written before the first run. Screens have 1280 x 800 pixels, letters of 14 to 20
pixels, light and dark themes and no noise. Scans are A4 at 150 dpi with letters of 11 to 14 points,
turned by up to 1.5 degrees, blurred (sigma .5 to 1), unevenly lit, with noise (sigma 4 to 10),
through JPEG (quality 50 to 85); see `pages`. Needs Debian's fonts-dejavu, fonts-inter-variable and
fonts-noto-cjk.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.bundle_quality.pages import Kind, check_fonts, page
from benchmarks.bundle_quality.questions import read
from benchmarks.bundle_quality.report import Figure, Subject
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch
from encoder.services.reader import Reader, open_reader

ABOUT = """
Paragraphs of XQuAD (CC BY-SA 4.0) as screens and as scans, made with Pillow. The character error
rate of a page is its edit distance over its length, after NFKC and with runs of white space as one
blank (none in Chinese). A page that the quick test passes over counts as wrong whole. Paragraphs
with an even place were looked at while tuning; these have odd places.
"""
FONTS = Path("/usr/share/fonts")
_N_PAGES = 20
_PARAGRAPHS: dict[Kind, int] = {"screen": 2, "scan": 3}
_BARS = {"en": 0.02, "de": 0.02, "zh": 0.05}


def pages_of(language: str, kind: Kind) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """Pages with their texts."""
    paragraphs = read(language).paragraphs
    for seed in range(_N_PAGES):
        places = [2 * (seed + k) + 1 for k in range(_PARAGRAPHS[kind])]
        text = " ".join(paragraphs[place % len(paragraphs)] for place in places)
        yield page(kind, text, language, 1000 + seed, FONTS)


def error_rate(reader: Reader, picture: NDArray[np.uint8], written: str, language: str) -> float:
    """The character error rate of one page."""
    joint = "" if language == "zh" else " "
    found = "\n".join(line.text for line in reader.read(picture))
    wanted, got = (
        re.sub(r"\s+", joint, unicodedata.normalize("NFKC", text)).strip()
        for text in (written, found)
    )
    return edit_distance(wanted, got) / len(wanted)


def edit_distance(wanted: str, got: str) -> int:
    """Characters to insert, delete or replace (Levenshtein).

    >>> edit_distance("kitten", "sitting")
    3
    """
    places = np.arange(len(got) + 1)
    codes = np.array([ord(one) for one in got])
    row = places
    for at, one in enumerate(wanted, start=1):
        new = np.empty_like(row)
        new[0] = at
        new[1:] = np.minimum(row[1:] + 1, row[:-1] + (codes != ord(one)))
        row = np.minimum.accumulate(new - places) + places  # insertions
    return int(row[-1])


def measure() -> Iterator[Figure]:
    """Screens and scans in each language."""
    check_fonts(FONTS)
    reader = open_reader(fetch(read_bundle("multilingual")) / "ocr", n_threads=1)
    for language, bar in _BARS.items():
        for kind in _PARAGRAPHS:
            rates = [error_rate(reader, *one, language) for one in pages_of(language, kind)]
            what = f"{kind}s in {language}"
            yield Figure(what, "CER", np.array(rates), np.arange(len(rates)), bar)


SUBJECT = Subject("text in pictures", ABOUT, lambda: list(measure()))
