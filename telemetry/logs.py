"""What a process says on standard error: a line an event, as JSON or as text.

No line has a key, a prompt or an answer in it, unless the level is ``debug``. What is logged as the
words of an exception, or by a library, may have them, so only the kind and the place of it are
shown: see ``_words``. Of a task that Protege has named itself, by words of its prompt, the hash is
shown. What operators need the words of, such as a database that is away, is listed
in ``_HARMLESS``.

A line about each request is written at the level ``info``, by a thread of its own ten times a
second: a request pays for no more than the line's text.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any

import orjson
from sqlalchemy.exc import DBAPIError

from config.settings import LogSettings
from telemetry.exchange import PICO, Exchange

_OURS = ("router", "telemetry", "policies", "distill", "config", "bench", "protege")
"""Loggers whose messages are made of our words, ids and names."""

_PLAIN = (*_OURS, "uvicorn")
"""Loggers whose messages are harmless; uvicorn's speak of connections and processes."""

_HARMLESS = {
    *("OSError", "ConnectionError", "OperationalError", "InterfaceError"),
    *("StoreError", "CountersLostError", "EncoderError", "LanguageModelError"),
}
"""Exceptions, by name, whose words are about files, connections and databases, and not what is in
them. The libraries of databases have them in common."""

_FIRST = ("time", "level", "logger", "message")
"""What a line of text begins with; all else has its name before it."""

_SLUG = re.compile(r"(?<![\w-])(?:[a-z0-9]+-){1,4}?([0-9a-f]{8}(?:-[0-9a-f]{8})?)(?![a-zA-Z0-9])")
"""The name of a task that its caller has not named, words of its prompt and a hash, or of such a
task's student, with one more hash."""

_BARE = re.compile(r'[^ ="\\]+')
"""A value that can be told from what follows it without quotes."""

_OF_MODELS = ("router.models", "router.chain")
"""Loggers that name upstreams' models, some of which look like that too."""

_EVERY_S = 0.1
"""How often lines about requests are written."""

Fields = dict[str, Any]


class RequestLog:
    """The lines about requests. Silent until `open`."""

    def __init__(self) -> None:
        self._level = logging.CRITICAL
        self._json = False
        self._lines: list[bytes] = []
        self._writing = threading.Lock()

    def open(self, settings: LogSettings) -> None:
        """Write from now on, if requests are to be written at all."""
        self._level, self._json = _LEVELS[settings.level], settings.format == "json"
        if self._level <= logging.INFO:
            threading.Thread(target=self._write_often, name="request-log", daemon=True).start()

    def exchange(self, exchange: Exchange) -> None:
        """A request of which there is an exchange."""
        level = logging.WARNING if exchange.failed else logging.INFO
        if level < self._level:
            return
        task = nameless(exchange.task)
        # A student has its task's name.
        masked = exchange.route == "student" and task != exchange.task
        self._add(
            {
                "time": _now(),
                "level": _NAMES[level],
                "message": "request",
                "request": exchange.id,
                "task": task,
                "route": exchange.route,
                "model": nameless(exchange.model) if masked else exchange.model,
                "reason": exchange.reason,
                "status": exchange.status,
                "error": exchange.error,
                "key": exchange.key,
                "prompt_tokens": exchange.prompt_tokens,
                "completion_tokens": exchange.completion_tokens,
                "cost_usd": exchange.cost / PICO,
                "latency_s": round(exchange.latency_s, 6),
            }
        )

    def rejected(self, identifier: str, status: int, error: str) -> None:
        """A request that ended without an exchange; ``error`` is the error's code."""
        level = logging.WARNING if status >= 500 else logging.INFO
        if level >= self._level:
            self._add(
                {
                    "time": _now(),
                    "level": _NAMES[level],
                    "message": "rejected",
                    "request": identifier,
                    "status": status,
                    "error": error,
                }
            )

    def flush(self) -> None:
        """Write what is waiting."""
        with self._writing:
            lines, self._lines = self._lines, []
            if lines:
                sys.stderr.buffer.write(b"".join(lines))
                sys.stderr.buffer.flush()

    def _add(self, fields: Fields) -> None:
        self._lines.append(_line(fields, as_json=self._json))
        if self._level > logging.INFO:
            # Nobody else writes.
            self.flush()

    def _write_often(self) -> None:
        while True:
            time.sleep(_EVERY_S)
            self.flush()


