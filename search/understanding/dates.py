"""Dates in a query, in English, German and Chinese. Pure.

Only what can hardly mean anything else is a date: a month or a season needs its year or "last",
"yesterday" has to end the query or follow a preposition, and so does a bare year before 2000. So
"may I", "march of the penguins" and "1984 by George Orwell" stay words. Date libraries read many of
these as dates, and the periods that people write as single days: see docs/decisions/0029.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

from search.understanding import calendar
from search.understanding.calendar import (
    FIRST_YEAR,
    MONTHS,
    NUMBERS,
    RELATIVE_DAYS,
    SEASONS,
    UNITS,
    Period,
    number_of,
    one_of,
)

_RECENT_YEAR = 2000
_MEASURE = re.compile(
    r"\s?(?:px|pixels?|k?m|k?g|e?uros?|eur|usd|dollars?|[€$£元块]|[mg]b|m?hz|people|personen|leute)\b",
    re.IGNORECASE,
)
_WORD = "0-9A-Za-z_äöüÄÖÜß"
_BEGIN, _END = rf"(?<![{_WORD}/.-])", rf"(?![{_WORD}])(?!-\w)(?!['’])"
_NAMES = {word for word in [*MONTHS, *SEASONS] if len(word) > 1}
_MONTH, _SEASON = one_of(MONTHS), one_of(word for word in SEASONS if len(word) > 1)
_UNIT = one_of(unit for unit in UNITS if unit.isascii())
_COUNT = rf"(?:\d\d?|{one_of(n for n in NUMBERS if n[0] < '一')})"
_YEAR = r"(?:1[89]\d\d|20\d\d)"
_HAN_YEAR = r"(?:1[89]\d\d|20\d\d|[一二][〇零一二三四五六七八九]{3})"
_HAN_COUNT = r"(?:\d{1,2}|[一二两三四五六七八九十]{1,3})"
_HAN_PART = (
    r"(?:的?(?P<season>[春夏秋冬])(?!节)[天季]?"
    rf"|\s?(?P<month>{_HAN_COUNT})\s?月(?:\s?(?P<day>{_HAN_COUNT})\s?[日号])?)?"
)
_LAST = r"(?:last|past|letzte[nrms]?|vorige[nrms]?|vergangene[nrms]?)"
_THIS = r"(?:this|diese[nrms]?)"

# Words before a date that only lead to it, or make it a limit.
_LEAD = re.compile(
    r"(?:^|(?<=\s))(?P<word>before|until|till|vor|bis|after|nach|since|seit|ab"
    r"|from|in|on|of|during|aus|von|im|am|vom)"
    r"(?:\s+(?:the|dem|der|den))?(?:\s+(?:year|jahre?))?\s+$"
    r"|(?:^|\s)(?<!new )(?<!neues )(?:the\s+)?(?:year|jahr)\s+$",
    re.IGNORECASE,
)
_FEAST = re.compile(
    r"\b(?:christmas|easter|halloween|thanksgiving|weihnachten|ostern|pfingsten|silvester)\s+$",
    re.IGNORECASE,
)
_HAN_TAIL = re.compile(r"\s?(?:(?P<before>以前|之前|前)|(?P<since>以来|以后|之后|后|起))?的?")
_BEFORE, _AFTER, _SINCE = (
    {"before", "until", "till", "vor", "bis"},
    {"after", "nach"},
    {"since", "seit", "ab"},
)


@dataclass(frozen=True)
class FoundDate:
    """A period at ``[start, end)`` in a text, including words that only lead to it."""

    period: Period
    start: int
    end: int


@dataclass(frozen=True)
class _Rule:
    """A pattern, and the period of a match.

    ``bare``: it is a date only at the end of a text, or after a word that leads to one.
    ``needs``: what a text has to hold to match; patterns are compiled for such texts only, since
    all of them take a tenth of a second.
    """

    pattern: str
    period: Callable[[re.Match[str], date], Period]
    bare: bool = False
    needs: re.Pattern[str] | None = None

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        return re.compile(f"{_BEGIN}{self.pattern}{_END}", re.IGNORECASE)


def find_date(text: str, today: date) -> FoundDate | None:
    """The first period that a text names; None where it names none.

    >>> found = find_date("Strand im Mai 2024", date(2026, 11, 27))
    >>> found.period.start, found.start
    (datetime.date(2024, 5, 1), 7)
    >>> find_date("may I come in", date(2026, 11, 27))
    """
    for rule in _RULES:
        if rule.needs and not rule.needs.search(text):
            continue
        for match in rule.compiled.finditer(text):
            try:
                dated = _dated(rule, match, today)
            except ValueError:  # 31 February, or a year before all photographs
                return None
            if dated:
                return dated
    return None


def _dated(rule: _Rule, match: re.Match[str], today: date) -> FoundDate | None:
    text, period = match.string, rule.period(match, today)
    if period.start is None or period.start > today:
        return None
    lead = _LEAD.search(text[: match.start()])
    ends = not text[match.end() :].strip(" .!?")
    is_recent_year = "year" in match.groupdict() and period.start.year >= _RECENT_YEAR
    is_sure = lead or ends or _FEAST.search(text[: match.start()])
    if rule.bare and not is_sure and (not is_recent_year or _MEASURE.match(text, match.end())):
        return None
    start, end = lead.start() if lead else match.start(), match.end()
    word = (lead["word"] or "").lower() if lead else ""
    if "一" <= text[end - 1] <= "龥":
        tail = _HAN_TAIL.match(text, end)
        assert tail is not None  # it also matches an empty text
        word, end = tail.lastgroup or word, tail.end()
    if word in _BEFORE:
        period = Period(None, period.end if word in ("until", "till", "bis") else period.start)
    elif word in _AFTER:
        period = Period(period.end, None)
    elif word in _SINCE:
        period = Period(period.start, None)
    return FoundDate(period, start, end)


def _named(match: re.Match[str], today: date) -> Period:
    """The year, season, month or day that a pattern names."""
    names = match.groupdict()
    which = names.get("which")
    year = today.year - "今去前".index(which) if which else _year(names["year"])
    if season := names.get("season"):
        return calendar.season(year, SEASONS[season.lower()])
    if not (month := names.get("month")):
        return calendar.year(year)
    number, day = MONTHS.get(month.lower()) or number_of(month), names.get("day")
    first = date(year, number, number_of(day or "1"))
    return calendar.day(first) if day else calendar.month(year, number)


def _years(match: re.Match[str], _: date) -> Period:
    first, last = _year(match["first"]), _year(match["last"])
    return Period(calendar.year(first).start, calendar.year(max(first, last)).end)


def _decade(match: re.Match[str], _: date) -> Period:
    """1990s, the 90s, 90er."""
    digits = match["decade"]
    first = int(digits) if len(digits) == 4 else 1900 + int(digits) + 100 * (int(digits) < 30)
    return Period(date(first, 1, 1), date(first + 10, 1, 1))


def _relative_day(match: re.Match[str], today: date) -> Period:
    return calendar.day(today - timedelta(RELATIVE_DAYS[match["when"].lower()]))


def _ago(match: re.Match[str], today: date) -> Period:
    n, unit = number_of(match["n"].lower()), UNITS[match["unit"].lower()]
    if unit == "day":
        return calendar.day(today - timedelta(n))
    if unit == "week":
        return calendar.day(today - timedelta(7 * n))
    return _recent(unit, n, today)


def _last_or_this(match: re.Match[str], today: date) -> Period:
    n = 1 if match["last"] else 0
    what = match["what"].lower()
    if what in UNITS:
        return _recent(UNITS[what], n, today)
    periods = (
        calendar.month(year, MONTHS[what])
        if what in MONTHS
        else calendar.season(year, SEASONS[what])
        for year in (today.year, today.year - 1)
    )
    # The last summer is over, or under way.
    return next(period for period in periods if period.start and period.start <= today)


def _han_unit(match: re.Match[str], today: date) -> Period:
    unit = "month" if "月" in match[0] else "week"
    return _recent(unit, int(match["which"].startswith("上")), today)


def _weekend(match: re.Match[str], today: date) -> Period:
    """The last weekend that is over, or the one that is under way or to come."""
    saturday = today + timedelta(5 - today.weekday() - 7 * bool(match["last"]))
    return Period(saturday, saturday + timedelta(2))


def _recent(unit: str, n: int, today: date) -> Period:
    """``n`` days, weeks, months or years before the current one."""
    if unit == "month":
        return calendar.month(today.year, today.month - n)
    if unit == "year":
        return calendar.year(today.year - n)
    return calendar.week(today - timedelta(7 * n)) if unit == "week" else calendar.day(today)


def _year(text: str) -> int:
    number = number_of(text)
    if number < FIRST_YEAR:
        raise ValueError(text)
    return number


_DIGIT, _HAN = re.compile(r"\d"), re.compile("[〇一-龥]")
_DAY_END = r"(?:st|nd|rd|th|\.)?"
_RULES = (
    _Rule(
        rf"(?:from |between |von |zwischen )?(?P<first>{_YEAR})\s?(?:-|–|to|and|bis|und)\s?"
        rf"(?P<last>{_YEAR})",
        _years,
        needs=_DIGIT,
    ),
    # 3/4/2020 is March to some and April to others.
    _Rule(rf"(?P<day>1[3-9]|2\d|3[01])/(?P<month>\d\d?)/(?P<year>{_YEAR})", _named, needs=_DIGIT),
    _Rule(rf"(?P<month>\d\d?)/(?P<day>1[3-9]|2\d|3[01])/(?P<year>{_YEAR})", _named, needs=_DIGIT),
    _Rule(rf"(?P<first>{_HAN_YEAR})年?\s?[到至]\s?(?P<last>{_HAN_YEAR})年", _years, needs=_HAN),
    _Rule(rf"(?P<year>{_YEAR})[-/.](?P<month>\d\d?)[-/.](?P<day>\d\d?)", _named, needs=_DIGIT),
    _Rule(rf"(?P<year>{_YEAR})[-/](?P<month>0\d|1[0-2])", _named, needs=_DIGIT),
    _Rule(rf"(?P<day>\d\d?)\.\s?(?P<month>\d\d?)\.\s?(?P<year>{_YEAR})", _named, needs=_DIGIT),
    _Rule(
        rf"(?:(?P<day>\d\d?){_DAY_END}\s+(?:of\s+)?)?"
        rf"(?P<month>{_MONTH})\.?,?\s+(?:of\s+)?(?P<year>{_YEAR})",
        _named,
        needs=_DIGIT,
    ),
    _Rule(
        rf"(?P<month>{_MONTH})\.?\s+(?P<day>\d\d?){_DAY_END},?\s+(?P<year>{_YEAR})",
        _named,
        needs=_DIGIT,
    ),
    _Rule(rf"(?P<month>0?[1-9]|1[0-2])/(?P<year>{_YEAR})", _named, needs=_DIGIT),
    _Rule(rf"(?P<season>{_SEASON})\s+(?:of\s+)?(?P<year>{_YEAR})", _named, needs=_DIGIT),
    _Rule(rf"(?P<year>{_YEAR})\s+(?P<season>{_SEASON})", _named, needs=_DIGIT),
    _Rule(rf"(?P<year>{_HAN_YEAR})\s?年{_HAN_PART}", _named, needs=_HAN),
    _Rule(rf"(?P<which>[今去前])年{_HAN_PART}", _named, needs=_HAN),
    _Rule(r"(?P<which>上个?|这个?|本)(?:月|周|星期)", _han_unit, needs=_HAN),
    _Rule(rf"(?P<n>{_HAN_COUNT})(?P<unit>天|周|个星期|个月|年)前", _ago, needs=_HAN),
    _Rule(r"(?P<when>今天|昨天|前天)(?=$|\s|的|拍|照)", _relative_day, needs=_HAN),
    _Rule(
        rf"(?:(?:in\s+|im\s+)?(?:the\s+)?(?P<last>{_LAST})|{_THIS})\s+(?P<what>{_UNIT}|{one_of(_NAMES)})",
        _last_or_this,
    ),
    _Rule(
        rf"(?:(?P<last>{_LAST}|上)|{_THIS}|这个?|本)(?:\s+(?:weekend|wochenende)|周末)", _weekend
    ),
    _Rule(rf"(?P<n>{_COUNT})\s+(?P<unit>{_UNIT})\s+ago", _ago),
    _Rule(rf"vor\s+(?P<n>{_COUNT})\s+(?P<unit>{_UNIT})", _ago),
    _Rule(
        r"(?:the\s+)?(?P<decade>(?:1[89]|20)\d0)(?:s|er|ern|er\s+jahren?)", _decade, needs=_DIGIT
    ),
    _Rule(r"(?:the\s+|den\s+)(?P<decade>\d0)(?:s|ern?|er\s+jahren?)", _decade, needs=_DIGIT),
    _Rule(
        rf"(?P<when>{one_of(day for day in RELATIVE_DAYS if day.isascii())})",
        _relative_day,
        bare=True,
    ),
    _Rule(rf"(?P<year>{_YEAR})", _named, bare=True, needs=_DIGIT),
)
