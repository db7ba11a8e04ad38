"""How a hub model takes pictures, sounds and films, and the networks for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder.errors import ModelError
from encoder.prepare.hub.check import picture, sound
from encoder.prepare.hub.graphs import TracedNetwork, soft_pictures, soft_sounds, whole
from encoder.prepare.hub.text import in_role
from encoder.types import AUDIO, DOCUMENT, IMAGE, VIDEO, Role

if TYPE_CHECKING:
    from encoder.towers.hub import JointEncoder

_WINDOW_S = 30.0
_MAX_FRAMES = 32
_REMEDY = "Leave out quantization to run it with torch."
_TEXT_INPUTS = ("input_ids", "attention_mask")


@dataclass(frozen=True, eq=False)
class GraphPart:
    """What a modality adds to the folder.

    Args:
        graph: the file's name.
        network: what it is made from; None where another modality makes it.
        facts: what the tower needs to know.
    """

    graph: str
    network: TracedNetwork | None
    facts: Mapping[str, Any]


def is_soft(joint: JointEncoder) -> bool:
    """Whether the model's text network reads media, as tokens.

    Raises:
        ModelError: it does so in a way that is not known here.
    """
    transformer = joint.model[0]
    kinds = {IMAGE, AUDIO, VIDEO} & set(joint.model.modalities)
    if not kinds or "message" not in transformer.modality_config:
        return False
    if transformer.config.model_type != "embedding_gemma2":
        raise ModelError(
            f"{joint.name} reads media among its text ({transformer.config.model_type}), "
            "which can be exported for EmbeddingGemma 2 only.",
            remedy=_REMEDY,
        )
    return True


def image_part(joint: JointEncoder, prompts: Mapping[Role, str], target: Path) -> GraphPart:
    """Pictures: ``image.onnx`` and the processor's settings."""
    processor = getattr(joint.model.processor, "image_processor", joint.model.processor)
    options = dict(joint.model[0].processing_kwargs.get("image", {}))
    facts: dict[str, Any] = {
        "graph": "image.onnx",
        "processor": _save(processor, "image_processor_type", target / "image_processor.json"),
        "options": options,
    }
    batches = [_tensors(joint, _pictures(sizes), prompts) for sizes in _SIZES]
    if is_soft(joint):
        names = ("pixel_values", "image_position_ids")
        batches = [{name: tensors[name] for name in names} for tensors in batches]
        is_real = (batches[1]["image_position_ids"] != -1).any(-1).any(0)
        network = TracedNetwork(
            soft_pictures(joint.model),
            batches[0],
            dict.fromkeys(names, (0, 1)),
            [{name: batches[1][name][:, : int(is_real.sum())] for name in names}],
        )
        token_id = joint.model[0].config.image_token_id
        facts["roles"] = _places(joint, _pictures(_SIZES[1]), prompts, token_id, 1)
    else:
        network = _whole(joint, _pictures(_SIZES[0]), batches)
    return GraphPart("image.onnx", network, facts | {"inputs": network.inputs})


def video_part(joint: JointEncoder, prompts: Mapping[Role, str], target: Path) -> GraphPart:
    """Films: the picture network on frames; the processor is that of pictures, with other sizes.

    Raises:
        ModelError: the model takes films differently from EmbeddingGemma 2.
    """
    processor = getattr(joint.model.processor, "video_processor", None)
    if not is_soft(joint) or processor is None or processor.add_timestamps:
        raise ModelError(
            f"{joint.name} processes films in a way that no graph supports.", remedy=_REMEDY
        )
    pictures = joint.model.processor.image_processor
    settings = {**pictures.to_dict(), "max_soft_tokens": processor.max_soft_tokens}
    (target / "video_processor.json").write_text(json.dumps(_plain(settings)), "utf-8")
    frames = [[item["image"] for item in _pictures(_SIZES[2])]]
    token_id = joint.model[0].config.video_token_id
    facts = {
        "graph": "image.onnx",
        "processor": "video_processor.json",
        "options": {},
        "inputs": {"pixel_values": "float32", "image_position_ids": "int64"},
        "max_frames": int(getattr(processor, "max_frames", None) or _MAX_FRAMES),
        "roles": _places(joint, [{"video": frames[0]}], prompts, token_id, len(frames[0])),
    }
    return GraphPart("image.onnx", None, facts)