requests = RequestLog()
"""This process's, as its loggers are."""


def configure(settings: LogSettings) -> None:
    """Let all loggers of this process, and what it fails from, say no more than may be said."""
    level = _LEVELS[settings.level]
    handler = _Handler(settings)
    root = logging.getLogger()
    root.handlers = [handler]
    # What libraries say about their inner workings is nobody's business.
    root.setLevel(max(level, logging.WARNING))
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(True)
    sys.excepthook = _excepthook
    threading.excepthook = lambda failed: _excepthook(
        failed.exc_type, failed.exc_value, failed.exc_traceback
    )
    requests.open(settings)


class _Handler(logging.Handler):
    """Writes records of loggers at once, after the lines about requests that came before."""

    def __init__(self, settings: LogSettings) -> None:
        super().__init__()
        self._json = settings.format == "json"
        self._words = settings.level == "debug"

    def emit(self, record: logging.LogRecord) -> None:
        # A record that cannot be written is left out: logging would show it in full.
        with suppress(Exception):
            self._write(record)

    def _write(self, record: logging.LogRecord) -> None:
        fields: Fields = {
            "time": _now(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage() if self._words else _message(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            fields["exceptions"] = [
                _exception(each, self._words) for each in _chain(record.exc_info[1])
            ]
        requests.flush()
        sys.stderr.write(_line(fields, as_json=self._json).decode())
        sys.stderr.flush()


def _message(record: logging.LogRecord) -> str:
    """The message without anybody's words but ours."""
    package = record.name.partition(".")[0]
    if package == "asyncio":
        # What follows its first line are objects in full.
        return record.getMessage().partition("\n")[0]
    if package not in _PLAIN:
        return f"said at {record.pathname}:{record.lineno}"
    if not isinstance(record.args, tuple) or not record.args:
        return record.getMessage().strip()
    said = str(record.msg) % tuple(
        _words(each) if isinstance(each, BaseException) else each for each in record.args
    )
    return said if record.name in _OF_MODELS else nameless(said)


@lru_cache(maxsize=1024)
def nameless(text: str) -> str:
    """``text`` with no more than the hash of tasks that Protege has named.

    >>> nameless("task summarise-this-letter-3d22ef98 and triage")
    'task 3d22ef98 and triage'
    """
    return _SLUG.sub(r"\1", text)


def _words(error: BaseException) -> str:
    """The kind of an exception, with its words if they are known to be harmless."""
    kind = type(error).__name__
    if _HARMLESS.isdisjoint(each.__name__ for each in type(error).__mro__):
        return kind
    # SQLAlchemy's own words have the whole statement in them.
    said = error.orig if isinstance(error, DBAPIError) else error
    return f"{kind}: {' '.join(str(said).split())}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _exception(error: BaseException, words: bool) -> Fields:
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "type": type(error).__qualname__,
        "said": str(error) if words else _words(error),
        "at": [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames],
    }


def _excepthook(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if error is not None and issubclass(kind, Exception):
        logging.getLogger("protege").critical("stopped", exc_info=(kind, error, trace))


def _now(at: float | None = None) -> str:
    moment = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(fields: Fields, *, as_json: bool) -> bytes:
    if as_json:
        return orjson.dumps(fields, default=str) + b"\n"
    exceptions = fields.pop("exceptions", ())
    first = [str(fields.pop(name)) for name in _FIRST if name in fields]
    first += [f"{name}={_quoted(value)}" for name, value in fields.items() if value is not None]
    lines = [" ".join(first)]
    for each in exceptions:
        lines += [f"  {each['said']}", *(f"    {frame}" for frame in each["at"])]
    return "".join(f"{_printable(line)}\n" for line in lines).encode(errors="replace")


def _quoted(value: Any) -> str:
    """A value as logfmt has it, so that none can pass for two, or for another field.

    >>> _quoted("triage"), _quoted("a route=student"), _quoted("")
    ('triage', '"a route=student"', '""')
    """
    text = str(value)
    # Not orjson, which refuses halves of a character.
    is_bare = text.isprintable() and _BARE.fullmatch(text)
    return text if is_bare else json.dumps(text, ensure_ascii=False)


def _printable(line: str) -> str:
    """Without what a caller may have put into a name to draw on the operator's terminal."""
    return line if line.isprintable() else "".join(c if c.isprintable() else " " for c in line)


_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_NAMES = {number: name for name, number in _LEVELS.items()}
