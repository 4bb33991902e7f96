"""The models that callers may name, and the upstreams behind them."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit

from config.loading import ConfigError
from config.settings import ModelSettings, Settings
from router.errors import ModelNotFoundError
from router.upstreams import proxies
from router.upstreams.base import Timeouts, Upstream
from router.upstreams.breaker import Breaker
from router.upstreams.http import OPENAI, HttpUpstream
from telemetry.prices import FREE, Price, Prices, Tariff

RESERVED = ("auto", "teacher", "student")

_OWN_DIALECTS = (
    *("anthropic/", "azure/", "azure_ai/", "bedrock/", "cohere_chat/", "gemini/", "huggingface/"),
    *("ollama/", "ollama_chat/", "replicate/", "sagemaker/", "vertex_ai/", "watsonx/"),
)
"""litellm's prefixes of providers that speak no OpenAI, not even at a ``base_url``."""

_WITHOUT_QUERY = tuple(prefix for prefix in _OWN_DIALECTS if prefix != "azure_ai/")
"""Those before which litellm takes a ``base_url``'s query for part of the path, or drops it."""

_OTHERS = 1000
"""Models beside the teacher whose failures are remembered: callers may make up names."""

Forced = Literal["teacher", "student"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Model:
    """An upstream, what it charges, and how it is treated when it fails."""

    upstream: Upstream
    tariff: Tariff
    retries: int
    """Further calls where one failed."""
    breaker: Breaker

    @property
    def price(self) -> Price:
        """Today's."""
        return self.tariff.at(time.time())


Target = Model | Forced | None
"""Who is to answer: a model that the caller named, a forced route, or, with None, the policy."""


def check_names(settings: Settings) -> None:
    """Raises ConfigError if a model is configured under one of the router's own names."""
    taken = [name for name in RESERVED if name in settings.models]
    if taken:
        raise ConfigError([f"models.{name}: this name is the router's own" for name in taken])


def check_urls(settings: Settings) -> None:
    """Raises ConfigError if a ``base_url`` has a query that would not reach its provider whole."""
    models = {
        "teacher": settings.teacher,
        **{f"fallbacks.{index}": model for index, model in enumerate(settings.fallbacks)},
        **{f"hosted.models.{index}": model for index, model in enumerate(settings.hosted.models)},
        **{f"models.{name}": model for name, model in settings.models.items()},
    }
    lost = [
        name
        for name, model in models.items()
        if urlsplit(model.base_url or "").query and model.model.startswith(_WITHOUT_QUERY)
    ]
    if lost:
        said = "its query can be kept only for OpenAI-compatible servers"
        raise ConfigError([f"{name}.base_url: {said}" for name in lost])


def check_proxies(settings: Settings) -> None:
    """Raises ConfigError if a model is behind a proxy that cannot be used."""
    # It takes a while to find out whose models they are.
    if not proxies.are_usable():
        Models(settings)


class Models:
    """The teacher, its fallbacks and the further models of the settings."""

    def __init__(self, settings: Settings) -> None:
        prices = Prices(settings.prices)
        openai_key = os.environ.get("OPENAI_API_KEY") or None
        self.teacher = _model(settings.teacher, prices, openai_key)

        def further(model: ModelSettings) -> Model:
            # The key for OpenAI is not shown to just any server.
            return _model(model, prices, None if model.base_url else openai_key)

        self.chain = (self.teacher, *map(further, settings.fallbacks))
        """The teacher, and who is asked where it fails."""
        self.hosted = {model.model: further(model) for model in settings.hosted.models}
        """Models that may earn a task as students do."""
        self._named = {name: further(model) for name, model in settings.models.items()}
        self._beside_teacher = settings.other_models
        self._prices = prices

        @lru_cache(_OTHERS)
        def breaker(_name: str) -> Breaker:
            return _breaker(settings.teacher)

        self._breaker_beside = breaker
        """By name, of the models beside the teacher: that one of them fails says nothing of it."""

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
        upstream = self.teacher.upstream
        if self._beside_teacher and isinstance(upstream, HttpUpstream):
            # A budget must not be spent on what nobody knows the price of.
            tariff = self._prices.tariff(name) or self.teacher.tariff
            return replace(
                self.teacher,
                upstream=upstream.serving(name),
                tariff=tariff,
                breaker=self._breaker_beside(name),
            )
        raise ModelNotFoundError(
            f"The model '{name}' does not exist. Known are: {', '.join(self.names())}.", "model"
        )

    def open_circuits(self) -> dict[str, bool]:
        """By model, whether it is left alone because it keeps failing."""
        resting = {model.upstream.model for model in self._all() if model.breaker.wait_s() > 0}
        return {model.upstream.model: model.upstream.model in resting for model in self._all()}

    def price_changes(self) -> dict[str, float]:
        """By model whose price has changed, the Unix time from which the present one counts."""
        now = time.time()
        changes = {model.upstream.model: model.tariff.changed(now) for model in self._all()}
        return {name: changed for name, changed in changes.items() if changed is not None}

    def provider(self, model: str) -> str:
        """Whose API the upstream's ``model`` is asked through, as litellm calls them. That of a
        server which speaks OpenAI's is ``openai``, whoever it belongs to."""
        for known in self._all():
            if known.upstream.model == model and not isinstance(known.upstream, HttpUpstream):
                prefix, _, name = model.partition("/")
                return prefix if name else self._prices.provider(model) or prefix
        return "openai"

    async def start(self) -> None:
        if all(isinstance(model.upstream, HttpUpstream) for model in self._all()):
            return
        from router.upstreams.litellm import import_litellm

        await asyncio.to_thread(import_litellm)

    async def close(self) -> None:
        for model in self._all():
            await model.upstream.close()

    def _all(self) -> Iterator[Model]:
        yield from self.chain
        yield from self.hosted.values()
        yield from self._named.values()


def _model(settings: ModelSettings, prices: Prices, default_key: str | None) -> Model:
    name = settings.price_as or settings.model
    tariff = prices.tariff(name) or prices.tariff(_base(name))
    if tariff is None:
        _log.warning("no price is known for %s: its calls count as free", name)
    upstream = _upstream(settings, prices, default_key)
    return Model(upstream, tariff or Tariff.always(FREE), settings.retries, _breaker(settings))


def _breaker(settings: ModelSettings) -> Breaker:
    return Breaker(settings.breaker_failures, settings.breaker_pause_s)


def _base(model: str) -> str:
    """The name under which OpenAI prices a model that was fine-tuned.

    >>> _base("ft:gpt-4o-mini-2024-07-18:acme::abc123")
    'ft:gpt-4o-mini-2024-07-18'
    """
    return ":".join(model.split(":")[:2]) if model.startswith("ft:") else model


def _upstream(settings: ModelSettings, prices: Prices, default_key: str | None) -> Upstream:
    key = settings.api_key.get_secret_value() if settings.api_key else None
    timeouts = Timeouts(
        settings.connect_timeout_s,
        min(settings.first_token_timeout_s, settings.timeout_s),
        settings.timeout_s,
    )
    if settings.base_url and not settings.model.startswith(_OWN_DIALECTS):
        # The prefix is litellm's alone; "openai/" may be part of a name on such a server.
        model = settings.model.removeprefix("hosted_vllm/")
        return HttpUpstream(model, settings.base_url, key or default_key, timeouts)
    if _is_openai(settings.model, prices):
        model = settings.model.removeprefix("openai/")
        return HttpUpstream(model, OPENAI, key or default_key, timeouts)
    # What it imports takes a tenth of the server's start, for those alone who need it.
    from router.upstreams.litellm import LitellmUpstream

    return LitellmUpstream(settings.model, key, timeouts, settings.base_url)


def _is_openai(model: str, prices: Prices) -> bool:
    """A name without a provider's prefix is OpenAI's unless the price table knows better."""
    if "/" in model:
        return model.startswith("openai/")
    return prices.provider(model) in ("openai", None)
