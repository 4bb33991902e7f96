"""One way to make a call with each client, so that a test is written once for all of them.

A call names its method as the Python clients do; the outcome is JSON, whichever client made it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import anthropic
import openai

NODE = Path(__file__).parent / "node"
_ERRORS = (openai.OpenAIError, anthropic.AnthropicError)


@dataclass(frozen=True)
class Take:
    """What to do with what a method returns."""

    stream: bool = False
    most: int | None = None
    """Hang up after so many events."""
    helper: bool = False
    """It is a helper that puts a stream together."""
    pages: bool = False
    """It is a list, to be read to its end."""


@dataclass(frozen=True)
class Call:
    method: str
    path: tuple[str, ...]
    body: dict[str, Any] | None
    options: dict[str, Any]
    take: Take


@dataclass(frozen=True)
class Failure:
    """An error as the client raised it."""

    kind: str
    """The name of its class."""
    message: str
    status: int | None = None
    code: str | None = None
    param: str | None = None
    type: str | None = None
    request_id: str | None = None


@dataclass
class Outcome:
    value: Any = None
    events: list[dict[str, Any]] = field(default_factory=list)
    request_id: str | None = None
    failure: Failure | None = None


class Driver(Protocol):
    """A client, and how it is called."""

    def perform(self, call: Call) -> Outcome: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Client:
    """What tests call."""

    name: str
    driver: Driver

    def call(self, method: str, *path: str, **body: Any) -> Any:
        """What the method returns."""
        return self.outcome(method, *path, **body).value

    def stream(self, method: str, *path: str, **body: Any) -> list[dict[str, Any]]:
        """The events of a stream."""
        body["stream"] = True
        return self.outcome(method, *path, take=Take(stream=True), **body).events

    def pages(self, method: str, *path: str, **body: Any) -> list[dict[str, Any]]:
        """The items of a list, however many pages it takes."""
        return self.outcome(method, *path, take=Take(pages=True), **body).events

    def helper(self, method: str, **body: Any) -> Outcome:
        """What a streaming helper puts together, and the events it saw."""
        return self.outcome(method, take=Take(helper=True), **body)

    def refused(self, method: str, *path: str, **body: Any) -> Failure:
        """The error that the call ends in."""
        failure = self.attempt(method, *path, **body).failure
        assert failure is not None, "the call went well"
        return failure

    def outcome(self, method: str, *path: str, **body: Any) -> Outcome:
        outcome = self.attempt(method, *path, **body)
        assert outcome.failure is None, outcome.failure
        return outcome

    def attempt(
        self,
        method: str,
        *path: str,
        take: Take = Take(),
        options: dict[str, Any] | None = None,
        **body: Any,
    ) -> Outcome:
        """``options`` are the client's: ``timeout`` in seconds, ``max_retries``, ``api_key`` and
        ``default_headers``."""
        return self.driver.perform(Call(method, path, body or None, options or {}, take))


@dataclass(frozen=True)
class SyncDriver:
    client: Any

    def perform(self, call: Call) -> Outcome:
        outcome = Outcome()
        try:
            self._perform(call, outcome)
        except _ERRORS as error:
            outcome.failure = _failure(error)
        return outcome

    def close(self) -> None:
        self.client.close()

    def _perform(self, call: Call, outcome: Outcome) -> None:
        returned = _method(self.client, call)
        if call.take.helper:
            with returned as stream:
                outcome.events = [_json(event) for event in stream]
                outcome.value = _json(_final(stream)())
        elif call.take.pages:
            outcome.events = [_json(item) for item in returned]
        elif call.take.stream:
            with returned as stream:
                outcome.request_id = stream.response.headers["x-request-id"]
                for event in stream:
                    outcome.events.append(_json(event))
                    if len(outcome.events) == call.take.most:
                        break
        else:
            outcome.value = _json(returned)
            outcome.request_id = getattr(returned, "_request_id", None)


class AsyncDriver:
    def __init__(self, client: Any) -> None:
        self._client = client
        self._runner = asyncio.Runner()

    def perform(self, call: Call) -> Outcome:
        outcome = Outcome()
        try:
            self._runner.run(self._perform(call, outcome))
        except _ERRORS as error:
            outcome.failure = _failure(error)
        return outcome

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    async def _perform(self, call: Call, outcome: Outcome) -> None:
        returned = _method(self._client, call)
        if call.take.helper:
            async with returned as stream:
                outcome.events = [_json(event) async for event in stream]
                outcome.value = _json(await _final(stream)())
        elif call.take.pages:
            outcome.events = [_json(item) async for item in returned]
        elif call.take.stream:
            async with await returned as stream:
                outcome.request_id = stream.response.headers["x-request-id"]
                async for event in stream:
                    outcome.events.append(_json(event))
                    if len(outcome.events) == call.take.most:
                        break
        else:
            value = await returned
            outcome.value = _json(value)
            outcome.request_id = getattr(value, "_request_id", None)


class NodeDriver:
    """OpenAI's client for Node, or its client for Azure, in a process of its own."""

    def __init__(self, client: str, url: str, api_key: str, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["node", str(NODE / "run.mjs")],
            env={**environment, "CLIENT": client, "URL": url, "API_KEY": api_key},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def perform(self, call: Call) -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        said = asdict(call)
        # What Python's clients call extra is for Node's just more of the body.
        said["body"] = call.body and {**call.body, **call.body.get("extra_body", {})}
        if said["body"]:
            said["body"].pop("extra_body", None)
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()
        outcome = json.loads(self._process.stdout.readline())
        failure = outcome.pop("failure")
        return Outcome(**outcome, failure=Failure(**failure) if failure else None)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def _method(client: Any, call: Call) -> Any:
    """What the method returns at once: of an async client, what is to be awaited."""
    found = client.with_options(**call.options) if call.options else client
    for name in call.method.split("."):
        found = getattr(found, name)
    return found(*call.path, **(call.body or {}))


def _final(stream: Any) -> Any:
    names = ("get_final_completion", "get_final_response", "get_final_message")
    return next(getattr(stream, name) for name in names if hasattr(stream, name))


def _json(value: Any) -> Any:
    if value is None or isinstance(value, dict):
        return value
    return value.model_dump(mode="json", exclude_unset=True, warnings=False)


def _failure(error: Exception) -> Failure:
    # The Anthropic client leaves the error in the body as it came.
    body = getattr(error, "body", None)
    detail = body.get("error", body) if isinstance(body, dict) else {}
    return Failure(
        kind=type(error).__name__,
        message=str(error),
        status=getattr(error, "status_code", None),
        code=getattr(error, "code", None),
        param=getattr(error, "param", None),
        type=detail.get("type"),
        request_id=getattr(error, "request_id", None),
    )
