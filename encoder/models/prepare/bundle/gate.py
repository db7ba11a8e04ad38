"""The text network of a bundle, to fit a gate to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from encoder.dsre.gatefile import GateFile
from encoder.errors import ModelError
from encoder.models.prepare.break_even import GateSubject, Run
from encoder.models.prepare.sparse_network import SPARSE_INT8, write
from encoder.models.sources.bundle.declaration import read_bundle
from encoder.models.sources.bundle.folder import location
from encoder.models.sources.bundle.kinds import called, kind_named
from encoder.models.sources.bundle.networks import INT8
from encoder.models.spec import ModelSpec
from encoder.networks.bert import load_sentence_bert
from encoder.onnx.text import read_text_network
from encoder.runtime.base import Session
from encoder.runtime.onnx import OnnxSession
from encoder.towers.text.tower import load_tokenizer


def gate_subject(model: str, max_tokens: int | None) -> GateSubject:
    """The text network of a bundle, whose texts are cut to ``max_tokens`` (None: its window).

    Raises:
        BundleError: the bundle is not there or not whole.
        ModelError: its text network takes no gate.
    """
    bundle = read_bundle(ModelSpec.parse(model).name)
    function = kind_named(bundle.parts["text"].kind).gate_subject
    if not function:
        raise ModelError(
            f"The text network of {model} does not support a gate.", remedy="Run it without a gate."
        )
    subject: GateSubject = called(function)(
        location(bundle) / "text", max_tokens or bundle.window_tokens
    )
    return subject


def open_subject(folder: Path, max_tokens: int) -> GateSubject:
    """MiniLM, as ``gate_subject`` of its kind.

    Args:
        folder: its part.
        max_tokens: where texts are cut.
    """
    tokenizer = load_tokenizer(folder / "tokenizer.json", max_tokens=max_tokens)

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]

    def pieces(ids: Sequence[int]) -> list[str]:
        return [tokenizer.id_to_token(i) or "" for i in ids]

    return GateSubject(load_sentence_bert(folder), tokenize, pieces, partial(bundle_runs, folder))


@contextmanager
def bundle_runs(weights: Path, gate: GateFile) -> Iterator[tuple[Run, Run]]:
    """MiniLM in int8; in float32 a gate pays earlier, as there is more to save.

    Args:
        weights: the text part of a bundle.
        gate: fitted to it.
    """
    with TemporaryDirectory() as scratch:
        write(read_text_network(weights), gate, Path(scratch) / SPARSE_INT8)
        dense = OnnxSession(weights / INT8, n_threads=1)
        sparse = OnnxSession(Path(scratch) / SPARSE_INT8, n_threads=1)
        yield _runner(dense), _runner(sparse)


def _runner(session: Session) -> Run:
    def run(ids: Sequence[int]) -> None:
        mask = np.ones((1, len(ids)), np.float32)
        session.run({"input_ids": np.asarray([ids], np.int64), "mask": mask})

    return run
