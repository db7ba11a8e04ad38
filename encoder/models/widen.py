"""Half-precision weights as float32 files, which the processes of a machine map and share.

transformers maps weights that have the requested precision, and converts others in each process.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from encoder.models.sources import hash_files, model_files
from encoder.system.cache import cache_folder, make_once

_HALF = {"BF16", "F16"}

_log = logging.getLogger(__name__)


def widened(folder: Path, device: str | None = None) -> Path:
    """A checkpoint whose weights are float32: ``folder``, or a copy that is made once per machine.

    A copy that nobody opens for 30 days may be removed. Where none can be written, the folder is
    returned, and each process holds its own weights.

    Args:
        folder: a model's files.
        device: where it is to run; a GPU maps nothing. None takes a GPU if there is one.
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
