"""How texts and names write a date or a place, to find them and to verify them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from operator import itemgetter

from search.understanding.calendar import FIRST_YEAR, MONTHS, Period, one_of

_MANY = 40
"""Of more days or months than these, only the years are looked up."""
_MANY_YEARS = 3
"""Names with 366 days of each are not looked up in one word."""
_HAN_DIGITS = str.maketrans("0123456789", "〇一二三四五六七八九")
_DIGITS = str.maketrans("〇零一二三四五六七八九", "00123456789")
_HAN_NUMBERS = ("", *"一二三四五六七八九十", "十一", "十二")
_ANY_MONTH, _ANY_DAY = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_TH, _OF = r"(?:st|nd|rd|th|\.)?[\s-]*(?:of\s+)?", r"\.?,?[\s-]*(?:of\s+)?'?"


# Beginning with one class of characters makes it three times as fast.
_YEAR = re.compile(
    r"[0-9一二](?<![0-9][0-9])(?:"
    r"(?P<year>(?:(?<=1)[89]|(?<=2)0)[0-9]{2})"
    rf"(?=[^0-9]|$|{_ANY_MONTH}(?:{_ANY_DAY}(?:[0-9]{{6}})?)?(?![0-9]))"
    r"|[0-9]?[./-]\s?[0-9]{1,2}[./-]\s?(?P<short>[0-9]{2})(?![0-9])"
    r"|(?P<han>(?<=[一二])[〇零一二三四五六七八九]{3})(?=\s?年))"
)
_AROUND = 26
"""The longest date has as many characters on one side of its year."""


@dataclass(frozen=True)
class Written:
    """The written forms of a date or a place.

    Args:
        words: some of them are in every text that shows it, as an index of words has them.
        names: the same for names of files, where "20240312" is one word.
        is_in: whether a text or a name shows it.
    """

    words: str
    names: str
    is_in: Callable[[str], bool]


def written_date(period: Period) -> Written:
    """All days, months and years that lie in a period.

    >>> march = written_date(Period(date(2024, 3, 1), date(2024, 4, 1)))
    >>> [march.is_in(text) for text in ("12.3.24", "March 12th, 2024", "IMG_20240312")]
    [True, True, True]
    >>> [march.is_in(text) for text in ("2024年3月2日", "3. April 2024", "in 2024")]
    [True, False, False]
    """
    parts = [*_parts(period)]
    whole = {year for year, month, _ in parts if not month}
    months = [part for part in parts if part[1]]
    patterns = {
        year: re.compile("|".join(_pattern(*part) for part in of_year), re.IGNORECASE)
        for year, of_year in groupby(months, key=itemgetter(0))
    }

    def is_in(text: str) -> bool:
        for match in _YEAR.finditer(text):
            year, start, end = _year_of(match), *match.span()
            if year in whole:
                return True
            pattern = patterns.get(year)
            if pattern and pattern.search(text, max(0, start - _AROUND), end + _AROUND):
                return True
        return False

    words = [str(year) for year, _, _ in parts]
    names = [*words]
    if len(parts) <= _MANY:
        for year, month, day in months:
            numbers = (str(month), f"{month:02}", str(year)[2:], _han_year(year))
            words += [*_names(month), *numbers, *([str(day), f"{day:02}"] if day else [])]
        packed = parts if len(whole) < _MANY_YEARS else months
        names = [*words, *(name for part in packed for name in _in_one_word(*part))]
    return Written(" ".join(dict.fromkeys(words)), " ".join(dict.fromkeys(names)), is_in)


def written_place(names: Collection[str]) -> Written:
    """The names of one place.

    >>> munich = written_place(["Munich", "München", "慕尼黑"])
    >>> [munich.is_in(text) for text in ("to Munich.", "去慕尼黑的火车", "Münchener")]
    [True, True, False]
    """
    bounds = {name: "" if name >= "一" else r"\b" for name in names}
    patterns = (f"{bound}{re.escape(name)}{bound}" for name, bound in bounds.items())
    pattern = re.compile("|".join(patterns), re.IGNORECASE)
    words = " ".join(names)
    return Written(words, words, lambda text: pattern.search(text) is not None)


def _year_of(match: re.Match[str]) -> int:
    if match["short"]:
        return int(match["short"]) + (2000 if int(match["short"]) < 70 else 1900)
    return int(match[0].translate(_DIGITS))


def _parts(period: Period) -> Iterator[tuple[int, int, int]]:
    """The years, months and days that make up a period; 0 for all of a year or of a month."""
    at = period.start or date(FIRST_YEAR, 1, 1)
    end = period.end or date(date.today().year + 2, 1, 1)
    while at < end:
        next_year = date(at.year + 1, 1, 1)
        next_month = date(at.year + at.month // 12, at.month % 12 + 1, 1)
        if (at.month, at.day) == (1, 1) and next_year <= end:
            yield at.year, 0, 0
            at = next_year
        elif at.day == 1 and next_month <= end:
            yield at.year, at.month, 0
            at = next_month
        else:
            yield at.year, at.month, at.day
            at += timedelta(1)


def _pattern(year: int, month: int, day: int) -> str:
    """A month, also where one of its days is named, or a day."""
    y, yy, han = str(year), f"{year % 100:02}", f"(?:{year}|{_han_year(year)})"
    optional = "" if day else "?"
    m, mm, name = f"0?{month}", f"{month:02}", one_of(_names(month))
    d, dd = (f"0?{day}", f"{day:02}") if day else (r"(?:0?[1-9]|[12]\d|3[01])", _ANY_DAY)
    forms = "|".join(
        (
            rf"{y}[-/._ ]?{mm}(?:[-/._ ]?{dd}){optional}",
            rf"{y}[-/.]{m}(?:[-/.]{d}){optional}",
            rf"(?:{d}\s?[-/.]\s?){optional}{m}\s?[-/.]\s?{y}",
            rf"{d}[-/.]\s?{m}[-/.]\s?{yy}|{m}/{d}/(?:{y}|{yy})",
            rf"(?:{d}{_TH}){optional}(?<![^\W\d_]){name}{_OF}{y}",
            rf"(?<![^\W\d_]){name}\.?\s*{d}(?:st|nd|rd|th)?,?\s*{y}",
            rf"{y}[-_/,\s]*{name}(?![^\W\d_])(?:[-_/\s]*{d}){optional}",
            rf"{han}\s?年\s?(?:{m}|{_HAN_NUMBERS[month]})\s?月(?:\s?{d}\s?[日号]){optional}",
        )
    )
    return rf"(?<!\d)(?:{forms})(?!\d(?!\d{{5}}(?!\d)))"


def _names(month: int) -> list[str]:
    return [name for name, number in MONTHS.items() if number == month]


def _han_year(year: int) -> str:
    return str(year).translate(_HAN_DIGITS)


def _in_one_word(year: int, month: int, day: int) -> Iterator[str]:
    months = [month] if month else range(1, 13)
    for each in months:
        yield f"{year}{each:02}"
        for number in [day] if day else range(1, 32):
            yield f"{year}{each:02}{number:02}"
