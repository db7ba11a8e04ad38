from pathlib import Path

import pytest

from encoder.dsre.fitting.documents import (
    Document,
    as_document,
    part_of,
    parted,
    read_documents,
    sample_documents,
)
from encoder.errors import InputError

BODY = "The roof leaks where two slates have slipped, and the rain runs down the beam. " * 4


@pytest.mark.parametrize(
    ("text", "title"),
    [
        (f"# Roofs and rain\n\n{BODY}", "Roofs and rain"),
        (f"Mend the roof. {BODY}", "Mend the roof."),
        (BODY, "The roof leaks where two slates have slipped, and the rain runs down the beam."),
    ],
)
def test_the_first_line_or_sentence_asks(text: str, title: str) -> None:
    document = as_document(text)
    assert document is not None
    assert document.title == title
    assert title not in document.body[: len(title)] or document.body.startswith("The roof")


@pytest.mark.parametrize("text", ["", "roof", f"Roofs\n{BODY}", "Mend the roof.\nTake a ladder."])
def test_a_text_that_says_too_little_is_left_out(text: str) -> None:
    assert as_document(text) is None


def test_parts_follow_the_body_and_have_their_sizes() -> None:
    parts = [part_of(Document("a title", f"{i} {BODY}")) for i in range(2000)]
    assert parts.count("rarity") == pytest.approx(1400, abs=80)
    assert parts.count("judge") == pytest.approx(200, abs=60)
    assert part_of(Document("another title", f"7 {BODY}")) == parts[7]


def test_reads_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text(f"Second title\n{BODY}")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.md").write_text(f"# Third title\n{BODY}")
    (tmp_path / "a.rst").write_text("short")
    (tmp_path / "d.png").write_bytes(b"no text")
    assert [one.title for one in read_documents(tmp_path)] == ["Second title", "Third title"]


def test_a_folder_without_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("short")
    with pytest.raises(InputError, match="1 text files, none with a title"):
        read_documents(tmp_path)


def test_the_sample_has_enough_texts_for_each_part() -> None:
    documents = sample_documents()
    assert documents == sample_documents()
    parts = parted(documents)
    # a token of a word-piece model has five characters at most, on average
    long = {part: sum(len(one.body) > 700 for one in found) for part, found in parts.items()}
    assert min(long.values()) >= 25
    assert max(len(one.body) for one in documents) > 2400
