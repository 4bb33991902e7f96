"""Everything that can go wrong with a request, and how the caller is told.

Every error reaches the caller in OpenAI's shape; `SHAPES` says with which status, type and code.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import orjson


class ProtegeError(Exception):
    """Something that the caller is told. ``param`` names the parameter at fault, if one is;
    ``retry_after_s`` says when to come again, if that may help."""

    def __init__(
        self, message: str, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


# The caller's mistakes


class InvalidRequestError(ProtegeError):
    """The request is not a valid chat completion request."""


class UnsupportedError(InvalidRequestError):
    """The request asks for something of its API that is not offered here."""


class PreviousResponseNotFoundError(InvalidRequestError):
    """The response that the request follows is not stored."""


class UnknownPathError(ProtegeError):
    """There is nothing at this path."""


class MethodNotAllowedError(ProtegeError):
    """The path exists, but not for this method."""


class ModelNotFoundError(ProtegeError):
    """The request names a model that is not configured."""


class NotFoundError(ProtegeError):
    """No such exchange, completion, response or key."""


class BodyTooLargeError(ProtegeError):
    """The body of the request is larger than the server takes."""


class BodyTimeoutError(ProtegeError):
    """Nothing more came of the request's body."""


class StudentNotFoundError(ProtegeError):
    """The student was forced and the task has none."""


class StudentUnableError(ProtegeError):
    """The student was forced and the request asks for what no student can do."""


class StudentUnsureError(ProtegeError):
    """The student is alone and not sure enough of its answer, but that much."""

    def __init__(self, message: str, confidence: float) -> None:
        super().__init__(message)
        self.confidence = confidence


class TooDearError(ProtegeError):
    """No answer is to be had within the budget of the request."""


# The caller's key


class InvalidKeyError(ProtegeError):
    """The key is missing, unknown, expired or revoked."""


class ForbiddenError(ProtegeError):
    """The key may not do this."""


class RateLimitedError(ProtegeError):
    """The key has used up its requests or tokens of the minute."""


class BudgetSpentError(ProtegeError):
    """The key has spent the budget of its period."""


# Ours


class OverloadedError(ProtegeError):
    """The server answers as many requests as it can."""


class StoreUnavailableError(ProtegeError):
    """The answer could not be stored, so it is not given."""


class NotReadyError(ProtegeError):
    """The server cannot serve at the moment."""


class StoppingError(ProtegeError):
    """The server stops, and waits for no answer any more."""


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


class CircuitOpenError(UpstreamError):
    """The upstream has failed so often that it is left alone for a while."""


class UpstreamKeyError(UpstreamError):
    """The upstream does not take the key that the router has for it, or wants one."""

    def __init__(self) -> None:
        super().__init__("The upstream does not accept the key that the router has for it.")


class UpstreamRefusedError(UpstreamError):
    """The upstream answered with an error: its ``status``, ``body`` and retry headers pass on."""

    def __init__(self, status: int, body: bytes, retry: dict[str, str] | None = None) -> None:
        super().__init__(f"The upstream answered with status {status}.")
        self.status = status
        self.body = body
        self.retry = retry or {}

    def wait_s(self) -> float | None:
        """Seconds that the upstream asks to be left alone for; None where it does not say.

        RFC 9110, section 10.2.3, and OpenAI's ``retry-after-ms``.
        """
        try:
            if "retry-after-ms" in self.retry:
                return max(0.0, float(self.retry["retry-after-ms"]) / 1000)
            said = self.retry["retry-after"]
            if said.strip().isdecimal():
                return float(said)
            return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Shape:
    """How an error looks to the caller."""

    status: int
    type: str
    code: str | None


SHAPES: dict[type[ProtegeError], Shape] = {
    InvalidRequestError: Shape(400, "invalid_request_error", None),
    UnsupportedError: Shape(400, "invalid_request_error", "unsupported"),
    PreviousResponseNotFoundError: Shape(
        400, "invalid_request_error", "previous_response_not_found"
    ),
    StudentUnableError: Shape(400, "invalid_request_error", "student_unable"),
    TooDearError: Shape(400, "invalid_request_error", "budget_exceeded"),
    InvalidKeyError: Shape(401, "invalid_request_error", "invalid_api_key"),
    ForbiddenError: Shape(403, "invalid_request_error", "permission_denied"),
    UnknownPathError: Shape(404, "invalid_request_error", "unknown_url"),
    ModelNotFoundError: Shape(404, "invalid_request_error", "model_not_found"),
    StudentNotFoundError: Shape(404, "invalid_request_error", "student_not_found"),
    NotFoundError: Shape(404, "invalid_request_error", "not_found"),
    MethodNotAllowedError: Shape(405, "invalid_request_error", "method_not_allowed"),
    BodyTimeoutError: Shape(408, "invalid_request_error", "request_timeout"),
    BodyTooLargeError: Shape(413, "invalid_request_error", "request_too_large"),
    StudentUnsureError: Shape(422, "invalid_request_error", "student_unsure"),
    OverloadedError: Shape(429, "server_error", "overloaded"),
    RateLimitedError: Shape(429, "rate_limit_error", "rate_limit_exceeded"),
    BudgetSpentError: Shape(429, "insufficient_quota", "insufficient_quota"),
    StoreUnavailableError: Shape(500, "server_error", "store_unavailable"),
    UnexpectedError: Shape(500, "server_error", "internal_error"),
    UpstreamUnreachableError: Shape(502, "server_error", "upstream_unreachable"),
    UpstreamBrokenError: Shape(502, "server_error", "upstream_broken"),
    UpstreamKeyError: Shape(502, "server_error", "upstream_key_refused"),
    UpstreamRefusedError: Shape(502, "server_error", "upstream_error"),
    CircuitOpenError: Shape(503, "server_error", "upstream_unavailable"),
    StoppingError: Shape(503, "server_error", "server_stopping"),
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
        content = _content(error.message, error.param, shape)
        return Rendered(shape.status, content, _retry(error.retry_after_s))
    content = error.body if _is_openai_error(error.body) else _wrap(error, shape)
    return Rendered(error.status, content, error.retry)


def _retry(after_s: float | None) -> dict[str, str]:
    return {} if after_s is None else {"retry-after": str(math.ceil(after_s))}


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
