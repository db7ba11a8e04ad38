"""The precision in which a model's networks run, and the runtime that runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from encoder.errors import ModelError
from encoder.models import tower_folder
from encoder.runtime import openvino
from encoder.runtime.base import side_by_side
from encoder.runtime.onnx import open_onnx
from encoder.runtime.trial import cpu_model, fastest_session
from encoder.system.cache import cache_folder

if TYPE_CHECKING:
    from encoder.runtime.base import Session
    from encoder.runtime.trial import ExampleInputs, Factory

_EXACT = {"session.disable_quant_qdq": "1"}
"""Without it ONNX Runtime may round activations too, and not compute what was measured."""


@dataclass(frozen=True)
class NetworkFiles:
    """The files of a tower's network, and how to run them.

    Args:
        int8: None runs it in float32 always.
        sha256: of the int8 file; called only for a trial.
        side_by_side: whether several items become parallel runs on ONNX Runtime.
        one_thread_tokens: inputs of at most this many tokens run in one thread in int8.
        examples: typical inputs, to try OpenVINO with; None where its results differ.
    """

    tower: str
    float32: Path
    int8: Path | None
    sha256: Callable[[], str]
    side_by_side: bool = False
    one_thread_tokens: int = 0
    examples: Callable[[], Sequence[ExampleInputs]] | None = None


@dataclass(frozen=True)
class Precision:
    """What ``quantization=`` asks for.

    Args:
        int8: whether to run the networks' int8 files.
        trial: whether a trial may choose a runtime other than ONNX Runtime for them.
        folders: quantized towers that replace the model's, by name.
        identity: the part of this that changes vectors; empty if none does.
    """

    int8: bool = False
    trial: bool = False
    folders: Mapping[str, Path] = field(default_factory=dict)
    identity: str = ""

    @classmethod
    def parse(
        cls, quantization: str | None, *, model: str, towers: Sequence[str], int8_identity: str
    ) -> Precision:
        """Read None, ``int8``, ``auto`` or a folder that ``anymodal models quantize`` wrote.

        A folder may replace ``towers`` of ``model``; ``int8_identity`` determines results in int8.

        Raises:
            ModelError: it is none of these, or the folder is damaged or of a different model.
        """
        if quantization is None:
            return cls()
        if quantization in ("int8", "auto"):
            return cls(int8=True, trial=quantization == "auto", identity=int8_identity)
        folder = Path(quantization).expanduser()
        if not folder.is_dir():
            raise ModelError(
                f"quantization={quantization!r} is neither a known setting nor a folder.",
                remedy='Use "int8", "auto", None, or a folder made by `anymodal models quantize`.',
            )
        manifests = tower_folder.check_all(folder)
        for tower, manifest in manifests.items():
            if manifest["model"] != model or manifest["tower"] not in towers:
                raise ModelError(
                    f"{tower} holds the {manifest['tower']} tower of {manifest['model']}.",
                    remedy=f"Towers of {model} can be replaced: {', '.join(towers)}.",
                )
        identities = sorted(
            f"{manifest['tower']} sha256:{manifest['sha256']}" for manifest in manifests.values()
        )
        folders = {manifest["tower"]: tower for tower, manifest in manifests.items()}
        return cls(folders=folders, identity=" ".join(identities))

    def open(self, network: NetworkFiles, n_threads: int | None) -> Session:
        """Open a network; raises a ModelError if it cannot be run."""
        if network.tower in self.folders:
            path = self.folders[network.tower] / tower_folder.ONNX
            return _on_onnxruntime(network, path, n_threads, _EXACT)
        if not self.int8 or network.int8 is None:
            return _on_onnxruntime(network, network.float32, n_threads)
        if self.trial and network.examples and openvino.is_installed():
            return _fastest(network, network.int8, network.examples, n_threads)
        return _on_onnxruntime(network, network.int8, n_threads)


FLOAT32 = Precision()
"""Runs the weights as they are."""


def _on_onnxruntime(
    network: NetworkFiles,
    path: Path,
    n_threads: int | None,
    settings: Mapping[str, str] | None = None,
) -> Session:
    open_with = partial(open_onnx, path, settings=settings)
    if not network.side_by_side:
        return open_with(n_threads)
    small = network.one_thread_tokens if path == network.int8 else 0
    return side_by_side(open_with, n_threads, small)


def _fastest(
    network: NetworkFiles,
    path: Path,
    examples: Callable[[], Sequence[ExampleInputs]],
    n_threads: int | None,
) -> Session:
    import onnxruntime

    candidates: dict[str, Factory] = {
        "onnxruntime": partial(_on_onnxruntime, network, path, n_threads),
        "openvino": partial(openvino.OpenVinoSession, path, n_threads=n_threads),
    }
    facts = {
        "network": network.sha256(),
        "cpu": cpu_model(),
        "threads": str(n_threads),
        "onnxruntime": onnxruntime.__version__,
        "openvino": openvino.version(),
    }
    return fastest_session(candidates, examples, facts=facts, memory=cache_folder("trials"))
