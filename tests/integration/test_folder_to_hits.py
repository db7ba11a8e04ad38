"""The main job through the command line: ingest, search, change, delete."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.conftest import ANYMODAL, Run
from tests.support.documents import write_docx, write_pptx, write_subtitles, write_xlsx
from tests.support.media import write_pdf

CONTRACT = {
    "asset_id",
    "segment_id",
    "uri",
    "modality",
    "score",
    "stack",
    "rerank_score",
    "start_s",
    "end_s",
    "char_start",
    "char_end",
    "snippet",
    "confidence",
    "language",
    "boxes",
    "regions",
    "place",
    "matches",
    "title",
    "media_type",
    "duration_s",
    "metadata",
    "moments",
    "explanation",
    "probability",
    "weak",
}


SECTIONS = [
    ("Bakery", "The bread is baked at four in the morning, before the city wakes."),
    ("Harbour", "The ferry to the island leaves at nine and takes an hour."),
]


def names(result: dict[str, list[dict[str, str]]]) -> list[str]:
    return [Path(hit["uri"]).name for hit in result["hits"]]


@pytest.mark.parametrize(
    "store_uri",
    ["folder", pytest.param("milvus_server", marks=pytest.mark.milvus)],
    indirect=True,
)
def test_from_a_folder_to_hits_and_back(anymodal: Run, here: Run, media: Path) -> None:
    sounds = here("ingest", media, "--kind", "audio")
    assert (sounds["ingested"], sounds["left_out"], sounds["failures"]) == (2, 5, [])
    assert "Expected some of audio, cards, " in here("ingest", media, "--kind", "sound", fails=2)
    first = anymodal("ingest", media)
    assert (first["ingested"], first["unchanged"]) == (4, 2)
    assert set(first["segments"]) == {"text", "image"}
    assert [Path(f["uri"]).name for f in first["failures"]] == ["broken.png"]
    stages = set(first["stage_s"]) | set(sounds["stage_s"])
    assert stages >= set("identify decode encode_text encode_image encode_audio store".split())

    again = here("ingest", media)
    assert (again["ingested"], again["unchanged"]) == (0, 6)
    assert not any(stage.startswith("encode") for stage in again["stage_s"])

    found = here("search", "how to bake bread", "--limit", 3)
    assert names(found)[0] == "bread.txt"
    assert set(found["hits"][0]) == CONTRACT
    assert found["hits"][0]["char_start"] == 0
    assert {"encode_text", "search", "total"} <= set(found["latency_s"])

    by_image = here("search", "--image", media / "checks.png", "--modality", "image")
    assert names(by_image)[0] == "checks.png"
    assert {hit["modality"] for hit in by_image["hits"]} == {"image"}

    by_sound = here("search", "--audio", media / "tone.wav", "--modality", "audio")
    assert names(by_sound)[0] == "tone.wav"
    assert by_sound["hits"][0]["start_s"] == 0.0

    mixed = here("search", "bread", "--image", media / "gradient.jpg", "--limit", 20)
    assert {"bread.txt", "gradient.jpg"} <= set(names(mixed))

    (media / "texts" / "bread.txt").write_text("A dragon sleeps under the mountain on its gold.")
    changed = here("ingest", media)
    assert (changed["ingested"], changed["unchanged"]) == (1, 5)
    found = here("search", "treasure of a dragon", "--modality", "text")
    assert names(found).count("bread.txt") == 1
    assert "dragon" in found["hits"][0]["snippet"]

    texts = str(media / "texts")
    assert here("delete", texts, "--kind", "image")["removed"] == {texts: 0}
    for n_left in (2, 0):  # it can be repeated
        assert here("delete", texts, "--kind", "text")["removed"] == {texts: n_left}
    left = here("search", "dragon", "--modality", "text")  # files of other tests, on a server
    assert not {"bread.txt", "space.md"} & set(names(left))

    (store,) = (one for one in here("doctor")["findings"] if one["part"] == "store")
    index = store["facts"]["index"]
    assert (index and index["kind"]) == ("HNSW" if "http" in store["text"] else None)
    assert ("; index HNSW: " in store["text"]) == bool(index)


def test_tags_and_metadata_can_be_given_later_and_a_link_is_reported(
    here: Run, media: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("The key lies under the mat.")
    (media / "texts" / "leak.txt").symlink_to(tmp_path / "secret.txt")
    (media / "texts" / "lost.txt").symlink_to("gone.txt")
    (media / "texts" / "loop").symlink_to("loop")
    first = here("ingest", media / "texts", "--tag", "old", "--metadata", "year=1999")
    assert (first["ingested"], first["failed"]) == (2, 3)
    assert {f["error"] for f in first["failures"]} == {"RefusedLinkError"}
    told = " ".join(f["reason"] for f in first["failures"])
    for reason in ("leads out of the folder", "leads nowhere: gone.txt", "leads in a circle"):
        assert reason in told

    again = here("ingest", media / "texts", "--tag", "kitchen", "--metadata", "by=Ada")
    assert (again["unchanged"], again["segments"]) == (2, {})
    metadata = here("search", "bread", "--limit", 1)["hits"][0]["metadata"]
    assert {name: metadata[name] for name in ("tags", "year", "by", "language", "title")} == {
        "tags": ["kitchen"],
        "year": 1999,
        "by": "Ada",
        "language": "en",
        "title": "bread",
    }
    assert "width" in here("ingest", media, "--metadata", "width=1", fails=2)


def test_errors_are_one_line_and_say_what_to_do(here: Run, tmp_path: Path) -> None:
    (tmp_path / "bread.txt").write_text("Bread is baked in an oven.")
    here("ingest", tmp_path / "bread.txt")
    assert "--image, --audio, --video or --like" in here("search", fails=2)
    assert "limit" in here("search", "x", "--limit", 0, fails=2)
    assert "smell" in here("search", "x", "--modality", "smell", fails=2)
    assert "bundle:default" in here("search", "x", "--model", "smell", fails=1)
    assert "does not exist" in here("ingest", tmp_path / "nowhere", fails=2)
    assert "redis://" in here("worker", fails=2)
    assert "anymodal bundle fetch" in here(
        "search", "x", fails=1, ANYMODAL_HOME=str(tmp_path / "empty")
    )


def test_the_place_in_a_document_is_found(here: Run, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    write_docx(folder / "a.docx", SECTIONS)
    write_pptx(folder / "b.pptx", SECTIONS)
    write_xlsx(folder / "c.xlsx", SECTIONS)
    write_subtitles(folder / "d.srt", SECTIONS)
    write_pdf(folder / "e.pdf", [text for _, text in SECTIONS], title="Untitled")
    assert here("ingest", folder)["ingested"] == 5
    hits = here("search", "when does the boat to the island go?", "--limit", 5)["hits"]
    assert {Path(hit["uri"]).name: hit["place"] for hit in hits} == {
        "a.docx": {"heading": "Harbour"},
        "b.pptx": {"slide": 2},
        "c.xlsx": {"sheet": "Harbour"},
        "d.srt": {},
        "e.pdf": {"page": 2},
    }
    assert next(hit["title"] for hit in hits if hit["uri"].endswith("pdf")) == "e"


N_FILES = 200
SHARD_FILES = 16


def read_until(terminal: int, wanted: re.Pattern[bytes]) -> bytes:
    screen = b""
    while not wanted.search(screen):
        screen += os.read(terminal, 4096)
    return screen


def read_to_end(terminal: int) -> None:
    """Read until nobody writes any more: a writer to a full terminal would wait indefinitely."""
    with suppress(OSError):  # so it ends
        while os.read(terminal, 4096):
            pass


def test_the_second_run_does_only_the_rest(here: Run, tmp_path: Path) -> None:
    media = tmp_path / "many"
    media.mkdir()
    for number in range(N_FILES):
        words = f"Note {number}: the {number % 7}th harvest of field {number} was weighed. " * 4
        (media / f"{number}.txt").write_text(words)

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [ANYMODAL, "ingest", media],
        env={
            **os.environ,
            "ANYMODAL_STORE": str(tmp_path / "data" / "store"),
            "ANYMODAL_SHARD_FILES": str(SHARD_FILES),
            "TERM": "xterm",
        },
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    with process:
        # the bar is drawn ten times a second: a fast machine may skip any one number
        # and the code of its colour, which ends in a letter, comes before it
        screen = read_until(ours, re.compile(rb"(?<!\d)[1-9]\d*/%d" % N_FILES))
        process.send_signal(signal.SIGINT)
        read_to_end(ours)
        assert process.wait(60) == 130
    os.close(ours)
    assert b"ingest" in screen

    rest = here("ingest", media)
    assert SHARD_FILES <= rest["unchanged"] < N_FILES
    assert rest["ingested"] + rest["unchanged"] == N_FILES
    assert here("ingest", media)["unchanged"] == N_FILES


def test_damaged_vectors_are_found_and_read_again(here: Run, media: Path, store_uri: str) -> None:
    here("ingest", media, "--tag", "kept")
    assert here("store", "check")["differences"] == []
    for path in Path(store_uri).glob("content/vectors/*.rows"):
        path.write_bytes(bytes(path.stat().st_size))
    assert "store check --repair" in here("search", "bread", fails=1)
    here("store", "check", fails=1)
    mended = here("store", "check", "--repair")
    assert {kind["kind"]: kind["n"] for kind in mended["differences"]} == {"damaged_assets": 6}
    assert (mended["left"], mended["lost"], mended["assets"]) == ([], {}, 6)
    assert len(here("list", "--limit", 9, "--tag", "kept")["assets"]) == 6
    assert here("ingest", media)["ingested"] == 6
    assert here("store", "check")["differences"] == []
    (hit, *_) = here("search", "how to bake bread", "--modality", "text")["hits"]
    assert Path(hit["uri"]).name == "bread.txt"
    assert len(here("list", "--limit", 9, "--tag", "kept")["assets"]) == 6


def test_a_store_that_is_not_there_cannot_be_checked(here: Run) -> None:
    assert "There is no store" in here("store", "check", fails=2)
