"""The shipped examples are valid and name models that are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.loading import load
from router.models import Models
from telemetry.prices import Prices
from tests.router.providers.conftest import EXAMPLES


def test_there_is_an_example_for_each_provider() -> None:
    assert [example.stem for example in EXAMPLES] == [
        "anthropic",
        "gemini",
        "llama",
        "openai",
        "vllm",
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_loads(example: Path) -> None:
    settings = load(example)
    prices = Prices(settings.prices)
    for model in (settings.teacher, *settings.models.values()):
        assert prices.of(model.model) is not None, f"{model.model} has no price"
    assert set(settings.models) < set(Models(settings).names())
