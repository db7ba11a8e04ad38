"""Settings of the encoder, from arguments or from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from encoder.models.lanes import chosen_models, chosen_name
from encoder.models.spec import DEFAULT_MODEL
from encoder.settings import EnvironmentSettings


class EncoderConstants(BaseModel):
    """What one forward pass takes; measured, and no setting."""

    model_config = ConfigDict(frozen=True)

    batch_items: int = Field(default=32, ge=1)
    """The most items in one forward pass."""

    batch_tokens: int = Field(default=8192, ge=1)
    """The most tokens (padding included) in one forward pass."""

    video_frames: int = Field(default=32, ge=1)
    """The most frames that stand for a whole video in `encode_multimodal`."""


class EncoderConfig(EnvironmentSettings, EncoderConstants):
    """How `encoder.MultiModalEncoder` runs; each field is also ``ANYMODAL_ENCODER__<FIELD>``.

    >>> EncoderConfig(batch_items=8).batch_items
    8
    """

    PREFIX = "ANYMODAL_ENCODER__"

    model: str = DEFAULT_MODEL
    """Where the weights are: ``bundle:name``, ``hf:org/name@revision``, ``dir:path``, or
    ``remote:name@http://host/v1``; with ``#256`` behind it, so many dimensions are kept
    (docs/models.md). ``,image=hf:org/name`` behind it gives a modality another model, as
    ``anymodal models use`` does for new stores (docs/lanes.md)."""

    device: str | None = None
    """A torch device for hub models, such as ``cuda:0``. None runs what was prepared, on the CPU;
    with what was not, torch takes a GPU if there is one."""

    quantization: str | None = "auto"
    """``auto``: int8 on the runtime that a short trial finds the fastest, or what was prepared of
    another model; None, or ``none``, runs the weights as they are; ``int8``; or a folder made by
    ``anymodal models quantize``. Models of a hub take ``int4`` and ``bf16`` too."""

    enable_dsre: bool | str = "auto"
    """Dynamic sparse inference for long texts: ``auto`` (where the model has a calibrated gate,
    else dense), True, False, or a file made by ``anymodal models gate calibrate``."""

    bindings: tuple[Path, ...] = ()
    """Files that ``anymodal models bind`` wrote: towers of other models or of plug-ins, joined to
    the model's space."""

    n_threads: int | None = Field(default=None, ge=1)
    """CPU threads of one network; None for every core."""

    keys: Mapping[str, SecretStr] = Field(default={}, repr=False)
    """Keys of servers that run remote models, by their URL as the model's name has it:
    ``{"https://host/v1": "…"}``."""

    @classmethod
    def unnamed(cls) -> dict[str, Any]:
        """The models that the settings file names."""
        models = chosen_models()
        return {"model": chosen_name(models)} if models else {}

    @field_validator("keys")
    @classmethod
    def _fit_a_header(cls, keys: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for url, key in keys.items():
            if not re.fullmatch(r"[!-~]+", key.get_secret_value()):
                raise ValueError(
                    f"the key for {url} is empty, or has a blank or a letter beyond ASCII"
                )
        return {url.rstrip("/"): key for url, key in keys.items()}

    @field_validator("quantization")
    @classmethod
    def _none_is_none(cls, value: str | None) -> str | None:
        """An environment variable cannot hold None."""
        return None if value in ("", "none") else value

    @field_validator("enable_dsre", mode="before")
    @classmethod
    def _word_or_bool(cls, value: object) -> object:
        """An environment variable cannot hold a bool."""
        words = {"true": True, "1": True, "false": False, "0": False, "none": False, "": False}
        return words.get(value.lower(), value) if isinstance(value, str) else value
