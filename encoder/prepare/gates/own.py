"""The gate of a model that comes without one: fitted once on a machine, then remembered."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from encoder.dsre.gatefile import GateFile
from encoder.models.artifacts import FLOAT32
from encoder.models.sources import locate
from encoder.prepare.gates.fit import calibrate_text
from encoder.system.cache import cache_folder, make_once

if TYPE_CHECKING:
    from encoder.dsre.fitting.documents import Document
    from encoder.models.spec import ModelSpec

_RECIPE = 1
"""Raise it when fitting gives a different gate for the same weights."""

_log = logging.getLogger(__name__)


def remembered(spec: ModelSpec, precision: str = FLOAT32) -> Path:
    """Where the gate of a model is or will be stored.

    Args:
        spec: a hub model or a folder.
        precision: in which it was timed, which decides the length from which it merges.

    Raises:
        ModelError: the model is not found or not reachable.
    """
    facts = [locate(spec).identity, str(_RECIPE), *([precision] if precision != FLOAT32 else [])]
    digits = hashlib.sha256(" ".join(facts).encode()).hexdigest()[:16]
    return cache_folder("gates") / f"{digits}.npz"


def own_gate(spec: ModelSpec, documents: Sequence[Document] | None = None) -> GateFile:
    """Take the gate that was fitted to a model on this machine; fit it if there is none.

    That takes as long as encoding a thousand texts. The file is in ``gates`` of the machine's
    cache; copy it to give other machines the same vectors.

    Args:
        spec: a hub model or a folder.
        documents: to fit with; None for `sample_documents`.

    Raises:
        ModelError: the model takes no gate, or every gate loses too much, or none saves time.
        InputError: its window is too short for the texts to have 128 tokens.
    """
    return GateFile.load(make_once(remembered(spec), lambda path: _fit(spec, documents).save(path)))


def _fit(spec: ModelSpec, documents: Sequence[Document] | None) -> GateFile:
    from encoder.dsre.fitting.documents import sample_documents

    def tell(line: str) -> None:
        _log.info("fitting a gate to %s: %s", spec, line)

    tell("a few minutes, once")
    chosen = sample_documents() if documents is None else documents
    return calibrate_text(str(spec), chosen, report=tell)
