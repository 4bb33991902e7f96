"""``protege data``: what students learn from, out to other tools, in from a seed, and reviewed."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from config.settings import Settings
from distill.data import lessons as pairs
from distill.data.card import card as data_card
from distill.data.dataset import Dataset, build
from distill.data.lessons import Format, LessonError
from distill.data.on_record import OnRecord, on_record
from distill.data.private import check_installed
from distill.data.review import Finding, findings
from distill.students.encoder import FOLDER, forget_before
from router.commands.opened import Config, Data, fail, made, opened, writing
from router.commands.printed import Json, print_json
from router.commands.tables import add, listed, table
from router.estimate.logged import Bad
from router.imports import seeds
from router.terminal.console import console
from telemetry.exchange import Exchange
from telemetry.store import Store

data_app = typer.Typer(
    no_args_is_help=True, help="Export, import, review and describe what students learn from."
)

_REVIEWED = ("exchange", "answer", "rather", "probability", "why", "learnt", "text")
_LEFT_OUT_FIRST = ("learnt", "why", "probability")
"""Where a terminal has no room for all."""

_AT_ONCE = 500
"""Pairs that are written to the store in one transaction."""

_SHOWN = 3
"""Rows that cannot be used of which the reason is told."""

_Task = Annotated[str, typer.Argument(metavar="TASK")]
_Ids = Annotated[
    list[str] | None, typer.Option(metavar="ID", help="An exchange's answer; may be given again.")
]


@data_app.command()
def export(
    task: _Task,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="File to write.")],
    form: Annotated[
        str, typer.Option("--format", help="parquet, or openai: JSON lines for its fine-tuning.")
    ] = "parquet",
    data: Data = None,
    config: Config = None,
) -> None:
    """Write the pairs that a task's students learn from to a file: flawed and suspect answers left
    out, private data masked where the settings say so."""
    if form not in get_args(Format):
        fail(f"--format: expected {' or '.join(get_args(Format))} (got {form!r})")
    with learning(task, data, config, every=True) as of:
        suspect = set()
        if of.settings.dataset.suspects == "drop":
            suspect = {one.id for one in findings(of.data) if one.left_out}
        kept = (one for one in pairs.lessons(of.data, of.read.exchanges) if one.id not in suspect)
        with writing(output):
            count = pairs.write(kept, output, form)  # type: ignore[arg-type]
    typer.echo(f"{count} pairs of {task} written to {output}")


@data_app.command("import")
def import_seed(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="JSON lines with `messages` that end in the assistant's, CSV with `text,label` "
            "(both may end in .gz), or Parquet as exported.",
        ),
    ],
    task: Annotated[str, typer.Option(metavar="TASK", help="That the pairs are for.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Add pairs that were made elsewhere to what a task's students learn from. They teach, but are
    no evidence for the promise. Pairs that are there already stay as they are; those that are too
    old to teach are left out."""
    skipped: list[Bad] = []
    added = known = 0
    old = Counter[str]()
    with _told(made(data, config)) as (settings, store):
        rows = _good(seeds.read(file, task), skipped)
        while batch := list(islice(rows, _AT_ONCE)):
            since = _Since.now(settings, store, task)
            reasons = [since.too_old(pair) for pair in batch]
            old.update(reason for reason in reasons if reason)
            fresh = [pair for pair, reason in zip(batch, reasons, strict=True) if not reason]
            new = store.import_pairs(fresh, since.time)
            added += new
            known += len(fresh) - new
    for bad in skipped[:_SHOWN]:
        typer.echo(f"protege: {bad.where}: {bad.reason}", err=True)
    if not added + known + old.total():
        fail(f"{file}: no pair in it that can be used")
    told = [f"{added} pairs added to {task}"]
    told += [f"{known} were there already"] if known else []
    told += [f"{count} are {reason}" for reason, count in old.items()]
    told += [f"{len(skipped)} rows cannot be used"] if skipped else []
    typer.echo(", ".join(told))


