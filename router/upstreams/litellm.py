"""Every provider that does not speak OpenAI's dialect, translated by litellm."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import Any

from router.completion import DONE, event
from router.errors import UpstreamBrokenError, UpstreamError
from router.upstreams import translation
from router.upstreams.base import Timeouts
from router.upstreams.parameters import Parameters


class LitellmUpstream:
    """A model under its litellm name, such as ``anthropic/claude-haiku-4-5``.

    ``base_url`` is the root of the provider's API where it is not the provider's own. Without a
    key of its own it uses the provider's environment variable, as litellm does: the caller's
    ``Authorization`` header is OpenAI's and means nothing to others.
    """

    def __init__(
        self, model: str, api_key: str | None, timeouts: Timeouts, base_url: str | None = None
    ) -> None:
        self.model = model
        self.timeouts = timeouts
        self._api_key = api_key
        self._base_url = base_url
        self._parameters: Parameters | None = None

    async def complete(self, body: dict[str, Any], authorization: str | None) -> bytes:
        response = await self._call(body, self.timeouts.whole)
        return translation.completion(response.model_dump(mode="json", exclude_none=True))

    async def stream(
        self, body: dict[str, Any], authorization: str | None
    ) -> AsyncGenerator[bytes, None]:
        chunks = await self._call(body, self.timeouts.silence)
        try:
            async for chunk in chunks:
                content = chunk.model_dump(mode="json", exclude_none=True)
                if _is_made_up(content, chunks):
                    raise UpstreamBrokenError("The upstream's stream ended before its answer did.")
                yield event(translation.chunk(content))
        except UpstreamError:
            raise
        except Exception as error:
            raise self._translated(error) from error
        finally:
            await chunks.aclose()
        yield DONE

    async def close(self) -> None:
        """Nothing is held open: litellm keeps its connections itself."""

    async def _call(self, body: dict[str, Any], silence_s: float) -> Any:
        litellm = await asyncio.to_thread(import_litellm)
        if self._parameters is None:
            self._parameters = _parameters(litellm, self.model)
        arguments = self._parameters.translatable(body)
        import httpx

        try:
            async with asyncio.timeout(silence_s):
                return await litellm.acompletion(
                    **arguments,
                    model=self.model,
                    api_base=self._base_url,
                    api_key=self._api_key,
                    timeout=httpx.Timeout(silence_s, connect=self.timeouts.connect),
                    max_retries=0,
                    drop_params=True,
                )
        except Exception as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> UpstreamError:
        # It needs the openai package, which litellm has long imported when anything can go wrong.
        from router.upstreams.refusal import translated

        return translated(error, self._api_key)


def import_litellm() -> Any:
    """litellm itself. The first call takes seconds: make it in a thread, when the server starts."""
    # The tables that come with the package will do; without this they are downloaded.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    return litellm


def _parameters(litellm: Any, model: str) -> Parameters:
    name, provider, _, _ = litellm.get_llm_provider(model)
    supported = litellm.get_supported_openai_params(model=name, custom_llm_provider=provider)
    return Parameters(model, provider, frozenset(supported or ()))


def _is_made_up(chunk: dict[str, Any], chunks: Any) -> bool:
    """Whether litellm ends a stream well that the provider has not ended."""
    ends = any(choice.get("finish_reason") for choice in chunk["choices"])
    return ends and not (chunks.received_finish_reason or chunks.received_any_finish_reason)
