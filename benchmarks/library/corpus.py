"""Makes the files of the library, and notes for each what it is made of."""

from __future__ import annotations

import csv
import json
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from shutil import copy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from benchmarks.bundle_quality import questions as xquad
from benchmarks.corpora.pages import FONTS_FOLDER, check_fonts
from benchmarks.harness.reporting import note
from benchmarks.harness.sources import COMMON_VOICE, ESC_10, ESC_50, Repository
from benchmarks.library.writing import Written, write_slides, write_text
from encoder.media.sound import load_sound, resample
from encoder.types import Waveform

PHOTOS = Repository(
    "https://github.com/minto5z/coco_yolo",
    "4715f5ca05a6ffc148d4c4e5b0a131663655f2be",
    "each photograph its own",
)
CAPTIONS = Repository(
    "https://github.com/lborke/COCO_Dataset",
    "71e935371c3d5aaebd936c3eb6369b69d18e0bc6",
    "CC BY 4.0",
)
NEWS = Repository(
    "https://github.com/tblock/10kGNAD",
    "da845fe4a16f02a8de10903ffbc636d1c8d21862",
    "CC BY-NC-SA 4.0",
)
MAILS = Repository(
    "https://github.com/stdlib-js/datasets-spam-assassin",
    "1b84d49ab4b28092ead009b3ceeb67ae525289d1",
    "public domain",
)
LANGUAGES = ("en", "de", "zh")
HERE = Path(__file__).parent
MANIFEST = "manifest.json"
SPEECH_HZ = 16_000

N_PHOTOS, N_NEWS = 240, 48
_N_MAILS, _N_SHOTS = 60, 14
_CITIES = {
    "Paris": (48.8584, 2.2945), "Berlin": (52.5163, 13.3777), "Tokyo": (35.6586, 139.7454),
    "Vienna": (48.2086, 16.3726), "Sydney": (-33.8568, 151.2153), "Oslo": (59.9139, 10.7522),
    "Seoul": (37.5665, 126.978), "Madrid": (40.4168, -3.7038), "Athens": (37.9838, 23.7275),
    "Rome": (41.8902, 12.4922), "Toronto": (43.6426, -79.3871), "Frankfurt": (50.0379, 8.5622),
    "Dublin": (53.3498, -6.2603), "New York": (40.758, -73.9855), "Amsterdam": (52.3702, 4.8952),
    "Jaipur": (26.9124, 75.7873), "Zurich": (47.3769, 8.5417), "Prague": (50.0755, 14.4378),
    "Lisbon": (38.7223, -9.1393), "Barcelona": (41.3784, 2.1925),
}  # fmt: skip
_DRAWN_CITIES = list(_CITIES)[:9]
"""Photographs that are asked for with a city's name have it from ``photos.tsv``."""
_ASKED_THERE = ("umbrella", "skate", "bench", "statue")
_BEST = "best of 2019"
_FORMS = ("pdf", "docx", "pdf", "md", "pptx", "html", "txt", "odt")
_CLASSES = (0, 10, 11, 20, 38, 21, 40, 41, 1, 12)
"""ESC-50's numbers of the ten folders of ESC-10."""
_FURTHER = (5, 14, 17, 19, 22, 26, 28, 30, 36, 39, 42, 46)
_MEMOS = {
    "en": ("voice memo {:02}", "mp3"),
    "de": ("Aufnahme {:02}", "flac"),
    "zh": ("录音{:02}", "wav"),
}
_FOLDERS_OF_SPEECH = {"en": "en", "de": "de", "zh": "zh-CN"}
_VOICES = {"en": "en-us", "de": "de"}
_SHORT, _N_SHORT, _LONG = 4, 15, 20
_PAUSE_S = 0.6

Facts = dict[str, Any]
"""What a file is made of: ``of`` (``coco:…``, ``class:…``), ``taken``, ``place``, ``said`` …"""


class Source(NamedTuple):
    """What one of the libraries is made of: its tables, and the ``nth`` share of each collection.

    ``bursts`` are photographs, ``folders`` hold some, and ``names`` are what articles are called.
    """

    nth: int
    tables: Path
    bursts: tuple[int, ...]
    folders: Mapping[str, tuple[int, ...]]
    names: Mapping[int, str]


