"""Whose responses a key may see."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from telemetry.keys import Keys, new_secret
from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.server import Server
from tests.router.upstream import StubUpstream


def create_key(data: Path, name: str, *, admin: bool = False) -> str:
    """The secret of a new key."""
    secret = new_secret()
    store = Store(data)
    Keys(store).create(secret, time.time(), name=name, admin=admin)
    store.close()
    return secret.text


def test_a_response_is_its_keys_own(upstream: StubUpstream, data: Path) -> None:
    secrets = [create_key(data, name, admin=name == "admin") for name in ("ours", "other", "admin")]
    with Server(data, *teacher_flags(upstream), PROTEGE_LOOP__ENABLED="false") as server:
        ours, other, admin = (server.client(api_key=secret).responses for secret in secrets)
        given = ours.create(model="auto", input="a cat")
        assert ours.retrieve(given.id).id == given.id
        assert admin.retrieve(given.id).id == given.id

        following: Any = {"model": "auto", "input": "a dog", "previous_response_id": given.id}
        referring: Any = {
            "model": "auto",
            "input": [
                {"type": "item_reference", "id": given.output[0].id},
                {"role": "user", "content": "a dog"},
            ],
        }
        assert ours.create(**following).output_text == "dog"
        assert ours.create(**referring).output_text == "dog"
        with pytest.raises(openai.BadRequestError):
            other.create(**following)
        refused: list[Callable[[], object]] = [
            lambda: other.create(**referring),
            lambda: other.retrieve(given.id),
            lambda: other.delete(given.id),
            lambda: other.cancel(given.id),
            lambda: other.input_items.list(given.id),
        ]
        for attempt in refused:
            with pytest.raises(openai.NotFoundError):
                attempt()
        assert ours.retrieve(given.id).output_text == "cat"
        admin.delete(given.id)
        with pytest.raises(openai.NotFoundError):
            ours.retrieve(given.id)
