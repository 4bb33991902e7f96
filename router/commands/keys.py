"""``protege keys``: virtual keys, administered in the store itself.

A server that uses the same store follows within a second.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import orjson
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from config.settings import ConfigError, load
from router.keys.grant import Grant, mistake_in, shown
from telemetry.exchange import PICO
from telemetry.keys import Key, Keys, Secret, new_secret
from telemetry.store import Store, StoreError

keys_app = typer.Typer(no_args_is_help=True, help="Create, list, rotate and revoke virtual keys.")

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_OPTIONS = {
    "name": "--name",
    "budget_usd": "--budget",
    "period": "--period",
    "requests_per_minute": "--rpm",
    "tokens_per_minute": "--tpm",
    "models": "--model",
    "tasks": "--task",
    "expires_at": "--expires",
}
"""The options by the names that the API has for them."""
_WIDTH = 160
"""Columns for the table where the output is not a terminal."""

_Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the exchange store and the students.")
]
_Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="YAML file of settings.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Id = Annotated[str, typer.Argument(metavar="KEY", help="Id of the key: key_...")]


@keys_app.command()
def create(
    name: Annotated[str, typer.Option(help="What or whom the key is for.")] = "key",
    admin: Annotated[
        bool, typer.Option("--admin", help="It may administer keys and see all exchanges.")
    ] = False,
    budget: Annotated[
        float | None, typer.Option(metavar="USD", help="Most it may spend in a period.")
    ] = None,
    period: Annotated[
        str, typer.Option(help="day, week or month, of the calendar in UTC.")
    ] = "month",
    rpm: Annotated[int | None, typer.Option(help="Requests a minute.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens a minute.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model it may ask for; may be given again.")
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="A task it may be used for; may be given again.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="After how long it expires: 12h, 30d.")
    ] = None,
    as_json: _Json = False,
    data: _Data = None,
    config: _Config = None,
) -> None:
    """Create a key. Its secret is printed, once."""
    with _store(data, config) as keys:
        now = time.time()
        grant = _grant(
            name=name,
            admin=admin,
            budget_usd=budget,
            period=period,
            requests_per_minute=rpm,
            tokens_per_minute=tpm,
            models=model or None,
            tasks=task or None,
            expires_at=None if expires is None else now + _seconds(expires, "--expires"),
        )
        secret = new_secret()
        _tell(keys.create(secret, now, **grant.fields()), secret, "created", as_json)


@keys_app.command("list")
def list_keys(as_json: _Json = False, data: _Data = None, config: _Config = None) -> None:
    """List all keys, with what each has spent in the period under way."""
    with _store(data, config) as keys:
        now = time.time()
        every = [(key, keys.spent_now(key, now)) for key in keys.all()]
    if as_json:
        _print_json([shown(key, spent) for key, spent in every])
    else:
        _print_table(every, now)


@keys_app.command()
def rotate(
    key: _Id,
    grace: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old secret still works: 10m, 1d.")
    ] = "0s",
    as_json: _Json = False,
    data: _Data = None,
    config: _Config = None,
) -> None:
    """Give a key a new secret, which is printed, once."""
    with _store(data, config) as keys:
        found = _find(keys, key)
        if found.revoked is not None:
            _fail(f"{key} has been revoked")
        secret = new_secret()
        until = time.time() + _seconds(grace, "--grace")
        _tell(keys.rotate(found, secret, until) or found, secret, "rotated", as_json)


@keys_app.command()
def revoke(key: _Id, data: _Data = None, config: _Config = None) -> None:
    """Make a key useless for good."""
    with _store(data, config) as keys:
        _find(keys, key)
        keys.revoke(key, time.time())
    typer.echo(f"{key} is revoked.")


@contextmanager
def _store(data: Path | None, config: Path | None) -> Generator[Keys, None, None]:
    """The keys in the store of the settings. What is wrong with it is told in one line."""
    try:
        settings = load(config, {} if data is None else {"data": data})
        store = Store(settings.data, settings.database)
        try:
            yield Keys(store)
        finally:
            store.close()
    except ConfigError as error:
        _fail("; ".join(error.lines))
    except OSError as error:
        _fail(f"cannot write to {error.filename}: {error.strerror}")
    except StoreError as error:
        _fail(str(error))
    except SQLAlchemyError as error:
        _fail(f"the store failed: {' '.join(str(error.__cause__ or error).split())}")


def _find(keys: Keys, identifier: str) -> Key:
    key = keys.find(identifier)
    if key is None:
        _fail(f"there is no key {identifier}")
    return key


def _grant(**said: Any) -> Grant:
    try:
        return Grant(**said)
    except ValidationError as error:
        name, reason = mistake_in(error)
        _fail(f"{_OPTIONS[name]}: {reason}")


def _seconds(text: str, option: str) -> int:
    given = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if given is None:
        _fail(f"{option}: expected a number and s, m, h or d, such as 30d (got {text!r})")
    return int(given[1]) * _SECONDS[given[2]]


def _tell(key: Key, secret: Secret, done: str, as_json: bool) -> None:
    """The secret alone on standard output, for scripts; all else beside it."""
    if as_json:
        _print_json({**shown(key, 0), "secret": secret.text})
        return
    typer.echo(
        f"{key.id} ({key.name}) is {done}. Keep its secret: it is not shown again.", err=True
    )
    typer.echo(secret.text)


def _print_json(content: Any) -> None:
    typer.echo(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode())


def _print_table(every: list[tuple[Key, int]], now: float) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    table = Table(box=None, pad_edge=False)
    for title in ("id", "name", "secret", "state", "rights", "spent", "a minute"):
        table.add_column(title)
    for key, spent in every:
        table.add_row(
            key.id,
            key.name,
            key.hint,
            _state(key, now),
            _rights(key),
            _money(key, spent),
            _pace(key),
        )
    console.print(table)


def _state(key: Key, now: float) -> str:
    if key.revoked is not None:
        return f"revoked {_date(key.revoked)}"
    if key.expires is None:
        return "valid"
    return f"{'valid until' if key.valid(now) else 'expired'} {_date(key.expires)}"


def _rights(key: Key) -> str:
    parts = ["admin"] if key.admin else []
    for what, allowed in (("models", key.models), ("tasks", key.tasks)):
        if allowed is not None:
            parts.append(f"{what} {', '.join(allowed)}")
    return "; ".join(parts) or "all"


def _money(key: Key, spent: int) -> str:
    most = "" if key.budget is None else f" of {key.budget / PICO:g}"
    return f"{spent / PICO:.4f}{most} USD a {key.period}"


def _pace(key: Key) -> str:
    counts = ((key.requests_per_minute, "requests"), (key.tokens_per_minute, "tokens"))
    return ", ".join(f"{count} {what}" for count, what in counts if count is not None) or "any"


def _date(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M}"


def _fail(message: str) -> NoReturn:
    typer.echo(f"protege: {message}", err=True)
    raise typer.Exit(1)
