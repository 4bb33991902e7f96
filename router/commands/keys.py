"""``protege keys``: virtual keys, administered in the store itself.

A server that uses the same store follows within a second.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from router.commands.opened import Config, Data, fail, made, opened, seconds
from router.commands.printed import Json, print_json
from router.commands.tables import add, table
from router.keys.grant import Grant, mistake_in, shown
from router.terminal.console import console
from router.terminal.words import moment
from telemetry.exchange import PICO
from telemetry.keys import Key, Keys, Secret, new_secret

keys_app = typer.Typer(no_args_is_help=True, help="Create, list, rotate and revoke virtual keys.")

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
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Create a key. Its secret is printed, once."""
    with made(data, config) as (_, store):
        keys = Keys(store)
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
            expires_at=None if expires is None else now + seconds(expires, "--expires"),
        )
        secret = new_secret()
        _tell(keys.create(secret, now, **grant.fields()), secret, "created", as_json)


@keys_app.command("list")
def list_keys(as_json: Json = False, data: Data = None, config: Config = None) -> None:
    """List all keys, with what each has spent in the period under way."""
    with _store(data, config) as keys:
        now = time.time()
        every = [(key, keys.spent_now(key, now)) for key in keys.all()]
    if as_json:
        print_json([shown(key, spent) for key, spent in every])
    else:
        _print_table(every, now)


@keys_app.command()
def rotate(
    key: _Id,
    grace: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old secret still works: 10m, 1d.")
    ] = "0s",
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Give a key a new secret, which is printed, once."""
    with _store(data, config) as keys:
        found = _find(keys, key)
        if found.revoked is not None:
            fail(f"{key} has been revoked")
        secret = new_secret()
        until = time.time() + seconds(grace, "--grace")
        _tell(keys.rotate(found, secret, until) or found, secret, "rotated", as_json)


@keys_app.command()
def revoke(key: _Id, data: Data = None, config: Config = None) -> None:
    """Make a key useless for good."""
    with _store(data, config) as keys:
        _find(keys, key)
        keys.revoke(key, time.time())
    typer.echo(f"{key} is revoked.")


@contextmanager
def _store(data: Path | None, config: Path | None) -> Generator[Keys, None, None]:
    """The keys in the store of the settings."""
    with opened(data, config) as (_, store):
        yield Keys(store)


def _find(keys: Keys, identifier: str) -> Key:
    key = keys.find(identifier)
    if key is None:
        fail(f"there is no key {identifier}")
    return key


def _grant(**said: Any) -> Grant:
    try:
        return Grant(**said)
    except ValidationError as error:
        name, reason = mistake_in(error)
        fail(f"{_OPTIONS[name]}: {reason}")


def _tell(key: Key, secret: Secret, done: str, as_json: bool) -> None:
    """The secret alone on standard output, for scripts; all else beside it."""
    if as_json:
        print_json({**shown(key, 0), "secret": secret.text})
        return
    typer.echo(
        f"{key.id} ({key.name}) is {done}. Keep its secret: it is not shown again.", err=True
    )
    typer.echo(secret.text)


def _print_table(every: list[tuple[Key, int]], now: float) -> None:
    listed = table("id", "name", "secret", "state", "rights", "spent", "a minute")
    for key, spent in every:
        add(
            listed,
            key.id,
            key.name,
            key.hint,
            _state(key, now),
            _rights(key),
            _money(key, spent),
            _pace(key),
        )
    console().print(listed)


def _state(key: Key, now: float) -> str:
    if key.revoked is not None:
        return f"revoked {moment(key.revoked)}"
    if key.expires is None:
        return "valid"
    return f"{'valid until' if key.valid(now) else 'expired'} {moment(key.expires)}"


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