@data_app.command()
def review(
    task: _Task,
    accept: _Ids = None,
    drop: _Ids = None,
    correct: Annotated[
        list[str] | None,
        typer.Option(metavar="ID=ANSWER", help="What the answer should be; may be given again."),
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Answers to list.")] = 20,
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """List the teacher's answers that are likely wrong, the surest first; or say what they are:
    right (--accept), to be forgotten (--drop), or another (--correct)."""
    opinions = _opinions(accept or [], drop or [], correct or [])
    if opinions:
        with _told(opened(data, config)) as (_, store):
            _judge(store, task, opinions)
        typer.echo(f"{len(opinions)} answers of {task} judged")
        return
    with learning(task, data, config) as of:
        found = findings(of.data, of.read.exchanges)
    if as_json:
        print_json([dataclasses.asdict(one) for one in found[:most]])
    elif found:
        _print_findings(task, found, most)
    else:
        typer.echo(f"No answer of {task} is likely wrong")


@data_app.command()
def card(task: _Task, as_json: Json = False, data: Data = None, config: Config = None) -> None:
    """Say what a task's students would learn from today, and what is left out and why."""
    with learning(task, data, config) as of:
        left_out = of.store.left_out(task, of.read.since)
        told = data_card(of.data, of.read.exchanges, left_out).as_json()
    if as_json:
        print_json(told)
        return
    shown = table("", task)
    for name, value in told.items():
        add(shown, name.replace("_", " "), _shown(value))
    console().print(shown)


@data_app.command()
def forget(data: Data = None, config: Config = None) -> None:
    """Delete the texts that are older than dataset.retention_days, as a server with a learning loop
    does by itself."""
    with _told(opened(data, config)) as (settings, store):
        if settings.dataset.retention_days is None:
            fail("dataset.retention_days is not set: texts are kept")
        horizon = settings.dataset.horizon(time.time())
        count = store.forget_before(horizon)
        forget_before(settings.data / FOLDER, horizon)
    typer.echo(f"The texts of {count} exchanges are deleted")


@dataclass(frozen=True, slots=True)
class _Opened:
    """A task's answers, as a training run would read them now."""

    settings: Settings
    store: Store
    read: OnRecord
    data: Dataset


@dataclass(frozen=True, slots=True)
class _Since:
    """From when on a task's answers teach. In Unix time."""

    epoch: float
    horizon: float

    @classmethod
    def now(cls, settings: Settings, store: Store, task: str) -> _Since:
        state = store.roster.task_state(task)
        return cls(state.epoch, settings.dataset.horizon(time.time()))

    @property
    def time(self) -> float:
        return max(self.epoch, self.horizon)

    def too_old(self, pair: Exchange) -> str | None:
        """Why a pair does not teach, if its age is the reason."""
        if pair.created < self.horizon:
            return "older than dataset.retention_days"
        return "from before the task's last demotion" if pair.created < self.epoch else None


@contextmanager
def learning(
    task: str, data: Path | None, config: Path | None, *, every: bool = False
) -> Generator[_Opened, None, None]:
    """What the students of a task would learn from now; with ``every`` answer, more than one run
    reads. What is wrong is told in one line."""
    with _told(opened(data, config)) as (settings, store):
        if settings.dataset.private != "off":
            check_installed()
        horizon = settings.dataset.horizon(time.time())
        read = on_record(store, store.roster.task_state(task), horizon, every=every)
        if not read.exchanges:
            fail(f"there is no answer of the teacher to learn from in the task {task}")
        yield _Opened(settings, store, read, build(read.exchanges, settings.dataset.private))


@contextmanager
def _told(
    opening: AbstractContextManager[tuple[Settings, Store]],
) -> Generator[tuple[Settings, Store], None, None]:
    """What is opened; what is wrong with lessons is told in one line as well."""
    with opening as found:
        try:
            yield found
        except LessonError as error:
            fail(str(error))


def _good(rows: Iterator[Exchange | Bad], skipped: list[Bad]) -> Iterator[Exchange]:
    for row in rows:
        if isinstance(row, Bad):
            skipped.append(row)
        else:
            yield row


_Opinion = str | None
"""The right answer, or ``""`` for the teacher's own; None for none."""


def _opinions(accept: list[str], drop: list[str], correct: list[str]) -> dict[str, _Opinion]:
    opinions: dict[str, _Opinion] = dict.fromkeys(accept, "")
    opinions |= dict.fromkeys(drop)
    for one in correct:
        identifier, separator, answer = one.partition("=")
        if not (separator and answer):
            fail(f"--correct: expected ID=ANSWER (got {one!r})")
        opinions[identifier] = answer
    twice = [name for name, n in Counter([*accept, *drop, *_named(correct)]).items() if n > 1]
    if twice:
        fail(f"{twice[0]}: judged twice")
    return opinions


def _named(correct: list[str]) -> list[str]:
    return [one.partition("=")[0] for one in correct]


def _judge(store: Store, task: str, opinions: dict[str, _Opinion]) -> None:
    """Keep all opinions as a person's feedback, or none."""
    exchanges = {}
    for identifier in opinions:
        exchange = store.exchange(identifier)
        if exchange is None or exchange.task != task:
            fail(f"there is no exchange {identifier} in the task {task}")
        if not exchange.lesson:
            fail(f"{identifier} has no answer of the teacher that is kept")
        exchanges[identifier] = exchange
    for identifier, opinion in opinions.items():
        if opinion:
            store.judge(identifier, {"right_answer": opinion})
            continue
        # A score is for what the caller got: where a student said otherwise, it tells the opposite
        # of the teacher's answer.
        right = (opinion is not None) == (exchanges[identifier].agreed is not False)
        store.judge(identifier, {"score": float(right)})


def _print_findings(task: str, found: list[Finding], most: int) -> None:
    rows = [
        [
            one.id,
            _clipped(one.answer),
            _clipped(one.suggestion),
            f"{one.probability:.0%}",
            one.doubt,
            "no" if one.left_out else "yes",
            _clipped(one.text),
        ]
        for one in found[:most]
    ]
    console().print(listed(_REVIEWED, rows, _LEFT_OUT_FIRST))
    more = f" ({most} of them shown)" if len(found) > most else ""
    typer.echo(
        f"{len(found)} answers of {task} are likely wrong{more}. "
        "Say which: --accept ID, --drop ID, --correct ID=ANSWER"
    )


def _clipped(text: str, most: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_clipped(name)}: {count}" for name, count in value.items()) or "none"
    if value is None:
        return "not known"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
