"""What a call costs: litellm's price table, with the operator's prices over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, overload

import orjson

from config.settings import PriceOverride
from telemetry.exchange import PICO


class Usage(NamedTuple):
    """Tokens of one call; ``cached_tokens`` and ``written_tokens`` are part of ``prompt_tokens``,
    ``reasoning_tokens`` of ``completion_tokens``."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    written_tokens: int = 0
    """Prompt tokens that were written to the provider's cache."""


@dataclass(frozen=True, slots=True)
class Price:
    """Picodollars per token."""

    input: int
    output: int
    cached_input: int
    written_input: int | None = None
    """Of input that is written to the provider's cache; None where that costs no more."""
    reasoning: int | None = None
    """Of output that is reasoning; None where that costs the same."""

    def cost(self, usage: Usage) -> int:
        """Picodollars."""
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        written = min(usage.written_tokens, usage.prompt_tokens - cached)
        reasoning = min(usage.reasoning_tokens, usage.completion_tokens)
        return (
            (usage.prompt_tokens - cached - written) * self.input
            + cached * self.cached_input
            + written * (self.input if self.written_input is None else self.written_input)
            + (usage.completion_tokens - reasoning) * self.output
            + reasoning * (self.output if self.reasoning is None else self.reasoning)
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """What litellm's table says of a model, as far as it is used."""

    price: Price | None
    provider: str | None


class Prices:
    """Looks prices up by model name; what the operator set goes before litellm's table."""

    def __init__(self, overrides: Mapping[str, PriceOverride]) -> None:
        self._overrides = overrides

    def of(self, model: str) -> Price | None:
        """The price of ``model``, with or without its provider's prefix; None if unknown."""
        override = self._overrides.get(model)
        if override is not None:
            return _from_override(override)
        entry = self._table.get(model) or self._table.get(model.partition("/")[2])
        return None if entry is None else entry.price

    def provider(self, model: str) -> str | None:
        """litellm's name of the provider of ``model``; None if unknown."""
        entry = self._table.get(model)
        return None if entry is None else entry.provider

    @cached_property
    def _table(self) -> dict[str, _Entry]:
        # Read from the package's file: importing litellm takes seconds and a hundred megabytes.
        # Of its megabytes little is kept.
        spec = find_spec("litellm")
        if spec is None or spec.origin is None:
            return {}
        path = Path(spec.origin).parent / "model_prices_and_context_window_backup.json"
        table: dict[str, dict[str, Any]] = orjson.loads(path.read_bytes())
        return {
            model: _Entry(_from_entry(entry), entry.get("litellm_provider"))
            for model, entry in table.items()
        }


def _from_override(override: PriceOverride) -> Price:
    million = 10**6
    cached = override.input if override.cached_input is None else override.cached_input
    return Price(
        round(override.input * PICO / million),
        round(override.output * PICO / million),
        round(cached * PICO / million),
    )


def _from_entry(entry: dict[str, Any]) -> Price | None:
    usd_input = entry.get("input_cost_per_token")
    if usd_input is None:
        return None
    picodollars = _picodollars(usd_input)
    cached = _picodollars(entry.get("cache_read_input_token_cost"))
    return Price(
        picodollars,
        _picodollars(entry.get("output_cost_per_token")) or 0,
        picodollars if cached is None else cached,
        _picodollars(entry.get("cache_creation_input_token_cost")),
        _picodollars(entry.get("output_cost_per_reasoning_token")),
    )


@overload
def _picodollars(usd: float) -> int: ...
@overload
def _picodollars(usd: None) -> None: ...
def _picodollars(usd: float | None) -> int | None:
    return None if usd is None else round(usd * PICO)
