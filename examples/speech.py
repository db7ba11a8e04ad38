"""Speech from eSpeak NG (GPL-3.0), used as a program is: fetched when the demo runs.

Nothing of it is part of this project, and what it speaks is ours.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

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
    """Speaks English sentences.

    Args:
        cache: where packages are kept.
    """

    def __init__(self, cache: Path) -> None:
        wheel = packages.fetch(packages.ESPEAK, cache)
        home = packages.unpack(wheel, cache / "espeak") / "espeakng_loader"
        library = next(file for file in home.iterdir() if file.suffix in _LIBRARY)
        self._library = ctypes.CDLL(str(library))
        data = str(home / "espeak-ng-data").encode()
        self.sampling_rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
        self._parts: list[NDArray[np.int16]] = []
        self._callback = _ON_SAMPLES(self._keep)  # kept alive: the library calls it
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_SetParameter(_RATE_PARAMETER, _WORDS_PER_MINUTE, 0)

    def say(self, text: str, voice: str = "en-us") -> NDArray[np.float32]:
        """One sentence as mono samples at `sampling_rate`."""
        self._parts.clear()
        self._library.espeak_SetVoiceByName(voice.encode())
        spoken = text.encode()
        self._library.espeak_Synth(spoken, len(spoken) + 1, 0, 0, 0, _UTF8, None, None)
        return (np.concatenate(self._parts) / np.float32(32768)).astype(np.float32)

    def _keep(self, samples: ctypes._Pointer[ctypes.c_short], n: int, _events: int) -> int:
        if samples and n > 0:
            self._parts.append(np.ctypeslib.as_array(samples, (n,)).copy())
        return 0
