"""Figures, times and names as the pages show them. All return text, which the pages escape."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import floor, log10

from markupsafe import Markup

from telemetry.exchange import PICO

NONE = "–"
"""Stands where there is no figure."""

_REPLAY = "replay-of-"
"""What the demo's teacher begins its name with."""

_RUNGS = {
    "ngram": "n-grams",
    "embedding": "sentence encoder",
    "both": "n-grams and sentence encoder",
    "tuned": "n-grams and its task's own encoder",
    "text": "language model",
    "hosted": "hosted model",
}

_AGES = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def usd(picodollars: float | None) -> str:
    """Dollars, to the cent or, where it is less, to two digits.

    >>> usd(1_234_567 * 10**9), usd(12_340_000_000), usd(-41_000_000), usd(0)
    ('$1,234.57', '$0.012', '-$0.000041', '$0')
    """
    if picodollars is None:
        return NONE
    amount = abs(picodollars) / PICO
    sign = "-" if picodollars < 0 else ""
    if amount == 0:
        return "$0"
    decimals = 2 if amount >= 0.1 else 1 - floor(log10(amount))
    return f"{sign}${amount:,.{decimals}f}"


def share(value: float | None) -> str:
    """
    >>> share(0.4567), share(1.0), share(None)
    ('45.7%', '100%', '–')
    """
    if value is None:
        return NONE
    return f"{100 * value:.1f}".removesuffix(".0") + "%"


def ratio(part: float, whole: float) -> float | None:
    """None where there is no whole."""
    return part / whole if whole else None


def count(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """
    >>> seconds(0.0123), seconds(2.5), seconds(300.0)
    ('12 ms', '2.50 s', '5.0 min')
    """
    if value is None:
        return NONE
    if value < 0.001:
        return f"{1e6 * value:.0f} µs"
    if value < 1:
        return f"{1000 * value:.0f} ms"
    return f"{value:.2f} s" if value < 120 else f"{value / 60:.1f} min"


def moment(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(time_s: float | None, now: float) -> Markup | str:
    """How long ago, with the time itself behind it."""
    if time_s is None:
        return NONE
    iso = datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        iso, moment(time_s), span(now - time_s)
    )


def span(seconds_ago: float) -> str:
    """
    >>> span(7300), span(0.2), span(-90)
    ('2 hours ago', 'now', 'in 1 minute')
    """
    for size, unit in _AGES:
        number = floor(abs(seconds_ago) / size)
        if number:
            words = f"{number} {unit}{'s' if number > 1 else ''}"
            return f"{words} ago" if seconds_ago > 0 else f"in {words}"
    return "now"


def is_replay(model: str) -> bool:
    """Whether a model is the demo's recording and no model at all."""
    return model.startswith(_REPLAY)


def model(name: str) -> str:
    """
    >>> model("replay-of-gpt-5.4"), model("gpt-5.4")
    ('demo replay of gpt-5.4', 'gpt-5.4')
    """
    return f"demo replay of {name.removeprefix(_REPLAY)}" if is_replay(name) else name


def rungs(names: Sequence[str]) -> list[str]:
    """What the rungs of a student read or are, from the cheapest to the dearest.

    >>> rungs(["ngram", "both"])
    ['n-grams', 'n-grams and sentence encoder']
    """
    return [_RUNGS.get(name, name) for name in names]


def short(text: str | None, most: int = 90) -> str:
    """In one line, cut where it is long."""
    flat = " ".join((text or "").split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"
