"""``protege estimate``: what Protege would have made of logs, before it is adopted."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from config.loading import ConfigError, load
from config.settings import Settings
from distill.data.private import check_installed
from router.commands.opened import Config, fail
from router.commands.printed import json_text
from router.estimate.files import Files
from router.estimate.logged import EstimateError, Log
from router.estimate.pricing import Pricing
from router.estimate.report import Estimate, as_json, chart, reasons, table
from router.estimate.run import estimate as make
from router.estimate.stored import Stored
from router.terminal.console import console

_WIDTH = 160
"""Columns for the table where the output is not a terminal."""


def estimate(
    logs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="LOGS",
            help="JSON lines with `messages` and `answer` (or `choices`, or an assistant's message "
            "at the end), or CSV with `text,label`; in order of time; may end in .gz.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Instead of LOGS: folder of the exchange store of a Protege server.",
        ),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Share of students' answers that may disagree.")
    ] = None,
    delta: Annotated[
        float | None, typer.Option(help="Risk that more do; also that of the intervals shown.")
    ] = None,
    audit_rate: Annotated[
        float | None, typer.Option(help="Share of students' answers that are audited.")
    ] = None,
    price_as: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Price all answers as this model's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Chooses what is audited.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes to play tasks in; default: one a core.")
    ] = None,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune", help="Tune encoders to tasks too, as a server does: minutes for each."
        ),
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all figures to this file.")
    ] = None,
    png_file: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="Draw the learning curve.")
    ] = None,
    config: Config = None,
) -> None:
    """Forecast from your own logs what Protege would answer, how often it would be wrong, and what
    it would save."""
    given = {"alpha": alpha, "delta": delta, "audit_rate": audit_rate}
    policy = {name: value for name, value in given.items() if value is not None}
    # A polite kill stops the children as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = load(config, {"policy": policy} | ({} if data is None else {"data": data}))
        if settings.dataset.private != "off":
            check_installed()
        _check_outputs(json_file, png_file)
        log = _log(logs or [], data, settings)
        pricing = Pricing(settings, price_as)
        made = make(log, settings, pricing, seed, workers or os.cpu_count() or 1, tune)
        _show(made, json_file, png_file)
    except ConfigError as error:
        for line in error.lines:
            typer.echo(f"protege: {line}", err=True)
        raise typer.Exit(2) from error
    except EstimateError as error:
        fail(str(error), 2)
    except KeyboardInterrupt as error:
        typer.echo("protege: stopped", err=True)
        raise typer.Exit(130) from error


def _log(logs: list[Path], data: Path | None, settings: Settings) -> Log:
    if bool(logs) == (data is not None):
        raise EstimateError("either LOGS or --data is needed, and not both")
    return Files(logs) if logs else Stored(settings)


def _check_outputs(*files: Path | None) -> None:
    """Before the work begins, whose fruits they are to hold."""
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise EstimateError(f"{file.parent}: no such folder")
        if file is not None and file.is_dir():
            raise EstimateError(f"{file}: is a folder")


def _show(made: Estimate, json_file: Path | None, png_file: Path | None) -> None:
    shown = console(_WIDTH)
    shown.print(table(made))
    for reason in reasons(made):
        shown.print(f"No student for {reason}", markup=False, highlight=False)
    try:
        if json_file is not None:
            json_file.write_text(json_text(as_json(made)) + "\n", encoding="utf-8")
        if png_file is not None:
            chart(made, png_file)
    except OSError as error:
        fail(f"cannot write to {error.filename}: {error.strerror}", 2)
