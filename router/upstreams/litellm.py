"""Every provider that does not speak OpenAI's dialect, translated by litellm."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from typing import Any

import httpx

from router.completion import DONE, event
from router.errors import UpstreamBrokenError, UpstreamError
from router.upstreams import along, translation, vectors
from router.upstreams.base import Timeouts
from router.upstreams.claude import Stop
from router.upstreams.gemini import End
from router.upstreams.parameters import Parameters
from router.upstreams.thinking import is_claude, resumable

_GEMINI = "gemini/"
_READ_ALONG = ("gemini", "anthropic")
"""Providers of whose answers litellm leaves out what somebody wants to know."""


class LitellmUpstream:
    """A model under its litellm name, such as ``anthropic/claude-haiku-4-5``.

    ``base_url`` is the root of the provider's API where it is not the provider's own. Without a
    key of its own it uses the provider's environment variable, as litellm does: the caller's
    ``Authorization`` header is OpenAI's and means nothing to others.
    """

    gives_logprobs = False

    def __init__(
        self, model: str, api_key: str | None, timeouts: Timeouts, base_url: str | None = None
    ) -> None:
        self.model = model
        self.timeouts = timeouts
        self._api_key = api_key
        self._base_url = base_url
        self._parameters: Parameters | None = None
        self._adapts = False
        """Whether it is one of Claude's that decide themselves when to think."""
        self._client: Any = None

    async def complete(self, body: dict[str, Any], authorization: str | None) -> bytes:
        stop = along.expect(Stop())
        response = await self._call(body, self.timeouts.whole)
        content = response.model_dump(mode="json", exclude_none=True)
        return translation.completion(content, stop.sequence)

    async def stream(
        self, body: dict[str, Any], authorization: str | None
    ) -> AsyncGenerator[bytes, None]:
        end, stop = End(), Stop()
        is_gemini = self.model.startswith(_GEMINI)
        along.expect(end if is_gemini else stop)
        chunks = await self._call(body, self.timeouts.silence)
        try:
            async for chunk in chunks:
                content = chunk.model_dump(mode="json", exclude_none=True)
                if _is_last(content) and not (end.came if is_gemini else _has_ended(chunks)):
                    raise UpstreamBrokenError("The upstream's stream ended before its answer did.")
                yield event(translation.chunk(content, stop.sequence))
        except UpstreamError:
            raise
        except Exception as error:
            raise self._translated(error) from error
        finally:
            await chunks.aclose()
        yield DONE

    async def embed(self, body: dict[str, Any], authorization: str | None) -> bytes:
        litellm = await asyncio.to_thread(import_litellm)
        # Nothing else of the request: any name may mean something to litellm, an address even.
        asked = {name: body[name] for name in ("input", "dimensions") if name in body}
        try:
            async with asyncio.timeout(self.timeouts.whole):
                response = await litellm.aembedding(
                    **asked,
                    model=self.model,
                    api_base=self._base_url,
                    api_key=self._api_key,
                    timeout=self.timeouts.whole,
                    max_retries=0,
                )
        except Exception as error:
            raise self._translated(error) from error
        as_base64 = body.get("encoding_format") == "base64"
        return vectors.embeddings(response.model_dump(mode="json"), as_base64=as_base64)

    async def close(self) -> None:
        """litellm closes its own connections."""
        if self._client is not None:
            await self._client.close()

    async def _call(self, body: dict[str, Any], silence_s: float) -> Any:
        litellm = await asyncio.to_thread(import_litellm)
        if self._parameters is None:
            self._parameters = _parameters(litellm, self.model)
            self._adapts = _adapts(litellm, self.model)
            if self._parameters.provider in _READ_ALONG:
                self._client = along.client()
        arguments = self._parameters.translatable(body)
        if is_claude(self.model):
            arguments = resumable(arguments, adapts=self._adapts)
        try:
            async with asyncio.timeout(silence_s):
                return await litellm.acompletion(
                    **arguments,
                    model=self.model,
                    api_base=self._base_url,
                    api_key=self._api_key,
                    client=self._client,
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

    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        # What it has to say goes the way of all logs, which keeps texts out of it.
        logging.getLogger(name).handlers.clear()
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    # Where a provider does not say what a stream took, litellm counts the tokens. It is not to stop
    # the server for the download of a tokenizer.
    litellm.disable_hf_tokenizer_download = True
    return litellm


def _parameters(litellm: Any, model: str) -> Parameters:
    name, provider, _, _ = litellm.get_llm_provider(model)
    supported = litellm.get_supported_openai_params(model=name, custom_llm_provider=provider)
    return Parameters(model, provider, frozenset(supported or ()))


def _adapts(litellm: Any, model: str) -> bool:
    name, provider, _, _ = litellm.get_llm_provider(model)
    return bool(litellm.AnthropicConfig.is_adaptive_thinking_model(name, provider))


def _is_last(chunk: dict[str, Any]) -> bool:
    return any(choice.get("finish_reason") for choice in chunk["choices"])


def _has_ended(chunks: Any) -> bool:
    """Whether the provider has said why its answer ends: litellm ends a stream well in any case."""
    return bool(chunks.received_finish_reason or chunks.received_any_finish_reason)
