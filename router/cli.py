"""The command line: ``protege serve``, and the commands that look into the store."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from config.loading import ConfigError, load
from config.settings import Settings
from router.commands.listening import address_of, listen
from router.commands.opened import fail
from router.keys.keyring import is_loopback
from telemetry.folders import own_folder
from telemetry.keys import Keys
from telemetry.store import Store, StoreError

_DISTRIBUTION = "protege-router"
_UNPRINTABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE}
"""What is wrong where standard output takes no more."""
_COMMANDS = {"serve", "keys", "policy", "student", "data", "report", "top", "estimate", "demo"}

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"protege {version(_DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def protege(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """A model router with built-in distilled fallbacks."""


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of the exchange store and the students."),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model that defines quality.")
    ] = None,
    teacher_base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Root of the OpenAI-compatible API it is behind."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Number of server processes.")] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML file of settings.")
    ] = None,
) -> None:
    """Serve the OpenAI API: prompts are answered by the teacher, or by a student it has taught."""
    flags: dict[str, Any] = {
        "port": port,
        "host": host,
        "data": data,
        "workers": workers,
        "teacher": _given({"model": teacher, "base_url": teacher_base_url}) or None,
    }
    try:
        _serve(load(config, _given(flags)))
    except ConfigError as error:
        for line in error.lines:
            typer.echo(f"protege: {line}", err=True)
        raise typer.Exit(2) from error


def main() -> None:
    """Entry point of the ``protege`` command."""
    try:
        _add_commands()
        status = app(prog_name="protege", standalone_mode=False)
        # What could not be printed is told here, and not by Python's own end.
        sys.stdout.flush()
        sys.exit(status)
    except TyperException as error:
        _refuse(error)
    except OSError as error:
        if error.errno not in _UNPRINTABLE:
            raise
        # Nor is that tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Who reads what is printed may have seen enough.
        if not isinstance(error, BrokenPipeError):
            typer.echo(f"protege: cannot print: {error.strerror}", err=True)
        sys.exit(1)
    except typer.Abort:
        typer.echo("protege: stopped", err=True)
        sys.exit(1)
    # Some commands take their time to load.
    except KeyboardInterrupt:
        sys.exit(130)


def _add_commands() -> None:
    """Add the command that was typed to the app."""
    # Each command is imported where it is needed: the demo brings plotting, the estimate training,
    # and both would delay the server's start. Whoever has chosen none is shown all.
    wanted = set(sys.argv[1:2]) & {*_COMMANDS, "--version"} or _COMMANDS
    if "keys" in wanted:
        from router.commands.keys import keys_app

        app.add_typer(keys_app, name="keys")
    if "policy" in wanted:
        from router.commands.policy import policy_app

        app.add_typer(policy_app, name="policy")
    if "student" in wanted:
        from router.commands.student import student_app

        # openai's client takes longer to load than all that the others need.
        if sys.argv[2:3] in ([], ["--help"], ["tune"]):
            from router.commands.tune import tune

            student_app.command()(tune)

        app.add_typer(student_app, name="student")
    if "report" in wanted:
        from router.commands.report import report

        app.command()(report)
    if "top" in wanted:
        from router.commands.top import top

        app.command()(top)
    if "data" in wanted:
        from router.commands.data import data_app

        app.add_typer(data_app, name="data")
    if "estimate" in wanted:
        from router.commands.estimate import estimate

        app.command()(estimate)
    if "demo" in wanted:
        from router.demo.command import demo

        app.command()(demo)


def _refuse(error: TyperException) -> NoReturn:
    """End with one line about what was typed."""
    said = error.format_message().rstrip(".")
    # Whoever has typed nothing more has been shown the help.
    if said:
        name = getattr(getattr(error, "ctx", None), "command_path", "protege")
        typer.echo(f"{name}: {said[0].lower()}{said[1:]} (see {name} --help)", err=True)
    sys.exit(error.exit_code)


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}


def _serve(settings: Settings) -> None:
    from distill.data.private import check_installed
    from router.models import check_names, check_proxies, check_urls
    from router.supervise import serve as run

    check_names(settings)
    check_urls(settings)
    check_proxies(settings)
    if settings.dataset.private != "off":
        check_installed()
    has_keys = _prepare_data(settings)
    create = f"protege keys create --data {settings.data}"
    if not has_keys and not is_loopback(settings.host):
        fail(f"without any key it may listen on loopback only, not on {settings.host}: {create}")
    listener = listen(settings.host, settings.port)
    address = address_of(settings.host, listener)

    def announce() -> None:
        typer.echo(f"Protege serves on http://{address}/v1")
        typer.echo(f"Its console is at http://{address}/console")
        if not has_keys:
            typer.echo(f"protege: no keys: all of this machine may use it ({create})", err=True)

    run(settings, listener, announce)


def _prepare_data(settings: Settings) -> bool:
    """Make what the server's processes share; whether there is any key."""
    from router.conversations import Conversations
    from router.keys.file import FileCounters

    try:
        store = Store(settings.data, settings.database)
        has_keys = Keys(store).any()
        store.close()
        # Made here, or each of the processes would fail to.
        Conversations(settings.data).close()
        asyncio.run(FileCounters(settings.data).close())
        if settings.workers > 1:
            # Another server may be at the same data: one that this one takes the place of, or a
            # replica. Read by prometheus_client when the workers import it.
            metrics = own_folder(settings.data / "metrics")
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
        return has_keys
    except OSError as error:
        fail(f"cannot write to {settings.data}: {error.strerror}")
    except StoreError as error:
        fail(str(error))


if __name__ == "__main__":
    main()
