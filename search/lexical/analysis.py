"""A text as words that compare, whatever its language. Pure.

Upper and lower case are one, accents of Latin, Greek and Cyrillic letters are dropped, forms that
only look different (full width, ligatures) are one. There is no stemming and no list of stop words,
since the language is not known; words that are everywhere weigh little in BM25. Chinese, Japanese,
Thai, Lao, Burmese and Khmer write no spaces: each character and each pair of neighbours is a word.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_MAX_WORD_CHARS = 64
_ACCENTS = re.compile("[\u0300-\u036f]")
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)


def words(text: str) -> list[str]:
    """The words of a text, in their order.

    >>> words("Le CAFÉ n°2, à Zürich")
    ['le', 'cafe', 'n', '2', 'a', 'zurich']
    >>> words("東京都")
    ['東', '東京', '京', '京都', '都']
    """
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    found: list[str] = []
    for match in _pattern().finditer(unicodedata.normalize("NFC", bare).casefold()):
        if match.lastgroup == "run":
            run = match[0]
            for at in range(len(run)):
                found += [run[at], run[at : at + 2]] if at + 1 < len(run) else [run[at]]
        else:
            found.append(match[0][:_MAX_WORD_CHARS])
    return found


@cache
def _pattern() -> re.Pattern[str]:
    """Letters and digits with the marks that belong to them, as vowels do in Hindi.

    To `re`, marks are no part of a word.
    """
    marks = [code for code in range(0x110000) if unicodedata.category(chr(code))[0] == "M"]
    ends = [code for code in marks if code + 1 not in set(marks)] if marks else []
    inside = set(marks)
    starts = [code for code in marks if code - 1 not in inside]
    ranges = "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(starts, ends, strict=True))
    return re.compile(f"(?P<run>[{_UNSPACED}]+)|(?:(?![{_UNSPACED}])(?:[^\\W_]|[{ranges}]))+")
