"""``protege policy``: what another policy would have come to, and why this one chose as it did."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from config.settings import PolicySettings
from policies.evaluation import Outcome, within_bound
from policies.evaluation import frontier as find_frontier
from policies.evaluation import replay as evaluate
from policies.history import History, read
from policies.policy import Policy
from policies.threshold import Bound, Cascade
from router.commands.opened import Config, Data, ago, fail, opened, writing
from router.commands.printed import Json, json_text, print_json
from router.terminal.console import console
from router.whatif.drawn import Drawn
from router.whatif.explained import Explained
from router.whatif.named import UnknownPolicyError, named
from router.whatif.replayed import Replayed, left_out_in_words
from telemetry.past import past
from telemetry.store import Store

policy_app = typer.Typer(no_args_is_help=True, help="Replay, compare and explain policies.")

_WIDTH = 170
"""Columns for a table where the output is not a terminal."""

_COMPARED = ("bound", "utility", "deadline")
"""Policies of which a frontier shows what they come to with the parameters of the settings."""

_Since = Annotated[
    str, typer.Option(metavar="TIME", help="How far back to look: 12h, 7d.", show_default=True)
]
_JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write all figures to this file.")
]


@policy_app.command()
def replay(
    policy: Annotated[
        str,
        typer.Option(
            metavar="NAME[:PARAMETERS]",
            help="bound, teacher, student, random:SHARE, cascade:THRESHOLD, deadline:SECONDS or "
            "utility:QUALITY,USD,SECOND; parameters not given are the settings'.",
        ),
    ] = "bound",
    threshold: Annotated[
        float | None,
        typer.Option(help="How sure students must be, instead of the gate's own threshold."),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(help="Choose thresholds that keep this bound, as the period's requests tell."),
    ] = None,
    since: _Since = "7d",
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="One task; default: all.")
    ] = None,
    json_file: _JsonFile = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """What another policy would have cost, how fast it would have been, and how often it would have
    disagreed with the teacher, on the requests of the past."""
    _check_bound(policy, threshold, alpha)
    with opened(data, config) as (settings, store):
        chosen = _policy(policy, threshold, settings.policy)
        until = time.time()
        period = (ago(since, "--since", until), until)
        history = _history(store, chosen, period, task)
        chance = history.chance if alpha is None else within_bound(history, alpha)
        name = _name(policy, threshold, alpha)
        rate = settings.policy.audit_rate
        replayed = Replayed.of(history, name, chance, rate, task, period)
        _write_json(replayed.as_json(), json_file)
        _print(replayed.table, left_out_in_words(replayed.left_out))


@policy_app.command()
def frontier(
    task: Annotated[str, typer.Argument(metavar="TASK")],
    since: _Since = "7d",
    png_file: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw it.")] = None,
    json_file: _JsonFile = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Cost against quality of a task for every threshold and for other policies, beside what really
    happened."""
    with opened(data, config) as (settings, store):
        until = time.time()
        period = (ago(since, "--since", until), until)
        history = _history(store, Bound(), period, task)
        if not history.able.any():
            fail(f"no student was asked in the task {task}")
        rate = settings.policy.audit_rate
        others: dict[str, Outcome] = {}
        for name in _COMPARED:
            chosen = _history(store, named(name, settings.policy), period, task)
            others[name] = evaluate(chosen, chosen.chance, rate)
        drawn = Drawn(task, len(history), find_frontier(history, rate), others)
        _write_json(drawn.as_json(), json_file)
        if png_file is not None:
            with writing(png_file):
                drawn.chart(png_file)
        _print(drawn.table, drawn.aiq_in_words())


@policy_app.command()
def explain(
    exchange: Annotated[
        str, typer.Argument(metavar="EXCHANGE", help="Its id (req_...), or its completion's.")
    ],
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Every score, threshold and rule behind one decision."""
    with opened(data, config) as (_, store):
        explained = Explained.find(store, exchange)
    if explained is None:
        fail(f"there is no exchange {exchange}")
    if as_json:
        print_json(explained.as_json())
    else:
        typer.echo("\n".join(explained.lines()))


def _check_bound(policy: str, threshold: float | None, alpha: float | None) -> None:
    for option, value in (("--threshold", threshold), ("--alpha", alpha)):
        if value is None:
            continue
        if policy != "bound":
            fail(f"{option}: is for --policy bound alone")
        if not 0 <= value <= 1:
            fail(f"{option}: expected a number from 0 to 1 (got {value:g})")
    if threshold is not None and alpha is not None:
        fail("--alpha: chooses the threshold, so it does not go with --threshold")


def _policy(name: str, threshold: float | None, settings: PolicySettings) -> Policy:
    if threshold is not None:
        return Cascade(threshold)
    try:
        return named(name, settings)
    except UnknownPolicyError as error:
        fail(f"--policy: {error}")


def _name(policy: str, threshold: float | None, alpha: float | None) -> str:
    if threshold is not None:
        return f"bound, threshold {threshold:g}"
    return policy if alpha is None else f"bound, alpha {alpha:g}"


def _history(
    store: Store, policy: Policy, period: tuple[float, float], task: str | None
) -> History:
    history = read(past(store, *period, task), policy)
    if len(history):
        return history
    where = "" if task is None else f" of the task {task}"
    why = left_out_in_words(dict(history.left_out))
    fail(f"no request{where} in this time can be replayed. {why}".rstrip())


def _write_json(content: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        with writing(path):
            path.write_text(json_text(content) + "\n", encoding="utf-8")


def _print(table: Callable[[int], Table], words: str) -> None:
    shown = console(_WIDTH)
    shown.print(table(shown.width))
    if words:
        shown.print(words, highlight=False)
