"""Finding moments in films by words: what is shown, what is said and what is heard."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.bundle_quality import photos, speech
from benchmarks.bundle_quality.report import Figure, Subject
from benchmarks.corpora.photo_captions import LANGUAGES, Asked, asked
from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.media.image import load_image
from encoder.media.sound import load_sound
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch
from encoder.towers.audio.logmel import resample
from encoder.types import QUERY, TEXT, Item
from examples.film import Scene, write_film
from scripts import captioned_pictures
from search import Query, SearchEngine
from search.filters.tree import Compare, Operator
from search.store.memory import MemoryStore
from search.types import Hit
from workers.pipeline import IngestPipeline

N_FILMS, N_SCENES = 3, 20
SCENE_S, NEAR_S = 8.0, 5.0
_RATE = 16_000
_EVERY = 3
"""Of every three scenes, one has speech, one has a sound, and one is silent."""

ABOUT = """
Protocol, written before the first run.

- No set of films with judged moments that is openly licensed could be had here. So films are made
  of what others described: 3 films of 20 scenes of 8 s. A scene moves slowly into one of the
  photographs of COCO that `benchmarks.corpora.photo_captions` asks for, drawn by a seed. Of three
  scenes one has an English recording of Common Voice from its start (the half `check`), one a
  clip of ESC-10 from its start, of ten classes in turn, and one is silent.
- Queries are the photograph's sentence in English, German and Chinese, the sentence that is said,
  and the name of the sound's class. All films are ingested as `anymodal ingest` does it, and all
  their moments compete, of 60 scenes.
- The first hit's moment is right if its middle is within 5 s of the middle of a scene that answers,
  in the same film; of a class any scene with a clip of it answers. "In its film" is the same with
  the search narrowed to the film that answers, as in tests of moments within one video.
- A cut between scenes is easier to see than in a real film, and a photograph does not move: figures
  say how well moments are kept apart and pointed at, not how well actions are understood.
"""


class Asks(NamedTuple):
    """A query, its kind, and the scenes that answer: pairs of film and place."""

    kind: str
    text: str
    answers: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Plan:
    """What the scenes show and play, in the order of films."""

    photographs: Sequence[Asked]
    said: Sequence[speech.Recording]
    heard: Sequence[speech.Recording]

    def recording(self, place: int) -> speech.Recording | None:
        """What a scene plays, by its place among all scenes; nothing in every third."""
        turn, kind = divmod(place, _EVERY)
        return (self.said[turn], self.heard[turn], None)[kind]

    def queries(self) -> list[Asks]:
        """All that is asked."""
        places = [divmod(place, N_SCENES) for place in range(len(self.photographs))]
        found = [
            Asks(f"what is shown, {language}", photograph.sentences[number], (places[place],))
            for number, language in enumerate(LANGUAGES)
            for place, photograph in enumerate(self.photographs)
        ]
        n = len(self.photographs)
        found += [
            Asks("what is said, en", self.said[turn].text, (places[place],))
            for turn, place in enumerate(range(0, n, _EVERY))
        ]
        classes: dict[str, list[tuple[int, int]]] = {}
        for turn, place in enumerate(range(1, n, _EVERY)):
            classes.setdefault(class_of(self.heard[turn].path), []).append(places[place])
        heard = (Asks("what is heard, en", name, tuple(at)) for name, at in classes.items())
        return [*found, *heard]


def class_of(path: Path) -> str:
    """The name of a clip's class: its folder's name without the number.

    >>> class_of(Path("001 - Dog bark/a.ogg"))
    'Dog bark'
    """
    return path.parent.name.partition(" - ")[2]


def plan() -> Plan:
    """A plan drawn with a seed; recordings and clips are in the order of their sets."""
    tests = asked(photos.FOLDER, captioned_pictures.read(photos.FOLDER))
    drawn = np.random.default_rng(0).permutation(len(tests))[: N_FILMS * N_SCENES]
    said = speech.common_voice(speech.COMMON_VOICE.files() / "en", speech.CHECK)
    clips = speech.noises(speech.ESC_10.files())
    by_class: dict[str, list[speech.Recording]] = {}
    for clip in clips:
        by_class.setdefault(class_of(clip.path), []).append(clip)
    in_turn = [clip for some in zip(*by_class.values(), strict=False) for clip in some]
    return Plan([tests[place] for place in drawn], said, in_turn)


def write_films(folder: Path, made: Plan) -> None:
    """Write each film to its own folder, named after its number."""
    from PIL import Image

    for film in range(len(made.photographs) // N_SCENES):
        scenes = []
        for place in range(film * N_SCENES, (film + 1) * N_SCENES):
            still = Image.fromarray(load_image(made.photographs[place].picture.path))
            played = made.recording(place)
            sound = np.zeros(1, np.float32)
            if played:
                sound = np.asarray(resample(load_sound(played.path), _RATE), np.float32)
            scenes.append(Scene(still, sound, SCENE_S))
        (folder / str(film)).mkdir()
        write_film(folder / str(film) / "film.mp4", scenes, _RATE)


def is_right(hit: Hit, answers: Sequence[tuple[int, int]]) -> bool:
    """Whether a hit's moment is near the middle of a scene that answers."""
    if hit.start_s is None:
        return False
    middle = (hit.start_s + (hit.start_s if hit.end_s is None else hit.end_s)) / 2
    return any(
        Path(hit.uri).parent.name == str(film) and abs(middle - SCENE_S * (place + 0.5)) <= NEAR_S
        for film, place in answers
    )


