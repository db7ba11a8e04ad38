"""Prepare a hub model: its networks become graphs that are served without torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from encoder.errors import ModelError
from encoder.models import hub
from encoder.models.exported import FACTS, VERSION, open_exported
from encoder.onnx.quantize import quantize_linears
from encoder.prepare.hub.check import measure
from encoder.prepare.hub.graphs import TracedNetwork, export, soft_text, whole
from encoder.prepare.hub.media import GraphPart, audio_part, image_part, is_soft, video_part
from encoder.prepare.hub.text import text_facts
from encoder.runtime import openvino, trial
from encoder.system.extras import install_command
from encoder.types import AUDIO, DOCUMENT, IMAGE, QUERY, TEXT, VIDEO, Role

if TYPE_CHECKING:
    from encoder.towers.hub import JointEncoder


Progress = Callable[[str, float], None]
Prompts = Mapping[Role, Mapping[str, str]]
"""By role, then by modality."""

_EXAMPLES = (("the dog", "a cat sat", "ox"), ("no",))
"""Texts of different lengths, short enough for every context."""

_REMEDY = "Leave out quantization to run it with torch."


def prepare_hub(
    folder: Path, target: Path, precision: str | None, progress: Progress, *, name: str = ""
) -> dict[str, Any]:
    """Export a model and check the result against it.

    Args:
        folder: a model that `encoder.models.hub.load` takes.
        target: an empty folder; `encoder.models.exported.open_exported` opens it.
        precision: None for float32, ``bf16``, ``int8`` or ``int4``.
        progress: called with the stage and the share done, 0 to 1.
        name: ``org/name`` on the hub; models that declare no prompts are recognised by it.

    Returns:
        What the folder's ``exported.json`` holds: ``embed_dim``, ``cuts``, ``modalities``,
        ``prompts`` by role, what each modality's tower must know, and in ``measured`` the cosines
        to float32.

    Raises:
        ModelError: it cannot be loaded or exported, or the result is too far from float32.
    """
    check_precision(str(folder), precision)
    progress("load", 0.0)
    identity, joint, prompts = load_source(folder, name)
    parts = dict(parts_of(joint, prompts, target))
    is_quantized = precision in ("int8", "int4")
    floats = target / "float32" if is_quantized else target
    floats.mkdir(exist_ok=True)
    graphs = {
        graph_part.graph: graph_part.network for graph_part in parts.values() if graph_part.network
    }
    for index, (graph, network) in enumerate(graphs.items()):
        progress(f"export {graph}", 0.1 + 0.6 * index / len(graphs))
        export(joint.name, network, floats / graph)
    facts = facts_of(joint, identity, prompts, parts, precision)
    if precision and is_quantized:
        progress(f"quantize to {precision}", 0.7)
        apply_precision(floats, target, graphs, precision)
    facts["bytes"] = {
        graph: sum(path.stat().st_size for path in target.glob(f"{graph}*")) for graph in graphs
    }
    progress("compare with float32", 0.8)
    write_facts(target, facts)
    facts["measured"] = measure(joint, open_exported(target, shared=False), facts)
    write_facts(target, facts)
    progress("done", 1.0)
    return facts


def load_source(folder: Path, name: str) -> tuple[dict[str, str], JointEncoder, Prompts]:
    """A model's identity, the model, and its prompts.

    Raises:
        ModelError: it cannot be loaded, or no graph is made of such models.
    """
    identity, joint, declared = hub.open_joint(str(folder), None, "cpu")
    joint.name = name or folder.name
    if joint.routes_roles:
        raise ModelError(
            f"{joint.name} routes queries and documents through separate networks, which cannot "
            "be exported.",
            remedy=_REMEDY,
        )
    declared = replace(declared, name=name)
    prompts = {
        role: {
            str(modality): declared.of(modality, role) for modality in (TEXT, IMAGE, AUDIO, VIDEO)
        }
        for role in (DOCUMENT, QUERY)
    }
    return {**identity, "prompt": prompts[DOCUMENT][TEXT]}, joint, prompts


def _differs(prompts: Prompts, modality: str) -> bool:
    """Whether queries of a modality are encoded differently from documents."""
    kinds = (modality, AUDIO) if modality == VIDEO else (modality,)  # a film with its sound track
    return any(
        prompts[QUERY][asked_modality] != prompts[DOCUMENT][asked_modality]
        for asked_modality in kinds
    )


def facts_of(
    joint: JointEncoder,
    identity: Mapping[str, str],
    prompts: Prompts,
    parts: Mapping[str, GraphPart],
    precision: str | None,
) -> dict[str, Any]:
    """What `encoder.models.exported` needs to know about a model, without measurements."""
    embed_dim = joint.embed(TEXT, ["a"], "").shape[1]
    return {
        "version": VERSION,
        "name": joint.name,
        "identity": {**identity, **({"quantization": precision} if precision else {})},
        "precision": precision,
        "embed_dim": embed_dim,
        "cuts": hub.matryoshka_cuts(joint.model, embed_dim),
        "modalities": list(parts),
        "prompts": prompts,
        "queries": [modality for modality in parts if _differs(prompts, modality)],
        **{modality: graph_part.facts for modality, graph_part in parts.items()},
    }


def write_facts(target: Path, facts: Mapping[str, Any]) -> None:
    """Write them where `open_exported` reads them."""
    (target / FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False), "utf-8")


def parts_of(
    joint: JointEncoder, prompts: Prompts, target: Path
) -> Iterator[tuple[str, GraphPart]]:
    """What each modality adds to the folder; writes its tokenizer or its processor's settings.

    Raises:
        ModelError: no graph is made of such models.
    """
    from sentence_transformers.base.modules import Transformer

    if not isinstance(joint.model[0], Transformer) or TEXT not in joint.model.modalities:
        raise ModelError(
            f"{joint.name} begins with a {type(joint.model[0]).__name__}, which cannot be "
            "exported.",
            remedy=_REMEDY,
        )
    yield TEXT, text_part(joint, _of(prompts, TEXT), target)
    makers = {IMAGE: image_part, AUDIO: audio_part, VIDEO: video_part}
    for modality, make in makers.items():
        if modality in joint.model.modalities:
            yield modality, make(joint, _of(prompts, modality), target)


def _of(prompts: Prompts, modality: str) -> dict[Role, str]:
    return {role: by_kind[modality] for role, by_kind in prompts.items()}


def text_part(joint: JointEncoder, prompts: Mapping[Role, str], target: Path) -> GraphPart:
    """Texts: ``text.onnx`` and the tokenizer."""
    facts = text_facts(joint, prompts, target)
    batches = [joint.features(joint.inputs(TEXT, list(texts)), "") for texts in _EXAMPLES]
    fixed = {key: value for key, value in batches[0].items() if not hasattr(value, "shape")}
    tensors = [_text_inputs(joint, features) for features in batches]
    soft_dim = None
    if is_soft(joint):
        import torch

        config = joint.model[0].config
        soft_dim = int(config.text_config.hidden_size)
        rows = torch.ones(4, soft_dim)
        tensors = [{**inputs, "soft_tokens": rows} for inputs in tensors]
        tokens = (config.image_token_id, config.audio_token_id, config.video_token_id)
        tensors[1]["input_ids"] = tensors[1]["input_ids"].clone()
        tensors[1]["input_ids"][:, 1:5] = tokens[0]
        module = soft_text(joint.model, tokens)
    else:
        module = whole(joint.model, fixed)
    axes = {name: (0,) if name == "soft_tokens" else (0, 1) for name in tensors[0]}
    if facts["format"]["pad_to"]:
        axes = dict.fromkeys(axes, (0,))
    network = TracedNetwork(module, tensors[0], axes, tensors[1:])
    return GraphPart(
        "text.onnx",
        network,
        {**facts, "graph": "text.onnx", "inputs": list(network.inputs), "soft_dim": soft_dim},
    )


def _text_inputs(joint: JointEncoder, features: Mapping[str, Any]) -> dict[str, Any]:
    """The ids and their mask; a graph has no other inputs, so all others must be zero."""
    tensors = {name: value for name, value in features.items() if hasattr(value, "shape")}
    for name in set(tensors) - {"input_ids", "attention_mask"}:
        if tensors.pop(name).any():
            raise ModelError(
                f"{joint.name} takes {name} besides its tokens, which no graph supports.",
                remedy=_REMEDY,
            )
    return tensors


WEIGHT_BITS: Mapping[str, Literal[4, 8]] = {"int8": 8, "int4": 4}
"""Of the precisions in integers."""


_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""CPU flags of bf16 multiplication, on x86 and on ARM."""


