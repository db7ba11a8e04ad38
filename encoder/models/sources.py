"""The files of a hub model, before any library reads them."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from encoder.errors import ModelError
from encoder.models.spec import ModelSpec
from encoder.system.cache import cache_folder, make_once
from encoder.towers.hub import first_line

_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
"""What is fetched and hashed: weights without pickles, settings, tokenizers; no code."""

_CARD = "README.md"
"""Fetched too, as it names the licence. No vector depends on it, so it is not hashed."""
_FETCHED = [*_FILES, _CARD]


def fetch(name: str, revision: str | None) -> Path:
    """The folder of ``name`` in the hub's local cache, downloaded if it is not there.

    The folder is named after the commit. Raises `ModelError`.
    """
    from huggingface_hub import HfApi, constants, errors, snapshot_download

    full_name = f"{name}@{revision}" if revision else name
    try:
        # Asked first, since the download itself would wait endlessly for a silent hub.
        HfApi().model_info(name, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        return Path(snapshot_download(name, revision=revision, allow_patterns=_FETCHED))
    except errors.HFValidationError as error:
        raise ModelError(
            f"{name!r} is neither a folder nor a name on the hub.",
            remedy="Use hf:org/name or dir:path.",
        ) from error
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{full_name} is gated.",
            remedy="Accept its terms on the hub, then run `hf auth login`.",
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ModelError(
            f"The hub has no {full_name}, or it is private.",
            remedy="Check the name and the revision, or run `hf auth login`.",
        ) from error
    # the hub client's network library, and so its errors, change with its version
    except Exception as error:  # noqa: BLE001
        return _cached(name, revision, error)


def _cached(name: str, revision: str | None, reason: Exception) -> Path:
    from huggingface_hub import constants, errors, snapshot_download

    try:
        folder = snapshot_download(
            name, revision=revision, allow_patterns=_FETCHED, local_files_only=True
        )
        return Path(folder)
    except errors.LocalEntryNotFoundError:
        command = f"hf download {name}" + (f" --revision {revision}" if revision else "")
        raise ModelError(
            f"{name} is not in the cache and the hub cannot be reached: {first_line(reason)}.",
            remedy="Check the network, HF_ENDPOINT and HF_HUB_OFFLINE. Without a network, run "
            f"`{command}` on another machine, and copy models--{name.replace('/', '--')} from "
            f"~/.cache/huggingface/hub there to {constants.HF_HUB_CACHE} here.",
        ) from reason


def hash_files(folder: Path) -> str:
    """A hash of all weights and settings in a folder, wherever it is stored; 16 hex digits."""
    from blake3 import blake3

    total = blake3()
    for path in sorted(model_files(folder)):
        digest = blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {digest}\n".encode())
    return total.hexdigest()[:16]


def of_card(folder: Path) -> dict[str, str | None]:
    """``licence`` and ``languages`` that the model's card names, such as ``apache-2.0``."""
    from huggingface_hub.repocard import metadata_load

    card = folder / _CARD
    try:
        metadata = metadata_load(card) if card.is_file() else None
    # whatever the YAML library may raise on a card that people wrote
    except Exception:  # noqa: BLE001
        metadata = None
    metadata = metadata or {}
    licence = metadata.get("license")
    if licence == "other":
        licence = metadata.get("license_name") or licence
    return {"licence": _listed(licence), "languages": _listed(metadata.get("language"))}


def _listed(names: object) -> str | None:
    return ", ".join(map(str, names)) if isinstance(names, list) else str(names) if names else None


def check_files(name: str, folder: Path) -> None:
    """Raise `ModelError` unless ``folder`` holds a model whose weights are all safetensors."""
    modules = folder / "modules.json"
    if not modules.is_file() and not (folder / "config.json").is_file():
        raise ModelError(
            f"{name} is not a model: it has neither modules.json nor config.json.",
            remedy="Use a sentence-transformers or transformers model.",
        )
    try:
        parts = json.loads(modules.read_text("utf-8")) if modules.is_file() else []
        folders = {folder, *(folder / module["path"] for module in parts)}
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{modules} is damaged: {error}.", remedy="Fetch it again.") from error
    has_tensors = {f: any(f.glob("*.safetensors")) for f in folders}
    pickled = [f for f in folders if any(f.glob("pytorch_model*.bin")) and not has_tensors[f]]
    if pickled or not any(has_tensors.values()):
        raise ModelError(
            f"{name} has no safetensors weights; pickled ones can run code and are not loaded.",
            remedy="Save it again with save_pretrained, or name a revision with safetensors.",
        )


def model_files(folder: Path) -> Iterator[Path]:
    """The weights, settings and tokenizers in a folder."""
    for path in folder.rglob("*"):
        hidden = any(name.startswith(".") for name in path.relative_to(folder).parts)
        if not hidden and any(fnmatch(path.name, pattern) for pattern in _FILES):
            yield path


@dataclass(frozen=True)
class ModelSource:
    """A model's files, which weights they are, and ``model`` and ``revision`` on the hub."""

    folder: Path
    identity: str
    where: Mapping[str, str] = field(default_factory=dict)


def locate(spec: ModelSpec) -> ModelSource:
    """Fetch a hub model, or hash a folder; raises a ModelError if it is not to be had."""
    if spec.kind == "remote":
        raise ModelError(f"{spec} runs on its server.", remedy="There is nothing to make from it.")
    if spec.kind == "dir":
        folder = Path(spec.name)
        return ModelSource(folder, folder_identity(folder))
    folder = fetch(spec.name, spec.revision)
    where = {"model": spec.name, "revision": folder.name}
    return ModelSource(folder, f"{spec.name}@{folder.name}", where)


def folder_identity(folder: Path) -> str:
    return f"blake3:{hash_files(folder)}"


def is_of(spec: ModelSpec, identity: str, revision: str | None) -> bool:
    """Whether an identity that `locate` gave is a model's. The hub is not contacted.

    ``revision`` was asked for when something was made from that identity.
    """
    if spec.kind == "dir":
        return identity == folder_identity(Path(spec.name))
    name, _, commit = identity.partition("@")
    return name == spec.name and spec.revision in (None, commit, revision)


_HALF = {"BF16", "F16"}

_log = logging.getLogger(__name__)


def widened(folder: Path, device: str | None = None) -> Path:
    """A checkpoint whose weights are float32: ``folder``, or a copy that is made once per machine.

    transformers maps weights of the requested precision, and converts others in each process. A
    copy that nobody opens for 30 days may be removed. A GPU maps nothing, and where no copy can be
    written, each process holds its own weights: then the folder is returned.
    """
    import torch

    if torch.cuda.is_available() if device is None else not device.startswith("cpu"):
        return folder
    halves = {path for path in model_files(folder) if _is_half(path)}
    if not halves:
        return folder

    def write(copy: Path) -> None:
        for path in model_files(folder):
            target = copy / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            (_widen if path in halves else shutil.copyfile)(path, target)

    try:
        return make_once(cache_folder("float32") / hash_files(folder), write)
    except OSError as error:
        _log.warning("The weights of %s are not shared with other processes: %s", folder, error)
        return folder


def _is_half(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(path, framework="np") as file:
            return any(file.get_slice(name).get_dtype() in _HALF for name in file.keys())  # noqa: SIM118
    except SafetensorError:  # loading reports the damage
        return False


def _widen(source: Path, target: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(source, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = file.metadata()
    wide = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    save_file(wide, target, facts)