def figures(name: str, folder: Path, asks: Sequence[Asks]) -> Iterator[Figure]:
    """What a bundle in int8 points at."""
    fetch(read_bundle(name))
    encoder = MultiModalEncoder(
        f"bundle:{name}", quantization="int8", config=EncoderConfig(n_threads=1)
    )
    store = MemoryStore(encoder.embed_dim, encoder.space.calibration)
    report = IngestPipeline(encoder, store).run([str(folder)])
    if report.failures:
        raise RuntimeError(f"{report.failures[0]}")
    engine = SearchEngine(encoder, store)
    for kind in dict.fromkeys(one.kind for one in asks):
        of_kind = [one for one in asks if one.kind == kind]
        everywhere = [_right(engine, one, folder) for one in of_kind]
        yield _figure(f"{name}: {kind}", everywhere)
        within = [
            _right(engine, one._replace(answers=some), folder, film)
            for one in of_kind
            for film in dict.fromkeys(film for film, _ in one.answers)
            if (some := tuple(answer for answer in one.answers if answer[0] == film))
        ]
        yield _figure(f"{name}: {kind}, in its film", within)
    engine.close()


def _right(engine: SearchEngine, one: Asks, folder: Path, film: int | None = None) -> bool:
    within = f"{folder.resolve() / str(film)}/"
    wanted = None if film is None else Compare("path", Operator.PREFIX, within)
    asked_for = Query([Item(TEXT, one.text, QUERY)], limit=1, group_by="segment", filter=wanted)
    hits = engine.search(asked_for).hits
    return bool(hits) and is_right(hits[0], one.answers)


def _figure(what: str, right: Sequence[bool]) -> Figure:
    seen = photos.SEEN["multilingual"] if "shown" in what and "multilingual" in what else ""
    seen = "beside it" if "heard" in what else seen
    values = np.array(right, float)
    return Figure(what, "R@1 ± 5 s", values, np.arange(len(values)), seen=seen)


def measure() -> Iterator[Figure]:
    """The multilingual bundle in all languages, and the English one in English."""
    captioned_pictures.fetch(photos.FOLDER)
    made = plan()
    asks = made.queries()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_films(folder, made)
        yield from figures("multilingual", folder, asks)
        yield from figures("english", folder, [one for one in asks if one.kind.endswith("en")])


SUBJECT = Subject("moments in films", ABOUT, lambda: list(measure()))
