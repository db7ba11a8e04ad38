"""Tables, records, programs, mailboxes and old documents, and where hits in them are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingest import IngestConfig, Segment, identify, segments

CONFIG = IngestConfig(isolate=True)
PEOPLE = "name,town,boat\n" + "".join(f"Ann {n},Kiel,ferry of line {n}\n" for n in range(60))
MBOX = "".join(
    f"From {who}@x.org Thu Jan  1 10:00:00 2026\nFrom: {who}@x.org\nSubject: {subject}\n"
    f"Date: Thu, 1 Jan 2026 10:00:00 +0000\n\n{text}\n\n"
    for who, subject, text in (("ann", "Ferries", "It leaves at nine."), ("bob", "Wale", "Grüße."))
)
XML = (
    "<?xml version='1.0'?><catalog xmlns='urn:x'><book id='1'><title>Harbour</title>"
    "<about>It is <b>very</b> long.</about></book></catalog>"
)
CODE = "#!/usr/bin/env python3\n" + "".join(
    f"\n\ndef leave_{n}(ferry):\n" + f"    ferry.go({n})\n" * 10 for n in range(8)
)
FILES = {
    "csv": ("a.csv", PEOPLE),
    "json": ("a.json", json.dumps({"ferries": [{"name": "Sea Wolf"}, {"name": "Gull"}]})),
    "xml": ("a.xml", XML),
    "mbox": ("a.mbox", MBOX),
    "code": ("a.py", CODE),
}


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name


def decode(path: Path) -> list[Segment]:
    return list(segments(identify(path, CONFIG), CONFIG))


def places(path: Path) -> list[dict[str, str]]:
    return [json.loads(segment.place) for segment in decode(path)]


def test_rows_of_a_table(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", PEOPLE)
    assert identify(path, CONFIG).media_type == "text/csv"
    first, *_, last = places(path)
    assert first["rows"].startswith("1–")
    assert last["rows"].endswith("–61")
    quoted = write(tmp_path, "b.csv", 'who,what\nAnn,"sees\na whale"\nBob,swims\n')
    (segment,) = decode(quoted)
    assert "sees a whale" in segment.content
    assert json.loads(segment.place) == {"rows": "1–3"}
    assert identify(write(tmp_path, "c.tsv", "a\tb\n"), CONFIG).media_type.startswith("text/tab")


def test_paths_in_json(tmp_path: Path) -> None:
    value = {"title": "Ferries", "at": [[54.3, 10.1], [55.0, 9.9]], "lines": ["to Oslo", "x" * 900]}
    found = decode(write(tmp_path, "a.json", json.dumps(value)))
    assert found[0].content == "title: Ferries\nat: [[54.3, 10.1], [55.0, 9.9]]\nlines: to Oslo"
    assert [json.loads(segment.place)["path"] for segment in found][:2] == ["title", "lines[1]"]
    rows = write(tmp_path, "a.jsonl", '{"name": "Ann"}\n{"name": "Bob", "town": "Kiel"}\n')
    (segment,) = decode(rows)
    assert segment.content == "name: Ann\nname: Bob, town: Kiel"
    assert json.loads(segment.place) == {"rows": "1–2"}


def test_elements_of_xml(tmp_path: Path) -> None:
    (segment,) = decode(write(tmp_path, "a.xml", XML))
    assert segment.content == "Harbour\nIt is very long."
    assert json.loads(segment.place) == {"path": "catalog/book/title"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{not json}"),
        ("a.jsonl", '{"a": 1}\n{"b": }\n'),
        ("a.xml", "<?xml version='1.0'?><x><y></x>"),
        ("note.txt", "[1] See the harbour.\n"),
    ],
)
def test_what_only_looks_like_records_is_text(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path, name, text)
    assert identify(path, CONFIG).media_type == "text/plain"
    assert decode(path)[0].content == text.strip()


def test_lines_of_a_program(tmp_path: Path) -> None:
    asset = identify(write(tmp_path, "a.py", CODE), CONFIG)
    assert (asset.media_type, asset.metadata["code"]) == ("text/x-source", "Python")
    lines = CODE.splitlines()
    for segment in segments(asset, CONFIG):
        place = json.loads(segment.place)
        first, _, last = place["lines"].partition("–")
        assert segment.content == "\n".join(lines[int(first) - 1 : int(last)]).strip()
        assert f"def {place['symbol']}" in CODE[: segment.char_end]
    script = identify(write(tmp_path, "run", "#!/bin/sh\necho foxes\n"), CONFIG)
    assert script.metadata["code"] == "Shell"


def test_mails_of_a_mailbox(tmp_path: Path) -> None:
    path = write(tmp_path, "a.mbox", MBOX)
    assert identify(path, CONFIG).metadata["n_mails"] == 2
    assert places(path) == [{"mail": 1, "heading": "Ferries"}, {"mail": 2, "heading": "Wale"}]
    assert [segment.content.rsplit("\n", 1)[1] for segment in decode(path)] == [
        "It leaves at nine.",
        "Grüße.",
    ]