_FIRST = Source(
    0, HERE, (12748, 188465, 117197),
    {"Hochzeit Lena und Paul": (263969, 496854, 78843), "2023春节": (209530, 376322, 546219)},
    {
        0: "Budget_Q3_final", 3: "Project Falcon", 6: "CV Jane Doe", 1: "Nebenkosten_Abrechnung",
        4: "Lebenslauf_Meier", 7: "Steuer 2021 Anlage N", 10: "Vertrag_final_v3", 2: "年终总结",
        5: "简历_李娜", 8: "合同最终版",
    },
)  # fmt: skip
_SECOND = Source(
    1, HERE / "second", (484893, 557672, 214192),
    {
        "Betriebsausflug Juni": (224807, 462371, 537506), "surf camp": (326174, 210915, 45090),
        "2022中秋": (60347, 396338, 163314),
    },
    {
        0: "Mietspiegel 2022", 3: "Bewerbung_Schulze", 6: "Protokoll_Vorstand", 1: "培训资料",
        4: "年度预算", 7: "体检报告_王芳", 2: "Thesis_Draft_v2", 5: "Offsite Agenda",
        8: "Packing List Norway",
    },
)  # fmt: skip
SOURCES = {"development": _FIRST, "judged": _FIRST, "second": _SECOND}
"""What the questions of a half are asked about."""


def rows(path: Path) -> Iterator[list[str]]:
    """The lines of a table, without its comments."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row and not row[0].startswith("#"):
                yield row


def make(folder: Path, source: Source) -> dict[str, Facts]:
    """Write all files that are missing, and their manifest beside them.

    Args:
        folder: takes ``files`` and `MANIFEST`.
        source: what they are made of.
    """
    manifest = folder / MANIFEST
    if not manifest.exists():
        check_fonts(FONTS_FOLDER)
        files = folder / "files"
        made: dict[str, Facts] = {}
        for part in (_photos, _texts, _articles, _news, _mails, _sounds, _speech, _films):
            made |= part(files, source)
            note(f"{len(made)} files")
        for name, facts in made.items():
            random_day = datetime(2025, 10, 1) + timedelta(days=sum(map(ord, name)) % 40)
            moment = datetime.fromisoformat(facts["taken"]) if "taken" in facts else random_day
            os.utime(files / name, (moment.timestamp(),) * 2)
        manifest.write_text(json.dumps(made, ensure_ascii=False, indent=0), "utf-8")
    facts_of: dict[str, Facts] = json.loads(manifest.read_text("utf-8"))
    return facts_of


def captions() -> dict[int, list[str]]:
    """What people said about each photograph."""
    listing = json.loads(
        (CAPTIONS.files() / "annotations" / "captions_val2017.json").read_text("utf-8")
    )
    found: dict[int, list[str]] = {}
    for one in listing["annotations"]:
        found.setdefault(one["image_id"], []).append(" ".join(one["caption"].split()))
    return found


def photographs() -> dict[int, Path]:
    """The photographs by COCO's number, in an order drawn by a seed."""
    said = captions()
    files = {int(p.stem): p for p in PHOTOS.files().glob("coco/images/*/*.jpg")}
    numbers = sorted(files.keys() & said.keys())
    random.Random(38).shuffle(numbers)
    return {number: files[number] for number in numbers}


def _in_films(source: Source) -> list[int]:
    films = rows(source.tables / "films.tsv")
    return [int(number) for row in films for number in row[1].split(",")]


def _photos(files: Path, source: Source) -> dict[str, Facts]:
    made: dict[str, Facts] = {}
    said, pictures, chance = captions(), photographs(), random.Random(1)
    given = {int(row[0]): row[1:] for row in rows(source.tables / "photos.tsv")}
    apart, start = {*_in_films(source), *source.bursts}, source.nth * N_PHOTOS
    chosen = [number for number in list(pictures)[start : start + N_PHOTOS] if number not in apart]
    n_best = 0
    for n, number in enumerate(chosen):
        day, city = _drawn(chance, said[number])
        if number in given:
            day, city = given[number]
        moment = datetime.fromisoformat(day) + timedelta(seconds=chance.randrange(28_800, 72_000))
        folder = next(
            (name for name, of in source.folders.items() if number in of), str(moment.year)
        )
        if moment.year == 2019 and n_best < 4 and number not in given:
            folder, n_best = _BEST, n_best + 1
        name = (f"IMG_{4250 + n}", f"DSC_{n + 1:04}", f"PXL_{moment:%Y%m%d_%H%M%S}")[n % 3]
        path = f"photos/{folder}/{name}.jpg"
        with Image.open(pictures[number]) as picture:
            _save_photo(files / path, picture.convert("RGB"), moment, city)
        made[path] = {"of": f"coco:{number}", "caption": said[number][0]}
        made[path] |= {"taken": moment.isoformat(), "place": city}
    for number in source.bursts:
        made |= _burst(files, number, pictures[number], chance)
    return made


def _drawn(chance: random.Random, said: Sequence[str]) -> tuple[str, str]:
    """A day and a city, or none, for a photograph."""
    day = datetime(2014, 1, 1) + timedelta(days=chance.randrange(4000))
    month = chance.choices((None, 6, 8), (80, 12, 8))[0]
    if month:
        day = datetime(2019, month, day.day % 28 + 1)
    city = chance.choice(_DRAWN_CITIES) if chance.random() < 0.6 else ""
    asked_there = any(word in " ".join(said).lower() for word in _ASKED_THERE)
    return day.date().isoformat(), "" if asked_there else city


