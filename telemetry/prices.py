"""What a call costs: litellm's price table, with the operator's prices over it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from datetime import time as time_of_day
from functools import cached_property
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any, NamedTuple, overload

import orjson

from config.settings import PriceOverride, Rates
from telemetry.exchange import PICO

_NAMES = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "written_input": "cache_creation_input_token_cost",
    "kept_input": "cache_creation_input_token_cost_above_1hr",
    "reasoning": "output_cost_per_reasoning_token",
    "audio_input": "input_cost_per_audio_token",
    "audio_output": "output_cost_per_audio_token",
}
"""What litellm's table calls the rates of a price."""

_TIERS = {"flex": "_flex", "priority": "_priority", "batch": "_batches"}
"""OpenAI's names of service tiers, and how the table's names of their rates end."""

_LONGER = re.compile(r"input_cost_per_token(_above_(\d+)k_tokens)")


class Usage(NamedTuple):
    """Tokens of one call; ``cached_tokens`` and ``written_tokens`` are part of ``prompt_tokens``,
    ``reasoning_tokens`` of ``completion_tokens``, audio of both."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    written_tokens: int = 0
    """Prompt tokens that were written to the provider's cache."""
    heard_tokens: int = 0
    """Audio tokens of the prompt."""
    spoken_tokens: int = 0
    """Audio tokens of the completion."""
    tier: str | None = None
    """The service tier that it was served in, as the upstream calls it; None where nobody said."""
    kept_tokens: int = 0
    """Of those that were written to the cache, the ones that stay there for an hour."""

    def with_total(self, total: int) -> Usage:
        """The same where the upstream says ``total`` for all tokens; 0 where it does not."""
        # xAI and Gemini's OpenAI-compatible API charge for thinking as for all else that is
        # written, but have it in the total alone.
        thought = total - self.prompt_tokens - self.completion_tokens
        if thought <= 0:
            return self
        return self._replace(
            completion_tokens=self.completion_tokens + thought,
            reasoning_tokens=max(self.reasoning_tokens, thought),
        )


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
    audio_input: int | None = None
    """None where it costs what other input does."""
    audio_output: int | None = None
    """None where it costs what other output does."""
    kept_input: int | None = None
    """Of input that stays in the provider's cache for an hour; None where that costs what other
    written input does."""
    longer: tuple[tuple[int, Price], ...] = ()
    """Prices of calls whose prompt has more than so many tokens, in order of these."""
    tiers: Mapping[str, Price] = field(default_factory=dict)
    """Prices of service tiers, where they differ."""

    def cost(self, usage: Usage) -> int:
        """Picodollars."""
        tier = usage.tier
        return (self if tier is None else self.tiers.get(tier, self))._cost(usage)

    def _cost(self, usage: Usage) -> int:
        """In this tier."""
        for longest, price in reversed(self.longer):
            if usage.prompt_tokens > longest:
                return price._cost(usage)
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        written = min(usage.written_tokens, usage.prompt_tokens - cached)
        kept = min(usage.kept_tokens, written)
        to_write = self.input if self.written_input is None else self.written_input
        heard = min(usage.heard_tokens, usage.prompt_tokens - cached - written)
        reasoning = min(usage.reasoning_tokens, usage.completion_tokens)
        spoken = min(usage.spoken_tokens, usage.completion_tokens - reasoning)
        return (
            (usage.prompt_tokens - cached - written - heard) * self.input
            + cached * self.cached_input
            + (written - kept) * to_write
            + kept * (to_write if self.kept_input is None else self.kept_input)
            + heard * (self.input if self.audio_input is None else self.audio_input)
            + (usage.completion_tokens - reasoning - spoken) * self.output
            + reasoning * (self.output if self.reasoning is None else self.reasoning)
            + spoken * (self.output if self.audio_output is None else self.audio_output)
        )


