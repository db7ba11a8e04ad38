"""How long a segment of text should be: what questions find, what people read, what it costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.bundle_quality.questions import articles, embed
from benchmarks.harness.reporting import Settings, note, report
from benchmarks.harness.results_pages import table
from encoder.loading import load_model
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch
from ingest.config import IngestConfig
from ingest.split import split_text

_LANGUAGES = ("en", "zh", "hi")
_LENGTHS = (800, 1600)
_SHOWN = 10
_INTRO = """Half of XQuAD's 48 articles are pages of five paragraphs, cut into segments as an ingest
does. Every third question asks, by the cosine alone, in int8 with the gate. A passage is right if
it holds the answer where the annotators marked it; a page counts by its best segment. Read: the
characters of the segments shown up to the answer, of at most ten. Seconds of the processor are
those of the segments, on one thread."""


class Asked(NamedTuple):
    """A question, its page, and where the answer stands in it."""

    question: str
    page: int
    start: int
    end: int


def windows(settings: Settings) -> None:
    """Segments of 800 and of 1,600 characters."""
    fetch(read_bundle("multilingual"))
    rows = [row for language in _LANGUAGES for row in _of_language(settings, language)]
    headings = (
        "language", "characters", "segments", "passage @1", "@5", "page @1", "read", "CPU-s",
    )  # fmt: skip
    report(settings, "Length of segments", _INTRO, table(headings, rows))


def _of_language(settings: Settings, language: str) -> Iterator[tuple[object, ...]]:
    gated, dense = (
        load_model("bundle:multilingual", quantization="int8", n_threads=1, enable_dsre=wish)
        for wish in (True, False)
    )
    pages, every = list[str](), list[Asked]()
    for number, article in enumerate(articles(language)[: settings.items(24, 6)]):
        pages.append("")
        for block in article["paragraphs"]:
            for one in block["qas"]:
                answer = one["answers"][0]
                start = len(pages[-1]) + answer["answer_start"]
                end = start + len(answer["text"])
                every.append(Asked(one["question"], number, start, end))
            pages[-1] += block["context"] + "\n\n"
    asked = every[::3]
    queries = embed(dense, [one.question for one in asked], asked=True)
    for length in _LENGTHS:
        note(f"{language}, {length} characters")
        overlap = IngestConfig(text_window_chars=length).text_overlap_chars
        spans = [
            (page, *span)
            for page, text in enumerate(pages)
            for span in split_text(text, length, overlap)
        ]
        began = time.process_time()
        texts = [pages[page][start:end] for page, start, end in spans]
        rows = embed(gated, texts, asked=False, at_once=16)
        spent = time.process_time() - began
        order = np.argsort(-(queries @ rows.T), axis=1)[:, :_SHOWN]
        shown = [[spans[i] for i in best] for best in order]
        places = [_place(*each) for each in zip(asked, shown, strict=True)]
        read = [
            sum(end - start for _, start, end in some[: place + 1])
            for some, place in zip(shown, places, strict=True)
        ]
        page = np.mean([some[0][0] == one.page for some, one in zip(shown, asked, strict=True)])
        found = (f"{np.mean(np.array(places) < n):.3f}" for n in (1, 5))
        yield (
            language, length, len(spans), *found, f"{page:.3f}", f"{np.mean(read):.0f}",
            f"{spent:.1f}",
        )  # fmt: skip


def _place(one: Asked, shown: Sequence[tuple[int, int, int]]) -> int:
    """Where the first segment stands that holds the answer; ten if none does."""
    holds = [
        page == one.page and start <= one.start and one.end <= end for page, start, end in shown
    ]
    return holds.index(True) if True in holds else _SHOWN
