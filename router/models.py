"""The models that callers may name, and the upstreams behind them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from config.settings import ConfigError, ModelSettings, Settings
from router.errors import ModelNotFoundError
from router.upstreams.base import Upstream
from router.upstreams.http import OPENAI, HttpUpstream
from router.upstreams.litellm import LitellmUpstream, import_litellm
from telemetry.prices import Price, Prices

FREE = Price(0, 0, 0)
RESERVED = ("auto", "teacher", "student")

Forced = Literal["teacher", "student"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Model:
    """An upstream and what it charges."""

    upstream: Upstream
    price: Price


Target = Model | Forced | None
"""Who is to answer: a model that the caller named, a forced route, or, with None, the policy."""


def check_names(settings: Settings) -> None:
    """Raises ConfigError if a model is configured under one of the router's own names."""
    taken = [name for name in RESERVED if name in settings.models]
    if taken:
        raise ConfigError([f"models.{name}: this name is the router's own" for name in taken])


class Models:
    """The teacher and the further models of the settings."""

    def __init__(self, settings: Settings) -> None:
        prices = Prices(settings.prices)
        openai_key = os.environ.get("OPENAI_API_KEY") or None
        self.teacher = _model(settings.teacher, prices, openai_key)
        self._named = {
            name: _model(model, prices, None if model.base_url else openai_key)
            for name, model in settings.models.items()
        }

    def names(self) -> list[str]:
        """Every name that a request's ``model`` may have."""
        return list(dict.fromkeys([*RESERVED, self.teacher.upstream.model, *self._named]))

    def find(self, name: str) -> Target:
        """Who answers a request for ``name``. Raises ModelNotFoundError."""
        if name in ("teacher", "student"):
            return name  # type: ignore[return-value]
        if name in self._named:
            return self._named[name]
        # An application that keeps asking for the teacher by its own name is routed as well.
        if name in ("auto", self.teacher.upstream.model):
            return None
        raise ModelNotFoundError(
            f"The model '{name}' does not exist. Known are: {', '.join(self.names())}.", "model"
        )

    async def start(self) -> None:
        if any(isinstance(model.upstream, LitellmUpstream) for model in self._all()):
            await asyncio.to_thread(import_litellm)

    async def close(self) -> None:
        for model in self._all():
            await model.upstream.close()

    def _all(self) -> Iterator[Model]:
        yield self.teacher
        yield from self._named.values()


def _model(settings: ModelSettings, prices: Prices, default_key: str | None) -> Model:
    name = settings.price_as or settings.model
    price = prices.of(name)
    if price is None:
        _log.warning("no price is known for %s: its calls count as free", name)
    return Model(_upstream(settings, prices, default_key), price or FREE)


def _upstream(settings: ModelSettings, prices: Prices, default_key: str | None) -> Upstream:
    key = settings.api_key.get_secret_value() if settings.api_key else None
    if settings.base_url:
        return HttpUpstream(
            settings.model, settings.base_url, key or default_key, settings.timeout_s
        )
    if _is_openai(settings.model, prices):
        model = settings.model.removeprefix("openai/")
        return HttpUpstream(model, OPENAI, key or default_key, settings.timeout_s)
    return LitellmUpstream(settings.model, key, settings.timeout_s)


def _is_openai(model: str, prices: Prices) -> bool:
    """A name without a provider's prefix is OpenAI's unless the price table knows better."""
    if "/" in model:
        return model.startswith("openai/")
    return prices.provider(model) in ("openai", None)
