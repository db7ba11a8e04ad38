import pytest

from ingest.decode.charset import decode_bytes


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
    assert decode_bytes("café".encode("latin-1"), "no-such-encoding") == "café"


def test_it_never_fails() -> None:
    assert "�" in decode_bytes(b"\xff\xfea")
    assert decode_bytes(bytes(range(128, 256)))
