"""A report as one HTML file that can be mailed: no script, and nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from jinja2 import Environment, PackageLoader, StrictUndefined

from router.report.report import Line, Report
from router.report.shown import cells, title
from router.terminal.words import moment, usd

WIDTH, HEIGHT = 880, 180
_LEFT, _BOTTOM = 64, 22
"""Room for the scale and the days."""
_WIDEST = 60.0
"""Of a bar."""

_HEADINGS = (
    *("requests", "by student", "spent USD", "all-teacher USD", "saved USD", "saved"),
    *("saved by audits", "audits", "agreement", "interval", "errors"),
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One day in the chart: where what was spent, and on it what was saved, is drawn."""

    x: float
    width: float
    spent_y: float
    spent_height: float
    saved_y: float
    saved_height: float
    said: str
    label: str
    """The day; empty where there is no room for it."""


def page(report: Report) -> str:
    """The whole document."""
    environment = Environment(
        loader=PackageLoader("router.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    top = max((max(day.spent + max(day.saved, 0), 0) for day in report.days), default=0.0)
    return environment.get_template("page.html").render(
        report=report,
        total=report.total,
        title=title(report),
        since=moment(report.since),
        until=moment(report.until),
        headings=_HEADINGS,
        rows=[(line.name, cells(line, report)) for line in report.lines],
        all=cells(report.total, report),
        bars=_bars(report.days, top),
        top=usd(top),
        usd=usd,
        width=WIDTH,
        height=HEIGHT,
        left=_LEFT,
        floor=HEIGHT - _BOTTOM,
    )


def _bars(days: tuple[Line, ...], top: float) -> list[Bar]:
    """A place for every day from the first to the last, and a bar for those that had requests."""
    if not top:
        return []
    first = date.fromisoformat(days[0].name)
    places = [(date.fromisoformat(day.name) - first).days for day in days]
    step = (WIDTH - _LEFT) / (places[-1] + 1)
    width = min(step * 0.8, _WIDEST)
    scale = (HEIGHT - _BOTTOM - 10) / top
    every = max(1, round(90 / step))
    last = places[-1] + 1 - round(70 / step)
    bars = []
    for place, day in zip(places, days, strict=True):
        spent, saved = day.spent * scale, max(day.saved, 0) * scale
        spent_y = HEIGHT - _BOTTOM - spent
        bars.append(
            Bar(
                x=round(_LEFT + (place + 0.5) * step - width / 2, 1),
                width=round(width, 1),
                spent_y=round(spent_y, 1),
                spent_height=round(spent, 1),
                saved_y=round(spent_y - saved, 1),
                saved_height=round(saved, 1),
                said=f"{day.name}: spent {usd(day.spent)} USD, saved {usd(day.saved)} USD",
                label=day.name if place % every == 0 and (place <= last or not place) else "",
            )
        )
    return bars
