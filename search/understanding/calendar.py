"""Days, weeks, months, seasons and years as periods. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class Period:
    """From the beginning of ``start`` to that of ``end``; None for no limit."""

    start: date | None
    end: date | None

    def before(self) -> Period:
        """All that is earlier."""
        return Period(None, self.start)

    def after(self) -> Period:
        """All that is later."""
        return Period(self.end, None)


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
