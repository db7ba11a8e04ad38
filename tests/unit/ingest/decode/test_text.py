"""Texts, pages and their encodings."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from encoder.errors import CorruptMediaError, MediaLimitError, UnsupportedMediaError
from ingest import IngestConfig, Place, Segment, identify, picture, segments
from ingest.kinds import charset, html, kind_of
from ingest.kinds.charset import charset_of, decode_bytes, encoding_of, read_bytes
from ingest.kinds.html import html_text
from ingest.kinds.pdf_text import column_order
from tests.support.media import write_pdf, write_pdf_lines

CONFIG = IngestConfig()
SENTENCES = "".join(f"Sentence number {i} is about foxes. " for i in range(100))


def decode(path: Path, config: IngestConfig = CONFIG) -> list[Segment]:
    return list(segments(identify(path, config), config))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", SENTENCES.encode()),
        ("b.txt", SENTENCES.replace("foxes", "Füchse").encode("utf-16")),
        ("c.txt", SENTENCES.replace("foxes", "Füchse").encode("latin-1")),
        ("d.md", f"# Foxes\n\n{SENTENCES}\n\n## More\n\n- {SENTENCES}".encode()),
        ("e.html", f"<html><h1>Foxes</h1><p>{SENTENCES}</p>".encode()),
    ],
)
def test_offsets_lead_to_the_windows(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    asset = identify(tmp_path / name, CONFIG)
    found = list(segments(asset, CONFIG))
    data = read_bytes(tmp_path / name)
    text = html_text(data, name) if name.endswith("html") else decode_bytes(data)
    assert [segment.index for segment in found] == list(range(len(found)))
    assert len(found) >= 4
    for segment in found:
        assert segment.asset_id == asset.asset_id
        assert segment.modality == "text"
        assert segment.content == text[segment.char_start : segment.char_end]
        assert segment.snippet == segment.content
        assert len(segment.content) <= 800
        assert segment.start_s is None


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html"])
def test_windows_make_the_whole_again(tmp_path: Path, name: str) -> None:
    tag = "<p>" if name == "a.html" else ""
    (tmp_path / name).write_text(f"{tag}{SENTENCES}\n\n" * 3)
    asset = identify(tmp_path / name, CONFIG)
    whole = kind_of(asset.media_type).whole(decode(tmp_path / name))
    assert whole.split() == SENTENCES.split() * 3


def test_each_page_of_a_pdf_is_a_place_with_boxes(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["Foxes run.", "", "Dogs sleep."])
    first, last = decode(path)
    assert [first.content, last.content] == ["Foxes run.", "Dogs sleep."]
    assert [json.loads(s.place) for s in (first, last)] == [{"page": 1}, {"page": 3}]
    assert (first.index, last.index) == (0, 1)
    ((left, top, right, _, _, bottom, _, _),) = json.loads(last.boxes)
    # The text starts 20 points from the left and stands 100 from the bottom of 500 x 200.
    assert left == pytest.approx(0.04, abs=0.01)
    assert top < 0.5 < bottom < 0.55
    assert 0.1 < right < 0.25


def test_a_page_without_text_is_a_picture(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "scan.pdf"
    Image.new("RGB", (200, 300), (200, 30, 30)).save(path)
    (segment,) = decode(path)
    assert (segment.modality, json.loads(segment.place)) == ("image", {"page": 1})
    assert segment.content.shape == (768, 512, 3)
    np.testing.assert_allclose(segment.content.mean(axis=(0, 1)), (200, 30, 30), atol=6)


@pytest.mark.parametrize("isolated", [True, False])
def test_the_picture_of_a_page(tmp_path: Path, *, isolated: bool) -> None:
    config = IngestConfig(isolate=isolated)
    asset = identify(write_pdf(tmp_path / "a.pdf", ["", "Foxes run."]), config)
    blank, written = (picture(asset, Place(page=n), config).content for n in (1, 2))
    assert blank.min() == 255
    assert written.min() < 100
    assert min(written.shape[:2]) == 512
    with pytest.raises(CorruptMediaError, match="has no page 3"):
        picture(asset, Place(page=3), config)


def test_pdfs_in_threads(tmp_path: Path) -> None:
    paths = [write_pdf(tmp_path / f"{i}.pdf", [f"Page {i} of foxes."] * 20) for i in range(12)]
    with ThreadPoolExecutor(6) as pool:
        for i, found in enumerate(pool.map(decode, paths)):
            assert found[0].content.startswith(f"Page {i} of foxes.")


@pytest.mark.parametrize("name", ["a.txt", "a.html", "a.pdf"])
def test_a_file_without_text_says_what_to_do(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.pdf":
        write_pdf(path, ["", ""])
    else:
        path.write_text(" \n" if name == "a.txt" else "<html><img src=x></html>")
    with pytest.raises(UnsupportedMediaError, match=rf"{name} holds no text.*OCR"):
        decode(path)


def test_a_page_that_a_script_fills_is_known_by_its_title(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    page.write_text(
        "<title>Our superheroes</title><body><section></section><script>fill()</script>"
    )
    assert [segment.content for segment in decode(page)] == ["Our superheroes"]


def test_a_broken_pdf_is_corrupt(tmp_path: Path) -> None:
    whole = write_pdf(tmp_path / "a.pdf", ["Foxes"]).read_bytes()
    (tmp_path / "a.pdf").write_bytes(whole[:60])
    with pytest.raises(CorruptMediaError, match=r"a\.pdf cannot be decoded as PDF"):
        decode(tmp_path / "a.pdf")


def test_long_texts_are_refused(tmp_path: Path) -> None:
    config = IngestConfig(max_text_chars=100)
    (tmp_path / "a.txt").write_text("x" * 101)
    write_pdf(tmp_path / "b.pdf", ["y" * 60, "y" * 60])
    for name in ("a.txt", "b.pdf"):
        with pytest.raises(MediaLimitError, match="max_text_chars is 100 characters"):
            decode(tmp_path / name, config)


def test_a_text_of_too_many_windows_is_refused_before_any_is_encoded(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(SENTENCES)
    config = IngestConfig(max_text_windows=3)
    first = segments(identify(tmp_path / "a.txt", config), config)
    with pytest.raises(MediaLimitError, match="ANYMODAL_INGEST__MAX_TEXT_WINDOWS"):
        next(first)


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.json", "a.html", "a.py"])
def test_a_long_text_without_words_is_refused(tmp_path: Path, name: str) -> None:
    tag = "<p>" if name == "a.html" else ""
    (tmp_path / name).write_text(tag + "[" * 100_000)
    with pytest.raises(UnsupportedMediaError, match=f"{name} holds no words"):
        decode(tmp_path / name)


@pytest.mark.parametrize(
    "text", ["สวัสดี" * 500, "潮が満ちる。" * 500, "-" * 790, "=" * 900 + " Tide\n"]
)
def test_other_texts_have_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert decode(tmp_path / "a.txt")


def test_window_sizes_are_settings(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(SENTENCES)
    config = IngestConfig(text_window_chars=100, text_overlap_chars=0)
    found = decode(tmp_path / "a.txt", config)
    assert max(len(segment.content) for segment in found) <= 100


def text_of_html(data: bytes) -> str:
    return html.html_text(data, "a.html")


def html_title(data: bytes) -> str:
    return html.html_title(data, "a.html")


def test_only_visible_text_remains() -> None:
    page = b"""<!doctype html><html><head><title>T</title><style>p {color: red}</style></head>
    <body><script>alert(1)</script><nav>Menu</nav><p>One <b>bo</b>ld
    word.</p><p hidden>no</p><noscript>no</noscript><ul><li>a<li>b</ul>x<br>y
    <template>no</template><!-- no --><div>Caf&eacute; &amp; bar</div></body></html>"""
    assert text_of_html(page) == "Menu\nOne bold word.\na\nb\nx\ny\nCafé & bar"


def test_declared_encodings() -> None:
    page = '<html><head><meta charset="windows-1251"></head><body>Привет'.encode("cp1251")
    assert text_of_html(page) == "Привет"
    old = '<meta http-equiv=Content-Type content="text/html; charset=shift_jis"><p>猫'
    assert text_of_html(old.encode("shift_jis")) == "猫"


def test_broken_and_deep_pages() -> None:
    assert text_of_html(b"<p>open <b>tags <p>and</i> more") == "open tags\nand more"
    assert text_of_html(b"<div>" * 1_900 + b"deep") == "deep"
    assert text_of_html(b"<p><li><br><x></x>" * 9_000 + b"flat").endswith("flat")
    assert text_of_html(b"<html></html>") == ""


def test_titles() -> None:
    assert html_title(b"<title> A\n title </title><h1>no</h1>") == "A title"
    assert html_title(b"<title></title><h1>Heading</h1>") == "Heading"
    assert html_title(b"<p>none") == ""
    assert len(html_title(b"<title>" + b"x" * 5000)) == 200


@pytest.mark.parametrize("part", [b"<div>", b"<x-y></z>", b"<b><p>", b"<DIV></p>"])
def test_pages_that_nest_too_deeply_are_refused(part: bytes) -> None:
    with pytest.raises(MediaLimitError, match=r"a\.html nests HTML elements more than 2,000"):
        text_of_html(part * 100_000)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("", "utf-8"),
        ("Grüße, 猫 🎬", "utf-8"),
        ("Grüße", "utf-8-sig"),
        ("Grüße 猫", "utf-16"),
        ("café", "latin-1"),
        ("Café à gogo, déjà vu", "latin-1"),
        ("Die Vögel fliegen über den Fluß.", "cp1252"),
        ("He said “hello” – it’s 5 €", "cp1252"),
        ("Köln liegt am Rhein", "iso8859-15"),
        ("El niño comió", "cp1252"),
        ("A képviselőház ülése délután kezdődik, és őszintén", "cp1250"),
        ("İstanbul'da güneşli bir gün geçirdik", "cp1254"),
        ("Отчёт о погоде", "cp1251"),
        ("Ελλάδα και θάλασσα", "cp1253"),
        ("שלום עולם", "cp1255"),
        ("مرحبا بكم في المدينة", "cp1256"),
        ("测试文档", "gb18030"),
        ("Привет, мир! Это короткий текст о погоде.", "cp1251"),
        ("Привет, мир! Это текст о погоде на русском языке. " * 5, "koi8-r"),
        ("これは日本語の文章です。猫がマットの上に座っています。", "shift_jis"),
        ("这是一个中文句子，猫坐在垫子上。这是一个中文句子。", "gb18030"),
    ],
)
def test_encodings(text: str, encoding: str) -> None:
    assert decode_bytes(text.encode(encoding)) == text


def test_what_a_page_declares_counts_unless_it_is_wrong() -> None:
    assert decode_bytes("Łódź".encode("iso8859-2"), "iso8859-2") == "Łódź"
    assert decode_bytes("Łódź".encode(), "iso8859-2") == "Łódź"
    for no_text in ("no-such-encoding", "hex"):
        assert decode_bytes("café".encode("latin-1"), no_text) == "café"


def test_it_never_fails() -> None:
    assert "�" in decode_bytes(b"\xff\xfea")
    assert decode_bytes(bytes(range(128, 256)))


@pytest.mark.parametrize("shift", range(4))
def test_a_file_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch, shift: int) -> None:
    monkeypatch.setattr(charset, "_CHUNK_BYTES", 1_000)
    text = "x" * shift + "猫🎬" * 20_000
    assert encoding_of(io.BytesIO(text.encode())) == "utf-8"
    assert (
        encoding_of(io.BytesIO(b"x" * 5_000 + "Die Vögel über Köln".encode("cp1252"))) == "cp1252"
    )


@pytest.mark.parametrize(
    ("name", "media_type", "data", "codec"),
    [
        (
            "a.txt",
            "text/plain",
            "这是一个中文句子，猫坐在垫子上。".encode("gb18030") * 3,
            "gb18030",
        ),
        ("b.html", "text/html", b'<meta charset="iso8859-2"><p>\xa3\xf3d\xbc', "iso8859-2"),
        ("c.txt", "text/plain", b"x " * 200_000 + "né".encode("latin-1"), "cp1252"),
    ],
)
def test_the_codec_of_a_file_is_that_by_which_it_is_read(
    tmp_path: Path, name: str, media_type: str, data: bytes, codec: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert charset_of(path, media_type) == codec
    found = segments(identify(path, IngestConfig()), IngestConfig())
    assert not any("\ufffd" in segment.content for segment in found)
    path.write_bytes("Jetzt anders: grün".encode())
    assert charset_of(path, media_type) == "utf-8"


LEFT = [f"left {n} is about the ferry that leaves at nine" for n in range(8)]
RIGHT = [f"right {n} is about whales and of the winter sea" for n in range(6)]


def boxes(*rows: Sequence[tuple[float, float]]) -> np.ndarray:
    """Boxes 10 high, a row every 14, each with its left and right."""
    return np.array(
        [(left, 14 * n, right, 14 * n + 10) for n, row in enumerate(rows) for left, right in row],
        np.float64,
    )


TWO = [(0, 200), (230, 430)]


@pytest.mark.parametrize(
    ("rows", "order"),
    [
        ([[(0, 430)], *[TWO] * 3], [0, 1, 3, 5, 2, 4, 6]),
        ([*[TWO] * 3, [(0, 200)]], [0, 2, 4, 6, 1, 3, 5]),  # the left one is longer
        ([*[[*TWO, (460, 660)]] * 3], [0, 3, 6, 1, 4, 7, 2, 5, 8]),
        ([*[TWO] * 3, [(0, 430)], *[TWO] * 3], [0, 2, 4, 1, 3, 5, 6, 7, 9, 11, 8, 10, 12]),
        ([[(0, 90), (95, 200), (230, 430)], *[TWO] * 2], [0, 1, 3, 5, 2, 4, 6]),  # a bold word
    ],
)
def test_columns_are_read_one_after_the_other(
    rows: Sequence[Sequence[tuple[float, float]]], order: list[int]
) -> None:
    assert column_order(boxes(*rows)) == order


@pytest.mark.parametrize(
    "rows",
    [
        [[(0, 400)]] * 9,
        [[(0, 40), (100, 160), (200, 230)]] * 9,  # a table of short cells
        [[(0, 60), (100, 400)]] * 9,  # words and what they mean
        [[(0, 120), (200, 320)], [(0, 190), (200, 260)], [(0, 60), (200, 390)]] * 3,  # ragged cells
        [TWO] * 2,
        [*[[(0, 95), (230, 325)]] * 4, *[TWO] * 3],  # columns of which most lines are short
        [[(0, 200), (205, 400)]] * 9,  # a space between them
    ],
)
def test_what_is_read_row_by_row_stays(rows: Sequence[Sequence[tuple[float, float]]]) -> None:
    assert column_order(boxes(*rows)) is None


def test_columns_that_were_drawn_in_turn_stay() -> None:
    left, right = boxes(*[TWO[:1]] * 6), boxes(*[TWO[1:]] * 6)
    assert column_order(np.concatenate([left, right])) is None


def test_a_page_is_read_column_by_column_and_hits_keep_their_boxes(tmp_path: Path) -> None:
    lines = [(50.0, 760.0, "A heading over both of the columns of this page")]
    for n, text in enumerate(LEFT):
        lines.append((50, 720 - 14 * n, text))
        lines += [(320, 720 - 14 * n, RIGHT[n])] if n < len(RIGHT) else []
    path = write_pdf_lines(tmp_path / "a.pdf", [*lines, (50, 100, "A last line below both")])
    asset = identify(path, CONFIG)
    (found,) = segments(asset, CONFIG)
    words = str(found.content).split()
    wanted = [lines[0][2], *LEFT, *RIGHT, "A last line below both"]
    assert words == " ".join(wanted).split()
    corners = json.loads(found.boxes)
    assert len(corners) == len(wanted)
    lefts = [box[0] for box in corners]
    assert lefts == pytest.approx([50 / 600] * 9 + [320 / 600] * 6 + [50 / 600], abs=0.01)
