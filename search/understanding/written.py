"""How texts and names write a date or a place, to find them and to verify them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from itertools import chain

from search.understanding import calendar
from search.understanding.calendar import FIRST_YEAR, MONTHS, Period, number_of, one_of

_DAYS_OF_WEEK, _DAYS_OF_YEAR = 7, 366
_HAN = str.maketrans("0123456789", "〇一二三四五六七八九")
_MM, _DD = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12][0-9]|3[01])"
_M, _D = r"(?:1[0-2]|0?[1-9])", r"(?:[12][0-9]|3[01]|0?[1-9])"
_NAME = rf"(?P<name>{one_of(MONTHS)})"
# Beginning with one class of characters makes it three times as fast.
_YEAR = re.compile(
    r"[0-9一二](?<![0-9][0-9])(?:"
    r"(?P<year>(?:(?<=1)[89]|(?<=2)0)[0-9]{2})"
    rf"(?=[^0-9]|$|{_MM}(?:{_DD}(?:[0-9]{{6}})?)?(?![0-9]))"
    r"|[0-9]?(?P<split>[./-])\s?[0-9]{1,2}[./-]\s?(?P<short>[0-9]{2})(?![0-9])"
    r"|(?P<han>(?<=[一二])[〇零一二三四五六七八九]{3})(?=\s?年))"
)
_BEFORE = (
    rf"(?<![0-9])(?:(?P<day>{_D})\s?(?P<split>[-/.])\s?)?(?P<month>{_M})\s?[-/.]\s?\Z",
    rf"(?:(?<![0-9])(?P<day>{_D})(?:st|nd|rd|th|\.)?[\s-]*(?:of\s+)?)?(?<![^\W\d_]){_NAME}"
    r"\.?,?[\s-]*(?:of\s+)?'?\Z",
    rf"(?<![^\W\d_]){_NAME}\.?\s*(?P<day>{_D})(?:st|nd|rd|th)?,?\s*\Z",
)
_AFTER = (
    rf"[-/._ ]?(?P<month>{_MM})(?:[-/._ ]?(?P<day>{_DD}))?(?:[0-9]{{6}})?(?![0-9]|:[0-9])",
    rf"[-/.](?P<month>{_M})(?:[-/.](?P<day>{_D}))?(?![0-9])",
    rf"[-_/,\s]*{_NAME}(?![^\W\d_])(?:[-_/\s]*(?P<day>{_D})(?![0-9]))?",
    rf"\s?年\s?(?P<month>{_M}|十[一二]?|[一二三四五六七八九])\s?月(?:\s?(?P<day>{_D})\s?[日号])?",
)
_AROUND = 26
"""The longest date has as many characters in front of its year."""


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
    start = period.start or date(FIRST_YEAR, 1, 1)
    end = period.end or date(date.today().year + 2, 1, 1)
    n_days = (end - start).days
    days = [start + timedelta(n) for n in range(n_days if n_days <= _DAYS_OF_YEAR else 0)]
    words = [str(year) for year in range(start.year, (end - timedelta(1)).year + 1)]
    for day in days if n_days < _DAYS_OF_YEAR - 1 else ():
        names = [name for name, number in MONTHS.items() if number == day.month]
        words += [*names, str(day.month), f"{day:%m}", f"{day:%y}", str(day.year).translate(_HAN)]
        words += [str(day.day), f"{day:%d}"] if n_days <= _DAYS_OF_WEEK else []
    names = [*words, *(f"{day:{form}}" for day in days for form in ("%Y%m", "%Y%m%d"))]
    return Written(
        " ".join(dict.fromkeys(words)),
        " ".join(dict.fromkeys(names)),
        lambda text: any(_is_within(dated, period) for dated in _dates_in(text, period)),
    )


def _dates_in(text: str, period: Period) -> Iterator[Period]:
    """The years, months and days of a text whose year a period touches."""
    for match in _YEAR.finditer(text):
        if match["short"]:
            first, second, short = map(int, re.findall("[0-9]+", match[0]))
            year = short + (2000 if short < 70 else 1900)
            yield from _days(year, first, second, is_american=match["split"] == "/")
            continue
        year = number_of(match[0])
        if _is_within(calendar.year(year), period):  # whatever its month is
            yield calendar.year(year)
        if (period.start and year < period.start.year) or (period.end and year > period.end.year):
            continue
        start, end = match.span()
        around = chain(
            (
                pattern.search(text, max(0, start - _AROUND), start)
                for pattern in _compiled(_BEFORE)
            ),
            (after.match(text, end) for after in _compiled(_AFTER)),
        )
        day_and_month = next(filter(None, around), None)
        if day_and_month is None:
            yield calendar.year(year)
            continue
        numbers = day_and_month.groupdict()
        name, day = numbers.get("name"), int(numbers["day"] or 0)
        month = MONTHS[name.lower()] if name else number_of(numbers["month"])
        yield from _days(year, day, month, is_american=numbers.get("split") == "/")


def _days(year: int, day: int, month: int, *, is_american: bool) -> Iterator[Period]:
    """A day, or a month if ``day`` is 0; 3/4/2020 is March to some and April to others."""
    for d, m in ((day, month), *(((month, day),) if is_american else ())):
        with suppress(ValueError):
            yield calendar.day(date(year, m, d)) if d else calendar.month(year, m)


def _is_within(dated: Period, period: Period) -> bool:
    start, end = period.start or date.min, period.end or date.max
    return start <= (dated.start or date.min) and (dated.end or date.max) <= end


@cache
def _compiled(patterns: tuple[str, ...]) -> list[re.Pattern[str]]:
    return [re.compile(pattern, re.IGNORECASE) for pattern in patterns]


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
