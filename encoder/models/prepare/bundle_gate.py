"""The bundle's text network, to fit a gate to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from encoder.dsre.gatefile import GateFile
from encoder.graphs.bert import read_bert
from encoder.models.prepare.break_even import GateSubject, Run
from encoder.models.prepare.sparse_network import SPARSE_INT8, write
from encoder.models.sources.bundle.folder import location
from encoder.models.sources.bundle.networks import INT8
from encoder.networks.bert import load_sentence_bert
from encoder.runtime.base import Session
from encoder.runtime.onnx import OnnxSession
from encoder.towers.text import load_tokenizer


def open_subject(max_tokens: int) -> GateSubject:
    """The text network, whose texts are cut to ``max_tokens``.

    Raises:
        BundleError: the bundle is not there or not whole.
    """
    folder = location() / "text"
    tokenizer = load_tokenizer(folder / "tokenizer.json", max_tokens=max_tokens)

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]

    return GateSubject(load_sentence_bert(folder), tokenize, partial(bundle_runs, folder))


@contextmanager
def bundle_runs(weights: Path, gate: GateFile) -> Iterator[tuple[Run, Run]]:
    """The bundle's text network in int8; in float32 a gate pays earlier, as there is more to save.

    Args:
        weights: the text part of the bundle.
        gate: fitted to it.
    """
    with TemporaryDirectory() as scratch:
        write(read_bert(weights), gate, Path(scratch) / SPARSE_INT8)
        dense = OnnxSession(weights / INT8, n_threads=1)
        sparse = OnnxSession(Path(scratch) / SPARSE_INT8, n_threads=1)
        yield _runner(dense), _runner(sparse)


def _runner(session: Session) -> Run:
    def run(ids: Sequence[int]) -> None:
        mask = np.ones((1, len(ids)), np.float32)
        session.run({"input_ids": np.asarray([ids], np.int64), "mask": mask})

    return run
