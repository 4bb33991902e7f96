"""Keys: listed with what they spend, created and revoked."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData
from starlette.responses import Response

from router.console.page import Page
from router.errors import NotFoundError
from router.keys.grant import Grant, mistake_in
from telemetry.keys import Key, new_secret

_FIELDS = ("name", "budget_usd", "period", "requests_per_minute", "tokens_per_minute", "tasks")
_NAMES = {
    "name": "name",
    "budget_usd": "budget",
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute",
    "tasks": "tasks",
}


@dataclass(frozen=True, slots=True)
class Spender:
    """A key and the picodollars that it has spent in the period of its budget under way."""

    key: Key
    spent: int

    @property
    def used(self) -> float | None:
        """Share of its budget; None without one."""
        return self.spent / self.key.budget if self.key.budget else None

    def state(self, now: float) -> str:
        if self.key.revoked is not None:
            return "revoked"
        return "valid" if self.key.valid(now) else "expired"


async def show_all(page: Page) -> Response:
    return await _show(page)


async def create(page: Page, form: FormData) -> Response:
    """The new key's secret is on this page, and nowhere afterwards."""
    said = {name: str(form.get(name, "")).strip() for name in _FIELDS}
    try:
        grant = _grant(said, admin=form.get("admin") == "yes")
    except ValueError as error:
        return await _show(page, status=400, said=said, mistake=str(error))
    if page.visitor.key is None and not grant.admin:
        mistake = "The first key must be an admin's: with it you sign in here from now on."
        return await _show(page, status=400, said=said, mistake=mistake)
    secret = new_secret()
    keys = page.parts.keys
    key = await asyncio.to_thread(keys.create, secret, time.time(), **grant.fields())
    # The first key closes a console that was open to all: whoever makes it has to sign in with it.
    await page.parts.ring.refresh()
    return await _show(page, made=key, secret=secret.text)


async def revoke(page: Page, form: FormData) -> Response:
    keys = page.parts.keys
    if await asyncio.to_thread(keys.revoke, str(form.get("id", "")), time.time()) is None:
        raise NotFoundError("There is no such key.")
    await page.parts.ring.refresh()
    return page.back("/keys", "revoked")


async def _show(
    page: Page,
    *,
    status: int = 200,
    said: dict[str, str] | None = None,
    mistake: str = "",
    made: Key | None = None,
    secret: str = "",
) -> Response:
    now = time.time()
    spenders = await asyncio.to_thread(_spenders, page, now)
    return page.render(
        "keys.html",
        status,
        spenders=spenders,
        now=now,
        said=said or dict.fromkeys(_FIELDS, ""),
        mistake=mistake,
        made=made,
        secret=secret,
    )


def _spenders(page: Page, now: float) -> list[Spender]:
    """The newest first, but after all others those that are of no use any more."""
    keys = page.parts.keys
    every = [Spender(key, keys.spent_now(key, now)) for key in keys.all()]
    return sorted(every, key=lambda each: (not each.key.valid(now), -each.key.created))


def _grant(said: dict[str, str], *, admin: bool) -> Grant:
    """What the form says. Raises ValueError, in words for whoever has filled it in."""
    given: dict[str, Any] = {"admin": admin, "name": said["name"] or "key"}
    given["period"] = said["period"] or "month"
    if said["tasks"]:
        given["tasks"] = [task.strip() for task in said["tasks"].split(",") if task.strip()]
    for name, kind in (
        ("budget_usd", float),
        ("requests_per_minute", int),
        ("tokens_per_minute", int),
    ):
        if said[name]:
            try:
                given[name] = kind(said[name])
            except ValueError:
                raise ValueError(f"{_NAMES[name]}: expected a number") from None
    try:
        return Grant(**given)
    except ValidationError as error:
        name, reason = mistake_in(error)
        raise ValueError(f"{_NAMES.get(name, name)}: {reason}") from error
