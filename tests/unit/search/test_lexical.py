from __future__ import annotations

import pytest

from search.lexical import words


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("Don't stop_now, HX-4711!", ["don", "t", "stop", "now", "hx", "4711"]),
        ("ÉTÉ été e\u0301te\u0301 ＥＴＥ", ["ete"] * 4),
        ("Straße STRASSE ﬁn", ["strasse", "strasse", "fin"]),
        ("Ёлка Ἀθήνα", ["елка", "αθηνα"]),
        ("한국어 검색", ["한국어", "검색"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("が", ["が"]),
        ("東京x1", ["東", "東京", "京", "x1"]),
        ("ไทย", ["ไ", "ไท", "ท", "ทย", "ย"]),
        ("a" * 100, ["a" * 64]),
    ],
)
def test_words_of_any_language(text: str, wanted: list[str]) -> None:
    assert words(text) == wanted
    assert words(" ".join(wanted)) == wanted or "東" in text or "ไ" in text
