"""A report as a table for a terminal, and as CSV."""

from __future__ import annotations

import csv
import io

from rich.markup import escape
from rich.table import Table

from router.report.report import Line, Report, fields
from router.terminal.room import LEAST_NAME, fitting
from router.terminal.words import moment, printable, share

_HEADINGS = (
    *("requests", "student", "spent $", "all-teacher $", "saved $", "saved", "by audits $"),
    *("audits", "agree", "interval", "errors"),
)
_LEFT_OUT_FIRST = (
    *("all-teacher $", "interval", "by audits $", "audits", "errors", "saved"),
    *("requests", "spent $"),
)
"""Where a terminal has no room for all."""

_LITTLE = 10.0
"""USD that the teacher alone costs for all, below which cents are coarse."""

NOTE = (
    "spent: answers, audits, try-outs. saved: of what the teacher alone costs, where the cost of "
    "what students answered is predicted; by audits: the same with the prediction corrected by "
    "what audits did cost, with its interval. agree: share of audited answers that the teacher "
    "agreed with."
)


def title(report: Report) -> str:
    teachers = ", ".join(report.teachers) or "none asked"
    paid = "; a replay of recorded answers: nobody was paid" if report.replayed else ""
    return f"{moment(report.since)} to {moment(report.until)} UTC, teacher: {teachers}{paid}"


def table(report: Report, width: int) -> Table:
    """Figures by group and in total, as many as have room in ``width`` columns."""
    rows = [cells(line, report) for line in (*report.lines, report.total)]
    columns = [list(column) for column in zip(_HEADINGS, *rows, strict=True)]
    places = fitting(columns, width, _LEFT_OUT_FIRST)
    left_out = [name for at, name in enumerate(_HEADINGS) if at not in places]
    shown = Table(title=escape(title(report)), title_style="bold")
    shown.caption = f"{NOTE} Promised: {report.promise:.1%}. Intervals: {report.level:.0%}."
    if left_out:
        shown.caption += f" No room for: {', '.join(left_out)}."
    shown.add_column(report.by, overflow="fold", min_width=LEAST_NAME)
    for at in places:
        shown.add_column(_HEADINGS[at], justify="right", no_wrap=True)
    for line, row in zip(report.lines, rows, strict=False):
        shown.add_row(escape(printable(line.name)), *(row[at] for at in places))
    shown.add_section()
    shown.add_row("all", *(rows[-1][at] for at in places), style="bold")
    return shown


def cells(line: Line, report: Report) -> list[str]:
    """The figures of a line of the report in words, in the order of the headings. Money is to the
    cent, or all of it to four digits where it is little, so that it can be compared."""
    digits = 4 if report.total.teacher_only < _LITTLE else 2
    corrected, interval = line.corrected, line.agreement_interval

    def money(amount: float) -> str:
        return f"{amount:,.{digits}f}"

    return [
        f"{line.requests:,}",
        f"{line.student_share:.1%}",
        money(line.spent),
        money(line.teacher_only),
        money(line.saved),
        f"{line.saved_share:.1%}" if line.teacher_only else "–",
        f"{money(corrected.low)} to {money(corrected.high)}" if corrected else "–",
        f"{line.audits:,}",
        share(line.agreement),
        f"{interval[0]:.1%}–{interval[1]:.1%}" if interval else "–",
        f"{line.errors:,}",
    ]


def as_csv(report: Report) -> str:
    """A row for each group; all figures in full, without a total."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([report.by, *list(fields(report.total))[1:]])
    for line in report.lines:
        name, *figures = fields(line).values()
        # What begins so is a formula to a spreadsheet, and a task's name is up to callers.
        said = f"'{name}" if str(name)[:1] in "=+-@\t\r" else name
        writer.writerow([said, *("" if value is None else value for value in figures)])
    return text.getvalue()
