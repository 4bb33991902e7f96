"""The command ``protege demo``."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from config.loading import ConfigError, load
from router.demo import evals
from router.demo.errors import DemoError
from router.demo.options import Options
from router.demo.run import run
from router.terminal.console import console

_WIDTH = 160
"""Columns for the table where the output is not a terminal."""


def demo(
    tasks: Annotated[
        str, typer.Option(metavar="TASKS", help="Comma-separated: paths in the OpenAI Evals data.")
    ] = ",".join(evals.TASKS),
    requests: Annotated[int, typer.Option(min=1, help="Requests to send at most.")] = 12_000,
    alpha: Annotated[
        float, typer.Option(help="Share of the students' answers that may disagree.")
    ] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Chooses and orders the samples.")] = 0,
    teacher: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A real model to ask, instead of the replay."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all figures to this file.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Own traffic: JSON lines with `messages` and `answer`."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server up at the end.")] = False,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="For the store, the logs, the stream and the chart."),
    ] = Path(".demo"),
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at a time.")] = 96,
) -> None:
    """Watch the router learn from real prompts, and what it saves."""
    options = Options(
        tasks=tuple(dict.fromkeys(name.strip() for name in tasks.split(",") if name.strip())),
        data=data,
        requests=requests,
        alpha=alpha,
        seed=seed,
        teacher=teacher,
        out=out,
        concurrency=concurrency,
        json_file=json_file,
        keep=keep,
    )
    # A polite kill stops the children as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        load(flags={"policy": {"alpha": alpha}})
        failed = run(options, console(_WIDTH))
    except ConfigError as error:
        for line in error.lines:
            typer.echo(f"protege: {line}", err=True)
        raise typer.Exit(2) from error
    except DemoError as error:
        typer.echo(f"protege: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        typer.echo("protege: stopped", err=True)
        raise typer.Exit(130) from error
    if failed:
        raise typer.Exit(1)
