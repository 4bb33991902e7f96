"""The Messages API before providers that speak it themselves, and before one that does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from anthropic import Anthropic, BadRequestError
from anthropic.types import Message

from tests.router.providers import anthropic, openai
from tests.router.providers.anthropic import AnthropicStub, text, thinking, tool_use
from tests.router.providers.conftest import Providers
from tests.router.providers.openai import VllmStub

CACHED = {"type": "ephemeral"}
TOOL: Any = {
    "name": "look",
    "description": "Looks.",
    "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}},
}
THOUGHT = thinking("Let me see.", "c2lnbmF0dXJl")
# Like Anthropic's, no base64 of base64: litellm takes that for Bedrock's and unwraps it.
REDACTED = {"type": "redacted_thinking", "data": "EvP/AA=="}
USE = tool_use("toolu_1", "look", {"at": "the cat"})


@pytest.fixture
def claude(providers: Providers) -> AnthropicStub:
    stub = providers.stubs["anthropic"]
    assert isinstance(stub, AnthropicStub)
    return stub


@pytest.fixture
def vllm(providers: Providers) -> VllmStub:
    stub = providers.stubs["vllm"]
    assert isinstance(stub, VllmStub)
    return stub


@pytest.fixture
def client(providers: Providers) -> Anthropic:
    url = providers.server.url.removesuffix("/v1")
    return Anthropic(base_url=url, api_key="caller-key", max_retries=0)


def asking(model: str, *messages: Any, **parameters: Any) -> Any:
    said = messages or [{"role": "user", "content": "What do you see?"}]
    return {"model": model, "max_tokens": 8000, "messages": list(said), **parameters}


def ask(client: Anthropic, request: Any, stream: bool) -> Message:
    if not stream:
        return client.messages.create(**request)
    with client.messages.stream(**request) as events:
        return events.get_final_message()


def shown(message: Message) -> list[dict[str, Any]]:
    return [block.model_dump(exclude_none=True) for block in message.content]


@pytest.mark.parametrize("stream", [False, True])
def test_claudes_message_is_its_own(client: Anthropic, claude: AnthropicStub, stream: bool) -> None:
    claude.reply = anthropic.message(THOUGHT, text("I see."), USE, stop_reason="tool_use")
    message = ask(client, asking("anthropic", tools=[TOOL]), stream)
    assert shown(message) == [THOUGHT, text("I see."), USE]
    assert message.stop_reason == "tool_use"
    assert message.usage.input_tokens == anthropic.USAGE["input_tokens"]
    assert message.usage.output_tokens == anthropic.USAGE["output_tokens"]
    assert message.usage.cache_read_input_tokens == anthropic.USAGE["cache_read_input_tokens"]
    written = anthropic.USAGE["cache_creation_input_tokens"]
    assert message.usage.cache_creation_input_tokens == written


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stop", ["END", 'a\n"é"'])
def test_claudes_stop_sequence(
    client: Anthropic, claude: AnthropicStub, stop: str, stream: bool
) -> None:
    request = asking("anthropic", stop_sequences=["STOP", stop])
    said = text('"stop_sequence": "STOP"')
    claude.reply = anthropic.message(said, stop_reason="stop_sequence", stop_sequence=stop)
    message = ask(client, request, stream)
    assert shown(message) == [said]
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", stop)
    # The next one, which met none, knows nothing of it.
    claude.reply = anthropic.message(said)
    message = ask(client, request, stream)
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tools_stop_sequence_is_none_of_claudes(
    client: Anthropic, claude: AnthropicStub, stream: bool
) -> None:
    use = tool_use("toolu_1", "look", {"stop_sequence": "STOP"})
    claude.reply = anthropic.message(use, stop_reason="tool_use")
    message = ask(client, asking("anthropic", tools=[TOOL], stop_sequences=["STOP"]), stream)
    assert (message.stop_reason, message.stop_sequence) == ("tool_use", None)


def test_claude_is_sent_what_it_said_and_what_to_cache(
    client: Anthropic, claude: AnthropicStub
) -> None:
    system = [{"type": "text", "text": "Be brief.", "cache_control": CACHED}]
    said = [THOUGHT, REDACTED, text("I see."), USE]
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a cat"}
    turns: Any = [
        {"role": "user", "content": "What do you see?"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": [result]},
    ]
    thinks = {"type": "enabled", "budget_tokens": 5000}
    request = asking("anthropic", *turns, system=system, tools=[TOOL], thinking=thinks)
    client.messages.create(**request, stop_sequences=["END"], metadata={"user_id": "u-1"})
    asked = claude.last.body
    assert asked["system"] == system
    assert asked["messages"][1]["content"] == said
    assert asked["messages"][2]["content"] == [result]
    assert asked["tools"][0]["input_schema"] == TOOL["input_schema"]
    assert asked["max_tokens"] == 8000
    assert asked["thinking"] == thinks
    assert asked["stop_sequences"] == ["END"]
    assert asked["metadata"] == {"user_id": "u-1"}


OFF = {"type": "disabled"}
ADAPTIVE = {"type": "adaptive"}


@pytest.mark.parametrize(
    ("model", "asked", "thinking", "effort"),
    [
        ("anthropic", {"thinking": OFF}, OFF, None),
        ("anthropic", {"thinking": OFF, "effort": "low"}, OFF, None),
        ("anthropic", {"thinking": OFF, "effort": "low", "temperature": 0}, OFF, None),
        ("anthropic", {"thinking": OFF, "effort": "low", "max_tokens": 500}, OFF, None),
        ("anthropic", {"effort": "low"}, {"type": "enabled", "budget_tokens": 1024}, None),
        ("opus", {"thinking": OFF, "effort": "medium"}, OFF, None),
        ("opus", {"thinking": ADAPTIVE}, ADAPTIVE, None),
        ("opus", {"thinking": ADAPTIVE, "effort": "high"}, ADAPTIVE, "high"),
        ("opus", {"effort": "max"}, ADAPTIVE, "max"),
        ("openai", {"thinking": OFF}, None, None),
        ("openai", {"thinking": ADAPTIVE, "effort": "low"}, None, "low"),
        ("openai", {"effort": "max"}, None, "xhigh"),
    ],
)
def test_everybody_is_told_how_to_think_in_their_own_words(
    providers: Providers,
    client: Anthropic,
    model: str,
    asked: Any,
    thinking: Any,
    effort: str | None,
) -> None:
    told = {name: value for name, value in asked.items() if name != "effort"}
    if "effort" in asked:
        told["output_config"] = {"effort": asked["effort"]}
    # The client knows no temperature.
    extra = {name: told.pop(name) for name in ("temperature",) if name in told}
    client.messages.create(**{**asking(model), **told}, extra_body=extra)
    stub = "openai" if model == "openai" else "anthropic"
    body = providers.stubs[stub].last.body
    mode = body.get("thinking")
    # litellm says how adaptive thinking is to be shown.
    assert mode is None or mode.pop("display", "summarized") == "summarized"
    assert mode == thinking
    efforts = (body.get("output_config") or {}).get("effort"), body.get("reasoning_effort")
    assert efforts == ((None, effort) if model == "openai" else (effort, None))


def test_claudes_errors_are_its_own(client: Anthropic, claude: AnthropicStub) -> None:
    claude.reply = anthropic.error(400, "invalid_request_error", "messages: too many")
    with pytest.raises(BadRequestError) as raised:
        client.messages.create(**asking("anthropic"))
    assert raised.value.type == "invalid_request_error"
    assert "messages: too many" in raised.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_others_reasoning_is_thinking(client: Anthropic, vllm: VllmStub, stream: bool) -> None:
    vllm.reply = openai.completion({"reasoning_content": "Purring.", "content": "a cat"})
    message = ask(client, asking("vllm"), stream)
    assert shown(message) == [thinking("Purring.", ""), text("a cat")]
    assert message.usage.input_tokens == 25
    assert message.usage.cache_read_input_tokens == 15
    again: Any = [*asking("vllm")["messages"], message.to_param()]
    client.messages.create(**asking("vllm", *again, {"role": "user", "content": "Sure?"}))
    assert vllm.last.body["messages"][1] == {
        "role": "assistant",
        "content": "a cat",
        "reasoning_content": "Purring.",
    }


def test_a_stream_that_just_stops_is_ended(client: Anthropic, vllm: VllmStub) -> None:
    whole = openai.completion({"content": "a cat"})
    vllm.reply = replace(whole, events=whole.events[:-1])
    message = ask(client, asking("vllm"), stream=True)
    assert message.stop_reason == "end_turn"
    assert shown(message) == [text("a cat")]
