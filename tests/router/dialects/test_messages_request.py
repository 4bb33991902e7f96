"""Requests to the Messages API as the chat completion requests that say the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import completion_create_params
from pydantic import TypeAdapter

from router.dialects.messages.dialect import MessagesDialect
from router.errors import InvalidRequestError
from router.request import read_object
from router.upstreams.thinking import in_own_words
from tests.router.dialects.test_messages_stream import inputs, texts

Object = dict[str, Any]

CACHED = {"type": "ephemeral"}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
OPENAI = TypeAdapter(completion_create_params.CompletionCreateParams)

text_blocks = st.builds(lambda text: {"type": "text", "text": text}, texts)
image_blocks = st.builds(
    lambda data: {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": data},
    },
    st.binary(max_size=8).map(bytes.hex),
)
document_blocks = st.builds(
    lambda title, context, data: {
        "type": "document",
        "title": title,
        "context": context,
        "source": {"type": "text", "media_type": "text/plain", "data": data},
    },
    st.none() | texts,
    st.none() | texts,
    texts,
)
search_results = st.builds(
    lambda title, source, content: {
        "type": "search_result",
        "title": title,
        "source": source,
        "content": content,
    },
    texts,
    texts,
    st.lists(text_blocks, max_size=2),
)
shown = text_blocks | image_blocks | document_blocks | search_results
tool_results = st.builds(
    lambda content, is_error: {
        "type": "tool_result",
        "tool_use_id": "toolu_1",
        "content": content,
        "is_error": is_error,
    },
    texts | st.lists(shown, max_size=3),
    st.booleans(),
)
tool_uses = st.builds(
    lambda name, given: {"type": "tool_use", "id": "toolu_1", "name": name, "input": given},
    texts,
    inputs,
)
thinking_blocks = st.builds(
    lambda thinking, signature: {
        "type": "thinking",
        "thinking": thinking,
        "signature": signature,
    },
    texts,
    st.just("") | texts,
)
redacted_blocks = st.builds(lambda data: {"type": "redacted_thinking", "data": data}, texts)
user_turns = st.builds(
    lambda content: {"role": "user", "content": content},
    texts | st.lists(shown | tool_results, max_size=4),
)
assistant_turns = st.builds(
    lambda content: {"role": "assistant", "content": content},
    texts | st.lists(text_blocks | tool_uses | thinking_blocks | redacted_blocks, max_size=4),
)
requests = st.builds(
    lambda system, messages: {
        "model": "m",
        "max_tokens": 9,
        "system": system,
        "messages": messages,
    },
    st.none() | texts | st.lists(text_blocks, max_size=2),
    st.lists(user_turns | assistant_turns, min_size=1, max_size=4),
)


def chat(request: Object) -> Object:
    raw = orjson.dumps({"model": "m", "max_tokens": 9, **request})
    return asyncio.run(MessagesDialect().read(raw, None))


def saying(*content: Object) -> Object:
    return {"messages": [{"role": "user", "content": list(content)}]}


def said(value: Any) -> Iterator[str]:
    """Every string in a request but those that say what kind of thing something is."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from said(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name not in ("type", "role", "media_type", "model", "input"):
                yield from said(each)


@given(requests)
def test_every_text_is_kept(request: Object) -> None:
    body = chat(request)
    kept = " ".join(said(body))
    for text in said(request):
        assert text in kept


@given(requests)
def test_tool_calls_keep_their_input(request: Object) -> None:
    given_inputs = [
        block["input"]
        for turn in request["messages"]
        for block in turn["content"]
        if isinstance(block, dict) and block["type"] == "tool_use"
    ]
    calls = [
        json.loads(call["function"]["arguments"])
        for message in chat(request)["messages"]
        for call in message.get("tool_calls", ())
    ]
    assert calls == given_inputs


@given(requests)
def test_the_request_is_one_that_openai_knows(request: Object) -> None:
    body = chat(request)
    for message in body["messages"]:
        # litellm's names for what OpenAI has none for.
        message.pop("thinking_blocks", None)
        message.pop("reasoning_content", None)
    # Its arrays are checked only as they are read.
    OPENAI.dump_json(OPENAI.validate_python(body))


