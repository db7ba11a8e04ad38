"""Text by all-MiniLM-L6-v2 (Reimers and Gurevych 2019; Wang et al. 2020): English sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoder.dsre.gatefile import GateFile
from encoder.models.precision import Network
from encoder.models.prepare.sparse_network import SPARSE_INT8, build
from encoder.models.sources.bundle.int8 import text_identity
from encoder.models.sources.bundle.kinds.base import Kind, Opening
from encoder.models.sources.bundle.networks import files_of
from encoder.models.sources.bundle.parts import Part
from encoder.towers.base import Tower
from encoder.towers.text import tower as text
from encoder.towers.text.sparse import SparseTextTower
from encoder.towers.text.windowed import WindowedTextTower

if TYPE_CHECKING:
    from encoder.runtime.trial import Inputs

_ONE_THREAD_TOKENS = 96
"""In int8 on two cores: 13 tokens take 1.7 ms in one thread and 1.9 in two, 64 take 4.0 and 4.3,
128 take 6.7 and 5.7. In float32 a second thread helps from 32 on."""


def network(folder: Path) -> Network:
    """Its files; they use ONNX Runtime's own operators, which OpenVINO computes differently."""
    return Network(
        "text",
        **files_of(folder),
        examples=_examples,
        side_by_side=True,
        one_thread_tokens=_ONE_THREAD_TOKENS,
    )


def _open(opening: Opening) -> Tower:
    folder, sparsity = opening.folder, opening.sparsity
    session = opening.precision.open(network(folder), opening.n_threads)
    tokenizer = text.load_tokenizer(folder / "tokenizer.json", max_tokens=None)
    if sparsity is None:
        return WindowedTextTower(tokenizer, text.TextTower(tokenizer, session))
    sparse = sparsity.network(folder, opening.precision, opening.n_threads)
    inner = SparseTextTower(tokenizer, session, sparse)
    return WindowedTextTower(tokenizer, inner, sparsity.chunk_gate(folder))


def _build_gate(part: Part, folder: Path) -> None:
    """Build what workers run for long texts; otherwise the first one would wait for it."""
    build(folder, GateFile.load(part.gates["text"]), SPARSE_INT8)


def _examples() -> Sequence[Inputs]:
    """A short and a long text."""
    rng = np.random.default_rng(0)
    return [
        {
            "input_ids": rng.integers(1000, 20000, (1, length)),
            "mask": np.ones((1, length), np.float32),
        }
        for length in (32, 128)
    ]


KIND = Kind(
    open=_open,
    prepare="encoder.models.prepare.bundle.graphs:prepare_text",
    network=network,
    int8_identity=text_identity,
    later={"gate": _build_gate},
    torch_network="encoder.models.prepare.bundle.networks:text_network",
    gate_subject="encoder.models.prepare.bundle.gate:open_subject",
)
