"""One encoder for every modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import EllipsisType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.binding.binding import features_of
from encoder.config import EncoderConfig
from encoder.errors import InputError, ModelError
from encoder.inputs import AudioFormat, read_arguments
from encoder.lane import Lane, config_beside
from encoder.media.spectrogram import SpectrogramLayout
from encoder.models.lanes import read_lanes, written_lanes
from encoder.services.text_services import TextServices
from encoder.space import Space, l2_normalize
from encoder.system.progress import progress_bar
from encoder.towers.base import Encoded, EncoderObserver, TextStats, loaded
from encoder.towers.dispatch import prepare_all
from encoder.towers.tokens import TokenTower
from encoder.types import (
    AUDIO,
    DOCUMENT,
    IMAGE,
    TEXT,
    VIDEO,
    Embeddings,
    Item,
    Modality,
    Role,
)

_ITEMS_A_STEP = 64


@dataclass(frozen=True, eq=False)
class MultiModalEmbeddings:
    """What `MultiModalEncoder.encode_multimodal` returns.

    Each embedding is float32 and of unit length: [embed_dim] for one value, [n, embed_dim] for a
    list. A modality that was not passed is None. Where a model makes several rows for an item, its
    embedding is the first of them; `MultiModalEncoder.encode_rows` returns all.
    """

    by_modality: Mapping[Modality, Embeddings]
    stats: TextStats | None = None
    """With ``return_stats=True``, what the gate did to each text of ``text=``: the tokens that went
    in, those kept in each layer, and FLOPs. None if the model has no gate, and for queries with
    their own prompt, which run without it."""
    models: tuple[str, ...] = ()
    """In whose spaces they lie."""

    @property
    def text(self) -> Embeddings | None:
        return self.by_modality.get(TEXT)

    @property
    def image(self) -> Embeddings | None:
        return self.by_modality.get(IMAGE)

    @property
    def audio(self) -> Embeddings | None:
        return self.by_modality.get(AUDIO)

    @property
    def video(self) -> Embeddings | None:
        return self.by_modality.get(VIDEO)

    def __getitem__(self, modality: str) -> Embeddings:
        """The embeddings of any modality, including registered ones."""
        return self.by_modality[Modality(modality)]

    @cached_property
    def fused(self) -> Embeddings:
        """One embedding for all modalities: the normalised sum, row by row.

        A single value is joined to every row of a list. Lists of several lengths are an InputError,
        and embeddings of several models.
        """
        if len(self.models) > 1:
            raise InputError(
                "fused",
                got=f"embeddings of {_names(self.models)}",
                wanted="embeddings of one model: others lie in a space of their own",
            )
        lengths = {m: len(e) for m, e in self.by_modality.items() if e.ndim == 2}
        if len(set(lengths.values())) > 1:
            raise InputError(
                "fused",
                got="lists of different lengths: "
                + ", ".join(f"{m} {n}" for m, n in lengths.items()),
                wanted="lists of one length, or single values",
            )
        return l2_normalize(np.sum(np.broadcast_arrays(*self.by_modality.values()), axis=0))


class MultiModalEncoder:
    """Encodes text, images, sound, video and registered modalities into one shared space.

    Safe to use from several threads; towers load on first use.

    Args:
        model: ``bundle:name`` (offline), ``hf:org/name@revision``, ``dir:path``, or
            ``remote:name@http://host/v1``, which a server runs.
        models: by modality, as ``{"text": "bundle:default", "image": "hf:org/name"}``; those that
            are not named have the model of texts. Each has a space of its own.
        device: a torch device for hub models; None runs what was prepared, on the CPU.
        enable_dsre: dynamic sparse inference: long texts lose tokens from layer to layer, short
            ones run as without it. ``auto``, the default, uses the gate that comes with a model;
            True does too, and fits one, once, to a model without; a file is a gate made by
            ``anymodal models gate calibrate``.
        quantization: ``auto``, the default: int8 on the runtime that a short trial finds the
            fastest here; ``int8``: the same vectors; None runs the weights as they are; or a
            folder made by ``anymodal models quantize``. Hub models take ``int8`` and ``int4`` too,
            and are prepared once, which takes minutes; None, ``auto`` and ``bf16`` take what was
            prepared, else torch runs the weights, in bfloat16 for the last.
        config: all settings; the arguments above override it. By default the environment's, so
            that without arguments a process opens the space in which ``anymodal ingest`` stores.
        observer: called for each load and each batch, for instance to count them.

    Raises:
        ModelError: the model cannot be found or loaded, or not with this quantization or gate.

    >>> encoder = MultiModalEncoder()
    >>> e = encoder.encode_multimodal(text=["rain", "a dog barks"])
    >>> e.text.shape, e.fused.dtype
    ((2, 384), dtype('float32'))
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        models: Mapping[str, str] | None = None,
        device: str | None = None,
        enable_dsre: bool | str | Mapping[str, Any] | None = None,
        quantization: str | EllipsisType | None = ...,
        config: EncoderConfig | None = None,
        observer: EncoderObserver | None = None,
    ) -> None:
        config = config or EncoderConfig()
        changes = {
            "device": device or config.device,
            "quantization": config.quantization if quantization is ... else quantization,
            "enable_dsre": config.enable_dsre if enable_dsre is None else enable_dsre,
        }
        self._config = config.model_copy(update=changes)
        self._name = model or config.model
        if models is not None:
            other_models = {Modality(name): spec for name, spec in models.items() if name != TEXT}
            self._name = written_lanes(models.get(TEXT, read_lanes(self._name)[0]), other_models)
        home, other_models = read_lanes(self._name)
        self.home = Lane(home, self._config, observer)
        beside = config_beside(self._config)
        lanes = {
            spec: Lane(spec, beside, observer) for spec in dict.fromkeys(other_models.values())
        }
        self.lanes: Mapping[Modality, Lane] = {m: lanes[spec] for m, spec in other_models.items()}
        """The lanes of modalities that have a model of their own; all others are in `home`."""
        for modality, lane in self.lanes.items():
            if modality not in lane.modalities:
                raise ModelError(
                    f"{lane.model} has no tower for {modality}.",
                    remedy=f"Choose another model for {modality}, or leave it to {home}.",
                )

    @property
    def model(self) -> str:
        """Its name; with several models, ``bundle:default,image=hf:org/name``."""
        return self._name

    def lane(self, modality: Modality) -> Lane:
        """The model whose space the segments of a modality live in."""
        return self.lanes.get(modality, self.home)

    @property
    def space(self) -> Space:
        """The shared space: dimension, fingerprint, calibration, and where roles matter.

        With several models, that of texts, and of all modalities that are not in `lanes`.
        """
        return self.home.space

    @property
    def embed_dim(self) -> int:
        return self.space.embed_dim

    @property
    def cuts(self) -> tuple[int, ...]:
        """Sizes besides `embed_dim` that an embedding can be cut to; also by ``#256`` in a name."""
        return self.home.towers.cuts

    @property
    def modalities(self) -> frozenset[Modality]:
        """What this encoder takes; video needs the image or the audio tower."""
        return self.home.modalities | self.lanes.keys()

    def brings(self, modality: Modality) -> bool:
        """Whether the model itself has a tower for it, rather than a plug-in."""
        return modality in self.lane(modality).towers.towers

    def encode_multimodal(
        self,
        text: Any = None,
        image: Any = None,
        audio: Any = None,
        video: Any = None,
        *,
        role: Role = DOCUMENT,
        sampling_rate: int = 16_000,
        audio_kind: str = "waveform",
        n_fft: int | None = None,
        hop_length: int | None = None,
        n_mels: int | None = None,
        fmin: float = 0.0,
        fmax: float | None = None,
        power: float | str = 2.0,
        return_stats: bool = False,
        progress: bool = False,
        **others: Any,
    ) -> MultiModalEmbeddings:
        """Encode any non-empty combination; each argument takes one value or many.

        Many are a list, a generator, or a column of a table (a NumPy array, a pandas `Series`).

        Args:
            text: str.
            image: uint8 or float 0..1 [h, w] or [h, w, 1 | 3 | 4], or with channels first, as in
                torch; a batch of these; PIL image; path.
            audio: samples [n] or [channels, n] (float in [-1, 1] or int16), ``(samples, rate)`` as
                librosa and soundfile return them, a path, a `Waveform`, or, with
                ``audio_kind="spectrogram"``, a spectrogram by librosa [bins, frames].
            video: a path, frames [n, h, w, 3], ``(frames, waveform)`` or a `Clip`.
            role: "query" for what is searched with, "document" for what is to be found. Matters
                to models that encode the two differently, such as E5.
            sampling_rate: of bare audio arrays, in Hz.
            audio_kind: ``"waveform"`` or ``"spectrogram"``.
            n_fft: samples per frame of a spectrogram; None for 2,048, or as complex bins imply.
            hop_length: samples from frame to frame; None for a quarter of ``n_fft``.
            n_mels: mel bands; None for linear bins, or for 128 rows, which are mel bands.
            fmin: where mel bands begin, in Hz.
            fmax: where they end; None for half of the sampling rate.
            power: 2 for a spectrogram of power, 1 of magnitude, ``"db"`` of decibels.
            return_stats: also count what the gate saved, in ``stats``.
            progress: show a bar on a terminal or in a notebook.
            others: registered modalities by name.

        Raises:
            InputError: names the argument, what came and what is wanted.
            MediaError: a path cannot be decoded.
        """
        values = {"text": text, "image": image, "audio": audio, "video": video, **others}
        layout = SpectrogramLayout(n_fft, hop_length, n_mels, fmin, fmax, power)
        batches = read_arguments(values, AudioFormat(sampling_rate, audio_kind, layout), role)
        flat = [item for batch in batches.values() for item in batch.items]
        first_rows: dict[int, Embeddings] = {}
        counted: list[TextStats | None] = []
        n_at_once = _ITEMS_A_STEP if progress else len(flat)
        starts = range(0, len(flat), n_at_once)
        with progress_bar("Encoding", len(starts), show=progress) as advance:
            for start in starts:
                end = min(start + n_at_once, len(flat))
                for offsets, encoded in self._encoded(flat[start:end]):
                    at = (start + offset for offset in offsets)
                    first_rows.update(zip(at, encoded.rows[:, 0], strict=True))
                    counted.append(encoded.stats)
                advance(f"{end:,} of {len(flat):,}")
        rows = (first_rows[index] for index in range(len(flat)))
        stacked = {m: np.stack([next(rows) for _ in b.items]) for m, b in batches.items()}
        stats = TextStats.join([stats for stats in counted if stats])
        return MultiModalEmbeddings(
            {m: e[0] if batches[m].single else e for m, e in stacked.items()},
            stats if return_stats else None,
            tuple(dict.fromkeys(self.lane(modality).model for modality in batches)),
        )

    def _encoded(self, items: Sequence[Item]) -> list[tuple[list[int], Encoded]]:
        """By modality and role: the items' places, and their rows, each in its lane."""
        by_lane: dict[Lane, list[int]] = {}
        for index, item in enumerate(items):
            by_lane.setdefault(self.lane(item.modality), []).append(index)
        return [
            ([indices[position] for position in positions], encoded)
            for lane, indices in by_lane.items()
            for positions, encoded in lane.dispatch.encode([items[index] for index in indices])
        ]

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        """Encode mixed items; the first float32 unit row of each, [len(items), embed_dim].

        Raises an InputError if this model has no tower for an item's modality, as the others do;
        or if the items belong to several models, whose spaces are not comparable.
        """
        lanes = {self.lane(item.modality) for item in items} or {self.home}
        if len(lanes) > 1:
            raise InputError(
                "items",
                got=f"items of {_names(sorted(lane.model for lane in lanes))}",
                wanted="items of one model, or encode_rows",
            )
        return lanes.pop().encode_items(items)

    def encode_rows(self, items: Sequence[Item]) -> list[Embeddings]:
        """Encode mixed items; all float32 unit rows [n_rows, embed_dim] of each.

        Most towers make one row. Where one makes several (`Tower.n_rows`), the first is what
        `encode_items` returns, and a search counts the row that scores best.
        """
        by_index: dict[int, Embeddings] = {}
        for places, encoded in self._encoded(items):
            by_index.update(zip(places, encoded.rows, strict=True))
        return [by_index[index] for index in range(len(items))]

    def features(self, modality: Modality, contents: Sequence[Any]) -> NDArray[np.float32]:
        """A tower's features of items, before they become vectors of the space, [n, n_features].

        `encoder.binding` binds these: a tower's own ``features``, else its rows.
        """
        tower = loaded(self.lane(modality).dispatch.tower(modality))
        size = self._config.batch_items
        prepared = prepare_all(tower, contents)
        batches = [prepared[at : at + size] for at in range(0, len(prepared), size)]
        return np.concatenate([features_of(tower, batch) for batch in batches])

    @cached_property
    def services(self) -> TextServices:
        """What reads pictures and hears speech beside the model; weights load on first use."""
        from encoder.models.bundle.services import open_services

        return open_services(self.home.model, self._config.n_threads)

    def window_lengths(self, text: str, role: Role = DOCUMENT) -> list[int]:
        """The tokens of each window in which a text is encoded, with special tokens and prompt.

        A text beyond the model's window has several. Its embedding is the mean of theirs, weighted
        by these lengths and scaled to unit length. ``role`` selects the prompt.
        """
        tower = loaded(self.home.dispatch.tower(TEXT, self.space.role_of(Item(TEXT, text, role))))
        if isinstance(tower, TokenTower):
            return tower.window_lengths(text)
        return [len(tower.prepare(text))]

    def text_of_tokens(self, ids: Sequence[int]) -> str:
        """The text that token ids of this model stand for; they include the special tokens.

        Raises an InputError if its tokenizer makes these ids of no text, or it has no tokenizer.
        """
        tower = loaded(self.home.dispatch.tower(TEXT))
        if isinstance(tower, TokenTower):
            return tower.text_of(ids)
        raise InputError("tokens", got=f"{len(ids)} ids for a plug-in", wanted="text")


def _names(models: Sequence[str]) -> str:
    return " and ".join(models)
