"""Prices, and what calls cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.loading import ConfigError, load
from config.settings import PriceOverride
from telemetry.exchange import PICO
from telemetry.prices import Price, Prices, Usage

counts = st.integers(0, 10**7)


def test_the_shipped_table() -> None:
    prices = Prices({})
    mini = prices.of("gpt-4o-mini")
    assert mini is not None
    assert (mini.input, mini.output, mini.cached_input) == (150_000, 600_000, 75_000)
    assert prices.of("openai/gpt-4o-mini") == prices.of("gpt-4o-mini")
    assert prices.of("nobody/knows-it") is None
    claude, gemini = prices.of("claude-haiku-4-5"), prices.of("gemini/gemini-2.5-flash")
    assert claude is not None
    assert gemini is not None
    assert (claude.written_input, claude.reasoning) == (1_250_000, None)
    assert (gemini.written_input, gemini.reasoning) == (None, 2_500_000)
    assert prices.provider("gpt-4o-mini") == "openai"
    assert prices.provider("claude-haiku-4-5") == "anthropic"
    assert prices.provider("nobody/knows-it") is None


def test_the_operators_prices_go_first() -> None:
    prices = Prices({"gpt-4o-mini": [PriceOverride(input=1, output=2)]})
    assert prices.of("gpt-4o-mini") == Price(PICO // 10**6, 2 * PICO // 10**6, PICO // 10**6)
    cached = Prices({"x": [PriceOverride(input=1, output=2, cached_input=0)]}).of("x")
    assert cached is not None
    assert cached.cached_input == 0


def test_the_operators_prices_are_found_as_the_tables_are() -> None:
    mine, other = PriceOverride(input=1, output=2), PriceOverride(input=3, output=4)
    prices = Prices({"gpt-4o-mini": [mine], "claude-haiku-4-5": [mine], "own": [mine]})
    for name in ("openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "hosted_vllm/own"):
        assert prices.of(name) == prices.of("own")
    # Azure's price is its own, and so is one that was said with its provider.
    azure = prices.of("azure/gpt-4o-mini")
    assert azure is not None
    assert azure == Prices({}).of("azure/gpt-4o-mini")
    both = Prices({"own": [mine], "hosted_vllm/own": [other]})
    assert both.of("hosted_vllm/own") != both.of("own")


def test_the_operators_prices_may_name_the_provider() -> None:
    mine, other = PriceOverride(input=1, output=2), PriceOverride(input=3, output=4)
    names = ("gpt-5.4", "claude-haiku-4-5", "new")
    named = ("openai/gpt-5.4", "anthropic/claude-haiku-4-5", "openai/new")
    prices = Prices({name: [mine] for name in (*named, "own")})
    for name in (*names, *named):
        assert prices.of(name) == prices.of("own")
    # Another provider's say nothing, and neither do they where there is one without any.
    shipped = Prices({}).of("gpt-5.4")
    assert shipped is not None
    assert Prices({"azure/gpt-5.4": [mine]}).of("gpt-5.4") == shipped
    assert Prices({"openai/own": [other], "own": [mine]}).of("own") == prices.of("own")


def test_every_kind_of_token_and_tier_may_have_a_price_of_the_operators() -> None:
    rates = {"input": 1, "output": 10, "cached_input": 0.5, "written_input": 2, "reasoning": 20}
    rates |= {"audio_input": 3, "audio_output": 30}
    halved = {name: usd / 2 for name, usd in rates.items()}
    override = PriceOverride.model_validate({**rates, "tiers": {"batch": halved}})
    price = Prices({"gpt-4o-mini": [override]}).of("gpt-4o-mini")
    assert price is not None
    usage = Usage(
        prompt_tokens=1000,
        completion_tokens=100,
        cached_tokens=400,
        written_tokens=300,
        heard_tokens=200,
        reasoning_tokens=50,
        spoken_tokens=20,
    )
    usd = 100 * 1 + 400 * 0.5 + 300 * 2 + 200 * 3 + 30 * 10 + 50 * 20 + 20 * 30
    assert price.cost(usage) == usd * PICO // 10**6
    assert price.cost(usage._replace(tier="batch")) == usd / 2 * PICO // 10**6
    assert price.cost(usage._replace(tier="flex")) == price.cost(usage)


def test_service_tiers_and_long_prompts_of_the_shipped_table() -> None:
    price = Prices({}).of("gpt-5.4")
    assert price is not None
    usage = Usage(prompt_tokens=1000, completion_tokens=100)
    assert price.cost(usage._replace(tier="priority")) == 2 * price.cost(usage)
    assert price.cost(usage._replace(tier="flex")) == price.cost(usage) / 2
    assert price.cost(usage._replace(tier="batch")) == price.cost(usage) / 2
    assert price.cost(usage._replace(tier="default")) == price.cost(usage)
    assert price.cost(usage._replace(tier="of tomorrow")) == price.cost(usage)
    at_most, more = Usage(272_000), Usage(272_001)
    assert price.cost(at_most) == 272_000 * price.input
    assert price.cost(more) == 272_001 * 2 * price.input
    assert price.cost(more._replace(tier="flex")) == 272_001 * price.input


def test_reasoning_that_is_output_like_any_other_is_so_in_every_tier() -> None:
    price = Prices({}).of("gemini/gemini-2.5-flash")
    assert price is not None
    usage = Usage(completion_tokens=100, reasoning_tokens=80)
    assert price.cost(usage._replace(tier="flex")) == price.cost(usage) / 2
    for tier in price.tiers.values():
        assert tier.cost(usage) == 100 * tier.output


def test_audio_of_the_shipped_table() -> None:
    price = Prices({}).of("gpt-audio")
    assert price is not None
    assert price.audio_input is not None
    assert price.audio_output is not None
    assert price.audio_input > price.input
    heard = Usage(1000, 100, heard_tokens=900, spoken_tokens=80)
    assert price.cost(heard) == (
        100 * price.input + 900 * price.audio_input + 20 * price.output + 80 * price.audio_output
    )


def noon(day: date) -> float:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()


def test_prices_that_change() -> None:
    new_year, spring = date(2026, 1, 1), date(2026, 3, 1)
    dated = [
        PriceOverride.model_validate({"from": spring, "input": 3, "output": 3}),
        PriceOverride.model_validate({"from": new_year, "input": 2, "output": 2}),
    ]
    prices = Prices(
        {"gpt-4o-mini": dated, "x": dated, "y": [*dated, PriceOverride(input=1, output=1)]}
    )

    def million(model: str, day: date) -> float:
        price = prices.of(model, noon(day))
        assert price is not None
        return price.cost(Usage(10**6)) / PICO

    # Before the first one the table's counts, or else the first.
    assert million("gpt-4o-mini", date(2025, 12, 31)) == 0.15
    assert million("x", date(2025, 12, 31)) == 2
    assert million("y", date(2025, 12, 31)) == 1
    for model in ("gpt-4o-mini", "x", "y"):
        assert million(model, date(2026, 1, 1)) == 2
        assert million(model, date(2026, 2, 28)) == 2
        assert million(model, date(2026, 3, 1)) == 3
    midnight = noon(spring) - 12 * 3600
    before, after = prices.of("x", midnight - 1), prices.of("x", midnight)
    assert before is not None
    assert after is not None
    assert (before.input, after.input) == (2_000_000, 3_000_000)
    tariff = prices.tariff("gpt-4o-mini")
    assert tariff is not None
    changed = [tariff.changed(when) for when in (noon(date(2025, 12, 31)), midnight - 1, midnight)]
    assert changed == [None, noon(new_year) - 12 * 3600, midnight]


@pytest.mark.parametrize("prices", [[], [{"input": 1, "output": 1}, {"input": 2, "output": 2}]])
def test_prices_that_contradict_one_another(prices: object) -> None:
    with pytest.raises(
        ConfigError, match=r"prices\.x: .*needs prices, each `from` a day of its own"
    ):
        load(None, {"prices": {"x": prices}})


@given(counts, counts, counts)
def test_cost(prompt: int, completion: int, cached: int) -> None:
    price = Price(input=10, output=40, cached_input=1)
    cost = price.cost(Usage(prompt, completion, cached))
    # Cached tokens are part of the prompt, whatever a provider says.
    within = min(cached, prompt)
    assert cost == (prompt - within) * 10 + within + completion * 40
    assert cost <= price.cost(Usage(prompt, completion))


@given(st.builds(Usage, *[counts] * 7))
def test_no_token_is_charged_twice(usage: Usage) -> None:
    prompt, completion, cached, reasoning, written, *_ = usage
    flat = Price(
        10, 40, cached_input=10, written_input=10, reasoning=40, audio_input=10, audio_output=40
    )
    assert flat.cost(usage) == Price(10, 40, cached_input=10).cost(usage)
    assert flat.cost(usage) == prompt * 10 + completion * 40
    assert replace(flat, kept_input=10).cost(usage) == flat.cost(usage)
    dear = Price(10, 40, cached_input=10, written_input=13, reasoning=50)
    more = 3 * min(written, prompt - min(cached, prompt)) + 10 * min(reasoning, completion)
    assert dear.cost(usage) == flat.cost(usage) + more
