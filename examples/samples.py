"""The demo's sample media: a small mixed folder, each file with its licence.

Photographs come from packages that pip fetches by name; everything else is made here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from examples import packages
from examples.film import Scene, write_film
from examples.pictures import PICTURES, candle
from examples.sounds import RATE, SOUNDS
from examples.speech import Speaker
from examples.texts import TEXTS, write_pdf

if TYPE_CHECKING:
    from PIL.Image import Image

Sample = tuple[Path, str]
"""A file and a note on its licence."""

OURS = "made by this script; Apache-2.0, like the project"
SPOKEN = "our words, spoken by eSpeak NG"

PHOTOS = {
    "cat.png": ("chelsea.png", "CC0, Stefan van der Walt, from scikit-image"),
    "coffee.png": ("coffee.png", "CC0, Rachel Michetti, from scikit-image"),
    "motorcycle.png": ("motorcycle_left.png", "CC0, Daniel Scharstein, from scikit-image"),
    "photographer.png": ("camera.png", "CC0, Lav Varshney, from scikit-image"),
}
SENTENCES = {
    "speech-bakery.wav": "The bakery on the corner sells fresh bread until noon.",
    "speech-train.wav": "The train to London leaves from platform nine at half past six.",
    "speech-garden.wav": "Please water the tomatoes in the garden while we are away.",
}
FILM = (
    ("palace", "We begin at an old palace in China, with many roofs and a lake.", "wind"),
    ("rocket", "Now a rocket takes off and carries a satellite into space.", "rocket-launch"),
    ("candle", "In the evening we light a candle, and the room grows warm.", ""),
)
"""Still, words and background sound of each scene."""
SCENE_S = 7.0
QUESTION = "When does the rocket fly into space?"


def make_samples(folder: Path) -> list[Sample]:
    """Fill ``folder``; return its files with licence notes, which are also in ``SOURCES.md``.

    Files that are there already are kept. Packages are kept in ``packages`` next to the folder,
    a spoken question in ``queries``.

    Raises:
        AnymodalError: a package cannot be fetched.
    """
    cache = folder.parent / "packages"
    queries = folder.parent / "queries"
    for needed in (folder, cache, queries):
        needed.mkdir(parents=True, exist_ok=True)
    speaker = Speaker(cache)
    samples = [
        *_photos(folder, cache),
        *_made(folder, {name: _save_picture(draw) for name, draw in PICTURES.items()}),
        *_made(folder, {f"{name}.{_format(name)}": _save_sound(s) for name, s in SOUNDS.items()}),
        *_made(folder, {name: _save_speech(speaker, text) for name, text in SENTENCES.items()}),
        *_made(folder, {name: _save_text(text) for name, text in TEXTS.items()}),
        *_made(folder, {"bees.pdf": write_pdf}),
        *_film(folder, cache, speaker),
    ]
    _made(queries, {"question.wav": _save_speech(speaker, QUESTION)})
    _write_sources(folder / "SOURCES.md", samples)
    return samples


def _photos(folder: Path, cache: Path) -> list[Sample]:
    wheel = packages.fetch(packages.SCIKIT_IMAGE, cache)
    for name, (member, _) in PHOTOS.items():
        packages.extract(wheel, f"skimage/data/{member}", folder / name)
    return [(folder / name, note) for name, (_, note) in PHOTOS.items()]


def _made(folder: Path, makers: dict[str, Callable[[Path], None]]) -> list[Sample]:
    for name, make in makers.items():
        if not (folder / name).exists():
            make(folder / name)
    notes = {name: SPOKEN if name.startswith("speech") else OURS for name in makers}
    return [(folder / name, note) for name, note in notes.items()]


def _save_picture(draw: Callable[[], Image]) -> Callable[[Path], None]:
    return lambda path: draw().save(path)


def _save_sound(make: Callable[[], NDArray[np.float32]]) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        import soundfile

        soundfile.write(path, make(), RATE)

    return save


def _save_speech(speaker: Speaker, text: str) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        import soundfile

        soundfile.write(path, speaker.say(text), speaker.sampling_rate)

    return save


def _save_text(text: str) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        path.write_text(text, "utf-8")

    return save


def _format(name: str) -> str:
    """Spread the sounds over formats, so that the demo reads them all."""
    return ("wav", "flac", "ogg", "mp3")[list(SOUNDS).index(name) % 4]


def _film(folder: Path, cache: Path, speaker: Speaker) -> list[Sample]:
    path = folder / "film.mp4"
    if not path.exists():
        stills = _film_stills(cache)
        scenes = [
            Scene(stills[still], _with_background(speaker.say(words), sound), SCENE_S)
            for still, words, sound in FILM
        ]
        write_film(path, scenes, speaker.sampling_rate)
    note = (
        "our film; photographs: palace CC BY 2.0, danielbuechele, from scikit-learn;"
        " rocket public domain, SpaceX, from scikit-image"
    )
    return [(path, note)]


def _film_stills(cache: Path) -> dict[str, Image]:
    from PIL import Image

    rocket, palace = cache / "rocket.jpg", cache / "palace.jpg"
    wheel = packages.fetch(packages.SCIKIT_IMAGE, cache)
    packages.extract(wheel, "skimage/data/rocket.jpg", rocket)
    wheel = packages.fetch(packages.SCIKIT_LEARN, cache)
    packages.extract(wheel, "sklearn/datasets/images/china.jpg", palace)
    return {
        "palace": Image.open(palace),
        "rocket": Image.open(rocket),
        "candle": candle(),
    }


def _with_background(words: NDArray[np.float32], sound: str) -> NDArray[np.float32]:
    """The words first, and the sound at full strength after them."""
    if not sound:
        return words
    background = SOUNDS[sound]()
    return np.concatenate([words, 0.8 * background])


def _write_sources(path: Path, samples: list[Sample]) -> None:
    rows = "\n".join(f"| {file.name} | {note} |" for file, note in samples)
    path.write_text(f"# Sources\n\n| file | licence |\n| --- | --- |\n{rows}\n", "utf-8")
