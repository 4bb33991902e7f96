"""Figures, times and names as a terminal shows them."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(time_s: float) -> str:
    """A Unix time, to the minute, in UTC.

    >>> moment(1_000_000_000)
    '2001-09-09 01:46'
    """
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M}"


def share(value: float | None) -> str:
    """In percent; a dash where it is not known.

    >>> share(0.1234), share(None)
    ('12.3%', '–')
    """
    return "–" if value is None else f"{value:.1%}"


def usd(amount: float) -> str:
    """To the cent, and small sums to four digits.

    >>> usd(1234.5), usd(0.01234), usd(0)
    ('1,234.50', '0.0123', '0.00')
    """
    return f"{amount:,.4f}" if 0 < abs(amount) < 1 else f"{amount:,.2f}"


def printable(name: str) -> str:
    """Without what a caller may have put into a name to draw on a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in name)
