"""Run an ONNX file with OpenVINO, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from threading import local
from typing import Any

import numpy as np

from encoder.errors import ModelError
from encoder.runtime.base import Array
from encoder.system import extras


def is_installed() -> bool:
    """Whether the extra is there; nothing is imported."""
    return extras.is_installed("openvino")


def version() -> str:
    """The installed version; nothing is imported."""
    return metadata.version("openvino")


class OpenVinoSession:
    """A `Session` over OpenVINO; raises a ModelError if it is missing or cannot run the file.

    ``precision`` is ``f32``, in which non-integer parts are the same on every CPU, or ``bf16``.
    """

    def __init__(self, path: Path, *, n_threads: int | None = None, precision: str = "f32") -> None:
        extras.require(f"{path.name} on OpenVINO", "openvino")
        import openvino

        config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
        }
        if n_threads:
            config["INFERENCE_NUM_THREADS"] = n_threads
        try:
            self._compiled = openvino.Core().compile_model(str(path), "CPU", config)
        # OpenVINO's errors share no base class below Exception
        except Exception as error:
            raise ModelError(
                f"{path} cannot be run by OpenVINO: {error}.",
                remedy="Leave the runtime out: ONNX Runtime runs every model.",
            ) from error
        self._local = local()

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        results = self._request().infer(dict(inputs))
        # the next run reuses the request's memory
        return [np.array(results[output]) for output in self._compiled.outputs]

    def _request(self) -> Any:
        """This thread's request: a request must not be run twice at the same time."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        return self._local.request
