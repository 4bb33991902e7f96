"""``openai``'s clients with a Protege server as their default, and with tasks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import openai

if TYPE_CHECKING:
    from typing import Self

    from openai._models import FinalRequestOptions

BASE_URL_VARIABLE = "PROTEGE_BASE_URL"
DEFAULT_BASE_URL = "http://127.0.0.1:8080/v1"


class OpenAI(openai.OpenAI):
    """``openai.OpenAI``, by default at ``PROTEGE_BASE_URL``, else at a server on this machine."""

    _task: str | None = None

    def task(self, name: str) -> Self:
        """A client whose chat completions belong to the task ``name``.

        It shares this client's connections. A request's own ``metadata["task"]`` goes first.
        """
        scoped = self.copy()
        scoped._task = name
        return scoped

    def _prepare_options(self, options: FinalRequestOptions) -> FinalRequestOptions:
        return super()._prepare_options(_with_task(options, self._task))

    # Type checkers are to see openai's own signatures.
    if not TYPE_CHECKING:

        def __init__(self, **options: Any) -> None:
            super().__init__(**_located(options))

        def copy(self, **changes: Any) -> OpenAI:
            copied = super().copy(**changes)
            copied._task = self._task
            return copied

        with_options = copy


class AsyncOpenAI(openai.AsyncOpenAI):
    """``openai.AsyncOpenAI``, by default at ``PROTEGE_BASE_URL``, else at a server on this
    machine."""

    _task: str | None = None

    def task(self, name: str) -> Self:
        """A client whose chat completions belong to the task ``name``.

        It shares this client's connections. A request's own ``metadata["task"]`` goes first.
        """
        scoped = self.copy()
        scoped._task = name
        return scoped

    async def _prepare_options(self, options: FinalRequestOptions) -> FinalRequestOptions:
        return await super()._prepare_options(_with_task(options, self._task))

    # Type checkers are to see openai's own signatures.
    if not TYPE_CHECKING:

        def __init__(self, **options: Any) -> None:
            super().__init__(**_located(options))

        def copy(self, **changes: Any) -> AsyncOpenAI:
            copied = super().copy(**changes)
            copied._task = self._task
            return copied

        with_options = copy


def _located(options: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's ``options``, with a base URL where they do not say where to go."""
    elsewhere = ("base_url", "provider", "data_residency")
    if any(options.get(name) is not None for name in elsewhere):
        return dict(options)
    return {**options, "base_url": os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL}


def _with_task(options: FinalRequestOptions, task: str | None) -> FinalRequestOptions:
    body = options.json_data
    if task is not None and options.url == "/chat/completions" and isinstance(body, dict):
        options.json_data = {**body, "metadata": {"task": task, **(body.get("metadata") or {})}}
    return options
