"""What of a request other providers can do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from router.errors import UpstreamRefusedError, render
from router.upstreams.parameters import Parameters

CLAUDE = Parameters("anthropic/claude", "anthropic", frozenset({"tools", "response_format"}))
GEMINI = Parameters("gemini/flash", "gemini", frozenset({"n", "logprobs", "response_format"}))


def refusal(parameters: Parameters, **body: Any) -> dict[str, Any]:
    with pytest.raises(UpstreamRefusedError) as raised:
        parameters.translatable(body)
    rendered = render(raised.value)
    assert rendered.status == 400
    return json.loads(rendered.content)["error"]


VALUES: dict[str, Any] = {
    "messages": [],
    "tools": [],
    "response_format": {},
    "modalities": [],
    "n": 1,
}


@pytest.mark.parametrize("name", [*sorted(CompletionCreateParamsBase.__annotations__), "stream"])
def test_every_documented_parameter_is_known(name: str) -> None:
    everything = Parameters("any", "any", frozenset(CompletionCreateParamsBase.__annotations__))
    everything.translatable({name: VALUES.get(name, "x")})


@pytest.mark.parametrize("name", ["api_base", "api_key", "base_url", "mock_response", "headers"])
def test_what_steers_litellm_is_unknown(name: str) -> None:
    error = refusal(CLAUDE, **{name: "http://elsewhere"})
    assert (error["param"], error["code"]) == (name, "unknown_parameter")


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def choice(*names: str, mode: str = "auto") -> dict[str, Any]:
    allowed = {"mode": mode, "tools": [function(name) for name in names]}
    return {"type": "allowed_tools", "allowed_tools": allowed}


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_tools_that_may_not_be_chosen_are_left_out(mode: str) -> None:
    every = Parameters("any", "anthropic", frozenset({"tools", "tool_choice"}))
    tools = [function(name) for name in ("look", "hear", "smell")]
    chosen = choice("smell", "look", mode=mode)
    asked = every.translatable({"tools": tools, "tool_choice": chosen})
    assert asked == {"tools": [tools[0], tools[2]], "tool_choice": mode}
    error = refusal(every, tools=tools, tool_choice=choice("taste"))
    assert (error["param"], error["code"]) == ("tool_choice", "invalid_value")
    for broken in ({}, {"mode": "auto"}, {"mode": "any", "tools": []}, [1]):
        wrong = {"type": "allowed_tools", "allowed_tools": broken}
        error = refusal(every, tools=tools, tool_choice=wrong)
        assert error["param"] == "tool_choice.allowed_tools"
    # OpenAI's models make the choice themselves.
    openais = Parameters("any", "openai", every.supported)
    body = {"tools": tools, "tool_choice": chosen}
    assert openais.translatable(body) == body


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("logit_bias", {"1": 2}),
        ("functions", [{"name": "look"}]),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy", "format": "mp3"}),
        ("parallel_tool_calls", False),
        ("tool_choice", "required"),
        ("web_search_options", {}),
        ("response_format", {"type": "json_object"}),
    ],
)
def test_what_would_change_the_answer_is_refused(name: str, value: Any) -> None:
    error = refusal(CLAUDE, **{name: value})
    assert (error["param"], error["code"]) == (name, "unsupported_parameter")
    assert error["message"].startswith("anthropic/claude cannot do '")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 1),
        ("logprobs", False),
        ("modalities", ["text"]),
        ("parallel_tool_calls", True),
        ("tool_choice", "auto"),
        ("response_format", {"type": "text"}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}),
        ("seed", 3),
        ("thinking", {"type": "enabled", "budget_tokens": 2000}),
    ],
)
def test_what_leaves_the_answer_as_it_is_passes(name: str, value: Any) -> None:
    assert CLAUDE.translatable({name: value}) == {name: value}


def test_the_router_s_own_parameters_stay_here() -> None:
    body = {"model": "m", "store": True, "metadata": {"user_id": "u"}, "service_tier": "auto"}
    assert CLAUDE.translatable({**body, "seed": None}) == {}
    assert CLAUDE.translatable({"service_tier": "flex"}) == {"service_tier": "flex"}


def test_choices_come_whole_or_alone() -> None:
    assert GEMINI.translatable({"n": 2}) == {"n": 2}
    assert GEMINI.translatable({"n": 1, "stream": True}) == {"n": 1, "stream": True}
    assert refusal(GEMINI, n=2, stream=True)["param"] == "n"
    assert GEMINI.translatable({"response_format": {"type": "json_object"}})