def check_precision(name: str, precision: str | None) -> None:
    """Raise `ModelError` unless this precision is available for graphs on this machine."""
    if precision == "bf16":
        _check_bf16(name)
    elif precision is not None and precision not in WEIGHT_BITS:
        raise ModelError(
            f"{name}: {precision!r} is not a precision of a graph.",
            remedy='Use None, "bf16", "int8" or "int4".',
        )


def _check_bf16(name: str) -> None:
    """ONNX Runtime has no bf16 on x86; OpenVINO computes float32 graphs in it."""
    if not openvino.is_installed():
        raise ModelError(
            f"{name} in bf16 runs on OpenVINO, which is not installed.",
            remedy=f'Install it: {install_command("openvino")}; or use quantization="int8".',
        )
    if not _BF16_FLAGS & set(trial.instruction_sets().split()):
        raise ModelError(
            f"{name} in bf16: this processor does not support it.",
            remedy='Use quantization="int8".',
        )


def apply_precision(source: Path, target: Path, graphs: Iterable[str], precision: str) -> None:
    """Write quantized forms of the graphs in ``source`` to ``target``, then remove ``source``.

    Sounds and pictures take the same form as texts: activations in int8 with a scale for each
    row, which keeps more of the cosine than fixed ranges do and needs no samples to set them.

    Raises:
        ModelError: a graph has no linear layer.
    """

    for graph in graphs:
        quantize_linears(source / graph, target / graph, weight_bits=WEIGHT_BITS[precision])
    shutil.rmtree(source)