def _burst(files: Path, number: int, source: Path, chance: random.Random) -> dict[str, Facts]:
    made: dict[str, Facts] = {}
    start = datetime(2021, 3, 1) + timedelta(days=number % 900, hours=11)
    with Image.open(source) as picture:
        whole = picture.convert("RGB")
    width, height = whole.size
    for shot in range(_N_SHOTS):
        left, top = chance.randrange(12), chance.randrange(12)
        cut = whole.crop((left, top, width - 12 + left, height - 12 + top))
        lit = ImageEnhance.Brightness(cut).enhance(chance.uniform(0.94, 1.06))
        moment = start + timedelta(seconds=shot)
        path = f"photos/{start.year}/BURST_{moment:%Y%m%d_%H%M%S}.jpg"
        _save_photo(files / path, lit, moment, "", quality=chance.randrange(78, 94))
        made[path] = {"of": f"burst:{number}", "taken": moment.isoformat(), "place": ""}
    return made


def _save_photo(
    path: Path, picture: Image.Image, moment: datetime, city: str, quality: int = 92
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0110] = "Pixel 4a"
    exif.get_ifd(0x8769)[0x9003] = f"{moment:%Y:%m:%d %H:%M:%S}"
    if city:
        latitude, longitude = _CITIES[city]
        exif.get_ifd(0x8825).update(
            {
                1: "N" if latitude >= 0 else "S",
                2: _degrees(latitude),
                3: "E" if longitude >= 0 else "W",
                4: _degrees(longitude),
            }
        )
    picture.save(path, "JPEG", quality=quality, exif=exif)


def _degrees(angle: float) -> tuple[float, float, float]:
    """Degrees, minutes and seconds."""
    minutes = abs(angle) * 60
    return minutes // 60, minutes // 1 % 60, round(minutes * 60 % 60, 2)


def texts(source: Source) -> list[Written]:
    """The texts of ours."""
    found = []
    for block in (source.tables / "texts.txt").read_text("utf-8").split("=== ")[1:]:
        heading, title, *lines = block.strip().splitlines()
        path, language, about = re.fullmatch(r"(.*\.\w+) (\w\w) ?(.*)", heading).groups()  # type: ignore[union-attr]
        pages = "\n".join(lines).split("\n---\n")
        found.append(Written(path, language, about, title, pages))
    return found


def _texts(files: Path, source: Source) -> dict[str, Facts]:
    made: dict[str, Facts] = {}
    for number, text in enumerate(texts(source)):
        write_text(files / text.path, text, number)
        made[text.path] = {"of": f"text:{text.path}", "language": text.language}
    return made


