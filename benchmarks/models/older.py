"""Copies of a model's folder in the formats that older libraries can open.

Current sentence-transformers and transformers write names that their older versions do not know.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

Facts: TypeAlias = dict[str, Any]

_POOLING = "1_Pooling/config.json"


def for_optimum(source: Path) -> Path:
    """A copy for libraries built on transformers 4; back-ends write their graphs into it."""
    return _copied(source, source.with_name("peers"), _rename)


def for_infinity(source: Path) -> Path:
    """A copy for infinity alone, which comes with sentence-transformers 3.

    Its optimum engine takes the last ONNX file that it finds, so others must not write one here.
    """
    return _copied(source, source.with_name("infinity"), _rename_for_infinity)


def _copied(source: Path, target: Path, rename: Callable[[Path], None]) -> Path:
    """``target``, made unless it exists."""
    if target.exists():
        return target
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns("network"))
    rename(partial)
    return partial.rename(target)


def _rename(folder: Path) -> None:
    _change(folder / "tokenizer_config.json", _tokenizer)
    _change(folder / "modules.json", _modules)
    images = folder / "processor_config.json"
    if images.exists():
        facts = json.loads(images.read_text("utf-8"))["image_processor"]
        (folder / "preprocessor_config.json").write_text(json.dumps(facts), "utf-8")


def _rename_for_infinity(folder: Path) -> None:
    _rename(folder)
    images = folder / "processor_config.json"
    if images.exists():
        images.unlink()  # otherwise its settings would be given twice
        _change(folder / "tokenizer.json", _clip_tokenizer)
    _change(folder / _POOLING, _pooling)
    _change(folder / "sentence_bert_config.json", lambda _: {"max_seq_length": 512})


def _change(path: Path, change: Callable[[Any], Any]) -> None:
    """Rewrite a JSON file if it exists; CLIP has only a few of them."""
    if path.exists():
        path.write_text(json.dumps(change(json.loads(path.read_text("utf-8")))), "utf-8")


def _tokenizer(facts: Facts) -> Facts:
    return {**facts, "tokenizer_class": "PreTrainedTokenizerFast"}


def _modules(modules: list[Facts]) -> list[Facts]:
    return [
        {**one, "type": f"sentence_transformers.models.{one['type'].rpartition('.')[2]}"}
        for one in modules
    ]


def _clip_tokenizer(facts: Facts) -> Facts:
    """What CLIP's class accepts: a sequence of pre-tokenizers, and pieces that mark word ends.

    The pieces are then letters, so texts are encoded differently from the source; pictures are not.
    """
    model = facts["model"]
    return {
        **facts,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [facts["pre_tokenizer"]]},
        "model": {
            "type": "BPE",
            "vocab": model["vocab"],
            "merges": [],
            "unk_token": model["unk_token"],
            "end_of_word_suffix": "</w>",
        },
    }


def _pooling(facts: Facts) -> Facts:
    mode = facts["pooling_mode"]
    return {
        "word_embedding_dimension": facts["embedding_dimension"],
        f"pooling_mode_{mode}_tokens": True,
    }
