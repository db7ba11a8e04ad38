"""Sound as bytes that arrive in parts of any length."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from encoder.errors import InputError
from search.listening.questions import CHUNK_S, RATE, Samples

_BYTES = 2
CHUNK_BYTES = int(CHUNK_S * RATE) * _BYTES
"""Half a second of sound."""

_PCM, _EXTENSIBLE = 1, 0xFFFE
_MAX_HEAD_BYTES = 64 * 1024
_NAME_BYTES = 8  # of a chunk, with its size
_RIFF_BYTES = 12
_FORMAT_BYTES = 16


class PcmReader:
    """Signed 16-bit little-endian mono sound at `RATE`, raw or after the header of a WAV file.

    Args:
        raw: the sound may come without such a header.
    """

    def __init__(self, *, raw: bool = True) -> None:
        self._raw = raw
        self._began = False
        self._n_left: int | None = None
        self.rest = b""
        """Bytes that were not taken yet; all of them if `add` refuses the sound."""

    def add(self, data: bytes) -> Samples:
        """The samples that are complete now, float32 [n].

        Raises:
            InputError: a WAV file of a different format, or none where one is required.
        """
        self.rest += data
        if not self._began and not self._begin():
            return np.zeros(0, np.float32)
        whole = len(self.rest) // _BYTES * _BYTES
        taken, self.rest = self.rest[:whole], self.rest[whole:]
        if self._n_left is not None:  # a WAV file may have metadata after its sound
            taken = taken[: self._n_left]
            self._n_left -= len(taken)
        return np.frombuffer(taken, "<i2").astype(np.float32) / np.float32(32_768)

    def _begin(self) -> bool:
        """Whether the header has been read, or there is none."""
        if len(self.rest) < len(b"RIFF"):
            return False
        if self.rest.startswith(b"RIFF"):
            sound_range = sound_in(self.rest)
            if sound_range is None:
                return False
            start, self._n_left = sound_range
            self.rest = self.rest[start:]
        elif not self._raw:
            raise _other("bytes without the head of a WAV file")
        self._began = True
        return True


def sound_in(head: bytes) -> tuple[int, int | None] | None:
    """Where a WAV file's samples begin and how many bytes they have; None while more is needed.

    A file that is written during a recording states no length, or one that is too large.

    Raises:
        InputError: a different format than `PcmReader` takes.
    """
    at = _RIFF_BYTES
    while len(head) >= at + _NAME_BYTES:
        name, size = struct.unpack_from("<4sI", head, at)
        at += _NAME_BYTES
        if name == b"data":
            return at, size or None
        if name == b"fmt " and len(head) >= at + _FORMAT_BYTES:
            code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head, at)
            if (channels, rate, bits) != (1, RATE, 16) or code not in (_PCM, _EXTENSIBLE):
                raise _other(f"a WAV file of {channels} channels, {bits} bits and {rate:,} Hz")
        at += size + size % 2
    if len(head) > _MAX_HEAD_BYTES:
        raise _other("a WAV file without sound")
    return None


def pcm_chunks(stream: BinaryIO) -> Iterator[Samples]:
    """Half seconds of such sound from a pipe.

    Raises:
        InputError: a WAV file of a different format.
    """
    reader = PcmReader()
    while data := stream.read(CHUNK_BYTES):
        yield reader.add(data)


def _other(got: str) -> InputError:
    wanted = "signed 16-bit mono sound at 16,000 Hz: arecord -f S16_LE -r 16000, ffmpeg -f s16le"
    return InputError("sound", got=got, wanted=wanted)
