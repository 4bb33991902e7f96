"""Errors, headers and names as they go over the wire."""

from __future__ import annotations

from urllib.parse import unquote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.loading import ConfigError
from config.settings import ModelSettings, PriceOverride, Settings
from router import errors
from router.errors import SHAPES, ProtegeError, UpstreamRefusedError, render
from router.models import Models, check_names
from router.reply import header_value
from router.turn import usd
from router.upstreams.http import HttpUpstream
from router.upstreams.litellm import LitellmUpstream
from telemetry.exchange import PICO
from tests.router.server import ROOT


def test_every_error_has_a_shape() -> None:
    bases = (ProtegeError, errors.UpstreamError)
    leaves = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, ProtegeError) and value not in bases
    }
    assert leaves == set(SHAPES)


def test_every_code_is_in_the_documentation() -> None:
    pages = "".join((ROOT / "docs" / page).read_text() for page in ("api.md", "edge.md"))
    codes = {shape.code for shape in SHAPES.values() if shape.code}
    assert {code for code in codes if f"`{code}`" not in pages} == set()


def test_an_error_names_its_parameter() -> None:
    rendered = render(errors.InvalidRequestError("Wrong.", "messages"))
    assert rendered.status == 400
    assert orjson.loads(rendered.content)["error"] == {
        "message": "Wrong.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": None,
    }


@given(st.binary(max_size=50), st.integers(400, 599))
def test_whatever_a_provider_says_becomes_openais_shape(body: bytes, status: int) -> None:
    rendered = render(UpstreamRefusedError(status, body))
    assert rendered.status == status
    assert orjson.loads(rendered.content)["error"]["message"]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_header_values_are_safe_and_say_everything(text: str) -> None:
    value = header_value(text)
    assert all(33 <= byte < 127 for byte in value)
    assert unquote(value.decode()) == text


@given(st.integers(0, 10**18))
def test_money_is_exact(picodollars: int) -> None:
    whole, _, fraction = usd(picodollars).partition(".")
    assert int(whole) * PICO + int(fraction.ljust(12, "0")) == picodollars
    assert not usd(picodollars).endswith(".")


def teacher(model: str, base_url: str | None = None) -> object:
    settings = Settings(teacher=ModelSettings(model=model, base_url=base_url))
    return Models(settings).teacher.upstream


def test_which_upstream_a_model_gets() -> None:
    for model in ("gpt-5.4", "openai/gpt-5.4", "a-model-of-tomorrow"):
        upstream = teacher(model)
        assert isinstance(upstream, HttpUpstream)
        assert upstream.model == model.removeprefix("openai/")
    assert isinstance(teacher("my/llama", "http://localhost:8000/v1"), HttpUpstream)
    for model in ("anthropic/claude-haiku-4-5", "claude-haiku-4-5", "gemini/gemini-2.5-flash"):
        assert isinstance(teacher(model), LitellmUpstream)


def test_an_unknown_price_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    models = Models(Settings(teacher=ModelSettings(model="a-model-of-tomorrow")))
    assert models.teacher.price.input == 0
    assert [record.message for record in caplog.records] == [
        "no price is known for a-model-of-tomorrow: its calls count as free"
    ]
    caplog.clear()
    prices = {"a-model-of-tomorrow": [PriceOverride(input=1, output=2)]}
    models = Models(Settings(teacher=ModelSettings(model="a-model-of-tomorrow"), prices=prices))
    assert models.teacher.price.output == 2 * PICO // 10**6
    assert not caplog.records


def test_the_routers_own_names_are_taken() -> None:
    with pytest.raises(ConfigError, match=r"models\.auto"):
        check_names(Settings(models={"auto": ModelSettings(model="gpt-5.4")}))
