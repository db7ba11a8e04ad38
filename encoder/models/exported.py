"""Open a hub model that was exported: towers over graphs, without torch.

Next to the graphs, the folder holds ``exported.json``: what `hub.prepare` found out
about the model. Nothing is loaded before it is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from encoder.dsre.cost import Shape
from encoder.dsre.gatefile import GateFile
from encoder.errors import ModelError
from encoder.runtime.base import Session, side_by_side
from encoder.runtime.onnx import OnnxSession, open_onnx
from encoder.runtime.openvino import OpenVinoSession
from encoder.space import space_of_gate
from encoder.towers.base import LazyTower, Tower
from encoder.towers.exported import (
    ExportedTextTower,
    MergingTextTower,
    SoftTokens,
    TextFormat,
    TextGraph,
    embed_by_text,
    embed_directly,
)
from encoder.towers.joint import Embed, JointImageTower, JointSoundTower, JointVideoTower
from encoder.towers.model import Model
from encoder.towers.processors import open_pictures, open_sounds
from encoder.towers.text import SparseNetwork
from encoder.types import AUDIO, DOCUMENT, IMAGE, QUERY, TEXT, VIDEO, Modality, Role

FACTS = "exported.json"
GATE, MERGING = "gate.npz", "text.merging.onnx"
"""The files that a folder with a token gate has in addition."""
VERSION = 1
"""Raise it when older folders can no longer be opened."""


def open_exported(
    folder: Path,
    n_threads: int | None = None,
    *,
    identity: Mapping[str, str] | None = None,
    shared: bool = True,
    graphs: Mapping[str, Path] | None = None,
) -> Model:
    """Open the folder that `encoder.prepare.hub.prepare.prepare_hub` wrote.

    Args:
        identity: the model's identity, instead of the one in the folder.
        shared: whether all processes of this machine map one copy of the weights.
        graphs: files to run instead of the folder's graphs, by their names there.

    Raises:
        ModelError: it is no such folder, or of a different version.
    """
    facts = read_facts(folder)
    open_session = partial(
        _open_session, n_threads=n_threads, shared=shared, precision=facts["precision"]
    )
    files = _ExportedFolder(folder, facts, open_session, graphs or {})
    return Model(
        space_of_gate(facts["embed_dim"], identity or facts["identity"]),
        {Modality(name): files.tower(name, DOCUMENT) for name in facts["modalities"]},
        queries={Modality(name): files.tower(name, QUERY) for name in facts["queries"]},
        cuts=tuple(facts["cuts"]),
    )


def read_facts(folder: Path) -> dict[str, Any]:
    """What is known about the model in a folder; a ModelError if it is of another version."""
    path = folder / FACTS
    try:
        facts = dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            f"{folder} holds no exported model: {error}.", remedy="Prepare the model again."
        ) from error
    if facts.get("version") != VERSION:
        raise ModelError(
            f"{folder} was written by another version ({facts.get('version')}, not {VERSION}).",
            remedy="Prepare the model again.",
        )
    return facts


def _open_session(
    path: Path, n_threads: int | None, shared: bool, precision: str | None
) -> Session:
    if precision == "bf16":
        return OpenVinoSession(path, n_threads=n_threads, precision=precision)
    if not shared:
        return OnnxSession(path, n_threads=n_threads)
    return side_by_side(partial(open_onnx, path), n_threads)


class _ExportedFolder:
    """What is in the folder; sessions are shared by the towers that run them."""

    def __init__(
        self,
        folder: Path,
        facts: Mapping[str, Any],
        open_session: Callable[[Path], Session],
        graphs: Mapping[str, Path],
    ) -> None:
        self._folder = folder
        self._graphs = graphs
        self._facts = facts
        self._open_session = open_session
        self._sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()
        self._lock = Lock()

    def tower(self, modality: str, role: Role) -> Tower:
        """The tower for one modality in one role; it loads on first use."""
        loads: Mapping[str, Callable[[Role], Tower]] = {
            TEXT: self._text, IMAGE: self._image, AUDIO: self._audio, VIDEO: self._video
        }  # fmt: skip
        load = loads[modality]
        return LazyTower(lambda: load(role))

    def _session(self, graph: str) -> Session:
        with self._lock:
            session = self._sessions.get(graph)
            if session is None:
                session = self._open_session(self._graphs.get(graph, self._folder / graph))
                self._sessions[graph] = session
            return session

    @property
    def _text_graph(self) -> TextGraph:
        facts = self._facts["text"]
        session = self._session(facts["graph"])
        return TextGraph(self._facts["name"], session, facts["inputs"], facts["soft_dim"])

    def _text(self, role: Role) -> ExportedTextTower:
        from tokenizers import Tokenizer

        facts = self._facts["text"]
        tokenizer = Tokenizer.from_file(str(self._folder / facts["tokenizer"]))
        form = TextFormat(**facts["format"], **facts["roles"][role])
        # gates are judged with documents; queries with their own prompt run dense
        if role == DOCUMENT and "merging" in facts:
            return MergingTextTower(
                tokenizer, self._text_graph, form, self._merging(), self._facts["name"]
            )
        return ExportedTextTower(tokenizer, self._text_graph, form)

    def _merging(self) -> SparseNetwork:
        facts = self._facts["text"]["merging"]
        settings = GateFile.load(self._folder / facts["gate"]).settings
        open_sparse = partial(self._session, facts["graph"])
        return SparseNetwork(open_sparse, settings, Shape(**facts["shape"]))

    def _head(self, modality: str, role: Role) -> Embed:
        facts = self._facts[modality]
        session = self._session(facts["graph"])
        if "roles" not in facts:
            return partial(embed_directly, self._facts["name"], session)
        form = SoftTokens(**facts["roles"][role])
        return partial(embed_by_text, session, self._text_graph, form)

    def _image(self, role: Role) -> JointImageTower:
        facts = self._facts[IMAGE]
        read = open_pictures(self._folder / facts["processor"], facts["inputs"], facts["options"])
        return JointImageTower(read, self._head(IMAGE, role))

    def _audio(self, role: Role) -> JointSoundTower:
        facts = self._facts[AUDIO]
        read = open_sounds(self._folder / facts["processor"], facts["inputs"], facts["options"])
        head = self._head(AUDIO, role)
        return JointSoundTower(read, head, facts["sampling_rate"], facts["window_s"])

    def _video(self, role: Role) -> JointVideoTower:
        facts = self._facts[VIDEO]
        read = open_pictures(self._folder / facts["processor"], facts["inputs"], facts["options"])
        sound = self._audio(role) if AUDIO in self._facts["modalities"] else None
        return JointVideoTower(read, self._head(VIDEO, role), facts["max_frames"], sound)
