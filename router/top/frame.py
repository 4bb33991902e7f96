"""One frame of ``protege top``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from router.terminal.words import printable, share, usd
from router.top.pace import Pace, RoutePace, TaskPace

_WIDTHS = {
    "req/s": 7,
    "student": 7,
    "spent $/h": 9,
    "saved $/h": 9,
    "agree": 6,
    "at least": 8,
    "version": 8,
}
"""Headings, and how wide the figures below them get. All of it has room in 80 columns, beside the
beginning of a task's name."""
_LEAST_NAME = 12


def frame(root: str, pace: Pace, most_tasks: int) -> RenderableType:
    """The pace of the server at ``root``, and of its ``most_tasks`` busiest tasks."""
    parts: list[RenderableType] = [_head(root, pace), _routes(pace)]
    parts.append(_Tasks(pace.tasks[:most_tasks], pace.promised))
    left_out = len(pace.tasks) - most_tasks
    if left_out > 0:
        parts.append(Text(f"and {left_out:,} more tasks", style="dim"))
    return Group(*parts)


def _head(root: str, pace: Pace) -> Text:
    text = Text()
    text.append("Protege ", style="bold")
    text.append(f"{root}, over {pace.over_s:.0f} s\n")
    text.append(f"{pace.requests_per_s:,.1f} requests/s", style="bold")
    failing = f"{pace.failing:.1%} failing"
    text.append(f", {failing}", style="red" if pace.failing else "")
    text.append(f", {pace.in_flight:,} in flight, {pace.waiting:,} waiting for the store\n")
    text.append(f"{usd(pace.money.spent)} $/h spent, ")
    text.append(f"{usd(pace.money.saved)} $/h saved", style="green" if pace.money.saved > 0 else "")
    serving = sum(task.version is not None for task in pace.tasks)
    text.append(f", {serving:,} students in service")
    if pace.promised is not None:
        text.append(f", {pace.promised:.1%} agreement promised")
    if pace.resting:
        text.append(f"\nleft alone: {printable(', '.join(pace.resting))}", style="bold red")
    return text


def _routes(pace: Pace) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("route", min_width=12)
    for heading in ("requests/s", "share", "p50", "p95"):
        table.add_column(heading, justify="right", min_width=9)
    for route in pace.routes:
        part = route.requests_per_s / pace.requests_per_s if pace.requests_per_s else 0.0
        table.add_row(route.route, *_route_cells(route, part))
    return table


def _route_cells(route: RoutePace, part: float) -> list[str]:
    return [
        f"{route.requests_per_s:,.1f}",
        f"{part:.0%}",
        _milliseconds(route.p50_s),
        _milliseconds(route.p95_s),
    ]


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:,.0f} ms"


@dataclass(frozen=True, slots=True)
class _Tasks:
    """A table of some tasks, as wide as there is room: names are cut, figures are not."""

    tasks: Sequence[TaskPace]
    promised: float | None

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, pad_edge=False)
        figures = sum(width + 2 for width in _WIDTHS.values())
        most = max(_LEAST_NAME, options.max_width - figures)
        table.add_column("task", overflow="ellipsis", no_wrap=True, max_width=most)
        for heading, width in _WIDTHS.items():
            table.add_column(heading, justify="right", no_wrap=True, min_width=width)
        for task in self.tasks:
            agreed, promised = task.agreement, self.promised
            broken = agreed is not None and promised is not None and agreed < promised
            style = "red" if broken else ""
            table.add_row(escape(printable(task.task)), *_cells(task), style=style)
        yield table


def _cells(task: TaskPace) -> list[str]:
    return [
        f"{task.requests_per_s:,.1f}",
        f"{task.by_student:.0%}",
        usd(task.money.spent),
        usd(task.money.saved),
        share(task.agreement),
        share(task.lower),
        escape(printable(_short(task))),
    ]


def _short(task: TaskPace) -> str:
    """The version in service, without the task's name that it begins with."""
    return "–" if task.version is None else task.version.removeprefix(f"{task.task}-")
