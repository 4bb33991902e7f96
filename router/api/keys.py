"""``/v1/keys``: virtual keys, administered with a key that has the right to.

A key's secret is in the answer that makes it, and nowhere afterwards. A revoked key stays in the
list, since exchanges name it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from router.api.guarded import for_admins
from router.api.wire import answered, body_of, listing, object_of, paging
from router.checks import expect, is_number, refuse_others
from router.errors import InvalidRequestError, NotFoundError
from router.keys.grant import Grant, mistake_in, shown
from router.keys.keyring import Keyring
from router.request import read_object
from telemetry.keys import Key, Keys, new_secret

_LONGEST_GRACE_S = 30 * 86400


def add_keys(app: FastAPI, keys: Keys, ring: Keyring) -> None:
    """What is changed here takes effect in this process at once, in others within a second."""
    desk = _Desk(keys, ring)
    admins = for_admins()

    @admins.post("/v1/keys")
    async def create(request: Request) -> Response:
        grant = _grant(await object_of(request))
        fields = {"name": grant.name, **grant.fields()}
        secret = new_secret()
        key = await asyncio.to_thread(keys.create, secret, time.time(), **fields)
        return await desk.show(key, secret=secret.text)

    @admins.get("/v1/keys")
    async def list_keys(request: Request) -> Response:
        page = paging(request.query_params)
        every = await asyncio.to_thread(keys.all)
        if page.newest_first:
            every.reverse()
        ids = [key.id for key in every]
        if page.after is not None and page.after not in ids:
            raise InvalidRequestError(f"There is no key '{page.after}'.", "after")
        start = 0 if page.after is None else ids.index(page.after) + 1
        listed = every[start : start + page.limit + 1]
        return listing([await desk.described(key) for key in listed], page.limit)

    @admins.get("/v1/keys/{identifier}")
    async def get(identifier: str, request: Request) -> Response:
        return await desk.show(await desk.find(identifier))

    @admins.patch("/v1/keys/{identifier}")
    async def change(identifier: str, request: Request) -> Response:
        fields = _grant(await object_of(request)).fields()
        await desk.find_usable(identifier)
        return await desk.show(await asyncio.to_thread(keys.change, identifier, **fields))

    @admins.post("/v1/keys/{identifier}/rotate")
    async def rotate(identifier: str, request: Request) -> Response:
        raw = await body_of(request)
        grace_s = _grace(read_object(raw) if raw else {})
        key = await desk.find_usable(identifier)
        secret = new_secret()
        rotated = await asyncio.to_thread(keys.rotate, key, secret, time.time() + grace_s)
        return await desk.show(rotated, secret=secret.text)

    @admins.delete("/v1/keys/{identifier}")
    async def revoke(identifier: str, request: Request) -> Response:
        await desk.find(identifier)
        return await desk.show(await asyncio.to_thread(keys.revoke, identifier, time.time()))

    app.router.routes.extend(admins.routes)


@dataclass(frozen=True, slots=True)
class _Desk:
    """Finds keys and shows them."""

    keys: Keys
    ring: Keyring

    async def find(self, identifier: str) -> Key:
        """Raises NotFoundError."""
        key = await asyncio.to_thread(self.keys.find, identifier.replace("\0", ""))
        if key is None:
            raise NotFoundError(f"There is no key '{identifier}'.")
        return key

    async def find_usable(self, identifier: str) -> Key:
        """Raises NotFoundError, or InvalidRequestError if the key has been revoked."""
        key = await self.find(identifier)
        if key.revoked is not None:
            raise InvalidRequestError(f"The key '{identifier}' has been revoked.")
        return key

    async def show(self, key: Key | None, **more: str) -> Response:
        """A key that may just have changed."""
        assert key is not None, "keys are never deleted"
        await self.ring.refresh()
        return answered({**await self.described(key), **more})

    async def described(self, key: Key) -> dict[str, Any]:
        return shown(key, await asyncio.to_thread(self.keys.spent_now, key, time.time()))


def _grant(body: dict[str, Any]) -> Grant:
    try:
        return Grant(**body)
    except ValidationError as error:
        name, reason = mistake_in(error)
        raise InvalidRequestError(f"Invalid value for '{name}': {reason}.", name) from error


def _grace(body: dict[str, Any]) -> float:
    """How long a secret outlives its rotation. Raises InvalidRequestError."""
    refuse_others(body, ("grace_s",))
    grace_s = body.get("grace_s", 0)
    fits = is_number(grace_s) and 0 <= grace_s <= _LONGEST_GRACE_S
    expect(fits, "grace_s", f"seconds from 0 to {_LONGEST_GRACE_S}")
    return float(grace_s)
