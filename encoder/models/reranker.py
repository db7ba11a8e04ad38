"""Score pairs of a question and a text with a cross-encoder (Nogueira and Cho 2019,
"Passage Re-ranking with BERT")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError, ModelError
from encoder.runtime.base import Session
from encoder.runtime.onnx import OnnxSession
from encoder.towers.text import load_tokenizer
from encoder.towers.tokens import ids_of

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

GRAPH, TOKENIZER = "model.onnx", "tokenizer.json"
_MAX_TOKENS = 512
_LEAST_TEXT_TOKENS = 64
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class CrossEncoder:
    """Reads a question and a text together. Safe to use from threads.

    ``session`` takes int64 [n, length] by the names ``inputs``, and gives one number for each pair.
    """

    def __init__(
        self,
        name: str,
        pairs: Tokenizer,
        questions: Tokenizer,
        session: Session,
        inputs: Sequence[str],
    ) -> None:
        self.name = name
        self._pairs, self._questions = pairs, questions
        self._session = session
        self._inputs = inputs

    def scores(
        self, question: str, texts: Sequence[str], check: Callable[[], None] = lambda: None
    ) -> NDArray[np.float32]:
        """How well each text answers a question, 0 to 1, float32 [n].

        A text beyond the network's window is read in windows, of which the best counts; one without
        words scores 0. ``check`` is called before each run of the network, and may raise.

        Raises:
            InputError: the question leaves no room for a text.
        """
        n_tokens = len(ids_of(self._questions, question))
        max_tokens = _MAX_TOKENS - _LEAST_TEXT_TOKENS
        if n_tokens > max_tokens:
            raise InputError("query", got=f"{n_tokens} tokens", wanted=f"{max_tokens} at most")
        scores = np.zeros(len(texts), np.float32)
        for index, text in enumerate(texts):
            if not text.strip():
                continue
            (whole,) = self._pairs.encode_batch([(question, text)])  # see `ids_of`
            for window in (whole, *whole.overflowing):
                check()
                scores[index] = max(scores[index], self._score(window))
        return scores

    def n_tokens(self, question: str, texts: Sequence[str]) -> int:
        """The tokens of the question, once for each text, and of the texts."""
        of_texts = sum(len(ids_of(self._questions, text)) for text in texts)
        return len(texts) * len(ids_of(self._questions, question)) + of_texts

    def _score(self, window: Encoding) -> float:
        """Score one window alone, since a batch's padding would show in the last digits."""
        values = {
            "input_ids": window.ids,
            "attention_mask": window.attention_mask,
            "token_type_ids": window.type_ids,
        }
        inputs = {name: np.asarray([values[name]], np.int64) for name in self._inputs}
        (logits, *_) = self._session.run(inputs)
        return float(1.0 / (1.0 + np.exp(-np.float64(logits.reshape(-1)[0]))))


def open_folder(name: str, folder: Path, n_threads: int | None = None) -> CrossEncoder:
    """The cross-encoder of a folder; raises a ModelError if a file is not what its name says."""
    import onnx

    graph = folder / GRAPH
    session = OnnxSession(graph, n_threads=n_threads)
    pairs, questions = (load_tokenizer(folder / TOKENIZER, max_tokens=None) for _ in range(2))
    pairs.enable_truncation(_MAX_TOKENS, stride=_LEAST_TEXT_TOKENS // 2, strategy="only_second")
    inputs = [value.name for value in onnx.load(graph, load_external_data=False).graph.input]
    if strange := set(inputs) - set(_INPUTS):
        raise ModelError(
            f"{graph} takes {', '.join(sorted(strange))}, unlike a cross-encoder.",
            remedy="Use a text classification model with one label.",
        )
    return CrossEncoder(name, pairs, questions, session, inputs)
