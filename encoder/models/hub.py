"""Models from the Hugging Face hub, and folders of the same layout, through sentence-transformers.

Any model whose embeddings of several modalities share one space: EmbeddingGemma 2 (text,
image, audio, video), CLIP and SigLIP (text, image), CLAP (text, audio), sentence encoders (text).

No calibration constants are known for any of them, so scores in a mixed ranking are raw cosines
until constants are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoder.errors import ModelError
from encoder.models.prompts import Prompts
from encoder.models.sources import check_files, fetch, hash_files, widened
from encoder.space import space_of_gate
from encoder.system.extras import require
from encoder.towers import hub as towers
from encoder.towers.base import Tower
from encoder.towers.hub import JointTextTower
from encoder.towers.model import Model
from encoder.types import AUDIO, DOCUMENT, IMAGE, QUERY, TEXT, VIDEO, Modality

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_TOWERS_VERSION = "1"
"""Raise it when vectors of the hub's towers can no longer be compared with older ones."""

_MAX_TOKENS = 8192
_WINDOW_S = 30.0
_MAX_FRAMES = 32


def load(
    path_or_name: str,
    *,
    revision: str | None,
    device: str | None,
    n_threads: int | None = None,
    bf16: bool = False,
) -> Model:
    """Load the model of a folder (an absolute path) or of the hub (``org/name``).

    It runs in float32 unless it is to run in bfloat16. Queries and documents get the prompts that
    the model has for them, see `Prompts`. Only the documents' prompt identifies the space, since it
    holds documents. A copy in the local cache serves where the hub cannot be reached.

    Args:
        device: a torch device; None takes a GPU if there is one.

    Raises:
        ModelError: not found, not reachable, not a model with one vector per item, needs code
            or pickles, or the extra ``hub`` is not installed.
    """
    identity, joint, prompts = open_joint(
        path_or_name, revision, device, n_threads, mapped=not bf16
    )
    if bf16:
        from encoder.models.in_torch import run_in_bf16

        run_in_bf16(joint.name, joint.model)
        identity["quantization"] = "bf16"
    by_modality = towers_of(joint, partial(prompts.of, role=DOCUMENT))
    embed_dim = _embed_dim(by_modality)
    return Model(
        space_of_gate(embed_dim, identity),
        by_modality,
        queries=_query_towers(joint, prompts),
        cuts=matryoshka_cuts(joint.model, embed_dim),
        side_by_side=False,
    )


def open_joint(
    path_or_name: str,
    revision: str | None,
    device: str | None,
    n_threads: int | None = None,
    *,
    mapped: bool = False,
) -> tuple[dict[str, str], towers.JointEncoder, Prompts]:
    """A model's identity, the model, and its prompts; raises what `load` does.

    Weights that are ``mapped`` are in memory once for all processes, see `widened`.
    """
    require("A hub model", "torch", "sentence_transformers", "transformers")
    folder = Path(path_or_name)
    where = {}
    # Only an absolute path is a folder: a relative one must not shadow a name of the hub.
    if not (folder.is_absolute() and folder.is_dir()):
        folder = fetch(path_or_name, revision)
        where = {"model": path_or_name, "revision": folder.name}
    check_files(path_or_name, folder)
    weights = widened(folder, device) if mapped else folder
    joint = towers.JointEncoder(path_or_name, _open(path_or_name, weights, device), n_threads)
    prompts = Prompts(joint.model.prompts, joint.model.default_prompt_name, where.get("model", ""))
    identity = {
        **(where or {"weights": hash_files(folder)}),
        "towers": f"hub-{_TOWERS_VERSION}",
        "prompt": prompts.of(TEXT, DOCUMENT),
    }
    return identity, joint, prompts