def test_a_plain_request() -> None:
    assert chat({"system": "Classify.", "messages": [{"role": "user", "content": "a cat"}]}) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Classify."},
            {"role": "user", "content": "a cat"},
        ],
        "max_completion_tokens": 9,
    }


def test_settings() -> None:
    body = chat(
        {
            **saying(),
            "stop_sequences": ["END"],
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 5,
            "metadata": {"user_id": "u1", "task": "triage"},
            "service_tier": "standard_only",
            "stream": True,
            "store": False,
        }
    )
    body.pop("messages")
    assert body == {
        "model": "m",
        "max_completion_tokens": 9,
        "stop": ["END"],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "user": "u1",
        "metadata": {"task": "triage"},
        "service_tier": "default",
        "stream": True,
        "stream_options": {"include_usage": True},
        "store": False,
    }


def test_a_users_name_is_no_longer_than_openai_takes_it() -> None:
    users = [
        chat({**saying(), "metadata": {"user_id": name}})["user"]
        for name in ("u" * 64, "u" * 65, "u" * 65, "u" * 200)
    ]
    assert users[0] == "u" * 64
    assert users[1] == users[2]
    assert len(set(users)) == 3
    assert {len(user) for user in users} == {64}


def test_the_task_is_the_same_as_a_chats() -> None:
    body = chat({**saying(), "system": [{"type": "text", "text": "Be brief."}]})
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_tools_result_comes_before_what_the_user_says() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    result = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "content": [{"type": "text", "text": "12 °C"}, image],
    }
    failed = {"type": "tool_result", "tool_use_id": "t2", "content": "timeout", "is_error": True}
    body = chat(saying({"type": "text", "text": "So?"}, result, failed))
    assert body["messages"] == [
        {"role": "tool", "tool_call_id": "t1", "content": "12 °C"},
        {
            "role": "tool",
            "tool_call_id": "t2",
            "content": [
                {"type": "text", "text": "The tool failed."},
                {"type": "text", "text": "timeout"},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "So?"},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            ],
        },
    ]


def test_thinking_goes_back_as_it_came() -> None:
    signed = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    redacted = {"type": "redacted_thinking", "data": "xyz"}
    unsigned = {"type": "thinking", "thinking": "Another's.", "signature": ""}
    turn = {"role": "assistant", "content": [signed, redacted, unsigned]}
    [message] = chat({"messages": [turn]})["messages"]
    assert message == {
        "role": "assistant",
        "content": "",
        "thinking_blocks": [signed, redacted],
        "reasoning_content": "Another's.",
    }


