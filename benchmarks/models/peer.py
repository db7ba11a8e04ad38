"""Another library on the same weights, run by the Python of an environment that has it.

    python peer.py <folder of a model> <back-end> <CPU threads>

Answers each line of JSON, texts, with their vectors. A back-end is a library and its engine:
``sentence-transformers onnx``. Imports nothing from this project.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

Encode: TypeAlias = Callable[[list[str]], Iterable[Any]]


def main(folder: str, backend: str, n_threads: str) -> None:
    """Answer until the input ends."""
    # every runtime starts as many threads as it has cores
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(n_threads) :])
    library, _, kind = backend.partition(" ")
    encode = OPENERS[library](folder, kind)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print too
    for line in sys.stdin:
        vectors = encode(json.loads(line))
        answers.write(json.dumps([[float(v) for v in vector] for vector in vectors]) + "\n")


def sentence_transformers(folder: str, backend: str) -> Encode:
    """``torch``, ``onnx``, ``openvino``, and ``onnx-int8``, which it makes for this processor."""
    from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

    kind, _, precision = backend.partition("-")
    options = _session_options() if kind == "onnx" else {}
    made: Any = SentenceTransformer(
        folder,
        device="cpu",
        backend=kind,  # type: ignore[arg-type]
        local_files_only=True,
        model_kwargs=options,
    )
    if kind != "torch" and not Path(folder, kind).exists():
        made.save_pretrained(folder, create_model_card=False)
    if precision:
        flags = Path("/proc/cpuinfo").read_text()
        target, values = ("avx512_vnni", "qint8") if "avx512_vnni" in flags else ("avx2", "quint8")
        file = {"file_name": f"onnx/model_{values}_{target}.onnx"}
        if not Path(folder, file["file_name"]).exists():
            export_dynamic_quantized_onnx_model(made, target, folder)
        made = SentenceTransformer(
            folder, device="cpu", backend="onnx", local_files_only=True, model_kwargs=options | file
        )
    return lambda items: made.encode(items, show_progress_bar=False)


def _session_options() -> dict[str, Any]:
    """As many threads as cores: ONNX Runtime counts the machine's, and they would spin on one."""
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    return {"session_options": options}


def fastembed(folder: str, _: str) -> Encode:
    """The ONNX file that sentence-transformers wrote into the folder."""
    from fastembed import TextEmbedding  # type: ignore[import-not-found]
    from fastembed.common.model_description import (  # type: ignore[import-not-found]
        ModelSource,
        PoolingType,
    )

    facts = json.loads(Path(folder, "config.json").read_text())
    TextEmbedding.add_custom_model(
        model="local/model",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="local/model"),
        dim=facts["hidden_size"],
    )
    n_threads = len(os.sched_getaffinity(0))
    made = TextEmbedding("local/model", specific_model_path=folder, threads=n_threads)
    return made.embed  # type: ignore[no-any-return]


OPENERS: dict[str, Callable[[str, str], Encode]] = {
    "sentence-transformers": sentence_transformers,
    "fastembed": fastembed,
}


if __name__ == "__main__":
    main(*sys.argv[1:])
