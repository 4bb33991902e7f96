"""``protege report``: what was spent and saved, and whether quality held."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from router.commands.opened import Config, Data, ago, fail, opened
from router.commands.printed import json_text
from router.report.report import Report, as_json, read
from router.report.shown import as_csv, table
from router.terminal.console import console
from telemetry.rollup import roll_up

_WIDTH = 190
"""Columns for the table where the output is not a terminal."""


class By(StrEnum):
    """What figures are grouped by."""

    TASK = "task"
    KEY = "key"
    MODEL = "model"
    DAY = "day"
    ROUTE = "route"


class Format(StrEnum):
    """How a report is shown."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


def report(
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="From when on: so long ago, as 12h or 30d, or a date in UTC."
        ),
    ] = "30d",
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Until when; default: now.")
    ] = None,
    by: Annotated[By, typer.Option(help="What to group by.")] = By.TASK,
    format_: Annotated[Format, typer.Option("--format", help="How to show it.")] = Format.TABLE,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to this file.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Spend, savings and quality of a time, from the store; the HTML is one file to mail."""
    now = time.time()
    start = _moment(since, "--since", now)
    end = now if until is None else _moment(until, "--until", now)
    if start >= end:
        fail("--since must be before --until", 2)
    if output is not None and (not output.parent.is_dir() or output.is_dir()):
        fail(f"cannot write to {output}", 2)
    with opened(data, config) as (settings, store):
        roll_up(store.engine, now)
        made = read(store, start, end, by.value, settings.policy)
    if format_ is Format.TABLE and output is None:
        shown = console(_WIDTH)
        shown.print(table(made, shown.width))
        return
    text = _text(made, format_)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"cannot write to {output}: {error.strerror}", 2)


def _text(made: Report, format_: Format) -> str:
    match format_:
        case Format.CSV:
            return as_csv(made)
        case Format.JSON:
            return json_text(as_json(made)) + "\n"
        case Format.HTML:
            from router.report.page import page

            return page(made)
        case Format.TABLE:
            shown = Console(width=_WIDTH)
            with shown.capture() as capture:
                shown.print(table(made, _WIDTH))
            return capture.get()


def _moment(text: str, option: str, now: float) -> float:
    """A length of time before now, or a date with or without a time, as a Unix time."""
    if re.fullmatch(r"\d+[a-z]", text):
        return ago(text, option, now)
    try:
        moment = datetime.fromisoformat(text)
        at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        # Shown again, in UTC: the last day of all may be over there.
        datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError):
        fail(f"{option}: expected 12h, 30d or a date such as 2026-03-01 (got {text!r})", 2)
    return at
