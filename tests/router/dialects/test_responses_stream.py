"""Responses as they are written: whole, and as events made from a chat completion's chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx2
import openai
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from router.completion import DONE, event
from router.dialects.responses.dialect import ResponseWriter
from router.dialects.responses.response import Outline
from router.errors import UpstreamBrokenError
from router.upstreams.answer import AnswerCollector
from router.upstreams.sse import EventSplitter, data_of

EXCHANGE = "req_" + "0123456789abcdef" * 2
SENT: dict[str, Any] = {
    "model": "auto",
    "input": "Say something.",
    "instructions": "Be brief.",
    "stream": True,
    "include": ["message.output_text.logprobs"],
    "metadata": {"task": "t"},
    "reasoning": {"effort": "low"},
    "tools": [
        {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
    ],
    "tool_choice": {"type": "function", "name": "look"},
}
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 5,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}

Delta = dict[str, Any]

_events: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def writer(**sent: Any) -> ResponseWriter:
    return ResponseWriter(Outline(EXCHANGE, 1_700_000_000.5, {**SENT, **sent}))


def chunk(delta: Delta, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, **more}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-5.4-2026",
        "choices": [choice],
    }


def chunks_of(deltas: Sequence[Delta], finish_reason: str) -> list[dict[str, Any]]:
    chunks = [chunk({"role": "assistant", "content": ""})]
    for delta in deltas:
        text = delta.get("content")
        chunks.append(chunk(delta, logprobs={"content": [token(text)]} if text else None))
    end = chunk({}, finish_reason)
    return [*chunks, end, {**end, "choices": [], "usage": USAGE}]


def token(text: str) -> dict[str, Any]:
    top = [{"token": text, "logprob": -0.1, "bytes": None}]
    return {"token": text, "logprob": -0.1, "bytes": list(text.encode()), "top_logprobs": top}


def written(chunks: Sequence[dict[str, Any]]) -> bytes:
    """The stream that becomes of a chat completion's."""
    writes = writer()
    return b"".join(
        writes.events(sent) for sent in [*(event(orjson.dumps(c)) for c in chunks), DONE]
    )