def _open(name: str, folder: Path, device: str | None) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(
            str(folder),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            # float32: in half precision a vector depends on the batch that it is in.
            model_kwargs={"use_safetensors": True, "dtype": "float32"},
        ).eval()
        head = str(getattr(model[0], "module_output_name", ""))
        joint = (folder / "modules.json").is_file() or head == "sentence_embedding"
        _limit_text(model)
    # foreign settings can break the library anywhere
    except Exception as error:
        raise ModelError(
            f"{name} cannot be loaded: {towers.first_line(error)}.",
            remedy="Check the device and the folder's files; models with their own code are "
            "not supported.",
        ) from error
    if not joint:
        raise ModelError(
            f"{name} does not define how an item becomes one vector "
            f"(architecture {model[0].config.model_type!r}, no modules.json).",
            remedy="Use a sentence-transformers model, CLIP, SigLIP or CLAP.",
        )
    return model


def _limit_text(model: SentenceTransformer) -> None:
    # The library finds the context length only in the settings of text-only models, and pads to the
    # longest text of a batch, whereas SigLIP knows only texts padded to its whole context.
    config = getattr(model[0], "config", None)
    limit = getattr(getattr(config, "text_config", config), "max_position_embeddings", _MAX_TOKENS)
    tokenizer = getattr(model[0], "tokenizer", None)
    if tokenizer is None or config is None:
        return
    tokenizer.model_max_length = min(tokenizer.model_max_length, limit, _MAX_TOKENS)
    if config.model_type.startswith("siglip"):
        padded = {"padding": "max_length", "max_length": limit, "truncation": True}
        model[0].processing_kwargs = {**model[0].processing_kwargs, "text": padded}


def _query_towers(joint: towers.JointEncoder, prompts: Prompts) -> Mapping[Modality, Tower]:
    """The towers for queries that differ from the documents'."""

    def differs(modality: Modality) -> bool:
        if modality == VIDEO and differs(AUDIO):  # with its sound track
            return True
        return prompts.of(modality, QUERY) != prompts.of(modality, DOCUMENT)

    towers_of_queries = towers_of(joint.for_queries(), partial(prompts.of, role=QUERY))
    return {
        modality: tower
        for modality, tower in towers_of_queries.items()
        if joint.routes_roles or differs(modality)
    }


def towers_of(
    joint: towers.JointEncoder, prompt_of: Callable[[Modality], str]
) -> Mapping[Modality, Tower]:
    """A tower for each modality that the model takes."""
    model = joint.model
    by_modality: dict[Modality, Tower] = {}
    sound = None
    if "text" in model.modalities:
        by_modality[TEXT] = JointTextTower(joint, prompt_of(TEXT))
    if "image" in model.modalities:
        by_modality[IMAGE] = towers.image_tower(joint, prompt_of(IMAGE))
    if "audio" in model.modalities:
        extractor = getattr(model.processor, "feature_extractor", None)
        window_s = float(getattr(extractor, "max_length_s", None) or _WINDOW_S)
        by_modality[AUDIO] = sound = towers.sound_tower(joint, prompt_of(AUDIO), window_s)
    if "video" in model.modalities:
        processor = getattr(model.processor, "video_processor", None)
        max_frames = int(getattr(processor, "max_frames", None) or _MAX_FRAMES)
        by_modality[VIDEO] = towers.video_tower(joint, prompt_of(VIDEO), max_frames, sound)
    if not by_modality:
        raise ModelError(
            f"{joint.name} takes none of text, image, audio and video on its own, "
            f"but {model.modalities}.",
            remedy="Use a model that embeds one of them.",
        )
    return by_modality


def matryoshka_cuts(model: SentenceTransformer, embed_dim: int) -> tuple[int, ...]:
    """The cuts in the settings, as vLLM reads them: ``"matryoshka_dimensions": [256, 512]``."""
    dimensions = getattr(getattr(model[0], "config", None), "matryoshka_dimensions", None) or ()
    return tuple(sorted({int(n) for n in dimensions if 0 < int(n) < embed_dim}))


def _embed_dim(by_modality: Mapping[Modality, Tower]) -> int:
    # Tried, not read: the settings of several architectures name a hidden size instead.
    probes = {TEXT: "a", IMAGE: np.zeros((32, 32, 3), np.uint8)}
    for modality, content in probes.items():
        if tower := by_modality.get(modality):
            return int(tower.forward([tower.prepare(content)]).rows.shape[1])
    raise ModelError(
        f"The model takes {', '.join(by_modality)} only.", remedy="Use one that also takes text."
    )
