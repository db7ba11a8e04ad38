"""Find this machine's accelerators without torch."""

from __future__ import annotations

from pathlib import Path

_GPUS = ("/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""What the drivers of NVIDIA, AMD and Windows' Linux put there."""


def has_gpu() -> bool:
    """Whether a driver shows a GPU; whether torch can use it is another question."""
    return any(Path(path).exists() for path in _GPUS)
