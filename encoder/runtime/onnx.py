"""Run an ONNX file with ONNX Runtime, on the CPU by default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder.errors import ModelError
from encoder.runtime.base import Array
from encoder.runtime.shared import denormals_as_zero, open_session, open_shared
from encoder.system.cache import cache_folder
from encoder.system.metering import running

if TYPE_CHECKING:
    import onnxruntime


class OnnxSession:
    """A `Session` over ONNX Runtime, with ``n_threads`` or every core for one run.

    Args:
        settings: further session configuration, by ONNX Runtime's keys.
        shared_in: the folder of copies whose weights all processes share, see
            `encoder.runtime.shared`; None: this process holds its own. For the CPU only.

    Raises:
        ModelError: the file is missing or is not a network that ONNX Runtime can run.
    """

    def __init__(
        self,
        path: Path,
        *,
        n_threads: int | None = None,
        settings: Mapping[str, str] | None = None,
        shared_in: Path | None = None,
    ) -> None:

        def options() -> onnxruntime.SessionOptions:
            session_settings = session_options(n_threads)
            for key, value in (settings or {}).items():
                session_settings.add_session_config_entry(key, value)
            return session_settings

        self._n_threads = n_threads or os.cpu_count() or 1
        try:
            shared = shared_in and open_shared(path, shared_in, options, settings or {})
            self._session = shared or open_session(path, options())
        # ONNX Runtime's errors share no base class below Exception
        except Exception as error:
            raise ModelError(
                f"{path} cannot be run by ONNX Runtime: {error}.",
                remedy="Check the model with `anymodal models verify`, and prepare it again.",
            ) from error

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        with running(self._n_threads), denormals_as_zero():
            outputs: list[Any] = self._session.run(None, dict(inputs))
        return outputs


def open_onnx(
    path: Path, n_threads: int | None, settings: Mapping[str, str] | None = None
) -> OnnxSession:
    """Open a network whose weights are held once for all processes of this machine."""
    return OnnxSession(
        path, n_threads=n_threads, settings=settings, shared_in=cache_folder("shared")
    )


def session_options(n_threads: int | None = None) -> onnxruntime.SessionOptions:
    """Options for a process that shares its memory and its cores with others."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads or os.cpu_count() or 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The arena would keep the largest batch's memory; glibc returns it.
    options.enable_cpu_mem_arena = False
    # A waiting thread must not burn a core that decoding could use.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return options
