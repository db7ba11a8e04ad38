"""Questions made up from the files themselves, where nobody has written any.

They share words with their answers, so they are easier than what people ask: good for comparing
models, but no measure of what people find.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from encoder.errors import MediaError
from encoder.types import TEXT
from ingest import identify, segments
from workers.evaluation.questions import Content, Question, QuestionSet

if TYPE_CHECKING:
    from ingest.config import IngestConfig

_WORDS = 6
_LEAST_WORDS = 2


def synthetic(files: Sequence[Path], config: IngestConfig) -> QuestionSet:
    """For each text its six rarest words, in their order; for another file the words of its name.

    Files without such words are only candidates.
    """
    texts = {file: text for file in files if (text := _text(file, config))}
    found_in = Counter(word for text in texts.values() for word in set(_words(text)))
    questions = []
    for file in files:
        query_text = _keywords(texts[file], found_in, len(texts)) if file in texts else _name(file)
        if len(query_text.split()) >= _LEAST_WORDS:
            questions.append(Question(Content(text=query_text), {Content(file=file): 1.0}))
    return QuestionSet("synthetic", questions, [Content(file=file) for file in files])


def _text(file: Path, config: IngestConfig) -> str:
    """The first segment of a text; empty for other kinds and for files that cannot be read."""
    try:
        asset = identify(file.resolve(), config)
        if asset.modality != TEXT:
            return ""
        first = next(iter(segments(asset, config)), None)
    except MediaError:
        return ""
    return first.content if first and isinstance(first.content, str) else ""


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[^\W\d_]+", text.lower()) if len(word) > 3]


def _keywords(text: str, found_in: Mapping[str, int], n_texts: int) -> str:
    words = list(dict.fromkeys(_words(text)))
    rarity = {word: math.log((1 + n_texts) / found_in[word]) for word in words}
    keywords = set(sorted(words, key=lambda word: -rarity[word])[:_WORDS])
    return " ".join(word for word in words if word in keywords)


def _name(file: Path) -> str:
    return " ".join(re.findall(r"[^\W\d_]{2,}", file.stem))
