"""One back-end of sentence-transformers, run by the Python of another environment.

    python peer.py <folder of a model> <back-end> <CPU threads>

Answers each line of JSON, a text, with its vector. Imports nothing of this project.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

_INT8 = "onnx/model_qint8_avx512_vnni.onnx"


def main(folder: str, backend: str, n_threads: str) -> None:
    """Answer until the input ends."""
    # every runtime takes as many threads as there are cores for it
    os.sched_setaffinity(0, set(range(int(n_threads))))
    model = _open(folder, backend)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print too
    for line in sys.stdin:
        vector = model.encode([json.loads(line)], show_progress_bar=False)[0]
        answers.write(json.dumps([float(value) for value in vector]) + "\n")


def _open(folder: str, backend: str) -> Any:
    from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

    kind, _, precision = backend.partition("-")
    made = SentenceTransformer(folder, device="cpu", backend=kind, local_files_only=True)
    if not precision:
        return made
    export_dynamic_quantized_onnx_model(made, "avx512_vnni", folder)
    return SentenceTransformer(
        folder,
        device="cpu",
        backend=kind,
        local_files_only=True,
        model_kwargs={"file_name": _INT8},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
