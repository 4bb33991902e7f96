"""One estimate, from the logs to the figures."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from config.settings import Settings
from distill.forecast import Request
from distill.runs.own_encoder import LEAST
from distill.students.encoder import EncoderError, SentenceEncoder
from router.estimate.logged import Bad, EstimateError, Log, Logged
from router.estimate.play import Rules, play_files
from router.estimate.pricing import Pricing
from router.estimate.report import Estimate
from router.estimate.spool import Spool, Spooled

_UNTUNED = (
    f"no encoder was tuned to a task, as a server does from {LEAST} answers on, so that students "
    "could answer more (--tune does, in minutes for each)"
)

_SHOWN = 10
"""Bad rows that are shown."""
_TELL_EACH = 200
"""Rows between two changes of the progress bar."""


@dataclass(slots=True)
class _Seen:
    """What has been read of the logs."""

    requests: int = 0
    skipped: int = 0
    since: float | None = None
    until: float | None = None
    reasons: list[str] = field(default_factory=list)
    """Of the first bad rows."""

    def add(self, logged: Logged) -> None:
        self.requests += 1
        if logged.created is not None:
            self.since = min(logged.created, logged.created if self.since is None else self.since)
            self.until = max(logged.created, logged.created if self.until is None else self.until)

    def skip(self, bad: Bad) -> None:
        self.skipped += 1
        if self.skipped <= _SHOWN:
            _say(f"{bad.where}: {bad.reason}")


def estimate(
    log: Log, settings: Settings, pricing: Pricing, seed: int, workers: int, tune: bool = False
) -> Estimate:
    """Play the logs in their order, and ``tune`` encoders to tasks as a server does, which takes
    minutes for each. Raises EstimateError."""
    with TemporaryDirectory(prefix="protege-estimate-") as folder, _progress() as progress:
        seen = _Seen()
        try:
            files = _spool(_requests(log, pricing, seen), Path(folder), log, progress)
        except OSError as error:
            raise EstimateError(f"cannot write to {folder}: {error.strerror}") from error
        _conclude(log, seen, pricing)
        rules = Rules(settings, _encoder(settings, progress), tune, seed, seen.requests)
        bar = progress.add_task("Playing", total=seen.requests)
        figures = play_files(
            files, rules, workers, lambda played: progress.update(bar, completed=played)
        )
    longest = max(task.sums.requests for task in figures.tasks)
    if not tune and rules.encoder_cache and settings.loop.tuning_minutes and longest >= LEAST:
        _say(_UNTUNED)
    return Estimate(
        title=log.title,
        teacher=_teacher(pricing.used),
        alpha=settings.policy.alpha,
        delta=settings.policy.delta,
        audit_rate=settings.policy.audit_rate,
        seed=seed,
        skipped=seen.skipped,
        since=seen.since,
        until=seen.until,
        figures=figures,
    )


def _spool(requests: Iterable[Spooled], folder: Path, log: Log, progress: Progress) -> list[Path]:
    """Sort ``requests`` by task into files. Raises OSError if there is no room for them."""
    bar = progress.add_task("Reading", total=log.size)
    with Spool(folder) as spool:
        for number, spooled in enumerate(requests):
            spool.add(spooled)
            if number % _TELL_EACH == 0:
                progress.update(bar, completed=log.read)
    progress.update(bar, completed=log.size)
    return spool.files


def encoder_cache() -> Path:
    """Folder of the sentence encoder and of embeddings, so that no text is embedded twice."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "protege" / "encoder"


def _requests(log: Log, pricing: Pricing, seen: _Seen) -> Iterator[Spooled]:
    with log.rows() as rows:
        for row in rows:
            if isinstance(row, Bad):
                seen.skip(row)
                continue
            usage = pricing.usage(row)
            request = Request(
                row.body, row.prompt.text, row.answer, usage, right_answer=row.right_answer
            )
            yield Spooled(seen.requests, row.prompt.task, request, pricing.cost(row, usage))
            seen.add(row)


def _conclude(log: Log, seen: _Seen, pricing: Pricing) -> None:
    """Say what was wrong with the logs. Raises EstimateError where nothing is left of them."""
    if seen.skipped > _SHOWN:
        _say(f"and {seen.skipped - _SHOWN:,} more rows that cannot be used")
    if not seen.requests:
        raise EstimateError(f"{log.title}: no requests to play")
    for model in pricing.unknown:
        _say(f"no price is known for {model}: its answers count as free (see --price-as)")


def _encoder(settings: Settings, progress: Progress) -> Path | None:
    """Where the sentence encoder lies, ready for use; None where students go without."""
    name, cache = settings.loop.encoder, encoder_cache()
    if name is None:
        return None
    bar = progress.add_task("Preparing the sentence encoder", total=None)
    try:
        SentenceEncoder.open(name, cache, remember=True).prepare()
        return cache
    except (EncoderError, OSError) as error:
        _say(f"{error}; students will read n-grams alone")
        return None
    finally:
        progress.remove_task(bar)


def _teacher(used: Counter[str]) -> str:
    """The models that were priced, the most frequent first."""
    return ", ".join(model for model, _ in used.most_common(3))


@contextmanager
def _progress() -> Iterator[Progress]:
    """Bars on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn())
    further = (TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, *further, console=console, disable=not console.is_terminal) as progress:
        yield progress


def _say(message: str) -> None:
    typer.echo(f"protege: {message}", err=True)
