"""One frame of ``protege top``."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from router.report.shown import printable, usd
from router.top.pace import Pace, RoutePace, TaskPace

_HEADINGS = ("requests/s", "student", "spent $/h", "saved $/h", "agree", "at least", "version")


def frame(root: str, pace: Pace, most_tasks: int) -> RenderableType:
    """The pace of the server at ``root``, and of its ``most_tasks`` busiest tasks."""
    parts: list[RenderableType] = [_head(root, pace), _routes(pace), _tasks(pace, most_tasks)]
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
        share = route.requests_per_s / pace.requests_per_s if pace.requests_per_s else 0.0
        table.add_row(route.route, *_route_cells(route, share))
    return table


def _route_cells(route: RoutePace, share: float) -> list[str]:
    return [
        f"{route.requests_per_s:,.1f}",
        f"{share:.0%}",
        _milliseconds(route.p50_s),
        _milliseconds(route.p95_s),
    ]


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:,.0f} ms"


def _tasks(pace: Pace, most: int) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("task", overflow="ellipsis", no_wrap=True, min_width=12)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for task in pace.tasks[:most]:
        agreed, promised = task.agreement, pace.promised
        broken = agreed is not None and promised is not None and agreed < promised
        table.add_row(escape(printable(task.task)), *_cells(task), style="red" if broken else "")
    return table


def _cells(task: TaskPace) -> list[str]:
    return [
        f"{task.requests_per_s:,.1f}",
        f"{task.by_student:.0%}",
        usd(task.money.spent),
        usd(task.money.saved),
        _share(task.agreement),
        _share(task.lower),
        escape(printable(task.version or "–")),
    ]


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
