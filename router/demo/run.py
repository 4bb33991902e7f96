"""One run of the demo, from the samples to the figures."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from random import Random

import orjson
from rich.console import Console

from config.loading import load
from router.demo import evals
from router.demo.clock import Clock
from router.demo.drive import Reply, drive
from router.demo.errors import DemoError
from router.demo.lag import mean_lag_s
from router.demo.ledger import Ledger, audits_due
from router.demo.options import Options
from router.demo.progress import Progress
from router.demo.report import Outcome, Row, Summary, chart, summarise, table
from router.demo.samples import Sample, interleave, read_file
from router.demo.servers import serving
from telemetry.store import Store

_AUDITS_S = 30.0


def run(options: Options, console: Console) -> int:
    """Returns how many requests failed. Raises DemoError."""
    prepare_folder(options)
    clock = Clock()
    with clock.phase("data"):
        stream = choose(options, console)
    with ExitStack() as servers:
        with clock.phase("start"), console.status("Starting the servers"):
            url = servers.enter_context(serving(options, stream))
        console.print(f"{options.title}\n{len(stream):,} requests to {url}, model auto")
        progress = Progress(tasks_of(stream, options), len(stream), options.title, options.replayed)
        with clock.phase("requests"), progress.shown(console):
            replies = asyncio.run(drive(stream, url, options.concurrency, progress.add))
        with clock.phase("audits"):
            if options.keep:
                _wait_for_audits(options)
            else:
                # On the way out the server finishes its audits.
                servers.close()
        failed = report(replies, options, console, clock)
        if options.keep:
            with suppress(KeyboardInterrupt):
                site = f"{url.removesuffix('/v1')}/console"
                console.print(f"The server stays up at {url} until Ctrl-C; its console is {site}")
                signal.pause()
    return failed


def prepare_folder(options: Options) -> None:
    """Make the folder for the files, with an empty data folder. Raises DemoError."""
    if options.json_file is not None and not options.json_file.parent.is_dir():
        raise DemoError(f"{options.json_file.parent}: no such folder")
    folder = options.server_data
    try:
        if folder.exists() and any(folder.iterdir()):
            if not Store.exists(folder):
                raise DemoError(f"{folder} is not an earlier demo's: please choose another --out")
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f"{folder}: {error.strerror}") from error


def choose(options: Options, console: Console) -> list[Sample]:
    """The samples to send, in order."""
    rng = Random(options.seed)
    if options.data is None:
        by_task = _from_evals(options, rng, console)
    else:
        by_task = read_file(options.data)
    stream = interleave(by_task, options.requests, rng)
    if len(stream) < options.requests:
        console.print(
            f"{options.requests:,} requests were asked for; there are {len(stream):,} different "
            "samples, and each is sent once."
        )
    return stream


def _from_evals(options: Options, rng: Random, console: Console) -> dict[str, list[Sample]]:
    with console.status("Reading the data of OpenAI Evals (46 MB, downloaded once)"):
        archive = evals.Evals(evals.fetch(evals.default_cache()))
        with closing(archive):
            loaded = {task: archive.load(task, options.requests, rng) for task in options.tasks}
    skipped = sum(each.skipped for each in loaded.values())
    if skipped:
        console.print(
            f"{skipped:,} lines of the data skipped: no plain chat prompt, no answer, or a repeat."
        )
    if not any(each.samples for each in loaded.values()):
        raise DemoError(f"no usable samples in {', '.join(options.tasks)}")
    return {task: each.samples for task, each in loaded.items()}


def tasks_of(stream: Sequence[Sample], options: Options) -> list[str]:
    """The tasks of the stream, in the order asked for."""
    sent = {sample.task for sample in stream}
    return (
        [task for task in options.tasks if task in sent] if options.data is None else sorted(sent)
    )


def _wait_for_audits(options: Options) -> None:
    deadline = time.monotonic() + _AUDITS_S
    while audits_due(options.server_data) and time.monotonic() < deadline:
        time.sleep(0.5)


def report(replies: Sequence[Reply], options: Options, console: Console, clock: Clock) -> int:
    """Show and write what came of the run; returns how many requests failed."""
    ledger = Ledger.read(options.server_data)
    errors = Counter(ledger.error(reply) for reply in replies if ledger.error(reply))
    answered = [reply for reply in replies if not ledger.error(reply)]
    outcomes = [ledger.outcome(reply, options.replayed) for reply in answered]
    tasks = tasks_of([reply.sample for reply in replies], options)
    product = summarise(outcomes, tasks)
    write_stream(answered, outcomes, options)
    lag_s = mean_lag_s(options.server_data, load().loop)
    with clock.phase("baseline"):
        baseline = _baseline(tasks, lag_s, options, console)
    console.print(table(product, baseline, options.title, lag_s, console.width))
    _comment(product, ledger, options, console)
    with clock.phase("chart"):
        chart(outcomes, options.alpha, options.title, options.picture)
    console.print(f"Chart over time: {options.picture}")
    if options.json_file is not None:
        figures = as_json(product, baseline, lag_s, errors.total(), options)
        options.json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    console.print(clock.in_words())
    for error, count in errors.most_common(3):
        console.print(f"{count:,} failed: {error}", markup=False, style="red")
    if errors:
        console.print(f"The server's output is in {options.server_log}", style="red")
    return errors.total()


def _baseline(
    tasks: Sequence[str], lag_s: float | None, options: Options, console: Console
) -> Summary | None:
    """The plain baseline's figures; the run's own count without them, too."""
    with console.status("Playing the same stream through the plain baseline"):
        try:
            return play_baseline(tasks, lag_s or 0.0, options)
        except DemoError as error:
            console.print(f"No plain baseline: {error}", markup=False)
            return None


def write_stream(answered: Sequence[Reply], outcomes: Sequence[Outcome], options: Options) -> None:
    """The stream file of ``bench.baseline``."""
    lines = [
        orjson.dumps(
            {
                "task": reply.sample.task,
                "text": reply.sample.text,
                "answer": reply.sample.answer,
                "teacher_cost": outcome.teacher_cost,
                "sent_s": reply.sent_s,
            }
        )
        for reply, outcome in zip(answered, outcomes, strict=True)
    ]
    options.stream.write_bytes(b"\n".join(lines))


def play_baseline(tasks: Sequence[str], lag_s: float, options: Options) -> Summary:
    """The plain baseline's figures, from a process of its own: it may use all cores and memory.

    Raises DemoError with what that process said last, if it gives none.
    """
    command = [sys.executable, "-m", "bench.baseline", "--stream", str(options.stream)]
    command += ["--data", str(options.server_data), "--alpha", str(options.alpha)]
    command += ["--lag", str(lag_s)]
    done = subprocess.run(command, capture_output=True, check=False)
    options.baseline_log.write_bytes(done.stderr)
    if done.returncode:
        raise DemoError((done.stderr.decode().splitlines() or ["it gave no reason"])[-1])
    figures = orjson.loads(done.stdout)
    # A task none of whose requests was answered is not in the stream.
    rows = {row.task: row for row in summarise([], tasks).tasks}
    rows |= {fields["task"]: Row(**fields) for fields in figures["tasks"]}
    return Summary([rows[task] for task in tasks], Row(**figures["totals"]))


def _comment(product: Summary, ledger: Ledger, options: Options, console: Console) -> None:
    """What the table does not say by itself."""
    totals = product.totals
    console.print(
        f"Saved ${totals.teacher_only_cost_usd - totals.cost_usd:.4f} of "
        f"${totals.teacher_only_cost_usd:.4f} ({totals.saved:.1%}); the cost includes "
        f"${ledger.audit_cost_usd:.4f} for audits. {ledger.students_in_words()}."
    )
    if options.replayed:
        console.print("Agreement is over all answers of students: the recording knows them all.")
    else:
        console.print("Agreement is over audited answers of students: no others are known.")


def as_json(
    product: Summary,
    baseline: Summary | None,
    lag_s: float | None,
    failures: int,
    options: Options,
) -> dict[str, object]:
    """All figures, as ``--json`` writes them."""
    return {
        "teacher": {"name": options.teacher_name, "replay": options.replayed},
        "seed": options.seed,
        "alpha": options.alpha,
        "requests": product.totals.requests + failures,
        "failures": failures,
        "training_lag_s": lag_s,
        **dataclasses.asdict(product),
        "baseline": None if baseline is None else dataclasses.asdict(baseline),
    }
