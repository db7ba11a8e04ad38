"""Text in pictures: the share of characters misread on screens and scans.

The protocol was written before the first run. Screens have 1280 x 800 pixels, letters of 14 to 20
pixels, light and dark themes and no noise. Scans are A4 at 150 dpi with letters of 11 to 14 points,
turned by up to 1.5 degrees, blurred (sigma .5 to 1), unevenly lit, with noise (sigma 4 to 10),
through JPEG (quality 50 to 85); see `pages`. Six more conditions are made of these: screens and
scans that slope by 5 degrees, to the left and to the right in turn; small screens (800 x 500
pixels) and coarse scans (100 dpi), both through JPEG (quality 60); scans on their side, a quarter
turn to the left and to the right in turn; and scans upside down. Needs Debian's fonts-dejavu,
fonts-inter-variable and fonts-noto-cjk.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.bundle_quality.questions import read
from benchmarks.bundle_quality.report import Figure, write
from benchmarks.bundle_quality.speech import edits
from benchmarks.corpora.pages import FONTS_FOLDER, Kind, check_fonts, page
from benchmarks.harness.reporting import Settings
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch
from encoder.services.reader import Reader, open_reader

ABOUT = """
Paragraphs of XQuAD (CC BY-SA 4.0) as screens and as scans, made with Pillow. The character error
rate of a page is its edit distance over its length, after NFKC and with runs of white space as one
blank (none in Chinese). A page that the quick test passes over counts as wrong whole. Paragraphs
with an even place were looked at while tuning; these have odd places.
"""
_N_PAGES = 20
_PARAGRAPHS: dict[Kind, int] = {"screen": 2, "scan": 3}

CONDITIONS: dict[str, tuple[Kind, float, int]] = {
    "screens": ("screen", 1.0, 0),
    "small screens": ("screen", 0.625, 0),
    "screens that slope": ("screen", 1.0, 5),
    "scans": ("scan", 1.0, 0),
    "coarse scans": ("scan", 2 / 3, 0),
    "scans that slope": ("scan", 1.0, 5),
    "scans on their side": ("scan", 1.0, 90),
    "scans upside down": ("scan", 1.0, 180),
}
"""Which kind the pages are, by how much they are reduced, and by how many degrees turned."""

_BARS = {"en": 0.02, "de": 0.02, "zh": 0.05}
_QUALITY = 60
_SEEN = {"zh": "errors on two pages were"}


def pages_of(language: str, condition: str) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """Pages with their texts."""
    kind, share, degrees = CONDITIONS[condition]
    paragraphs = read(language).paragraphs
    for seed in range(_N_PAGES):
        places = [2 * (seed + k) + 1 for k in range(_PARAGRAPHS[kind])]
        text = " ".join(paragraphs[place % len(paragraphs)] for place in places)
        picture, written = page(kind, text, language, 1000 + seed, FONTS_FOLDER)
        image = Image.fromarray(picture)
        if share < 1:
            image = _reduced(image, share)
        if degrees:
            image = _turned(image, degrees if seed % 2 else -degrees)
        yield np.asarray(image), written


def _reduced(image: Image.Image, share: float) -> Image.Image:
    size = round(image.width * share), round(image.height * share)
    file = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(file, "JPEG", quality=_QUALITY)
    return Image.open(file).convert("RGB")


def _turned(image: Image.Image, degrees: int) -> Image.Image:
    paper = tuple(np.asarray(image)[3, 3].tolist())
    return image.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=paper)


def error_rate(reader: Reader, picture: NDArray[np.uint8], written: str, language: str) -> float:
    """The character error rate of one page."""
    joint = "" if language == "zh" else " "
    found = "\n".join(line.text for line in reader.read(picture))
    wanted, got = (
        re.sub(r"\s+", joint, unicodedata.normalize("NFKC", text)).strip()
        for text in (written, found)
    )
    return edits(wanted, got) / len(wanted)


def measure() -> Iterator[Figure]:
    """Each condition in each language."""
    check_fonts(FONTS_FOLDER)
    reader = open_reader(fetch(read_bundle("multilingual")) / "ocr", n_threads=1)
    for language, bar in _BARS.items():
        for condition in CONDITIONS:
            rates = [error_rate(reader, *one, language) for one in pages_of(language, condition)]
            what = f"{condition} in {language}"
            places = np.arange(len(rates))
            yield Figure(what, "CER", np.array(rates), places, bar, _SEEN.get(language, ""))


def main(settings: Settings) -> None:
    """Measure, and report."""
    write(settings, "text in pictures", ABOUT, measure())
