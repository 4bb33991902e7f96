"""Claude's thinking through the Responses API, where a function is called in between."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.router.providers import anthropic, openai
from tests.router.providers.anthropic import AnthropicStub, text, thinking, tool_use
from tests.router.providers.conftest import Providers

THOUGHT = thinking("Let me see.", "c2lnbmF0dXJl")
# Like Anthropic's, no base64 of base64: litellm takes that for Bedrock's and unwraps it.
REDACTED = {"type": "redacted_thinking", "data": "EvP/AA=="}
USE = tool_use("toolu_1", "look", {"at": "the cat"})
QUESTION: Any = {"role": "user", "content": "What do you see?"}
RESULT: Any = {"type": "function_call_output", "call_id": "toolu_1", "output": "a cat"}
LOOK: Any = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}


@pytest.fixture
def claude(providers: Providers) -> AnthropicStub:
    stub = providers.stubs["anthropic"]
    assert isinstance(stub, AnthropicStub)
    return stub


def ask(providers: Providers, said: Any, *, stream: bool = False, **more: Any) -> Any:
    asked: Any = {
        "model": "anthropic",
        "input": said,
        "tools": [LOOK],
        "reasoning": {"effort": "low"},
        **more,
    }
    responses = providers.client().responses
    if not stream:
        return responses.create(**asked)
    *_, last = responses.create(**asked, stream=True)
    return last.response


def manual(response: Any) -> Any:
    return {"input": [QUESTION, *response.output, RESULT]}


def copied(response: Any) -> Any:
    items = [item.to_dict() for item in response.output]
    return {"input": [QUESTION, *items, RESULT], "store": False}


def referred(response: Any) -> Any:
    references = [{"type": "item_reference", "id": item.id} for item in response.output]
    return {"input": [QUESTION, *references, RESULT]}


def following(response: Any) -> Any:
    return {"previous_response_id": response.id, "input": [RESULT]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("back", [manual, copied, referred, following])
@pytest.mark.parametrize(
    "said",
    [[THOUGHT, USE], [THOUGHT, REDACTED, text("I look."), USE], [REDACTED, USE]],
    ids=["thought", "redacted too", "redacted"],
)
def test_thinking_goes_back_with_a_functions_result(
    providers: Providers, claude: AnthropicStub, said: Any, back: Any, stream: bool
) -> None:
    claude.reply = anthropic.message(*said, stop_reason="tool_use")
    first = ask(providers, [QUESTION], stream=stream)
    assert [item.type for item in first.output][0 :: len(first.output) - 1] == [
        "reasoning",
        "function_call",
    ]
    claude.reply = AnthropicStub.plain
    more = back(first)
    assert ask(providers, more.pop("input"), stream=stream, **more).output_text == "a cat"
    body = claude.last.body
    assert body["messages"][1]["content"] == said
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1024}


def test_a_response_looks_the_same_whenever_it_is_shown(
    providers: Providers, claude: AnthropicStub
) -> None:
    claude.reply = anthropic.message(REDACTED, text("I look."), USE, stop_reason="tool_use")
    whole, streamed = (ask(providers, [QUESTION], stream=stream) for stream in (False, True))
    for response in (whole, streamed):
        shown = providers.client().responses.retrieve(response.id)
        assert shown.output == response.output
    texts = [[item.to_dict() | {"id": ""} for item in each.output] for each in (whole, streamed)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("sealed", [None, "another's", "claude.no base64", "claude.e30="])
def test_where_thinking_cannot_go_back_there_is_none(
    providers: Providers, claude: AnthropicStub, sealed: str | None
) -> None:
    claude.reply = anthropic.message(THOUGHT, USE, stop_reason="tool_use")
    items = [item.to_dict() for item in ask(providers, [QUESTION]).output]
    items[0]["encrypted_content"] = sealed
    claude.reply = AnthropicStub.plain
    assert ask(providers, [QUESTION, *items, RESULT]).output_text == "a cat"
    assert "thinking" not in claude.last.body
    # In the next turn Claude thinks again.
    again = [QUESTION, *items, RESULT, {"role": "assistant", "content": "a cat"}, QUESTION]
    ask(providers, again)
    assert claude.last.body["thinking"]["type"] == "enabled"


def test_thinking_of_earlier_turns_is_left_out_with_it(
    providers: Providers, claude: AnthropicStub
) -> None:
    claude.reply = anthropic.message(THOUGHT, USE, stop_reason="tool_use")
    items = [item.to_dict() for item in ask(providers, [QUESTION]).output]
    claude.reply = AnthropicStub.plain
    answer = {"role": "assistant", "content": "a cat"}
    call = {"type": "function_call", "call_id": "c2", "name": "look", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c2", "output": "a dog"}
    ask(providers, [QUESTION, *items, RESULT, answer, QUESTION, call, result])
    body = claude.last.body
    assert "thinking" not in body
    assert THOUGHT["signature"] not in json.dumps(body)


def test_a_model_that_decides_itself_when_to_think_goes_on_without(
    providers: Providers, claude: AnthropicStub
) -> None:
    call = {"type": "function_call", "call_id": "toolu_1", "name": "look", "arguments": "{}"}
    ask(providers, [QUESTION, call, RESULT], model="opus")
    assert claude.last.body["thinking"]["type"] == "adaptive"


def test_a_loop_that_began_with_thinking_goes_on(
    providers: Providers, claude: AnthropicStub
) -> None:
    claude.reply = anthropic.message(THOUGHT, USE, stop_reason="tool_use")
    first = ask(providers, [QUESTION])
    claude.reply = anthropic.message(tool_use("toolu_2", "look", {}), stop_reason="tool_use")
    picture = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    second = ask(providers, [{**RESULT, "output": [picture]}], previous_response_id=first.id)
    claude.reply = AnthropicStub.plain
    last = {**RESULT, "call_id": "toolu_2"}
    assert ask(providers, [last], previous_response_id=second.id).output_text == "a cat"
    assert claude.last.body["thinking"]["type"] == "enabled"


def test_others_reasoning_is_no_thinking(providers: Providers) -> None:
    stub = providers.stubs["vllm"]
    stub.reply = openai.completion({"reasoning_content": "It purrs.", "content": "a cat"})
    response = ask(providers, [QUESTION], model="vllm", include=["reasoning.encrypted_content"])
    reasoning, _ = response.output
    assert reasoning.encrypted_content is None
    assert reasoning.summary[0].text == "It purrs."


def test_a_stream_that_breaks_off_in_a_thought_gives_nothing_back(
    providers: Providers, claude: AnthropicStub
) -> None:
    whole = anthropic.message(THOUGHT, text("a cat"))
    claude.reply = replace(whole, events=whole.events[:4], breaks=True)
    response = ask(providers, [QUESTION], stream=True)
    assert response.status == "failed"
    claude.reply = AnthropicStub.plain
    items = [item.to_dict() for item in response.output]
    assert ask(providers, [QUESTION, *items, QUESTION]).output_text == "a cat"
