"""Everything that can go wrong with a request, and how the caller is told.

Every error reaches the caller in OpenAI's shape; `SHAPES` says with which status, type and code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson


class ProtegeError(Exception):
    """Something that the caller is told. ``param`` names the parameter at fault, if one is."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


# The caller's mistakes


class InvalidRequestError(ProtegeError):
    """The request is not a valid chat completion request."""


class UnknownPathError(ProtegeError):
    """There is nothing at this path."""


class MethodNotAllowedError(ProtegeError):
    """The path exists, but not for this method."""


class ModelNotFoundError(ProtegeError):
    """The request names a model that is not configured."""


class StudentNotFoundError(ProtegeError):
    """The student was forced and the task has none."""


class StudentUnableError(ProtegeError):
    """The student was forced and the request asks for what no student can do."""


# Ours


class StoreUnavailableError(ProtegeError):
    """The answer could not be stored, so it is not given."""


class NotReadyError(ProtegeError):
    """The server cannot serve at the moment."""


class UnexpectedError(ProtegeError):
    """A mistake of ours."""


# The upstream's


class UpstreamError(ProtegeError):
    """The upstream did not answer."""


class UpstreamUnreachableError(UpstreamError):
    """No connection to the upstream, or it was lost before the answer."""


class UpstreamTimeoutError(UpstreamError):
    """The upstream did not begin to answer before its deadline."""


class UpstreamBrokenError(UpstreamError):
    """The upstream's answer is not one, or ended before it was complete."""


class UpstreamRefusedError(UpstreamError):
    """The upstream answered with an error: its ``status``, ``body`` and retry headers pass on."""

    def __init__(self, status: int, body: bytes, retry: dict[str, str] | None = None) -> None:
        super().__init__(f"The upstream answered with status {status}.")
        self.status = status
        self.body = body
        self.retry = retry or {}


@dataclass(frozen=True, slots=True)
class Shape:
    """How an error looks to the caller."""

    status: int
    type: str
    code: str | None


SHAPES: dict[type[ProtegeError], Shape] = {
    InvalidRequestError: Shape(400, "invalid_request_error", None),
    StudentUnableError: Shape(400, "invalid_request_error", "student_unable"),
    UnknownPathError: Shape(404, "invalid_request_error", "unknown_url"),
    ModelNotFoundError: Shape(404, "invalid_request_error", "model_not_found"),
    StudentNotFoundError: Shape(404, "invalid_request_error", "student_not_found"),
    MethodNotAllowedError: Shape(405, "invalid_request_error", "method_not_allowed"),
    StoreUnavailableError: Shape(500, "server_error", "store_unavailable"),
    UnexpectedError: Shape(500, "server_error", "internal_error"),
    UpstreamUnreachableError: Shape(502, "server_error", "upstream_unreachable"),
    UpstreamBrokenError: Shape(502, "server_error", "upstream_broken"),
    UpstreamRefusedError: Shape(502, "server_error", "upstream_error"),
    NotReadyError: Shape(503, "server_error", "not_ready"),
    UpstreamTimeoutError: Shape(504, "server_error", "upstream_timeout"),
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """An error as it goes over the wire."""

    status: int
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)


def render(error: ProtegeError) -> Rendered:
    shape = SHAPES[type(error)]
    if not isinstance(error, UpstreamRefusedError):
        return Rendered(shape.status, _content(error.message, error.param, shape))
    content = error.body if _is_openai_error(error.body) else _wrap(error, shape)
    return Rendered(error.status, content, error.retry)


def _content(message: str, param: str | None, shape: Shape) -> bytes:
    detail: dict[str, Any] = {
        "message": message,
        "type": shape.type,
        "param": param,
        "code": shape.code,
    }
    return orjson.dumps({"error": detail})


def _is_openai_error(body: bytes) -> bool:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(content, dict) and isinstance(content.get("error"), dict)


def _wrap(error: UpstreamRefusedError, shape: Shape) -> bytes:
    """The provider's own words in OpenAI's shape."""
    said = error.body[:2000].decode("utf-8", "replace").strip()
    return _content(f"{error.message} {said}".strip(), None, shape)
