"""Which route a conversation is on, so that its later turns do not flip between two models.

A conversation is named by the caller (``metadata.conversation``), or recognised: its next turn
begins with all the messages of the turn before, and an answer. Examples in a prompt look the same,
but nobody ever asked what comes before them.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xxhash

from router.checks import written
from telemetry.exchange import Route
from telemetry.mapped import lengthen

SLOTS = 2**17
"""So many turns are remembered; a newer one may take the place of an older."""

_WORD = 8


class Conversations:
    """Remembered in a file in ``folder`` that the processes of one machine map into memory: one
    word for each turn, its fingerprint, whose lowest bit says which route it took. A word is
    written at once, so there is no lock."""

    def __init__(self, folder: Path) -> None:
        file = os.open(folder / "conversations.1", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            lengthen(file, SLOTS * _WORD)
            self._map = mmap.mmap(file, SLOTS * _WORD)
        finally:
            os.close(file)
        self._words = memoryview(self._map).cast("Q")

    def close(self) -> None:
        self._words.release()
        self._map.close()

    def route(self, turn: int | None) -> Route | None:
        """The route that a turn took; None if it is not known."""
        if turn is None:
            return None
        word = self._words[_slot(turn)]
        if word | 1 != turn | 1:
            return None
        return "student" if word & 1 else "teacher"

    def keep(self, turn: int, route: Route) -> None:
        self._words[_slot(turn)] = turn | 1 if route == "student" else turn & ~1


def turns(body: Mapping[str, Any], caller: str | None, task: str) -> tuple[int | None, int]:
    """Fingerprints of the turn that a valid request follows, None if it follows none, and of its
    own. Both belong to the ``caller`` and the ``task``. Raises InvalidRequestError."""
    digest = xxhash.xxh3_64(f"{caller}\0{task}\0".encode("utf-8", "surrogatepass"))
    metadata = body.get("metadata")
    named = metadata.get("conversation") if isinstance(metadata, Mapping) else None
    if named is not None:
        digest.update(b"named\0" + written(named))
        return digest.intdigest(), digest.intdigest()
    messages: Sequence[Mapping[str, Any]] = body["messages"]
    last = _last_answer(messages)
    before: int | None = None
    for index, message in enumerate(messages):
        if index == last:
            before = digest.intdigest()
        digest.update(_said(message))
    return before, digest.intdigest()


def _last_answer(messages: Sequence[Mapping[str, Any]]) -> int:
    """Where the last answer is; -1 if there is none after the first message."""
    for index in range(len(messages) - 1, 0, -1):
        if messages[index]["role"] == "assistant":
            return index
    return -1


def _said(message: Mapping[str, Any]) -> bytes:
    content = message.get("content")
    text = content if isinstance(content, str) else written(content).decode()
    return f"{message['role']}\0{text}\0".encode("utf-8", "surrogatepass")


def _slot(turn: int) -> int:
    # The lowest bit is not part of the fingerprint.
    return (turn >> 1) % SLOTS