def test_images_and_documents() -> None:
    png = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "BBBB"}
    body = chat(
        saying(
            {"type": "image", "source": png},
            {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
            {"type": "document", "source": pdf, "title": "Terms", "cache_control": CACHED},
            {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
            {"type": "document", "source": {"type": "content", "content": "inner"}},
        )
    )
    data = "data:application/pdf;base64,BBBB"
    assert body["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "file", "file": {"file_id": "file_1"}},
        {"type": "text", "text": "Terms"},
        {
            "type": "file",
            "file": {"filename": "document.pdf", "file_data": data},
            "cache_control": CACHED,
        },
        {"type": "file", "file": {"file_id": "https://example.org/a.pdf"}},
        {"type": "text", "text": "inner"},
    ]


def test_tools() -> None:
    tool = {"name": "weather", "description": "Now.", "input_schema": SCHEMA, "strict": True}
    body = chat({**saying(), "tools": [{**tool, "type": "custom", "cache_control": CACHED}]})
    function = {"name": "weather", "description": "Now.", "parameters": SCHEMA, "strict": True}
    assert body["tools"] == [{"type": "function", "function": function, "cache_control": CACHED}]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (
            {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
            {
                "tool_choice": {"type": "function", "function": {"name": "f"}},
                "parallel_tool_calls": False,
            },
        ),
    ],
)
def test_tool_choice(choice: Object, expected: Object) -> None:
    body = chat({**saying(), "tool_choice": choice})
    assert {name: body.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("asked", "effort"),
    [
        ({}, None),
        ({"thinking": {"type": "disabled"}}, None),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10_000}}, "high"),
        ({"output_config": {"effort": "max"}}, "xhigh"),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, "low"),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            "low",
        ),
    ],
)
def test_how_hard_to_think(asked: Object, effort: str | None) -> None:
    body = in_own_words("gpt-5.4", chat({**saying(), **asked}))
    assert body.get("reasoning_effort") == effort
    assert "thinking" not in body


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (SCHEMA, True),
        ({**SCHEMA, "required": []}, False),
        ({"type": "array", "items": {**SCHEMA, "additionalProperties": True}}, False),
        ({**SCHEMA, "$defs": {"inner": {"type": "object"}}}, False),
    ],
)
def test_structured_output(schema: Object, strict: bool) -> None:
    wanted = {"type": "json_schema", "schema": schema}
    described = {"name": "answer", "schema": schema, "strict": strict}
    for asking in ({"output_config": {"format": wanted}}, {"output_format": wanted}):
        body = chat({**saying(), **asking})
        assert body["response_format"] == {"type": "json_schema", "json_schema": described}


def test_what_changes_no_answer_is_left_out() -> None:
    hints = {
        "cache_control": {"type": "ephemeral"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
        "speed": "fast",
        "stop_sequences": [],
    }
    assert chat({**saying(), **hints}) == chat(saying())


PLAIN: Object = {"type": "text", "media_type": "text/plain", "data": "It is a cat."}
DOCUMENT: Object = {"type": "document", "source": PLAIN}
FOUND: Object = {"type": "search_result", "title": "Cats", "source": "cats.org", "content": []}


@pytest.mark.parametrize("citations", [None, {"enabled": False}])
@pytest.mark.parametrize("block", [DOCUMENT, FOUND], ids=["document", "search result"])
def test_what_is_not_to_be_cited_may_say_so(block: Object, citations: Object | None) -> None:
    assert chat(saying({**block, "citations": citations})) == chat(saying(block))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_tokens": None}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 0}, "max_tokens: "),
        ({"max_tokens": "9"}, "max_tokens: "),
        ({"messages": []}, "messages: "),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0: Input tag 'tool'"),
        ({"messages": [{"role": "user"}]}, "messages.0.user.content: Field required"),
        (saying({"type": "server_tool_use"}), "messages.0.user.content.0: "),
        (saying({"type": "text"}), "messages.0.user.content.0.text.text: Field required"),
        (
            saying({**DOCUMENT, "citations": {"enabled": True}}),
            "messages.0.user.content.0.document.citations: not supported",
        ),
        (
            saying({**FOUND, "citations": {"enabled": True}}),
            "messages.0.user.content.0.search_result.citations: not supported",
        ),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0: tools of"),
        ({"tools": [{"name": "f"}]}, "tools.0.input_schema: Field required"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.tool.name: Field required"),
        ({"mcp_servers": [{"url": "https://example.org"}]}, "mcp_servers: not supported"),
        ({"container": "c1"}, "container: not supported"),
        ({"inference_geo": "us"}, "inference_geo: not supported"),
        ({"thread": {"type": "create"}}, "thread: not supported"),
        ({"new_this_week": 1}, "new_this_week: Extra inputs are not permitted"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking.enabled.budget_tokens"),
    ],
)
def test_a_bad_request_is_told_where_it_is_wrong(wrong: Object, message: str) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        chat({**saying(), **wrong})
    assert raised.value.message.startswith(message)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["text", "user", "image"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "source", "text", "input"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["system", "messages", "tools", "thinking"]), json_values))
def test_whatever_is_sent_is_read_or_refused(request: Object) -> None:
    try:
        body = chat(request)
    except InvalidRequestError:
        return
    assert read_object(orjson.dumps(body)) == body
