"""What a process holds once: its encoder and its store, made on first use (after a fork)."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

from workers.config import Settings

if TYPE_CHECKING:
    from encoder import MultiModalEncoder
    from search.store.base import VectorStore

_lock = Lock()


def shared_encoder() -> MultiModalEncoder:
    """The process's encoder."""
    with _lock:
        return _encoder()


def shared_store() -> VectorStore:
    """The process's store, opened for the encoder's space."""
    encoder = shared_encoder()
    with _lock:
        return _store(encoder)


def close() -> None:
    """Close the store, if it was opened, and forget both."""
    with _lock:
        if _store.cache_info().currsize:
            _store(_encoder()).close()
        _store.cache_clear()
        _encoder.cache_clear()


@cache
def _encoder() -> MultiModalEncoder:
    from encoder import MultiModalEncoder
    from encoder.config import EncoderConfig

    config = EncoderConfig()
    # Serving defaults to what is fast; ANYMODAL_ENCODER__QUANTIZATION=none asks for float32,
    # ANYMODAL_ENCODER__ENABLE_DSRE=false for all tokens.
    asked_for = config.model_fields_set
    return MultiModalEncoder(
        quantization=None if "quantization" in asked_for else "auto",
        enable_dsre=None if "enable_dsre" in asked_for else "auto",
        config=config,
    )


@cache
def _store(encoder: MultiModalEncoder) -> VectorStore:
    from search.store.open import open_store

    space = encoder.space
    return open_store(Settings().store, space.fingerprint, space.embed_dim)
