"""Requests of the Responses API as chat completion requests."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter

from router.dialects.responses.items import messages_of
from router.dialects.responses.request import chat_body, check
from router.errors import InvalidRequestError, UnsupportedError, render

PNG = "data:image/png;base64,AAAA"

Json = dict[str, Any]

_message: TypeAdapter[Any] = TypeAdapter(ChatCompletionMessageParam)


def chat(**sent: Any) -> Json:
    request = {"model": "auto", "input": "a cat", **sent}
    check(request)
    return chat_body(request, [])


def refusal(**sent: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        chat(**sent)
    return caught.value


def function_call(call_id: str, **arguments: Any) -> Json:
    return {
        "type": "function_call",
        "call_id": call_id,
        "name": "look",
        "arguments": orjson.dumps(arguments).decode(),
    }


def result(call_id: str, output: Any = "seen") -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def test_a_text_is_what_a_user_says() -> None:
    assert chat(instructions="Classify.") == {
        "model": "auto",
        "messages": [
            {"role": "system", "content": "Classify."},
            {"role": "user", "content": "a cat"},
        ],
    }


def test_parameters_are_translated_or_pass_on() -> None:
    body = chat(
        max_output_tokens=9,
        reasoning={"effort": "low", "summary": "auto"},
        text={"verbosity": "low"},
        top_logprobs=3,
        include=["message.output_text.logprobs", "reasoning.encrypted_content"],
        stream=True,
        stream_options={"include_obfuscation": False},
        truncation="auto",
        background=False,
        max_tool_calls=2,
        client_metadata={"session_id": "s"},
        temperature=0.5,
        top_p=None,
        store=False,
        metadata={"task": "t"},
        user="u",
        service_tier="flex",
        seed=7,
        tools=[],
        tool_choice="auto",
        parallel_tool_calls=True,
    )
    del body["messages"]
    assert body == {
        "model": "auto",
        "max_completion_tokens": 9,
        "reasoning_effort": "low",
        "verbosity": "low",
        "logprobs": True,
        "top_logprobs": 3,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "store": False,
        "metadata": {"task": "t"},
        "user": "u",
        "service_tier": "flex",
        "seed": 7,
    }


def test_log_probabilities_are_for_whom_asks() -> None:
    assert "logprobs" not in chat(top_logprobs=3)
    assert chat(include=["message.output_text.logprobs"])["top_logprobs"] == 0


def test_functions_are_nested() -> None:
    schema = {"type": "object", "properties": {}}
    tool = {"type": "function", "name": "look", "parameters": schema, "strict": True}
    body = chat(tools=[tool], tool_choice="required", parallel_tool_calls=False)
    function = {"name": "look", "parameters": schema, "strict": True}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == "required"
    assert body["parallel_tool_calls"] is False


def test_functions_in_namespaces_have_longer_names() -> None:
    look, find = ({"type": "function", "name": name} for name in ("look", "find"))
    space = {
        "type": "namespace",
        "name": "roofs",
        "description": "Of roofs.",
        "tools": [look, find],
    }
    find["description"] = "Finds one."
    chosen = {"type": "function", "name": "find", "namespace": "roofs"}
    called = {**function_call("call_1"), "namespace": "roofs"}
    body = chat(tools=[look, space], tool_choice=chosen, input=[called, result("call_1")])
    assert [tool["function"] for tool in body["tools"]] == [
        {"name": "look"},
        {"name": "roofs__look", "description": "Of roofs."},
        {"name": "roofs__find", "description": "Of roofs.\n\nFinds one."},
    ]
    assert body["tool_choice"]["function"]["name"] == "roofs__find"
    assert body["messages"][0]["tool_calls"][0]["function"]["name"] == "roofs__look"


def test_no_functions_name_is_longer_than_openai_takes_it() -> None:
    tools = [{"type": "function", "name": f"{'f' * 50}{index}"} for index in range(2)]
    body = chat(tools=[{"type": "namespace", "name": "n" * 20, "tools": tools}])
    names = {tool["function"]["name"] for tool in body["tools"]}
    assert {len(name) for name in names} == {64}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (
            {"type": "function", "name": "look"},
            {"type": "function", "function": {"name": "look"}},
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "look"}],
            },
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "look"}}],
                },
            },
        ),
    ],
)
def test_a_choice_of_functions_is_nested(choice: Json, expected: Json) -> None:
    assert chat(tools=[{"type": "function", "name": "look"}], tool_choice=choice)[
        "tool_choice"
    ] == (expected)


def test_formats() -> None:
    schema = {"type": "object"}
    wanted = {"type": "json_schema", "name": "animal", "schema": schema, "strict": True}
    assert chat(text={"format": wanted})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "animal", "schema": schema, "strict": True},
    }
    json_mode = chat(text={"format": {"type": "json_object"}})
    assert json_mode["response_format"] == {"type": "json_object"}
    assert "response_format" not in chat(text={"format": {"type": "text"}})


def test_a_conversation_with_functions() -> None:
    messages = messages_of(
        [
            {"role": "user", "content": "Where is the cat, and the dog?"},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Let me see.", "annotations": []}],
            },
            function_call("call_1", animal="cat"),
            function_call("call_2", animal="dog"),
            result("call_1"),
            result("call_2", [{"type": "input_text", "text": "gone"}]),
            function_call("call_3"),
            result("call_3", []),
        ]
    )
    for message in messages:
        _message.validate_python(message)
    assert [message["role"] for message in messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "tool",
    ]
    assert messages[1]["content"] == "Let me see."
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["call_1", "call_2"]
    assert messages[1]["tool_calls"][0]["function"] == {
        "name": "look",
        "arguments": '{"animal":"cat"}',
    }
    assert messages[3] == {"role": "tool", "tool_call_id": "call_2", "content": "gone"}
    assert messages[4]["content"] is None


def test_what_functions_show_is_shown_after_all_of_their_results() -> None:
    image = {"type": "input_image", "image_url": PNG}
    text = {"type": "input_text", "text": "A roof."}
    messages = messages_of(
        [
            {"role": "user", "content": "Look!"},
            function_call("call_1"),
            function_call("call_2"),
            result("call_1", [text, image]),
            {"type": "reasoning", "summary": []},
            result("call_2", [{"type": "input_file", "file_data": PNG, "filename": "a.png"}]),
            function_call("call_3"),
            result("call_3", [image]),
        ]
    )
    for message in messages:
        _message.validate_python(message)
    shown = {"type": "image_url", "image_url": {"url": PNG}}
    file = {"type": "file", "file": {"file_data": PNG, "filename": "a.png"}}
    assert [message["role"] for message in messages[2:]] == [
        *("tool", "tool", "user", "assistant", "tool", "user")
    ]
    assert [message["content"] for message in messages[2:]] == [
        *("A roof.", "", [shown, file], None, "", [shown])
    ]


def test_what_is_said_after_a_call_is_in_the_same_message() -> None:
    messages = messages_of([function_call("call_1"), {"role": "assistant", "content": "Wait."}])
    assert len(messages) == 1
    assert messages[0]["content"] == "Wait."
    assert messages[0]["tool_calls"][0]["id"] == "call_1"


def test_parts() -> None:
    audio = {"data": "AAAA", "format": "wav"}
    parts = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": PNG, "detail": "low"},
        {"type": "input_file", "file_data": PNG, "filename": "a.png"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_audio", "input_audio": audio},
    ]
    (message,) = messages_of([{"role": "user", "content": parts}])
    _message.validate_python(message)
    assert message["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        {"type": "file", "file": {"file_data": PNG, "filename": "a.png"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_audio", "input_audio": audio},
    ]


# Every kind of item that says something, and the text that it says.
_words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
_roles = st.sampled_from(["user", "system", "developer"])
_input_texts = st.lists(_words, min_size=1, max_size=3).map(
    lambda texts: ([{"type": "input_text", "text": text} for text in texts], texts)
)
_contents = _words.map(lambda text: (text, [text])) | _input_texts
_items = st.one_of(
    st.tuples(_roles, _contents).map(lambda m: ({"role": m[0], "content": m[1][0]}, m[1][1])),
    _words.map(
        lambda text: (
            {"role": "assistant", "content": [{"type": "output_text", "text": text}]},
            [text],
        )
    ),
    _words.map(
        lambda text: (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": text}]},
            [text],
        )
    ),
    _words.map(
        lambda text: (
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": text},
            [text],
        )
    ),
    _contents.map(lambda content: (result("c", content[0]), content[1])),
)


@given(st.lists(_items, min_size=1, max_size=6))
def test_every_text_is_in_the_conversation_once(said: list[tuple[Json, list[str]]]) -> None:
    messages = messages_of([item for item, _texts in said])
    for message in messages:
        _message.validate_python(message)
    texts = [text for message in messages for text in texts_of(message)]
    assert sorted(texts) == sorted(text for _item, texts in said for text in texts)


def texts_of(message: Json) -> list[str]:
    content = message["content"] or []
    parts = [{"text": content}] if isinstance(content, str) else content
    calls = [call["function"]["arguments"] for call in message.get("tool_calls", [])]
    return [part.get("text") or part["refusal"] for part in parts] + calls


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 1}, "model"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": ["hello"]}, "input[0]"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input[0].content[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "input[0].content[0].text",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "filename": "a"}]}]},
            "input[0].content[0]",
        ),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"instructions": ["x"]}, "instructions"),
        ({"include": "x"}, "include"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"name": "look"}]}, "tools[0].type"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": "x"}]}, "tools[0].tools"),
        (
            {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]},
            "tools[0].tools[0].name",
        ),
        ({"input": [{**function_call("c"), "namespace": 1}]}, "input[0].namespace"),
        ({"text": {"format": "json"}}, "text.format"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"text": {"verbosity": 1}}, "text.verbosity"),
        ({"reasoning": "high"}, "reasoning"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"truncation": "sometimes"}, "truncation"),
        ({"metadata": {"task": 1}}, "metadata"),
        ({"previous_response_id": 1}, "previous_response_id"),
    ],
)
def test_what_is_wrong_is_named(sent: Json, param: str) -> None:
    error = refusal(**sent)
    assert error.param == param
    assert param in error.message


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"messages": []}, "messages"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        (
            {"tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "mcp"}},
            "tool_choice.type",
        ),
        ({"input": [{"type": "item_reference"}]}, "input[0].type"),
        ({"input": [{"type": "computer_call"}]}, "input[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
        (
            {"input": [result("c", [{"type": "input_audio", "input_audio": {}}])]},
            "input[0].output[0].type",
        ),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
    ],
)
def test_what_is_not_offered_is_said(sent: Json, param: str) -> None:
    error = refusal(**sent)
    assert isinstance(error, UnsupportedError)
    assert error.param == param
    rendered = render(error)
    assert rendered.status == 400
    assert orjson.loads(rendered.content)["error"]["code"] == "unsupported"


# Anything that JSON can say, in every parameter that is looked at.
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "name", "text", "format", "id", "tools"])
            | st.text(max_size=3),
            inner
            | st.sampled_from(
                ["message", "function", "function_call", "user", "input_text", "mcp"]
            ),
            max_size=4,
        )
    ),
    max_leaves=12,
)
_names = st.sampled_from(
    [
        "model",
        "input",
        "instructions",
        "include",
        "tools",
        "tool_choice",
        "text",
        "reasoning",
        "metadata",
        "top_logprobs",
        "truncation",
        "stream",
        "prompt",
        "messages",
    ]
)


@given(st.dictionaries(_names, _json, max_size=5))
def test_whatever_is_sent_is_translated_or_refused(sent: Json) -> None:
    request = {"model": "auto", "input": "a cat", **sent}
    with suppress(InvalidRequestError):
        check(request)
        assert chat_body(request, [])["messages"]
