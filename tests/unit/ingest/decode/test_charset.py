import io
from pathlib import Path

import pytest

from ingest import IngestConfig, identify, segments
from ingest.kinds import charset
from ingest.kinds.charset import charset_of, decode_bytes, encoding_of


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
    assert encoding_of(io.BytesIO(text.encode() + b"\xe7")) != "utf-8"


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
