"""Samples of traffic: a prompt, and the answer on record for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import orjson

from policies.tasks import read_prompt
from router.demo.errors import DemoError
from router.imports.jsonl import fields_of

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt of a task with its recorded answer."""

    task: str
    messages: tuple[Message, ...]
    answer: str

    @property
    def key(self) -> bytes:
        """The same for equal messages, whatever the order of their fields."""
        return key_of(self.messages)

    @property
    def text(self) -> str:
        """The prompt without its instruction."""
        return read_prompt({"messages": self.messages}).text

    def as_line(self) -> bytes:
        fields = {"task": self.task, "messages": self.messages, "answer": self.answer}
        return orjson.dumps(fields) + b"\n"


def key_of(messages: Iterable[Message]) -> bytes:
    return orjson.dumps(list(messages), option=orjson.OPT_SORT_KEYS)


def read_file(path: Path) -> dict[str, list[Sample]]:
    """Samples by task from JSON lines with ``messages``, ``answer`` and, optionally, ``task``
    (otherwise the file's name). A prompt that comes again is left out.

    Raises DemoError, with the number of the first line that is not such a sample.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DemoError(f"{path}: {error.strerror}") from error
    by_task: dict[str, list[Sample]] = {}
    seen: set[bytes] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            sample = _sample(line, default_task=path.stem)
        except ValueError as error:
            raise DemoError(f"{path}, line {number}: {error}") from error
        if sample.key not in seen:
            seen.add(sample.key)
            by_task.setdefault(sample.task, []).append(sample)
    if not by_task:
        raise DemoError(f"{path}: no samples in it")
    return by_task


def _sample(line: bytes, default_task: str) -> Sample:
    """Raises ValueError with what is wrong."""
    fields = fields_of(line)
    messages, answer, task = fields.get("messages"), fields.get("answer"), fields.get("task")
    if not isinstance(messages, list) or not messages:
        raise ValueError("needs `messages`, a list that is not empty")
    if not all(is_message(message) for message in messages):
        raise ValueError("each of `messages` needs a `role` and a `content`")
    if not isinstance(answer, str):
        raise ValueError("needs `answer`, a string")
    if task is not None and not isinstance(task, str):
        raise ValueError("`task` must be a string")
    return Sample(task or default_task, tuple(messages), answer)


def is_message(message: Any) -> bool:
    """Whether it is a chat message with a text or with parts."""
    if not isinstance(message, dict):
        return False
    content = message.get("content")
    parts = isinstance(content, list) and all(isinstance(part, dict) for part in content)
    return (
        isinstance(message.get("role"), str)
        and isinstance(message.get("name", ""), str)
        and (isinstance(content, str) or parts)
    )


def share_out(total: int, available: Sequence[int]) -> list[int]:
    """``total`` split evenly over tasks that have ``available`` samples each; what a small task
    lacks goes to the others. The sum is the smaller of ``total`` and all there is."""
    shares = [0] * len(available)
    left = min(total, sum(available))
    while left:
        hungry = [i for i, most in enumerate(available) if shares[i] < most]
        # All that are still hungry have had the same; only the last round may not reach everyone.
        portion = max(1, left // len(hungry))
        for i in hungry[:left]:
            given = min(portion, available[i] - shares[i])
            shares[i] += given
            left -= given
    return shares


def interleave(by_task: Mapping[str, Sequence[Sample]], total: int, rng: Random) -> list[Sample]:
    """At most ``total`` samples, chosen at random within each task, in random order, so that every
    task's traffic spreads over the whole run."""
    pools = [list(samples) for samples in by_task.values()]
    stream: list[Sample] = []
    for pool, share in zip(pools, share_out(total, [len(p) for p in pools]), strict=True):
        stream.extend(rng.sample(pool, share))
    rng.shuffle(stream)
    return stream