def audio_part(joint: JointEncoder, prompts: Mapping[Role, str], target: Path) -> GraphPart:
    """Sounds: ``audio.onnx`` and the extractor's settings."""
    extractor = getattr(joint.model.processor, "feature_extractor", joint.model.processor)
    rate = int(extractor.sampling_rate)
    facts: dict[str, Any] = {
        "graph": "audio.onnx",
        "processor": _save(extractor, "feature_extractor_type", target / "audio_processor.json"),
        "options": {"padding": True, **joint.model[0].processing_kwargs.get("audio", {})},
        "sampling_rate": rate,
        "window_s": float(getattr(extractor, "max_length_s", None) or _WINDOW_S),
    }
    batches = [_tensors(joint, _sounds(lengths, rate), prompts) for lengths in _LENGTHS_S]
    if is_soft(joint):
        names = ("input_features", "input_features_mask")
        batches = [{name: tensors[name] for name in names} for tensors in batches]
        axes = dict.fromkeys(names, (0, 1))
        network = TracedNetwork(soft_sounds(joint.model), batches[0], axes, batches[1:])
        token_id = joint.model[0].config.audio_token_id
        facts["roles"] = _places(joint, _sounds(_LENGTHS_S[1], rate), prompts, token_id, 1)
    else:
        batches = [{k: v for k, v in tensors.items() if k != "is_longer"} for tensors in batches]
        network = _whole(joint, _sounds(_LENGTHS_S[0], rate), batches)
    return GraphPart("audio.onnx", network, facts | {"inputs": network.inputs})


_SIZES = (((90, 120), (120, 90)), ((50, 200),), ((60, 60), (60, 60)))
_LENGTHS_S = ((1.3, 0.7), (0.5,))


def _whole(joint: JointEncoder, contents: Sequence[Any], batches: list[Any]) -> TracedNetwork:
    features = joint.features(contents, "")
    fixed = {key: value for key, value in features.items() if not hasattr(value, "shape")}
    axes = dict.fromkeys(batches[0], (0,))
    if "is_longer" in features:
        fixed["is_longer"] = features["is_longer"][:1] & False
    return TracedNetwork(whole(joint.model, fixed), batches[0], axes, batches[1:])


def _tensors(
    joint: JointEncoder, contents: Sequence[Any], prompts: Mapping[Role, str]
) -> dict[str, Any]:
    features = joint.features(contents, prompts[DOCUMENT])
    return {
        name: value
        for name, value in features.items()
        if hasattr(value, "shape") and name not in _TEXT_INPUTS
    }


def _places(
    joint: JointEncoder,
    contents: Sequence[Any],
    prompts: Mapping[Role, str],
    token_id: int,
    n_groups: int,
) -> dict[str, Any]:
    """By role, the ids around the groups of soft tokens of one item."""
    around: dict[str, Any] = {}
    for role, prompt in prompts.items():
        ids = in_role(joint, role).features(contents, prompt)["input_ids"][0].tolist()
        first = ids.index(token_id)
        last = len(ids) - ids[::-1].index(token_id)
        inner = ids[first:last]
        group = inner.count(token_id) // n_groups
        gap = (len(inner) - n_groups * group) // max(n_groups - 1, 1)
        around[role] = {
            "before": ids[:first],
            "between": inner[group : group + gap],
            "after": ids[last:],
            "token_id": token_id,
        }
    return around


def _pictures(sizes: Sequence[tuple[int, int]]) -> list[Any]:
    from PIL import Image

    return [{"image": Image.fromarray(picture(i, *size))} for i, size in enumerate(sizes)]


def _sounds(lengths_s: Sequence[float], rate: int) -> list[Any]:
    heard = [sound(i, length_s * rate / 16_000) for i, length_s in enumerate(lengths_s)]
    return [{"audio": {"array": waveform.samples, "sampling_rate": rate}} for waveform in heard]


def _save(processor: Any, key: str, path: Path) -> str:
    settings = {**processor.to_dict(), key: type(processor).__name__}
    path.write_text(json.dumps(_plain(settings)), "utf-8")
    return path.name


def _plain(value: Any) -> Any:
    """Settings as plain JSON values."""
    return json.loads(json.dumps(value, default=lambda array: array.tolist()))
