"""Pairs of a prompt and its answer, as they go out to other tools and come in as a seed.

They are written as Parquet, or in the JSON lines of OpenAI's fine-tuning API for chat models
(https://platform.openai.com/docs/guides/supervised-fine-tuning#formatting-your-data).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import orjson

from distill.data.dataset import Dataset
from distill.data.private import Masked, mask_all
from telemetry.exchange import Exchange

Format = Literal["parquet", "openai"]

_AT_ONCE = 1000
"""Rows that are turned into Parquet at once."""

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Of Arrow's units of time."""


class LessonError(Exception):
    """Lessons cannot be read or written. In one line."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt and the answer to learn."""

    id: str
    created: float
    """Unix time in seconds."""
    messages: Sequence[Mapping[str, Any]]
    """Of a chat completion request."""
    answer: str
    origin: str
    """The exchange's route: whose request it was, or ``imported``."""
    model: str
    weight: float
    """How many requests it stands for as evidence."""
    group: int
    """Near-duplicates have the same."""


def lessons(data: Dataset, exchanges: Iterable[Exchange]) -> Iterator[Lesson]:
    """The lessons of a dataset that was built from ``exchanges``, private data masked where they
    are in the dataset; flawed answers are none."""
    taught = {example.id: example for example in data.examples if example.flaw is None}
    for exchange in exchanges:
        example = taught.get(exchange.id)
        if example is None:
            continue
        messages = orjson.loads(exchange.request or "")["messages"]
        answer = example.answer
        if data.masked:
            messages, masked = _masked(messages)
            answer = masked.hide(exchange.lesson)
        yield Lesson(
            exchange.id,
            exchange.created,
            messages,
            answer,
            exchange.route,
            exchange.model,
            example.weight,
            example.group,
        )


def write(rows: Iterable[Lesson], path: Path, form: Format) -> int:
    """Write ``rows`` to a file, which is there whole or not at all; how many they were.

    Raises LessonError where a package is missing or there is something else than a file, or
    OSError.
    """
    # It would be replaced, be it a device such as /dev/stdout; and a link, not what it points to.
    if path.exists() and not path.is_file():
        raise LessonError(f"cannot write to {path}: it is there, and no file")
    path = path.resolve()
    partial = path.with_name(f".{path.name}.partial")
    try:
        count = (_write_parquet if form == "parquet" else _write_openai)(rows, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file that ``write`` wrote, with ``messages``, ``answer`` and ``created`` (Unix
    time, however far from now; None where it has none; a time that another tool wrote as a number
    or a text is as it is). Raises LessonError where it is none, or OSError."""
    parquet = _parquet()
    import pyarrow

    try:
        with path.open("rb") as opened, parquet.ParquetFile(opened) as file:
            columns = file.schema_arrow.names
            names = set(columns)
            missing = {"messages", "answer"} - names
            if missing:
                raise LessonError(f"{path}: no column {' and no column '.join(sorted(missing))}")
            used = names & {"messages", "answer", "created"}
            twice = {name for name in used if columns.count(name) > 1}
            if twice:
                raise LessonError(f"{path}: more than one column {' and '.join(sorted(twice))}")
            for batch in file.iter_batches(_AT_ONCE, columns=sorted(used)):
                times = _times(batch["created"]) if "created" in used else [None] * len(batch)
                rows = batch.select(["messages", "answer"]).to_pylist()
                for row, created in zip(rows, times, strict=True):
                    yield {**row, "created": created}
    except (pyarrow.ArrowInvalid, UnicodeDecodeError) as error:
        raise LessonError(f"{path}: not valid Parquet: {' '.join(str(error).split())}") from error


def _times(column: Any) -> list[Any]:
    """Timestamps of any unit, and days, in Unix time; what is none as it is. Those of Python have
    no nanoseconds, and end with the year 9999."""
    import pyarrow

    if pyarrow.types.is_date(column.type):
        column = column.cast(pyarrow.timestamp("ms"))
    if not pyarrow.types.is_timestamp(column.type):
        return list(column.to_pylist())
    per_second = _PER_SECOND[column.type.unit]
    counts = column.cast(pyarrow.int64()).to_pylist()
    return [None if count is None else count / per_second for count in counts]


def _write_openai(rows: Iterable[Lesson], path: Path) -> int:
    count = 0
    with path.open("wb") as file:
        for lesson in rows:
            said = {"role": "assistant", "content": lesson.answer}
            file.write(orjson.dumps({"messages": [*lesson.messages, said]}) + b"\n")
            count += 1
    return count


def _write_parquet(rows: Iterable[Lesson], path: Path) -> int:
    parquet = _parquet()
    import pyarrow

    schema = pyarrow.schema(
        {
            "id": pyarrow.string(),
            "created": pyarrow.timestamp("us", "UTC"),
            "messages": pyarrow.string(),
            "answer": pyarrow.string(),
            "origin": pyarrow.string(),
            "model": pyarrow.string(),
            "weight": pyarrow.float64(),
            "group": pyarrow.int64(),
        }
    )
    count = 0
    remaining = iter(rows)
    # Opened here, the error of a path that cannot be written names it.
    with path.open("wb") as file, parquet.ParquetWriter(file, schema) as writer:
        while batch := list(islice(remaining, _AT_ONCE)):
            table = [{name: _cell(one, name) for name in schema.names} for one in batch]
            writer.write_table(pyarrow.Table.from_pylist(table, schema))
            count += len(batch)
    return count


def _cell(lesson: Lesson, name: str) -> Any:
    if name == "messages":
        return orjson.dumps(lesson.messages).decode()
    if name == "created":
        return datetime.fromtimestamp(lesson.created, UTC)
    return getattr(lesson, name)


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        message = "Parquet needs `pip install protege-router[parquet]`"
        raise LessonError(message) from error
    return parquet


def _masked(messages: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], Masked]:
    """Messages with placeholders for the private data in their texts."""
    texts: list[str] = []

    def collect(text: str) -> str:
        texts.append(text)
        return text

    for message in messages:
        _with_texts(message, collect)
    hidden, masked = mask_all(texts)
    following = iter(hidden)
    return [_with_texts(message, lambda _: next(following)) for message in messages], masked


def _with_texts(message: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The message with each of its texts changed."""
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": change(content)}
    if not isinstance(content, list):
        return dict(message)
    parts = [
        {**part, "text": change(part["text"])} if isinstance(part.get("text"), str) else part
        for part in content
    ]
    return {**message, "content": parts}