def read(stream: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each checked against OpenAI's own types."""
    said = []
    for number, raw in enumerate(EventSplitter().feed(stream)):
        data = orjson.loads(data_of(raw))
        assert raw.startswith(f"event: {data['type']}\n".encode())
        assert data["sequence_number"] == number
        _events.validate_json(data_of(raw), strict=True)
        said.append(data)
    return said


def completion_of(chunks: Sequence[dict[str, Any]]) -> bytes:
    """The completion that says what the chunks say."""
    collector = AnswerCollector()
    for each in chunks:
        collector.add(each)
    answer = collector.answer()
    message = {"role": "assistant", "content": answer.text}
    plain = [{"index": 0, "message": message, "finish_reason": answer.finish_reason}]
    choices = orjson.loads(answer.choices) if answer.choices else plain
    return orjson.dumps({"model": "gpt-5.4-2026", "choices": choices, "usage": USAGE})


def whole(completion: bytes) -> dict[str, Any]:
    response = orjson.loads(writer().whole(completion))
    Response.model_validate(response, strict=True)
    return response


def timeless(response: dict[str, Any]) -> dict[str, Any]:
    return {**response, "completed_at": None}


# What upstreams may send

_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_pieces = st.lists(_text, max_size=4)
_arguments = st.dictionaries(_text, st.none() | st.integers(-9, 99) | _text, max_size=3)


@st.composite
def calls(draw: st.DrawFn) -> list[Delta]:
    """The parts of some function calls, in pieces that may be mixed with each other."""
    waiting = []
    for index in range(draw(st.integers(0, 3))):
        arguments = orjson.dumps(draw(_arguments)).decode()
        cuts = sorted(draw(st.lists(st.integers(0, len(arguments)), max_size=3)))
        pieces = [arguments[a:b] for a, b in zip([0, *cuts], [*cuts, len(arguments)], strict=True)]
        first = {"id": f"call_{index}", "type": "function", "index": index}
        named = {"name": f"look_{index}", "arguments": ""}
        parts = [{**first, "function": named}]
        parts += [{"index": index, "function": {"arguments": piece}} for piece in pieces]
        waiting.append(parts)
    mixed: list[Delta] = []
    begun = 0
    while any(waiting):
        # A call begins after those before it.
        ready = [i for i, parts in enumerate(waiting) if parts and i <= begun]
        chosen = draw(st.sampled_from(ready))
        begun = max(begun, chosen + 1)
        mixed.append({"tool_calls": [waiting[chosen].pop(0)]})
    return mixed


_ends = st.sampled_from(["stop", "length", "content_filter", "tool_calls"])
_thoughts = _pieces.map(lambda pieces: [{"reasoning_content": piece} for piece in pieces])
_texts = _pieces.map(lambda pieces: [{"content": piece} for piece in pieces])
_refusals = _pieces.map(lambda pieces: [{"refusal": piece} for piece in pieces])
_ordered = st.tuples(_thoughts, _texts, _refusals, calls()).map(
    lambda kinds: [delta for kind in kinds for delta in kind]
)


@pytest.fixture(scope="module")
def replayed() -> Any:
    """Plays a stream to OpenAI's client; gives the response that the client makes of it."""
    playing: dict[str, bytes] = {}

    def answer(_request: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=headers, content=playing["stream"])

    transport = httpx2.MockTransport(answer)
    client = openai.OpenAI(api_key="k", http_client=httpx2.Client(transport=transport))

    def replay(stream: bytes) -> Any:
        playing["stream"] = stream
        with client.responses.stream(model="auto", input="Say something.") as events:
            last = list(events)[-1]
        return last.response  # type: ignore[union-attr]

    return replay


@settings(deadline=None, max_examples=60)
@given(_ordered, _ends)
def test_a_stream_ends_as_the_whole_response(
    replayed: Any, deltas: list[Delta], finish_reason: str
) -> None:
    chunks = chunks_of(deltas, finish_reason)
    stream = written(chunks)
    said = read(stream)
    response = whole(completion_of(chunks))
    assert timeless(said[-1]["response"]) == timeless(response)
    seen = replayed(stream)
    assert seen.output_text == "".join(delta.get("content") or "" for delta in deltas)
    assert [item.id for item in seen.output] == [item["id"] for item in response["output"]]


@settings(deadline=None, max_examples=60)
@given(_ordered, _ends)
def test_items_are_announced_filled_and_closed(deltas: list[Delta], finish_reason: str) -> None:
    said = read(written(chunks_of(deltas, finish_reason)))
    response = said[-1]["response"]
    assert [each["type"] for each in said[:2]] == ["response.created", "response.in_progress"]
    assert said[0]["response"]["output"] == []
    added = [each for each in said if each["type"] == "response.output_item.added"]
    assert [each["output_index"] for each in added] == list(range(len(response["output"])))
    for index, item in enumerate(response["output"]):
        own = [each for each in said if each.get("output_index") == index]
        assert own[0]["type"] == "response.output_item.added"
        assert own[0]["item"]["id"] == item["id"]
        assert own[-1]["type"] == "response.output_item.done"
        assert own[-1]["item"] == item
        spoken = "".join(each["delta"] for each in own if each["type"].endswith(".delta"))
        assert spoken == content_of(item)


@settings(deadline=None, max_examples=60)
@given(_ordered.flatmap(lambda deltas: st.tuples(st.just(deltas), st.permutations(deltas))), _ends)
def test_nothing_is_lost_whatever_the_order(
    replayed: Any, orders: tuple[list[Delta], list[Delta]], finish_reason: str
) -> None:
    # Calls keep their own order: no part of one means anything before the first.
    ordered, mixed = orders
    calls = iter([delta for delta in ordered if "tool_calls" in delta])
    deltas = [next(calls) if "tool_calls" in delta else delta for delta in mixed]
    chunks = chunks_of(deltas, finish_reason)
    stream = written(chunks)
    output = read(stream)[-1]["response"]["output"]
    assert replayed(stream).output_text == said_as("content", deltas)
    assert said_by("reasoning", output) == said_as("reasoning_content", deltas)
    assert named_calls(output) == named_calls(whole(completion_of(chunks))["output"])


def content_of(item: dict[str, Any]) -> str:
    if item["type"] == "function_call":
        return item["arguments"]
    parts = item["summary"] if item["type"] == "reasoning" else item["content"]
    return "".join(part.get("text") or part.get("refusal") or "" for part in parts)


def said_by(kind: str, output: list[dict[str, Any]]) -> str:
    return "".join(content_of(item) for item in output if item["type"] == kind)


def said_as(name: str, deltas: list[Delta]) -> str:
    return "".join(delta.get(name, "") for delta in deltas)


def named_calls(output: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    calls = [item for item in output if item["type"] == "function_call"]
    return {item["call_id"]: (item["name"], item["arguments"]) for item in calls}


def test_the_events_of_a_text_are_openais() -> None:
    deltas = [{"reasoning_content": "Hm."}, {"content": "Hi"}, {"content": "!"}]
    said = read(written(chunks_of(deltas, "stop")))
    assert [each["type"].removeprefix("response.") for each in said] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_a_call_is_closed_when_the_next_begins() -> None:
    deltas = [
        {"tool_calls": [part]}
        for index in range(2)
        for part in (
            {"index": index, "id": f"call_{index}", "function": {"name": "look"}},
            {"index": index, "function": {"arguments": '{"at":'}},
            {"index": index, "function": {"arguments": "1}"}},
        )
    ]
    said = read(written(chunks_of(deltas, "tool_calls")))
    assert [each["type"].removeprefix("response.") for each in said[2:-1]] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ] * 2


@pytest.mark.parametrize(
    ("finish_reason", "reason"),
    [("length", "max_output_tokens"), ("content_filter", "content_filter")],
)
def test_an_answer_that_was_cut_off_is_incomplete(finish_reason: str, reason: str) -> None:
    said = read(written(chunks_of([{"content": "Hi"}], finish_reason)))
    assert said[-1]["type"] == "response.incomplete"
    response = said[-1]["response"]
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": reason}
    assert response["completed_at"] is None
    assert response["output"][0]["status"] == "incomplete"


def test_a_call_without_an_id_gets_one() -> None:
    deltas = [{"tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]}]
    chunks = chunks_of(deltas, "tool_calls")
    call = read(written(chunks))[-1]["response"]["output"][0]
    assert call["call_id"].startswith("call_")
    assert call == whole(completion_of(chunks))["output"][0]


def test_a_call_is_announced_with_its_name() -> None:
    deltas = [
        {"tool_calls": [{"index": 0, "id": "call_0", "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"name": "look", "arguments": ":1}"}}]},
    ]
    said = read(written(chunks_of(deltas, "tool_calls")))
    added = next(each for each in said if each["type"] == "response.output_item.added")
    assert added["item"]["name"] == "look"
    assert added["item"]["arguments"] == ""
    assert said[-1]["response"]["output"][0]["arguments"] == '{"a":1}'


def test_logprobs_are_shown_to_whom_asked() -> None:
    chunks = chunks_of([{"content": "Hi"}, {"content": "!"}], "stop")
    said = read(written(chunks))
    deltas = [each for each in said if each["type"] == "response.output_text.delta"]
    assert [each["logprobs"][0]["token"] for each in deltas] == ["Hi", "!"]
    shown = said[-1]["response"]["output"][0]["content"][0]["logprobs"]
    assert [each["token"] for each in shown] == ["Hi", "!"]
    assert shown[0]["top_logprobs"][0]["bytes"] == list(b"Hi")
    unasked = orjson.loads(writer(include=[]).whole(completion_of(chunks)))
    assert unasked["output"][0]["content"][0]["logprobs"] == []


def test_a_stream_that_breaks_off_has_failed() -> None:
    writes = writer()
    stream = writes.events(event(orjson.dumps(chunk({"content": "Hal"}))))
    stream += writes.failure(UpstreamBrokenError("The upstream broke off."))
    said = read(stream)
    assert said[-1]["type"] == "response.failed"
    response = said[-1]["response"]
    assert response["status"] == "failed"
    assert response["error"] == {"code": "server_error", "message": "The upstream broke off."}
    assert response["output"][0]["status"] == "incomplete"
    assert response["output"][0]["content"][0]["text"] == "Hal"


def test_a_failure_before_the_first_token_is_a_response_too() -> None:
    said = read(writer().failure(UpstreamBrokenError("The upstream broke off.")))
    assert [each["type"] for each in said] == [
        "response.created",
        "response.in_progress",
        "response.failed",
    ]


def test_other_choices_and_comments_change_nothing() -> None:
    writes = writer()
    assert writes.events(b": alive\n\n") == b": alive\n\n"
    other = chunk({"content": "elsewhere"})
    other["choices"][0]["index"] = 1
    stream = writes.events(event(orjson.dumps(other)))
    stream += writes.events(event(orjson.dumps(chunk({"content": "here"}, "stop"))))
    stream += writes.events(DONE)
    assert b"elsewhere" not in stream
    assert read(stream)[-1]["response"]["output"][0]["content"][0]["text"] == "here"


def test_a_response_repeats_its_request() -> None:
    response = whole(completion_of(chunks_of([{"content": "Hi"}], "stop")))
    assert response["id"] == EXCHANGE.replace("req_", "resp_")
    assert response["created_at"] == 1_700_000_000
    assert response["model"] == "gpt-5.4-2026"
    assert response["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 12,
    }
    assert response["tools"] == [{"description": None, **SENT["tools"][0]}]
    for name in ("instructions", "metadata", "tool_choice"):
        assert response[name] == SENT[name]
    assert response["reasoning"] == {"effort": "low", "summary": None}
    assert (response["temperature"], response["parallel_tool_calls"]) == (1.0, True)
