"""Speech from eSpeak NG (GPL-3.0), used as a program: fetched when the demo runs.

No part of it belongs to this project, and what it speaks is ours.
"""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from examples import packages

_LIBRARY = (".so", ".dylib", ".dll")
_SYNCHRONOUS = 2
_UTF8 = 1
_WORDS_PER_MINUTE = 145
_RATE_PARAMETER = 1
_ON_SAMPLES = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Speaker:
    """Speaks English sentences, each the same way every time.

    eSpeak keeps state from the previous sentence, so each is spoken by a copy of the library that
    has said nothing yet.

    Args:
        cache: where packages are kept.
    """

    def __init__(self, cache: Path) -> None:
        wheel = packages.fetch(packages.ESPEAK, cache)
        self._home = packages.unpack(wheel, cache / "espeak") / "espeakng_loader"
        with self._silent_library() as (_, sampling_rate):
            self.sampling_rate = sampling_rate

    def say(self, text: str, voice: str = "en-us") -> NDArray[np.float32]:
        """One sentence as mono samples at `sampling_rate`."""
        parts: list[NDArray[np.int16]] = []

        @_ON_SAMPLES
        def keep(samples: ctypes._Pointer[ctypes.c_short], n: int, _events: int) -> int:
            if samples and n > 0:
                parts.append(np.ctypeslib.as_array(samples, (n,)).copy())
            return 0

        spoken = text.encode()
        with self._silent_library() as (library, _):
            library.espeak_SetSynthCallback(keep)
            library.espeak_SetParameter(_RATE_PARAMETER, _WORDS_PER_MINUTE, 0)
            library.espeak_SetVoiceByName(voice.encode())
            library.espeak_Synth(spoken, len(spoken) + 1, 0, 0, 0, _UTF8, None, None)
        return (np.concatenate(parts) / np.float32(32768)).astype(np.float32)

    @contextmanager
    def _silent_library(self) -> Iterator[tuple[ctypes.CDLL, int]]:
        """A new copy, and its sampling rate; the system loads the same path only once."""
        library = next(file for file in self._home.iterdir() if file.suffix in _LIBRARY)
        data = str(self._home / "espeak-ng-data").encode()
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            copy = ctypes.CDLL(shutil.copy(library, folder))
            yield copy, copy.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
            copy.espeak_Terminate()