FREE = Price(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a model costs, over time: prices and the Unix times from which they count, in order.

    The first one's also count before.
    """

    prices: tuple[tuple[float, Price], ...]

    def at(self, when: float) -> Price:
        """The price at a Unix time."""
        for begins, price in reversed(self.prices):
            if when >= begins:
                return price
        return self.prices[0][1]

    def changed(self, when: float) -> float | None:
        """The Unix time from which the price of a Unix time counts; None where it always has."""
        begun = [begins for begins, _ in self.prices if -inf < begins <= when]
        return begun[-1] if begun else None

    @classmethod
    def always(cls, price: Price) -> Tariff:
        return cls(((-inf, price),))


@dataclass(frozen=True, slots=True)
class _Entry:
    """What litellm's table says of a model, as far as it is used."""

    rates: dict[str, float]
    """USD by the table's names."""
    provider: str | None


class Prices:
    """Looks prices up by model name; what the operator set goes before litellm's table."""

    def __init__(self, overrides: Mapping[str, Sequence[PriceOverride]]) -> None:
        self._overrides = overrides
        self._tariffs: dict[str, Tariff] = {}

    def of(self, model: str, when: float | None = None) -> Price | None:
        """The price of ``model`` at a Unix time, now unless given; None if unknown."""
        tariff = self.tariff(model)
        return None if tariff is None else tariff.at(time.time() if when is None else when)

    def tariff(self, model: str) -> Tariff | None:
        """All prices of ``model``, with or without its provider's prefix; None if unknown."""
        known = self._tariffs.get(model)
        if known is None:
            known = self._read(model)
            # Callers may make names up: what is not known is not kept.
            if known is not None:
                self._tariffs[model] = known
        return known

    def _read(self, model: str) -> Tariff | None:
        entry = self._table.get(model) or self._table.get(model.partition("/")[2])
        shipped = None if entry is None else _shipped(entry.rates)
        set_ = sorted(map(_from_override, self._set(model)), key=_begins)
        if shipped is not None:
            set_.insert(0, (-inf, shipped))
        return Tariff(tuple(set_)) if set_ else None

    def _set(self, model: str) -> Sequence[PriceOverride]:
        """The operator's prices of ``model``, which they may name without its provider, or with it
        where ``model`` does not."""
        if model in self._overrides:
            return self._overrides[model]
        bare = model.partition("/")[2]
        if not bare:
            # Whoever is not in the table is asked through OpenAI's API.
            return self._overrides.get(f"{self.provider(model) or 'openai'}/{model}", ())
        # As in the table: what a provider charges otherwise has a name of its own there.
        return () if model in self._table else self._overrides.get(bare, ())

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
            model: _Entry(
                {name: usd for name, usd in entry.items() if usd is not None and "cost" in name},
                entry.get("litellm_provider"),
            )
            for model, entry in table.items()
        }


def _from_override(override: PriceOverride) -> tuple[float, Price]:
    """The price, and the Unix time from which it counts."""
    begins = -inf
    if override.begins is not None:
        begins = datetime.combine(override.begins, time_of_day.min, UTC).timestamp()
    tiers: dict[str, Price] = {tier: _from_rates(rates) for tier, rates in override.tiers.items()}
    return begins, replace(_from_rates(override), tiers=tiers)


def _from_rates(rates: Rates) -> Price:
    cached = rates.input if rates.cached_input is None else rates.cached_input
    return Price(
        _per_million(rates.input),
        _per_million(rates.output),
        _per_million(cached),
        written_input=_per_million(rates.written_input),
        reasoning=_per_million(rates.reasoning),
        audio_input=_per_million(rates.audio_input),
        audio_output=_per_million(rates.audio_output),
    )


def _begins(priced: tuple[float, Price]) -> float:
    return priced[0]


def _shipped(rates: dict[str, float]) -> Price | None:
    """The price by litellm's table; None where that charges by something else than tokens."""
    usd_input = rates.get(_NAMES["input"])
    if usd_input is None:
        return None
    picodollars = _picodollars(usd_input)
    usual = _tier(rates, "", Price(picodollars, 0, picodollars))
    tiers = {
        tier: _tier(rates, suffix, usual)
        for tier, suffix in _TIERS.items()
        if _NAMES["input"] + suffix in rates
    }
    return replace(usual, tiers=tiers) if tiers else usual


def _tier(rates: dict[str, float], suffix: str, usual: Price) -> Price:
    """The price of the tier whose rates' names end with ``suffix``: what it has none for costs what
    it does in the ``usual`` one."""
    price = _with_rates(usual, rates, suffix)
    longer = {
        1000 * int(found[2]): _with_rates(price, rates, found[1] + suffix)
        for name in rates
        if name.endswith(suffix) and (found := _LONGER.fullmatch(name.removesuffix(suffix)))
    }
    return replace(price, longer=tuple(sorted(longer.items())))


def _with_rates(price: Price, rates: dict[str, float], suffix: str) -> Price:
    given = {
        field: _picodollars(rates[name + suffix])
        for field, name in _NAMES.items()
        if name + suffix in rates
    }
    if "output" in given and price.reasoning == price.output:
        # The table names the rate of reasoning that is output like any other for the usual tier
        # alone: in others it follows theirs.
        given.setdefault("reasoning", given["output"])
    return replace(price, longer=(), **given)  # type: ignore[arg-type]


def _picodollars(usd: float) -> int:
    return round(usd * PICO)


@overload
def _per_million(usd: float) -> int: ...
@overload
def _per_million(usd: None) -> None: ...
def _per_million(usd: float | None) -> int | None:
    """Picodollars per token."""
    return None if usd is None else round(usd * PICO / 10**6)