def articles(source: Source) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """XQuAD's articles, each in one language: its path, the language, and its paragraphs."""
    data = {one: xquad.articles(one) for one in LANGUAGES}
    found = []
    for number in range(len(data["en"])):
        language = LANGUAGES[(number + source.nth) % len(LANGUAGES)]
        form = _FORMS[number // len(LANGUAGES) % len(_FORMS)]
        path = f"articles/{source.names.get(number, f'doc{number:02}')}.{form}"
        found.append((path, language, data[language][number]["paragraphs"]))
    return found


def _articles(files: Path, source: Source) -> dict[str, Facts]:
    made: dict[str, Facts] = {}
    for path, language, paragraphs in articles(source):
        pages = [one["context"] for one in paragraphs]
        title = pages[0][:40].rpartition(" ")[0] or pages[0][:12]
        slides = [f"{n}\n{part}" if path.endswith("pptx") else part for n, part in enumerate(pages)]
        write_text(files / path, Written(path, language, "", title, slides))
        made[path] = {"of": "xquad", "language": language}
    return made


def news() -> list[str]:
    """German articles."""
    with (NEWS.files() / "test.csv").open(encoding="utf-8", newline="") as file:
        return [row[1] for row in csv.reader(file, delimiter=";", quotechar="'") if len(row) > 1]


def _news(files: Path, source: Source) -> dict[str, Facts]:
    made: dict[str, Facts] = {}
    given = news()
    for n in range(N_NEWS):
        text = given[n * len(given) // N_NEWS + 7 * source.nth]
        path = f"news/artikel-{n:02}.{('txt', 'html', 'docx', 'pdf')[n % 4]}"
        title, _, body = text.partition(". ")
        write_text(files / path, Written(path, "de", "", title, [body or title]))
        made[path] = {"of": "news", "language": "de"}
    return made


def mails() -> dict[str, Path]:
    """Real mails, by their folder's number and their own."""
    found = sorted((MAILS.files() / "data").glob("easy-ham-*/*.txt"))
    return {f"{path.parent.name[-1]}/{path.name[:5]}": path for path in found}


def _mails(files: Path, source: Source) -> dict[str, Facts]:
    made: dict[str, Facts] = {}
    known = mails()
    listed = rows(source.tables / "questions.tsv")
    asked = {row[3][4:] for row in listed if row[3].startswith("ham:")}
    free, chance = sorted(known.keys() - asked), random.Random(2 + source.nth)
    for n, key in enumerate(sorted([*asked, *chance.sample(free, _N_MAILS - len(asked))])):
        path = f"mails/h{n:03}.eml"
        copy(known[key], files / path)
        made[path] = {"of": f"ham:{key}", "language": "en"}
    return made


def clips() -> dict[int, list[Path]]:
    """Sounds without speech, by ESC-50's number of their class."""
    found: dict[int, list[Path]] = {}
    folders = sorted(p for p in ESC_10.files().iterdir() if p.name[:3].isdigit())
    for number, folder in zip(_CLASSES, folders, strict=True):
        found[number] = sorted(folder.glob("*.*"))
    for path in sorted(ESC_50.files().rglob("*.wav")):
        number = int(path.stem.rpartition("-")[2])
        if number in _FURTHER:
            found.setdefault(number, []).append(path)
    return found


def _sounds(files: Path, source: Source) -> dict[str, Facts]:
    made: dict[str, Facts] = {}
    (files / "sounds").mkdir(parents=True, exist_ok=True)
    taken = list[tuple[int, Path]]()
    for number, of in clips().items():
        count = 3 if number in _CLASSES else 2
        taken += [(number, clip) for clip in of[source.nth * count : (source.nth + 1) * count]]
    random.Random(3).shuffle(taken)
    for n, (number, clip) in enumerate(taken):
        path = f"sounds/track{n:02}{clip.suffix}"
        copy(clip, files / path)
        made[path] = {"of": f"class:{number}"}
    return made


def _speech(files: Path, source: Source) -> dict[str, Facts]:
    import soundfile

    made: dict[str, Facts] = {}
    (files / "recordings").mkdir(parents=True, exist_ok=True)
    pause = np.zeros(round(_PAUSE_S * SPEECH_HZ), np.float32)
    for language in LANGUAGES:
        folder = COMMON_VOICE.files() / _FOLDERS_OF_SPEECH[language]
        with (folder / "validated.tsv").open(encoding="utf-8") as file:
            spoken = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        spoken_rows = list(range(len(spoken)))
        if source.nth:
            random.Random(source.nth).shuffle(spoken_rows)
        ends = [*range(0, _SHORT * _N_SHORT, _SHORT), *range(_SHORT * _N_SHORT, 101, _LONG)]
        for n, (start, end) in enumerate(pairwise(ends), 1):
            parts, spans, at = list[NDArray[np.float32]](), dict[str, tuple[float, float]](), 0
            for row in spoken_rows[start:end]:
                samples = resample(load_sound(folder / "clips" / spoken[row]["path"]), SPEECH_HZ)
                spans[f"cv:{language}:{row + 1}"] = (
                    at / SPEECH_HZ,
                    (at + len(samples)) / SPEECH_HZ,
                )
                parts += [samples, pause]
                at += len(samples) + len(pause)
            name, form = _MEMOS[language]
            path = f"recordings/{name.format(n)}.{form}"
            soundfile.write(files / path, np.concatenate(parts), SPEECH_HZ)
            made[path] = {"of": "speech", "language": language, "said": spans}
    return made


def _films(files: Path, source: Source) -> dict[str, Facts]:
    made: dict[str, Facts] = {}
    pictures, sounds = photographs(), clips()
    for path, numbers, heard in rows(source.tables / "films.tsv"):
        slides = []
        for number in numbers.split(","):
            with Image.open(pictures[int(number)]) as picture:
                slides.append(picture.convert("RGB").resize((640, 480)))
        (files / path).parent.mkdir(parents=True, exist_ok=True)
        write_slides(files / path, slides, _sound_track(heard, sounds))
        made[path] = {"of": f"film:{numbers}", "heard": f"class:{heard}"}
    return made


def _sound_track(heard: str, sounds: Mapping[int, Sequence[Path]]) -> NDArray[np.float32] | None:
    """Samples at 48 kHz: a clip of a class, or spoken words; None for silence."""
    if not heard:
        return None
    from examples.speech import Speaker

    if heard.isdigit():
        return resample(load_sound(sounds[int(heard)][-1]), 48_000)
    language, _, words = heard.partition(": ")
    speaker = Speaker(Path.home() / ".cache" / "anymodal")
    return resample(Waveform(speaker.say(words, _VOICES[language]), speaker.sampling_rate), 48_000)
