"""Errors in Anthropic's shape (https://docs.anthropic.com/en/api/errors)."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.types import Scope

from router.errors import ProtegeError, Rendered, render

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}

# By the parameter at fault: what Anthropic's clients look for, and then do without it.
_DETAILS = {"thread": {"error_code": "thread_unsupported_request"}}


def is_anthropics(scope: Scope) -> bool:
    """Whether a request is one of Anthropic's API, so that errors must be in its shape."""
    if scope["path"].startswith("/v1/messages"):
        return True
    return any(name == b"anthropic-version" for name, _value in scope["headers"])


def rendered(error: ProtegeError) -> Rendered:
    """The error as OpenAI's API has it, in Anthropic's shape."""
    openai = render(error)
    detail = orjson.loads(openai.content)["error"]
    otherwise = "api_error" if openai.status >= 500 else "invalid_request_error"
    said: dict[str, Any] = {
        "type": _TYPES.get(openai.status, otherwise),
        "message": str(detail.get("message")),
    }
    if error.param in _DETAILS:
        said["details"] = _DETAILS[error.param]
    content = orjson.dumps({"type": "error", "error": said})
    return Rendered(openai.status, content, openai.headers)
