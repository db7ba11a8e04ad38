"""Text in a hundred languages, by multilingual-e5-small (Wang et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoder.models.artifacts.locations import machine_cache
from encoder.models.precision import Network, Precision
from encoder.models.sources.bundle.kinds.base import Kind, Opening
from encoder.models.sources.bundle.networks import files_of
from encoder.models.sources.prompts import Prompts
from encoder.towers.text.sentence_pieces import SentencePieces
from encoder.towers.text.sparse import SparseTextTower
from encoder.towers.text.tower import TextTower, inputs_of
from encoder.towers.text.windowed import RoleTextTower, WindowedTextTower
from encoder.types import DOCUMENT, QUERY, TEXT, Role

if TYPE_CHECKING:
    from encoder.models.sparsity import Sparsity
    from encoder.runtime.trial import Inputs

MAX_TOKENS = 512
"""Of a window, with special tokens and prompt: as many positions as the network knows."""

TOKENIZER, PIECES = "tokenizer.json", "tokens.model"
"""The official tokenizer, and the same for SentencePiece."""

_PROMPTS = Prompts({}, name="intfloat/multilingual-e5-small")
_INT8_RECIPE = 1
_ONE_THREAD_TOKENS = 96
_EXAMPLES = (12, 128)


def open_e5(
    folder: Path,
    *,
    precision: Precision | None = None,
    n_threads: int | None = None,
    sparsity: Sparsity | None = None,
) -> RoleTextTower:
    """Open the part in ``folder``, which `encoder.models.prepare.bundle.e5.prepare_e5` made ready.

    Args:
        folder: the part's folder.
        precision: float32 by default.
        n_threads: threads of one run; None for every core.
        sparsity: the gate for documents; queries run dense, since gates are judged with documents.

    Raises:
        ModelError: a file is missing or cannot be run.
    """
    precision = precision or Precision()
    tokenizer = SentencePieces(folder / PIECES, machine_cache() / "pieces")
    session = precision.open(network(folder), n_threads)
    dense = TextTower(tokenizer, session)
    query = WindowedTextTower(
        tokenizer, dense, max_tokens=MAX_TOKENS, prompt=_PROMPTS.of(TEXT, QUERY)
    )
    inner, gate = dense, None
    if sparsity is not None:
        sparse = sparsity.network(folder, precision, n_threads)
        inner = SparseTextTower(tokenizer, session, sparse)
        gate = sparsity.chunk_gate(folder)
    prompt = _PROMPTS.of(TEXT, DOCUMENT)
    return RoleTextTower(tokenizer, inner, gate, max_tokens=MAX_TOKENS, prompt=prompt, query=query)


def network(folder: Path) -> Network:
    """Its files; they use ONNX Runtime's own operators, which OpenVINO computes differently."""
    return Network(
        "text",
        **files_of(folder),
        examples=partial(_examples, folder),
        side_by_side=True,
        one_thread_tokens=_ONE_THREAD_TOKENS,
    )


def _open(opening: Opening) -> RoleTextTower:
    return open_e5(
        opening.folder,
        precision=opening.precision,
        n_threads=opening.n_threads,
        sparsity=opening.sparsity,
    )


def prompt_of(role: Role) -> str:
    """The prompt before each text in this role."""
    return _PROMPTS.of(TEXT, role)


def _int8_identity() -> str:
    return f"e5:{_INT8_RECIPE}"


def _examples(folder: Path) -> Sequence[Inputs]:
    """A short and a long text."""
    tokenizer = SentencePieces(folder / PIECES)
    ids = np.asarray(tokenizer.encode("The walls of the old town. " * max(_EXAMPLES)).ids)
    return [inputs_of([ids[:length]]) for length in _EXAMPLES]


KIND = Kind(
    open=_open,
    prepare="encoder.models.prepare.bundle.e5:prepare_e5",
    network=network,
    int8_identity=_int8_identity,
    asks=True,
    gate_subject="encoder.models.prepare.bundle.e5_gate:open_subject",
)
