"""What there is to find: some of the demo's samples."""

from __future__ import annotations

import shutil
from pathlib import Path

from examples.samples import make_samples

INGESTED = (
    "bread.md",
    "coffee.txt",
    "storms.txt",
    "clocks.html",
    "cat.png",
    "coffee.png",
    "motorcycle.png",
    "wall-clock.png",
    "clock-ticking.flac",
    "rocket-launch.mp3",
    "speech-train.wav",
    "film.mp4",
)
"""The files of the library; the other samples stay outside, to search with and to add."""


def make_library(home: Path) -> Path:
    """Make the samples in ``home``/samples and copy the library's to ``home``/library."""
    make_samples(home / "samples")
    library = home / "library"
    library.mkdir()
    for name in INGESTED:
        shutil.copy(home / "samples" / name, library / name)
    _say_where_and_when(library / "cat.png")
    return library


def _say_where_and_when(path: Path) -> None:
    """Add the place and the time, as a camera does: Munich, in May 2024."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0110] = "Camera"  # Pillow drops an EXIF that has only sub-IFDs
    exif.get_ifd(0x8769)[0x9003] = "2024:05:17 18:30:00"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 13.0), 3: "E", 4: (11.0, 34.0, 30.0)})
    with Image.open(path) as image:
        image.save(path, exif=exif)


def sample(library: Path, name: str) -> Path:
    """A sample, whether it is in the library or not."""
    return library.parent / "samples" / name


def microphone(library: Path) -> Path:
    """The WAV that the fake microphone plays in a loop, read again for each recording."""
    return library.parent / "microphone.wav"


def say(sentence: str, library: Path) -> None:
    """Let the fake microphone hear a sentence, followed by a pause as long as a recording: what is
    said several times is taken for a recogniser's loop."""
    import numpy as np
    import soundfile

    from encoder.system.cache import cache_home
    from examples.speech import Speaker

    speaker = Speaker(cache_home())
    samples = np.pad(speaker.say(sentence), (0, 30 * speaker.sampling_rate))
    soundfile.write(microphone(library), samples, speaker.sampling_rate, subtype="PCM_16")


def recorded_sound(library: Path) -> Path:
    """A clock's ticking as the WAV that the fake microphone plays."""
    import soundfile

    path = microphone(library)
    samples, rate = soundfile.read(sample(library, "clock-ticking.flac"))
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path
