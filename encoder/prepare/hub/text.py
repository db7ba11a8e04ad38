"""How a hub model's texts become token ids, described so that its libraries are not needed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoder.errors import ModelError
from encoder.towers.exported import TextFormat
from encoder.towers.hub import placeholders_of
from encoder.types import QUERY, Role

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from encoder.towers.hub import JointEncoder

TEXTS = (
    "A red bicycle leans against the wall of a bakery.",
    "Der Zug nach München fährt um 7:45 Uhr von Gleis 3 ab.",
    "Les enfants jouent dans le jardin pendant que la pluie tombe.",
    "猫坐在窗台上，看着外面的雪。",
    "この写真は去年の夏に海で撮りました。",
    "Кошка спит на тёплой крыше старого дома.",
    "يجلس الطفل تحت الشجرة ويقرأ كتاباً.",
    "How do I reset my password?",
    "  two  spaces, a tab\tand a line\nbreak ",
    "x = {'a': [1, 2.5], \"b\": None}  # <p>&amp;</p>",
    "🎉 ½ café ﬁne ①",
    "The committee, which had met every Tuesday for eleven years, voted to sell the old library, "
    "its reading room, and the garden behind it to a company that builds flats for students.",
)
"""Sentences in several languages, and text that tokenizers stumble over."""

_REMEDY = "Leave out quantization to run it with torch."
_SENTINEL = "QXZTEXTZXQ"


def text_facts(joint: JointEncoder, prompts: Mapping[Role, str], target: Path) -> dict[str, Any]:
    """Write ``tokenizer.json`` to ``target`` and describe how texts are read.

    Raises:
        ModelError: the model reads texts in a way that its files do not show.
    """
    model = joint.model
    _check_prompts(joint, prompts)
    tokenizer = _tokenizer(joint)
    tokenizer.save(str(target / "tokenizer.json"))
    longest = float(model.max_seq_length or math.inf)
    padded = dict(model[0].processing_kwargs.get("text", {}))
    format_: dict[str, Any] = {
        "max_tokens": None if math.isinf(longest) else int(longest),
        "pad_to": padded.get("max_length") if padded.get("padding") == "max_length" else None,
        "pad_id": int(model.tokenizer.pad_token_id or 0),
        "pad_left": model.tokenizer.padding_side == "left",
        "placeholders": placeholders_of(model.processor),
    }
    roles = {
        role: _around(in_role(joint, role), tokenizer, format_, prompt)
        for role, prompt in prompts.items()
    }
    return {"tokenizer": "tokenizer.json", "format": format_, "roles": roles}


def in_role(joint: JointEncoder, role: Role) -> JointEncoder:
    """The model as it encodes queries, or documents."""
    return joint.for_queries() if role == QUERY else joint


def _check_prompts(joint: JointEncoder, prompts: Mapping[Role, str]) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    poolings = [module for module in joint.model if isinstance(module, Pooling)]
    if any(prompts.values()) and not all(pooling.include_prompt for pooling in poolings):
        raise ModelError(
            f"{joint.name} excludes its prompt from the pooling, which no graph supports yet.",
            remedy=_REMEDY,
        )


def _tokenizer(joint: JointEncoder) -> Tokenizer:
    from tokenizers import Tokenizer

    backend = getattr(joint.model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(
            f"{joint.name} has a tokenizer that the tokenizers library cannot run.", remedy=_REMEDY
        )
    tokenizer: Tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _around(
    joint: JointEncoder, tokenizer: Tokenizer, format_: Mapping[str, Any], prompt: str
) -> dict[str, Any]:
    """What is put around a text, tried on `TEXTS`."""
    expected = [_ids_of(joint, text, prompt) for text in TEXTS]
    for prefix, suffix in _candidates(joint, prompt):
        for marks in (True, False):
            around: dict[str, Any] = {"before": prefix, "after": suffix, "marks": marks}
            form = TextFormat(**format_, **around)
            if all(
                _same(tokenizer, form, text, ids) for text, ids in zip(TEXTS, expected, strict=True)
            ):
                return around
    raise ModelError(
        f"{joint.name} reads texts differently from its tokenizer and its template.",
        remedy=_REMEDY,
    )


def _same(tokenizer: Tokenizer, form: TextFormat, text: str, expected: Sequence[int]) -> bool:
    """Whether the exported tower would give these ids; it cuts texts beyond the window itself."""
    ids = tokenizer.encode(form.wrap(text), add_special_tokens=form.marks).ids
    if form.max_tokens is not None and len(ids) > form.max_tokens:
        return True
    return bool(form.padded(np.asarray(ids, np.int64)).tolist() == list(expected))


def _ids_of(joint: JointEncoder, text: str, prompt: str) -> list[int]:
    features = joint.features(joint.inputs("text", [text]), prompt)
    mask = features.get("attention_mask")
    ids = features["input_ids"][0]
    real_ids: list[int] = (ids if mask is None else ids[mask[0].bool()]).tolist()
    return real_ids


def _candidates(joint: JointEncoder, prompt: str) -> Iterator[tuple[str, str]]:
    yield prompt, ""
    transformer = joint.model[0]
    if "message" in transformer.modality_config:
        inputs = joint.inputs("text", [_SENTINEL])
        modality, values, _ = transformer.input_formatter.parse_inputs(inputs)
        if modality != "message":
            _, values = transformer.input_formatter.batch_to_message(modality, values)
        messages = values["message"]
        if prompt:
            messages = transformer.input_formatter.prepend_prompt_to_messages(messages, prompt)
        options = transformer.processing_kwargs.get("chat_template", {})
        rendered = transformer.processor.apply_chat_template(
            messages, tokenize=False, **{k: v for k, v in options.items() if k != "restore_suffix"}
        )
        whole = rendered[0] if isinstance(rendered, list) else rendered
        prefix, sentinel, suffix = whole.partition(_SENTINEL)
        if sentinel:
            yield prefix, suffix
