"""What litellm raises, as one of our errors: in the provider's words and with its status.

litellm maps every failure to an error of its own, with another status for some and its own words
around the provider's. What really happened is the exception that it was handling.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from traceback import walk_tb
from typing import Any, Protocol

import httpx
import openai
import orjson
from litellm.exceptions import ContextWindowExceededError
from litellm.llms.base_llm.chat.transformation import BaseLLMException

from router.errors import (
    UpstreamBrokenError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from router.upstreams.base import without_keys

_TYPES = {
    403: "permission_error",
    429: "rate_limit_error",
}
_LATE = (TimeoutError, httpx.TimeoutException, openai.APITimeoutError)
_RETRY_HEADERS = ("retry-after", "retry-after-ms")
_LONGEST = 2000
"""Characters of what the provider said."""
_TRANSLATING = (
    "litellm.litellm_core_utils.prompt_templates.factory",
    "litellm.llms.vertex_ai.gemini.transformation",
)
"""Modules of litellm that do nothing but translate messages."""
_PREFIX = re.compile(r"^(litellm\.)?\w+(Error|Exception)( \w+Error)?(:| -) ")


class _Response(Protocol):
    """httpx's, or that of the package which took its place below openai."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def content(self) -> bytes: ...


def translated(error: Exception, api_key: str | None) -> UpstreamError:
    """Our error for one of litellm. No key is in what it says, and the key was ours."""
    causes = list(_causes(error))
    if any(isinstance(cause, _LATE) for cause in causes):
        return UpstreamTimeoutError("The upstream did not answer in time.")
    too_long = any(isinstance(cause, ContextWindowExceededError) for cause in causes)
    for cause in reversed(causes):
        if isinstance(cause, httpx.HTTPStatusError):
            return _refused(cause.response, too_long, api_key)
        if isinstance(cause, openai.APIStatusError) and _is_openai_s(cause):
            return _refused(cause.response, too_long, api_key)
        if isinstance(cause, httpx.TransportError) or _is_openai_s(cause):
            said = _shown(str(cause) or type(cause).__name__, api_key)
            return UpstreamUnreachableError(f"The upstream cannot be reached: {said}")
    said = _shown(_own_words(error), api_key)
    if any(map(_is_of_translation, causes)):
        said = f"The request cannot be put to this provider: {said}"
        return UpstreamRefusedError(HTTPStatus.BAD_REQUEST, _error(400, said, None))
    status = getattr(error, "status_code", 0)
    was_asked = any(isinstance(cause, BaseLLMException) for cause in causes)
    if 400 <= status < 500 and not was_asked:
        return UpstreamRefusedError(status, _error(status, said, None))
    return UpstreamBrokenError(f"The upstream's answer is broken: {said}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_of_translation(cause: BaseException) -> bool:
    """Whether it came up where litellm puts a request into the provider's words. That is before the
    provider is asked, whatever litellm calls it: the fault is the request's."""
    modules = (frame.f_globals["__name__"] for frame, _ in walk_tb(cause.__traceback__))
    return any(module in _TRANSLATING for module in modules)


def _is_openai_s(cause: BaseException) -> bool:
    """Whether this is the openai package's own error, not one that litellm derived from it."""
    return isinstance(cause, openai.APIError) and type(cause).__module__.startswith("openai")


def _refused(response: _Response, too_long: bool, api_key: str | None) -> UpstreamError:
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        return UpstreamKeyError()
    said = _detail(response)
    message = said.get("message") or f"The upstream answered with status {response.status_code}."
    code = "context_length_exceeded" if too_long else _code(response.status_code, said)
    retry = {name: response.headers[name] for name in _RETRY_HEADERS if name in response.headers}
    return UpstreamRefusedError(
        response.status_code,
        _error(response.status_code, _shown(str(message), api_key), code),
        retry or _retry_info(said),
    )


def _code(status: int, said: dict[str, Any]) -> str | None:
    """The provider's word for what went wrong. Google's ``code`` is the status again."""
    if isinstance(said.get("code"), str):
        return said["code"]
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_exceeded"
    return said.get("type") or said.get("status")


def _detail(response: _Response) -> dict[str, Any]:
    """The provider's error object; one with a message alone where it sent something else."""
    content = response.content
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {"message": content[:_LONGEST].decode("utf-8", "replace").strip()}
    if isinstance(body, list) and body:
        body = body[0]
    detail = body.get("error", body) if isinstance(body, dict) else body
    return detail if isinstance(detail, dict) else {"message": str(detail)}


def _retry_info(said: dict[str, Any]) -> dict[str, str]:
    """Google's way to say when to come again: a ``google.rpc.RetryInfo`` among the details."""
    for detail in said.get("details") or ():
        seconds = re.fullmatch(r"(\d+)(\.\d+)?s", str(detail.get("retryDelay")))
        if seconds:
            return {"retry-after": str(int(seconds[1]) + bool(seconds[2]))}
    return {}


def _own_words(error: Exception) -> str:
    """The first line of what litellm says, without the names of its exceptions."""
    said = str(getattr(error, "original_exception", None) or error).partition("\n")[0]
    while prefix := _PREFIX.match(said):
        said = said[prefix.end() :]
    return said[:_LONGEST]


def _shown(said: str, api_key: str | None) -> str:
    """Without our keys, those that litellm finds in the environment among them."""
    found = (value for name, value in os.environ.items() if name.endswith("_API_KEY"))
    return without_keys(said, (api_key, *found))


def _error(status: int, message: str, code: str | None) -> bytes:
    kind = _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})
