"""``protege student``: the students that there are, and which of them serves.

A server that uses the same store follows within a second.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from distill import registry
from distill.card import Card, SliceFigures, as_written
from distill.export.folder import ExportError, Format
from distill.registry import RegistryError, UntestedError
from policies.promise import Promise
from router.commands.listening import address_of, listen
from router.commands.opened import Config, Data, fail, opened
from router.commands.printed import Json, print_json
from router.commands.tables import add, listed, table
from router.keys.keyring import is_loopback
from router.terminal.console import console
from router.terminal.words import moment
from telemetry.exchange import StudentRecord
from telemetry.store import Store

student_app = typer.Typer(
    no_args_is_help=True, help="List, compare, promote, roll back and export students."
)

_LISTED = ("version", "task", "trained", "state", "answers", "serves", "wrong at most", "why")
_LEFT_OUT_FIRST = ("answers", "trained", "task", "wrong at most", "serves")
"""Where a terminal has no room for all."""

_Version = Annotated[str, typer.Argument(metavar="VERSION", help="A student: protege student list")]
_Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept with the student.")]


@student_app.command("list")
def list_students(
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="One task; default: all.")
    ] = None,
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """List the students, oldest first: one for each training run, whatever came of it."""
    with _store(data, config) as store:
        records = store.roster.every_student() if task is None else store.roster.students(task)
    if as_json:
        print_json([registry.summary(record) for record in records])
        return
    console().print(listed(_LISTED, [_row(record) for record in records], _LEFT_OUT_FIRST))


@student_app.command()
def show(
    version: _Version, as_json: Json = False, data: Data = None, config: Config = None
) -> None:
    """Show a student's card: what it was trained on, how it was tested and what came of that."""
    with _store(data, config) as store:
        record = registry.find(store, version)
    told = registry.summary(record)
    if as_json:
        print_json({**told, "card": as_written(record)})
        return
    shown = table("", version)
    for name, value in told.items():
        add(shown, name.replace("_", " "), _figure(name, value))
    console().print(shown)
    slices = Card.parse(record.card).slices
    if slices:
        console().print("", _slices(slices))


@student_app.command()
def compare(
    first: _Version,
    second: _Version,
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Show the figures of two students side by side."""
    with _store(data, config) as store:
        records = [registry.find(store, version) for version in (first, second)]
    one, other = (registry.summary(record) for record in records)
    if as_json:
        print_json([one, other])
        return
    shown = table("", first, second)
    for name in one:
        add(shown, name.replace("_", " "), _figure(name, one[name]), _figure(name, other[name]))
    console().print(shown)


@student_app.command()
def promote(
    version: _Version,
    reason: _Reason = "no reason given",
    force: Annotated[
        bool,
        typer.Option("--force", help="Even if no test says that it keeps the promise."),
    ] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Let a student take over its task."""
    with opened(data, config) as (settings, store):
        promise = Promise.of(settings.policy)
        try:
            record = registry.promote(store, version, reason, promise, force=force)
        except UntestedError as error:
            fail(f"{error}; --force promotes it all the same")
        except RegistryError as error:
            fail(str(error))
    typer.echo(f"{version} serves the task {record.task}: {record.verdict}")


@student_app.command()
def rollback(
    task: Annotated[str, typer.Argument(metavar="TASK")],
    reason: _Reason = "no reason given",
    data: Data = None,
    config: Config = None,
) -> None:
    """Put the student that served a task before into the place of the one that serves it now."""
    with _store(data, config) as store:
        before = registry.rollback(store, task, reason)
    if before is None:
        typer.echo(f"No student that has its files served {task} before: its teacher answers.")
    else:
        typer.echo(f"{before.version} serves the task {task} again.")


@student_app.command()
def export(
    name: Annotated[
        str, typer.Argument(metavar="TASK|VERSION", help="A task's serving student, or any.")
    ],
    format_: Annotated[Format, typer.Option("--format", help="What serves it there.")],
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="A new or empty folder.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Write a student to a folder of its own, with all it takes to ask it without a server."""
    from distill.export import export as exporting

    with opened(data, config) as (settings, store):
        try:
            record = exporting.find(store, name)
            exporting.export(settings, record, format_, to)
        except ExportError as error:
            fail(str(error))
    typer.echo(f"{record.version} is in {to}: protege student run {to}")


@student_app.command()
def run(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="An exported student.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.")] = 8080,
    always: Annotated[
        bool, typer.Option("--always", help="Answer also what it is not sure of.")
    ] = False,
) -> None:
    """Serve an exported student alone: OpenAI's API, offline, with no teacher and no store."""
    from distill.export.loading import load
    from router import edge

    try:
        ladder = load(folder)
    except ExportError as error:
        fail(str(error))
    listener = listen(host, port)
    listener.listen()
    if not is_loopback(host):
        typer.echo(f"protege: whoever reaches {host} may ask it: it has no keys", err=True)
    address = address_of(host, listener)
    typer.echo(f"{ladder.version} serves the task {ladder.task} on http://{address}/v1")
    edge.serve(edge.create(ladder, always=always), listener)


@contextmanager
def _store(data: Path | None, config: Path | None) -> Generator[Store, None, None]:
    """The store of the settings; what the registry refuses ends the program."""
    with opened(data, config) as (_, store):
        try:
            yield store
        except RegistryError as error:
            fail(str(error))


def _row(record: StudentRecord) -> list[str]:
    """What the list says of a student."""
    told = registry.summary(record)
    return [
        record.version,
        record.task,
        moment(record.created),
        told["state"],
        _shown(told["answers"]),
        _percent(told["share"]),
        _percent(told["upper"]),
        record.verdict,
    ]


def _slices(slices: Sequence[SliceFigures]) -> Table:
    shown = table("slice", "", "of requests", "answers", "wrong", "agree", "95% interval", "bound")
    for each in slices:
        add(
            shown,
            each.kind,
            each.name,
            _percent(each.share),
            str(each.answered),
            str(each.wrong),
            _percent(each.agreement),
            f"{each.low:.1%} to {each.high:.1%}" if each.answered else "",
            each.bound,
        )
    return shown


_PERCENT = {"share", "disagreement", "upper", "teacher_agrees_with_itself"}


def _figure(name: str, value: Any) -> str:
    if name in _PERCENT:
        return _percent(value)
    if name in ("created", "earned"):
        return "" if value is None else moment(value)
    return _shown(value)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
