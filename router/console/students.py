"""Students: every version with its card, promoted and rolled back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.datastructures import FormData
from starlette.responses import Response

from distill import registry
from distill.card import Card, as_written
from distill.registry import RegistryError, UntestedError
from policies.promise import Promise
from router.console.page import Page
from router.errors import InvalidRequestError, NotFoundError
from telemetry.exchange import StudentRecord
from telemetry.store import Store

_LISTED = 200
"""Most versions in the list: the newest."""


async def show_all(page: Page) -> Response:
    every = await asyncio.to_thread(page.parts.store.roster.every_student)
    newest = [registry.summary(record) for record in every[::-1]]
    return page.render(
        "students.html",
        serving=[each for each in newest if each["state"] == "serving"],
        others=[each for each in newest if each["state"] != "serving"][:_LISTED],
        left_out=max(0, sum(not record.serving for record in every) - _LISTED),
    )


async def show_one(page: Page) -> Response:
    version = page.asked("version")
    promise = Promise.of(page.parts.settings.policy)
    record, doubt, compared = await asyncio.to_thread(_look, page.parts.store, version, promise)
    return page.render(
        "student.html",
        student=registry.summary(record),
        compared=compared,
        doubt=doubt,
        promotable=not record.serving and bool(record.path),
        card=Card.parse(record.card),
        card_text=json.dumps(as_written(record), ensure_ascii=False, indent=2),
    )


async def promote(page: Page, form: FormData) -> Response:
    version = str(form.get("version", ""))
    force = form.get("force") == "yes"
    reason = _reason(page, form)
    promise = Promise.of(page.parts.settings.policy)
    try:
        record = await asyncio.to_thread(
            registry.promote, page.parts.store, version, reason, promise, force=force
        )
    except UntestedError as error:
        raise InvalidRequestError(f"{error}. Tick the box to promote it all the same.") from error
    except RegistryError as error:
        raise InvalidRequestError(f"{error}.") from error
    return page.back("/student", "promoted", version=record.version)


async def roll_back(page: Page, form: FormData) -> Response:
    version = str(form.get("version", ""))
    store = page.parts.store
    record = await asyncio.to_thread(store.roster.student, version)
    if record is None or not record.placed:
        # Somebody else was faster, or the loop: what serves now is not what was looked at.
        raise InvalidRequestError(f"{version} does not serve.")
    coming = await asyncio.to_thread(store.roster.coming)
    if record.serving and any(each.task == record.task for each in coming):
        raise InvalidRequestError("Another one is about to take over: roll that one back first.")
    try:
        await asyncio.to_thread(registry.rollback, store, record.task, _reason(page, form), version)
    except RegistryError as error:
        raise InvalidRequestError(f"{error}.") from error
    return page.back("/student", "rolled-back", version=version)


def _look(
    store: Store, version: str, promise: Promise
) -> tuple[StudentRecord, str | None, dict[str, Any] | None]:
    """A student, why no test says that it keeps the ``promise`` if none does, and the figures of
    the one that serves instead."""
    record = store.roster.student(version)
    if record is None:
        raise NotFoundError("There is no such student.")
    state = store.roster.task_state(record.task)
    others = (each for each in store.roster.serving() if each.task == record.task)
    champion = next((each for each in others if each.version != version), None)
    doubt = registry.untested(record, state, promise)
    return record, doubt, registry.summary(champion) if champion else None


def _reason(page: Page, form: FormData) -> str:
    """What was said, and who said it: it is kept with the student."""
    said = " ".join(str(form.get("reason", "")).split()) or "no reason given"
    key = page.visitor.key
    return f"{said} ({key.name})" if key else said
