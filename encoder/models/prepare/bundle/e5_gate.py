"""multilingual-e5-small, to fit a gate to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from encoder.models.prepare.break_even import GateSubject
from encoder.models.prepare.bundle.gate import bundle_runs
from encoder.models.sources.bundle.kinds.e5 import PIECES, prompt_of
from encoder.networks.bert import load_sentence_bert
from encoder.towers.text.sentence_pieces import SentencePieces
from encoder.types import DOCUMENT


def open_subject(folder: Path, max_tokens: int) -> GateSubject:
    """The network in its part's folder, as ``gate_subject`` of its kind.

    Args:
        folder: its part.
        max_tokens: where texts are cut, the prompt of documents included.
    """
    tokenizer, prompt = SentencePieces(folder / PIECES), prompt_of(DOCUMENT)

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        every = (tokenizer.encode(prompt + text).ids for text in texts)
        return [
            [*ids[: max_tokens - 1], ids[-1]] if len(ids) > max_tokens else ids for ids in every
        ]

    runs = partial(bundle_runs, folder)
    return GateSubject(load_sentence_bert(folder), tokenize, tokenizer.pieces, runs)
