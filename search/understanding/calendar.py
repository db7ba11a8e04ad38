"""Days, weeks, months, seasons and years as periods. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

FIRST_YEAR = 1840
"""Of photographs."""


@dataclass(frozen=True)
class Period:
    """From the beginning of ``start`` to that of ``end``; None for no limit."""

    start: date | None
    end: date | None


def day(when: date) -> Period:
    """One day."""
    return Period(when, when + timedelta(1))


def week(when: date) -> Period:
    """Monday to Sunday around a day."""
    monday = when - timedelta(when.weekday())
    return Period(monday, monday + timedelta(7))


def month(year: int, number: int) -> Period:
    """A month; numbers outside 1 to 12 are in other years.

    >>> month(2024, 0)
    Period(start=datetime.date(2023, 12, 1), end=datetime.date(2024, 1, 1))
    """
    return Period(_first(year, number), _first(year, number + 1))


def year(number: int) -> Period:
    """A year."""
    return Period(date(number, 1, 1), date(number + 1, 1, 1))


def season(year: int, number: int) -> Period:
    """A northern season in whole months: 0 is spring, 3 the winter that begins in ``year``."""
    return Period(_first(year, 3 + 3 * number), _first(year, 6 + 3 * number))


def _first(year: int, number: int) -> date:
    years, months = divmod(number - 1, 12)
    return date(year + years, months + 1, 1)


_MONTHS = (
    "january jan januar jänner",
    "february feb februar",
    "march mar märz mrz",
    "april apr",
    "may mai",
    "june jun juni",
    "july jul juli",
    "august aug",
    "september sep sept",
    "october oct oktober okt",
    "november nov",
    "december dec dezember dez",
)
_SEASONS = (
    "spring frühling frühjahr",
    "summer sommer",
    "autumn fall herbst",
    "winter",
)
_NUMBERS = (
    "a one ein einem einer 一",
    "two zwei 两 二",
    "three drei 三",
    "four vier 四",
    "five fünf 五",
    "six sechs 六",
    "seven sieben 七",
    "eight acht 八",
    "nine neun 九",
    "ten zehn 十",
)
_UNITS = {
    "day": "day days tag tage tagen 天",
    "week": "week weeks woche wochen 周 星期 个星期",
    "month": "month months monat monate monaten 个月",
    "year": "year years jahr jahre jahren 年",
}
_DIGITS = {digit: str(value) for value, digit in enumerate("〇一二三四五六七八九")} | {"零": "0"}


def _numbered(rows: Iterable[str], first: int) -> dict[str, int]:
    return {word: number for number, row in enumerate(rows, first) for word in row.split()}


MONTHS = _numbered(_MONTHS, 1)
SEASONS = _numbered(_SEASONS, 0) | {"春": 0, "夏": 1, "秋": 2, "冬": 3}
NUMBERS = _numbered(_NUMBERS, 1)
UNITS = {word: unit for unit, row in _UNITS.items() for word in row.split()}
RELATIVE_DAYS = {
    "today": 0, "heute": 0, "今天": 0,
    "yesterday": 1, "gestern": 1, "昨天": 1,
    "vorgestern": 2, "前天": 2,
}  # fmt: skip


def one_of(words: Iterable[str]) -> str:
    """A pattern for one of these words, the longest that fits."""
    return f"(?:{'|'.join(sorted(map(re.escape, words), key=len, reverse=True))})"


def number_of(text: str) -> int:
    """A number in digits, in a word, or in Chinese up to 99.

    >>> number_of("二〇二四"), number_of("十二"), number_of("二十一"), number_of("drei")
    (2024, 12, 21, 3)
    """
    if text.isdecimal():
        return int(text)
    if text in NUMBERS:
        return NUMBERS[text]
    if "十" in text:
        tens, _, ones = text.partition("十")
        return 10 * NUMBERS.get(tens, 1) + NUMBERS.get(ones, 0)
    return int("".join(_DIGITS[digit] for digit in text))
