"""Prices, and what calls cost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from config.settings import PriceOverride
from telemetry.exchange import PICO
from telemetry.prices import Price, Prices, Usage

counts = st.integers(0, 10**7)


def test_the_shipped_table() -> None:
    prices = Prices({})
    assert prices.of("gpt-4o-mini") == Price(input=150_000, output=600_000, cached_input=75_000)
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
    prices = Prices({"gpt-4o-mini": PriceOverride(input=1, output=2)})
    assert prices.of("gpt-4o-mini") == Price(PICO // 10**6, 2 * PICO // 10**6, PICO // 10**6)
    cached = Prices({"x": PriceOverride(input=1, output=2, cached_input=0)}).of("x")
    assert cached is not None
    assert cached.cached_input == 0


@given(counts, counts, counts)
def test_cost(prompt: int, completion: int, cached: int) -> None:
    price = Price(input=10, output=40, cached_input=1)
    cost = price.cost(Usage(prompt, completion, cached))
    # Cached tokens are part of the prompt, whatever a provider says.
    within = min(cached, prompt)
    assert cost == (prompt - within) * 10 + within + completion * 40
    assert cost <= price.cost(Usage(prompt, completion))


@given(counts, counts, counts, counts, counts)
def test_no_token_is_charged_twice(
    prompt: int, completion: int, cached: int, written: int, reasoning: int
) -> None:
    usage = Usage(prompt, completion, cached, reasoning, written)
    flat = Price(10, 40, cached_input=10, written_input=10, reasoning=40)
    assert flat.cost(usage) == Price(10, 40, cached_input=10).cost(usage)
    assert flat.cost(usage) == prompt * 10 + completion * 40
    dear = Price(10, 40, cached_input=10, written_input=13, reasoning=50)
    more = 3 * min(written, prompt - min(cached, prompt)) + 10 * min(reasoning, completion)
    assert dear.cost(usage) == flat.cost(usage) + more
