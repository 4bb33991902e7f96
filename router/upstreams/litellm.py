"""Every provider that does not speak OpenAI's dialect, translated by litellm."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import Any

import orjson

from router.completion import DONE, event
from router.errors import (
    UpstreamError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)


class LitellmUpstream:
    """A model under its litellm name, such as ``anthropic/claude-haiku-4-5``.

    Without a key of its own it uses the provider's environment variable, as litellm does: the
    caller's ``Authorization`` header is OpenAI's and means nothing to others.
    """

    def __init__(self, model: str, api_key: str | None, timeout_s: float) -> None:
        self.model = model
        self.timeout_s = timeout_s
        self._api_key = api_key

    async def complete(self, body: dict[str, Any], authorization: str | None) -> bytes:
        response = await self._call(body)
        return orjson.dumps(response.model_dump(mode="json"))

    async def stream(
        self, body: dict[str, Any], authorization: str | None
    ) -> AsyncGenerator[bytes, None]:
        chunks = await self._call(body)
        try:
            async for chunk in chunks:
                yield event(orjson.dumps(chunk.model_dump(mode="json", exclude_none=True)))
        except Exception as error:
            raise _translated(error) from error
        yield DONE

    async def close(self) -> None:
        """Nothing is held open: litellm keeps its connections itself."""

    async def _call(self, body: dict[str, Any]) -> Any:
        litellm = await asyncio.to_thread(import_litellm)
        try:
            async with asyncio.timeout(self.timeout_s):
                return await litellm.acompletion(
                    **body,
                    api_key=self._api_key,
                    timeout=self.timeout_s,
                    max_retries=0,
                    drop_params=True,
                )
        except Exception as error:
            raise _translated(error) from error


def import_litellm() -> Any:
    """litellm itself. The first call takes seconds: make it in a thread, when the server starts."""
    # The table that comes with the package will do; without this it is downloaded on import.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    return litellm


def _translated(error: Exception) -> UpstreamError:
    """Our error for one of litellm, whose errors follow those of the openai package."""
    name = type(error).__name__
    status = getattr(error, "status_code", None)
    if name in ("Timeout", "TimeoutError"):
        return UpstreamTimeoutError(f"The upstream did not answer in time: {error}")
    if name in ("APIConnectionError",) or not isinstance(status, int) or status < 400:
        return UpstreamUnreachableError(f"The upstream cannot be reached: {error}")
    return UpstreamRefusedError(status, str(error).encode())
