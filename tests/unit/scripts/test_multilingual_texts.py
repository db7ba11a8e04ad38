"""Texts of many languages, from small samples of each kind; nothing is fetched."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from benchmarks.corpora.debian_packages import Pair, read_descriptions
from encoder.dsre.fitting.documents import Document, parted
from scripts import multilingual_texts as texts
from scripts.distill_multilingual_gate import STAGES, asked, training, used
from scripts.multilingual_texts import (
    Texts,
    askable,
    distinct,
    joined,
    read_page,
    read_pair,
    scale,
    sentences_of,
    small_files,
)

CONLLU = """# newdoc id = a
# sent_id = a-1
# text = Die Flut geht.
1\tDie\tder\tDET
2\tFlut\tFlut\tNOUN

# sent_id = a-2
# text = Das Boot liegt im Hafen.\x20
1\tDas\tder\tDET
"""

PAGE = """<html><head><title>x</title></head><body><p>Menü</p>
<h1 id="hd_id1" dir="auto">
<a id="anchor"></a>Bilder &amp; Rahmen</h1>
<p class="paragraph">Ein <span class="emph">Anker</span>
bestimmt den Bezugspunkt.</p>
<table><tr><td><p>Als Zeichen</p></td></tr></table>
<ul><li>PARAGRAPH</li></ul>
<div id="DonationFrame"></div><p>Fuß</p></body></html>"""

TRANSLATED = """Package: libfoo1
Description-md5: d943033bedada21853d2ae54a2578a7b
Description-de: gemeinsame Bibliothek
 Sie liest: TEXT
 .
 Und schreibt.
"""


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_neighbouring_sentences_make_a_text_after_its_title() -> None:
    assert sentences_of(CONLLU) == ["Die Flut geht.", "Das Boot liegt im Hafen."]
    sentences = [f"Sentence number {i} of the book." for i in range(200)]
    found = list(joined(sentences, "English", rng()))
    assert found[0].title == sentences[0]
    assert found[0].body.startswith(f"{sentences[1]} {sentences[2]} ")
    assert all(450 < len(one.body) < 2400 for one in found)
    said = [number for one in found for number in re.findall(r"\d+", f"{one.title} {one.body}")]
    assert said == [str(i) for i in range(len(said))]


def test_large_files_of_a_treebank_are_left_out(tmp_path: Path) -> None:
    for name, size in (("b-test.conllu", 9), ("a-dev.conllu", 9), ("a-train.conllu", 3_400_001)):
        (tmp_path / name).write_bytes(b"#" * size)
    assert [path.name for path in small_files(tmp_path)] == ["a-dev.conllu", "b-test.conllu"]


def test_compact_scripts_have_shorter_texts_and_some_no_spaces() -> None:
    sentences = ["船は港を出て、かもめがついて行った。"] * 200
    found = list(joined(sentences, "Japanese", rng()))
    assert all(180 < len(one.body) < 900 for one in found)
    assert not any(" " in one.body for one in found)
    assert list(joined(["No.", "a" * 600], "English", rng())) == []
    assert list(joined(["A title that is long enough.", "short"], "English", rng())) == []
    assert list(joined([], "English", rng())) == []
    assert (scale("zh_TW"), scale("ko"), scale("Chinese"), scale("de")) == (0.4, 0.4, 0.4, 1.0)


def test_a_page_of_help_is_its_heading_and_paragraphs() -> None:
    page = PAGE.replace("PARAGRAPH", "Ein Satz über Boote. " * 40)
    found = read_page(page, "de")
    assert found is not None
    assert found.title == "Bilder & Rahmen"
    assert found.body.split("\n")[:2] == ["Ein Anker bestimmt den Bezugspunkt.", "Als Zeichen"]
    assert found.body.endswith("Boote.")
    long = read_page(page.replace("Boote", "Boote" * 100), "de")
    assert long is not None
    assert len(long.body) == 2400
    assert read_page(PAGE, "de") is None
    assert read_page("<p>" + "kein Titel " * 100, "de") is None
    compact = PAGE.replace("PARAGRAPH", "船" * 300)
    assert read_page(compact, "ja") is not None
    assert read_page(compact, "de") is None


def test_translated_descriptions_once_each() -> None:
    index = TRANSLATED.replace("TEXT", "viele Dateien. " * 40)
    (one,) = read_descriptions(index, {"libfoo1": "foo"}, "de")
    found = read_pair(one.pair, "de")
    assert found is not None
    assert found.title == "gemeinsame Bibliothek"
    assert found.body.endswith("\nUnd schreibt.")
    assert read_pair(Pair("kurz", "zu kurz"), "de") is None
    assert read_pair(Pair("", "ohne Titel " * 99), "de") is None
    other = Document("andere", found.body + " Mehr.")
    assert len(distinct([found, other])) == 1


def test_what_could_be_asked() -> None:
    text = (
        "No. The keeper sounds the horn at 3.5 metres of fog. Yes!\nThe boat waits in the harbour"
    )
    assert askable(text) == ["The keeper sounds the horn at 3.5 metres of fog."]
    assert askable("船は港を出て、かもめがついて行った。はい。") == [
        "船は港を出て、かもめがついて行った。"
    ]
    documents = [
        Document("t", "The keeper sounds the horn when fog comes in. " * n) for n in (1, 5)
    ]
    assert len(asked(documents, 2, rng())) == 3


def test_stages_train_with_most_texts_and_judge_with_some() -> None:
    def some(kind: str, n: int) -> list[Document]:
        return [Document(f"{kind} {i}", f"{kind} {i} " * 50) for i in range(n)]

    gathered = Texts(some("tree", 2700), some("page", 4000), some("package", 2400))
    for stage in STAGES:
        documents = used(stage, gathered)
        parts = parted(documents)
        assert (len(parts["choose"]), len(parts["judge"])) == (450, 225)
        assert parts["rarity"] == training(documents)
        pages = sum(one.title.startswith("page") for one in parts["rarity"])
        assert pages == len(training(gathered.pages[: stage.n_pages]))
    assert STAGES[0].settings.thresholds == (None, *[0.55] * 11)


def test_treebanks_are_at_commits_with_a_free_licence() -> None:
    lines = [
        line.split("\t")
        for line in texts._TREEBANKS.read_text("utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert len({name for name, _, _ in lines}) == len(lines) == 30
    assert all(re.fullmatch("[0-9a-f]{40}", commit) for _, commit, _ in lines)
    assert all(re.fullmatch(r"CC BY-SA [34]\.0", licence) for _, _, licence in lines)
