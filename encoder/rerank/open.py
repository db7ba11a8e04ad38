"""From a reranker's name to the reranker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoder.errors import MissingExtraError, ModelError
from encoder.models.artifacts import artifact
from encoder.models.artifacts.artifact import Key, Progress
from encoder.models.artifacts.prepared import tell
from encoder.models.sources.located import locate
from encoder.models.spec import ModelSpec
from encoder.rerank.cross_encoder import GRAPH, TOKENIZER, CrossEncoder, open_folder
from encoder.system.extras import is_installed

_PRECISION = "int8 pairs"
"""Not a precision of models that embed, so that neither is taken for the other."""
_TOOLS = ("torch", "transformers", "onnxscript")


def open_reranker(name: str, n_threads: int | None = None) -> CrossEncoder:
    """Open a cross-encoder; one that comes as weights is prepared first, in int8.

    Args:
        name: ``hf:org/name@revision`` or ``dir:path``: a model for text classification with one
            label, which sentence-transformers calls CrossEncoder. A folder with ``model.onnx`` and
            ``tokenizer.json`` runs as it is.
        n_threads: threads of one run; None for every core.

    Raises:
        ModelError: it cannot be found, opened or prepared.
    """
    spec = ModelSpec.parse(name)
    if spec.kind == "bundle":
        raise ModelError(f"{name} has no reranker.", remedy="Set one: hf:org/name or dir:path.")
    if spec.kind == "dir" and (Path(spec.name) / GRAPH).is_file():
        return open_folder(str(spec), Path(spec.name), n_threads)
    source = locate(spec)
    key = Key(Path(spec.name).name, source.identity, _PRECISION)
    found = artifact.find(key)
    if found is None:
        _require_tools(name)

        def write(folder: Path, report: Progress) -> Mapping[str, Any]:
            from encoder.models.prepare.rerank.cross_encoder import prepare_cross_encoder

            return prepare_cross_encoder(name, source.folder, folder, report)

        found = artifact.make(key, write, tell, spec=str(spec))
    return open_folder(str(spec), found.folder, n_threads)


def _require_tools(name: str) -> None:
    if missing := [tool for tool in _TOOLS if not is_installed(tool)]:
        raise MissingExtraError(
            f"Preparing {name}",
            missing,
            f"pip install 'anymodal[torch]', or name a folder with {GRAPH} and {TOKENIZER}",
        )
