"""The films with known moments and the described sounds."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bundle_quality.speech import Recording
from benchmarks.bundle_quality.unseen import films, stamps
from benchmarks.corpora.photo_captions import Asked
from encoder.types import IMAGE
from scripts.captioned_pictures import Captioned
from search.types import Hit

CLASSES = ("001 - Dog bark", "002 - Rain")


def made() -> films.Plan:
    photographs = [
        Asked(Captioned(str(n), Path(f"{n}.jpg"), (), 0), (f"en {n}", f"de {n}", f"zh {n}"))
        for n in range(40)
    ]
    said = [Recording(Path(f"{n}.mp3"), f"sentence {n}", "en") for n in range(14)]
    heard = [Recording(Path(CLASSES[n % 2]) / f"{n}.ogg") for n in range(14)]
    return films.Plan(photographs, said, heard)


def test_each_query_has_the_scenes_that_answer() -> None:
    asks = made().queries()
    shown = [one for one in asks if one.kind == "what is shown, de"]
    assert [one.text for one in shown[:2]] == ["de 0", "de 1"]
    assert [one.answers for one in shown][19:21] == [((0, 19),), ((1, 0),)]
    said = [one for one in asks if one.kind == "what is said, en"]
    assert len(said) == 14
    assert said[7].answers == ((1, 1),)  # of every third scene, beginning with the first
    heard = {one.text: one.answers for one in asks if one.kind == "what is heard, en"}
    assert heard["Dog bark"][:2] == ((0, 1), (0, 7))
    assert len(heard["Rain"]) == 6


def test_scenes_play_what_is_asked_for() -> None:
    plan = made()
    played = [plan.recording(place) for place in range(4)]
    assert played[0] == plan.said[0]
    assert played[1] == plan.heard[0]
    assert played[2] is None
    assert played[3] == plan.said[1]


def hit(film: int, start_s: float | None, end_s: float | None = None) -> Hit:
    return Hit("a", "s", f"/x/{film}/film.mp4", IMAGE, 1.0, start_s, end_s)


def test_a_moment_is_right_near_the_middle_of_its_scene() -> None:
    answers = ((2, 3), (4, 0))  # scenes from 24 to 32 s of one film, and 0 to 8 s of another
    assert films.is_right(hit(2, 24.0), answers)
    assert films.is_right(hit(2, 30.0, 35.0), answers)
    assert films.is_right(hit(4, 0.0, 5.0), answers)
    assert not films.is_right(hit(2, 22.0), answers)
    assert not films.is_right(hit(2, 31.0, 36.0), answers)
    assert not films.is_right(hit(1, 28.0), answers)
    assert not films.is_right(hit(2, None), answers)


def test_stamps_that_sound_are_read_with_their_descriptions(tmp_path: Path) -> None:
    for folder, name, text in (
        ("animals", "dog", "A dog.\nde.utf8=Ein Hund.\nzh_TW.utf8=狗狗\nzh_CN.utf8=狗。\n"),
        ("animals", "cat", "A cat.\n"),
        ("symbols", "one", "One.\n"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.txt").write_text(text, "utf-8")
        for ending in (".ogg", "_desc.ogg"):
            (tmp_path / folder / f"{name}{ending}").touch()
    cat, dog = stamps.stamps(tmp_path)
    assert dog.descriptions == {"en": "A dog.", "de": "Ein Hund.", "zh": "狗。"}
    assert cat.descriptions == {"en": "A cat.", "de": "", "zh": ""}
