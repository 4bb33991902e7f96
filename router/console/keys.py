"""Keys: listed with what they spend, created, changed, given a new secret and revoked."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from starlette.datastructures import FormData
from starlette.responses import Response

from router.console import key_form
from router.console.key_form import Said
from router.console.page import Page
from router.errors import InvalidRequestError, NotFoundError
from router.keys.grant import Grant
from telemetry.keys import Key, new_secret

_GRACES_S = {"at once": 0, "an hour": 3600, "a day": 86400, "a week": 7 * 86400}
"""How long a secret may still be used after its rotation."""


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


async def show_one(page: Page) -> Response:
    key = await _find(page, page.asked("id"))
    return await _show_one(page, key, key_form.said_of(key))


async def create(page: Page, form: FormData) -> Response:
    """The new key's secret is on this page, and nowhere afterwards."""
    said = key_form.said_in(form)
    try:
        usual = {"name": said["name"] or "key", "period": said["period"] or "month"}
        grant = key_form.read({**said, **usual})
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


async def change(page: Page, form: FormData) -> Response:
    """Set what is said otherwise than it was shown; the rest may have been changed meanwhile."""
    key = await _find_usable(page, form)
    said = key_form.said_in(form)
    try:
        grant = key_form.read(said)
    except ValueError as error:
        return await _show_one(page, key, said, status=400, mistake=str(error))
    if page.visitor.key is not None and page.visitor.key.id == key.id and not grant.admin:
        mistake = "You are signed in with this key: only with another one can it lose its right."
        return await _show_one(page, key, said, status=400, mistake=mistake)
    shown = key_form.said_of(key)
    changed = {name for name, value in said.items() if value != shown[name]}
    if changed:
        fields = Grant(**grant.model_dump(include=changed)).fields()
        await asyncio.to_thread(page.parts.keys.change, key.id, **fields)
        await page.parts.ring.refresh()
    return page.back("/key", "changed", id=key.id)


async def rotate(page: Page, form: FormData) -> Response:
    """The new secret is on this page, and nowhere afterwards."""
    key = await _find_usable(page, form)
    grace_s = _GRACES_S.get(str(form.get("grace", "")))
    if grace_s is None:
        raise InvalidRequestError("Say how long the present secret may still be used.")
    secret = new_secret()
    until = time.time() + grace_s
    rotated = await asyncio.to_thread(page.parts.keys.rotate, key, secret, until)
    assert rotated is not None, "keys are never deleted"
    await page.parts.ring.refresh()
    return await _show_one(page, rotated, key_form.said_of(rotated), secret=secret.text)


async def revoke(page: Page, form: FormData) -> Response:
    key = await _find(page, str(form.get("id", "")))
    await asyncio.to_thread(page.parts.keys.revoke, key.id, time.time())
    await page.parts.ring.refresh()
    return page.back("/keys", "revoked")


async def _show(
    page: Page,
    *,
    status: int = 200,
    said: Said | None = None,
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
        said=said or key_form.EMPTY,
        mistake=mistake,
        made=made,
        secret=secret,
    )


def _spenders(page: Page, now: float) -> list[Spender]:
    """The newest first, but after all others those that are of no use any more."""
    keys = page.parts.keys
    every = [Spender(key, keys.spent_now(key, now)) for key in keys.all()]
    return sorted(every, key=lambda each: (not each.key.valid(now), -each.key.created))


async def _find(page: Page, identifier: str) -> Key:
    key = await asyncio.to_thread(page.parts.keys.find, identifier)
    if key is None:
        raise NotFoundError("There is no such key.")
    return key


async def _find_usable(page: Page, form: FormData) -> Key:
    key = await _find(page, str(form.get("id", "")))
    if key.revoked is not None:
        raise InvalidRequestError("The key has been revoked.")
    return key


async def _show_one(
    page: Page,
    key: Key,
    said: Said,
    *,
    status: int = 200,
    mistake: str = "",
    secret: str = "",
) -> Response:
    now = time.time()
    spent = await asyncio.to_thread(page.parts.keys.spent_now, key, now)
    return page.render(
        "key.html",
        status,
        key=key,
        each=Spender(key, spent),
        now=now,
        said=said,
        mistake=mistake,
        secret=secret,
        graces=tuple(_GRACES_S),
    )
