"""Kinds of parts: how each is opened, and what of it changes vectors. To add one, add a line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.gatefile import GateFile
from encoder.errors import ModelError
from encoder.models.bundle.declaration import AUDIO_RANGES, IMAGE_RANGES, TABLES, BundlePart
from encoder.models.precision import FLOAT32, NetworkFiles, Precision
from encoder.models.prompts import Prompts
from encoder.models.sparsity import SPARSE_INT8, build, sparse_network
from encoder.services.reader import LazyReader
from encoder.services.sound_classes import SoundClasses
from encoder.services.speech import Speech, speech_of
from encoder.system.cache import cache_folder
from encoder.towers.audio.labels import load_class_places, load_sound_labels
from encoder.towers.audio.tower import AudioTower
from encoder.towers.base import QueryTower, Tower
from encoder.towers.image import SIDE, ImageHeadTower, ImageTower, load_image_head
from encoder.towers.sentence_pieces import SentencePieces
from encoder.towers.text import (
    SparseTextTower,
    TextTower,
    WindowedTextTower,
    load_tokenizer,
)
from encoder.types import DOCUMENT, QUERY, TEXT, Role

if TYPE_CHECKING:
    from encoder.runtime.base import Session
    from encoder.runtime.trial import ExampleInputs

FLOAT, INT8 = "model.onnx", "model.int8.onnx"
"""Files of a part; a part without the second always runs in float32."""

TOKENIZER, PIECES = "tokenizer.json", "tokens.model"
"""The official tokenizer of e5, and the same for SentencePiece."""

AUDIO_FLOAT = ("blocks.0.conv1", "heads")
"""The parts of aiSFX that stay float: its first layer, of one channel, takes no time and loses most
in int8 (the mean cosine of a sound's embedding to float falls from .9997 to .9985); the classifiers
take no time either."""

MINILM_INT8_RECIPE = 2
"""Raise it when MiniLM's int8 network computes different numbers."""
_E5_INT8_RECIPE = 1

IMAGE_HEAD = TABLES / "image_head.npz"

E5_MAX_TOKENS = 512
"""Of a window, with special tokens and prompt: as many positions as the network knows."""
_E5_PROMPTS = Prompts({}, name="intfloat/multilingual-e5-small")

_ONE_THREAD_TOKENS = 96
"""In int8 on two cores: 13 tokens take 1.7 ms in one thread and 1.9 in two, 64 take 4.0 and 4.3,
128 take 6.7 and 5.7. In float32 a second thread helps from 32 on."""


@dataclass(frozen=True)
class Opening:
    """What a part is opened with.

    ``other`` gives another part by its name, opened on first use; ``parts`` declares them.
    """

    part: BundlePart
    folder: Path
    precision: Precision
    gate: GateFile | None
    n_threads: int | None
    other: Callable[[str], Any]
    parts: Mapping[str, BundlePart] = field(default_factory=dict)

    def session(self, network: NetworkFiles) -> Session:
        """Open the part's network."""
        return self.precision.open(network, self.n_threads)


@dataclass(frozen=True)
class PartKind:
    """A kind of part.

    Args:
        makes_vectors: whether a vector depends on it.
        names_space: whether, if so, the space's identity depends on it too: what two versions of
            the others make may lie side by side.
        network: the files of its network in a folder; None if it has no network.
        int8_identity: what changes vectors in its int8 network.
        has_query: whether its tower has a second one, ``query``, for queries.
        later: what would be made on first use; ``anymodal bundle fetch`` makes it right away.
    """

    open: Callable[[Opening], Any]
    makes_vectors: bool = True
    names_space: bool = True
    network: Callable[[Path], NetworkFiles] | None = None
    int8_identity: Callable[[], str] | None = None
    has_query: bool = False
    later: Mapping[str, Callable[[BundlePart, Path], None]] = field(default_factory=dict)


def kind_named(name: str) -> PartKind:
    if name not in KINDS:
        raise ModelError(
            f"There is no kind of part called {name!r}.", remedy=f"Use one of {', '.join(KINDS)}."
        )
    return KINDS[name]


def _network(tower: str, folder: Path, **how_to_run: Any) -> NetworkFiles:
    int8 = folder / INT8

    def known_hash() -> str:  # hashing the file again would take longer
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        return str(manifest["files"][INT8]["sha256"])

    network_file = int8 if int8.exists() else None
    return NetworkFiles(tower, folder / FLOAT, network_file, known_hash, **how_to_run)


def text_network(folder: Path) -> NetworkFiles:
    """The files of all-MiniLM-L6-v2 (Reimers and Gurevych 2019; Wang et al. 2020), or of e5.

    They use ONNX Runtime's own operators, which OpenVINO computes differently.
    """
    return _network("text", folder, side_by_side=True, one_thread_tokens=_ONE_THREAD_TOKENS)


def _open_minilm(opening: Opening) -> Tower:
    folder = opening.folder
    session = opening.session(text_network(folder))
    tokenizer = load_tokenizer(folder / TOKENIZER, max_tokens=None)
    if opening.gate is None:
        return WindowedTextTower(tokenizer, TextTower(tokenizer, session))
    sparse = sparse_network(opening.gate, folder, opening.precision, opening.n_threads)
    return WindowedTextTower(tokenizer, SparseTextTower(tokenizer, session, sparse))


def _build_gate(bundle_part: BundlePart, folder: Path) -> None:
    """Build what workers run for long texts; otherwise the first one would wait for it."""
    assert bundle_part.gate is not None  # or there is nothing to build
    build(folder, GateFile.load(bundle_part.gate), SPARSE_INT8)


def e5_prompt(role: Role) -> str:
    """The prompt before each text in this role."""
    return _E5_PROMPTS.of(TEXT, role)


def open_e5(
    folder: Path,
    precision: Precision = FLOAT32,
    n_threads: int | None = None,
    gate: GateFile | None = None,
) -> WindowedTextTower:
    """Open multilingual-e5-small (Wang et al. 2024), for texts in a hundred languages.

    Queries run dense, since gates are judged with documents.
    """
    tokenizer = SentencePieces(folder / PIECES, cache_folder("pieces"))
    session = precision.open(text_network(folder), n_threads)
    dense = TextTower(tokenizer, session)
    query = WindowedTextTower(tokenizer, dense, max_tokens=E5_MAX_TOKENS, prompt=e5_prompt(QUERY))
    inner = dense
    if gate is not None:
        sparse = sparse_network(gate, folder, precision, n_threads)
        inner = SparseTextTower(tokenizer, session, sparse)
    return WindowedTextTower(
        tokenizer, inner, max_tokens=E5_MAX_TOKENS, prompt=e5_prompt(DOCUMENT), query=query
    )


def image_network(folder: Path) -> NetworkFiles:
    """The files of EfficientNet-Lite2."""

    def examples() -> Sequence[ExampleInputs]:
        pixels = np.random.default_rng(0).uniform(-1, 1, (1, 3, SIDE, SIDE))
        return [{"pixels": pixels.astype(np.float32)}]

    return _network("image", folder, side_by_side=True, examples=examples)


def _image_identity() -> str:
    return f"image-ranges:{hashlib.sha256(IMAGE_RANGES.read_bytes()).hexdigest()[:16]}"


def image_labels(path: Path) -> NDArray[np.float16]:
    """The places of the image network's classes in the space, [n_classes, embed_dim]."""
    with np.load(path, allow_pickle=False) as tables:
        labels: NDArray[np.float16] = tables["embeddings"]
    return labels


def _open_conse(opening: Opening) -> ImageTower:
    """Images by the network's classes and the places of their names in the space (ConSE)."""
    session = opening.session(image_network(opening.folder))
    return ImageTower(session, image_labels(opening.part.tables["labels"]))


def _open_image_head(opening: Opening) -> ImageHeadTower:
    """Images as people describe them: a head on EfficientNet-Lite2, in the space of e5."""
    session = opening.session(image_network(opening.folder))
    return ImageHeadTower(session, load_image_head(opening.part.tables["head"]))


def audio_network(folder: Path) -> NetworkFiles:
    """The files of aiSFX (Ma & Lerch 2022); a sound is one run, over its blocks."""
    return _network("audio", folder)


def _audio_identity() -> str:
    facts = " ".join(AUDIO_FLOAT).encode() + AUDIO_RANGES.read_bytes()
    return f"audio-ranges:{hashlib.sha256(facts).hexdigest()[:16]}"


def _open_audio(opening: Opening) -> AudioTower:
    session = opening.session(audio_network(opening.folder))
    labels = load_sound_labels(opening.part.tables["labels"])
    return AudioTower(
        session,
        opening.other("sounds"),
        load_class_places(opening.parts["sounds"].tables["places"]),
        opening.other("speech"),
        labels,
        QueryTower(opening.other("text")),
    )


def _open_yamnet(opening: Opening) -> SoundClasses:
    """YAMNet (Plakal and Ellis 2019), an AudioSet classifier."""
    return SoundClasses(partial(opening.session, _network("sounds", opening.folder)))


def _open_speech(opening: Opening) -> Speech:
    """Whisper (Radford et al. 2022) in CTranslate2's form, and YAMNet for its gate."""
    return speech_of(opening.folder, opening.folder.parent / "sounds" / FLOAT)


def _open_reader(opening: Opening) -> LazyReader:
    """Text in images by PP-OCRv5 (Cui et al. 2025)."""
    return LazyReader(opening.folder, opening.n_threads)


KINDS: Mapping[str, PartKind] = {
    "minilm": PartKind(
        _open_minilm,
        network=text_network,
        int8_identity=lambda: f"text:{MINILM_INT8_RECIPE}",
        later={"gate": _build_gate},
    ),
    "e5": PartKind(
        lambda part: open_e5(part.folder, part.precision, part.n_threads, part.gate),
        network=text_network,
        int8_identity=lambda: f"e5:{_E5_INT8_RECIPE}",
        has_query=True,
        later={"gate": _build_gate},
    ),
    "conse": PartKind(_open_conse, network=image_network, int8_identity=_image_identity),
    "image_head": PartKind(_open_image_head, network=image_network, int8_identity=_image_identity),
    "aisfx": PartKind(
        _open_audio, network=audio_network, int8_identity=_audio_identity, has_query=True
    ),
    "yamnet": PartKind(_open_yamnet, names_space=False),
    "whisper": PartKind(_open_speech),
    "pp_ocr": PartKind(_open_reader, makes_vectors=False),
}
"""By their names in ``bundles/*.toml``; what prepares them is in `encoder.prepare.bundle`."""
