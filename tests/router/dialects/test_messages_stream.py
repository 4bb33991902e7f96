"""Messages written from chat completions, as Anthropic's own client reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx2
import orjson
import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st

from router.completion import DONE, event
from router.dialects.messages.dialect import MessageWriter
from router.errors import UpstreamBrokenError
from router.upstreams.answer import AnswerCollector

Object = dict[str, Any]

IDENTIFIER = "msg_0123456789abcdef"
USAGE = {
    "prompt_tokens": 40,
    "completion_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 15, "cache_creation_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 3},
}

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
pieces = st.lists(texts, min_size=1, max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
inputs = st.dictionaries(texts, values, max_size=3)
finish_reasons = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])


@dataclass
class Played:
    """The deltas of one answer, and what its end says."""

    deltas: list[Object]
    finish_reason: str = "stop"
    usage: Object | None = field(default_factory=lambda: USAGE)
    stop_reason: str | None = None
    usage_at_once: bool = False
    """Whether the usage comes with the finish reason, as some servers have it."""

    def chunks(self) -> list[Object]:
        choices: list[list[Object]] = [
            [{"index": 0, "delta": delta, "finish_reason": None}] for delta in self.deltas
        ]
        end = {"index": 0, "delta": {}, "finish_reason": self.finish_reason}
        choices.append([{**end, "stop_reason": self.stop_reason}])
        chunks: list[Object] = [{"id": "c", "model": "m", "choices": each} for each in choices]
        last = {"id": "c", "model": "m", "choices": []}
        if self.usage_at_once:
            chunks[-1]["usage"] = self.usage
            return [*chunks, last]
        return [*chunks, {**last, "usage": self.usage}]

    def completion(self) -> Object:
        collector = AnswerCollector()
        for chunk in self.chunks():
            collector.add(chunk)
        answer = collector.answer()
        said = {"role": "assistant", "content": answer.text}
        plain = [{"index": 0, "message": said, "finish_reason": self.finish_reason}]
        choices = json.loads(answer.choices) if answer.choices else plain
        choices[0]["stop_reason"] = self.stop_reason
        return {"id": "c", "model": "m", "choices": choices, "usage": self.usage}


@st.composite
def tool_calls(draw: st.DrawFn) -> list[Object]:
    """The deltas of some calls, one after the other, each cut into pieces."""
    deltas: list[Object] = []
    for index in range(draw(st.integers(1, 3))):
        arguments = json.dumps(draw(inputs), ensure_ascii=draw(st.booleans()))
        middle = draw(st.integers(0, len(arguments)))
        call = {"index": index, "id": f"call_{index}", "type": "function"}
        deltas.append({**call, "function": {"name": draw(texts), "arguments": ""}})
        for piece in (arguments[:middle], arguments[middle:]):
            deltas.append({"index": index, "function": {"arguments": piece}})
    return [{"tool_calls": [delta]} for delta in deltas]


@st.composite
def thoughts(draw: st.DrawFn) -> list[Object]:
    """The deltas of reasoning, as an Anthropic model signs it or as others tell it."""
    thinking = draw(pieces)
    if draw(st.booleans()):
        return [{"reasoning_content": piece} for piece in thinking]
    blocks: list[Object] = []
    for _ in range(draw(st.integers(1, 2))):
        blocks += [{"type": "thinking", "thinking": piece} for piece in thinking]
        blocks.append({"type": "thinking", "thinking": "", "signature": draw(texts)})
    if draw(st.booleans()):
        blocks.append({"type": "redacted_thinking", "data": draw(texts)})
    return [{"thinking_blocks": [block], "reasoning_content": "also here"} for block in blocks]


@st.composite
def answers(draw: st.DrawFn) -> Played:
    deltas: list[Object] = [{"role": "assistant", "content": ""}]
    deltas += draw(thoughts()) if draw(st.booleans()) else []
    deltas += [{"content": piece} for piece in draw(pieces)] if draw(st.booleans()) else []
    deltas += draw(tool_calls()) if draw(st.booleans()) else []
    usage = draw(st.sampled_from([USAGE, None]))
    return Played(deltas, draw(finish_reasons), usage, usage_at_once=draw(st.booleans()))


def written(played: Played, stops: Sequence[str] = ()) -> bytes:
    writer = MessageWriter(IDENTIFIER, stops)
    events = [event(orjson.dumps(chunk)) for chunk in played.chunks()]
    return b"".join(map(writer.events, [*events, DONE]))


def whole(played: Played, stops: Sequence[str] = ()) -> Message:
    content = MessageWriter(IDENTIFIER, stops).whole(orjson.dumps(played.completion()))
    return Message.model_validate_json(content, strict=True)


def accumulated(stream: bytes) -> Message:
    """What Anthropic's client makes of a stream."""

    def reply(_request: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=headers, content=stream)

    http = httpx2.Client(transport=httpx2.MockTransport(reply))
    client = anthropic.Anthropic(api_key="k", http_client=http, max_retries=0)
    asked: list[Any] = [{"role": "user", "content": "?"}]
    with client.messages.stream(model="m", max_tokens=9, messages=asked) as events:
        return events.get_final_message()


def comparable(message: Message) -> Object:
    return message.model_dump(exclude={"content": {"__all__": {"parsed_output"}}}, warnings=False)


def events_of(stream: bytes) -> list[Object]:
    blocks = stream.decode().split("\n\n")[:-1]
    names, datas = zip(*(block.split("\ndata: ", 1) for block in blocks), strict=True)
    events = [json.loads(data) for data in datas]
    assert [f"event: {each['type']}" for each in events] == list(names)
    return events


@given(answers())
def test_a_stream_accumulates_to_the_whole_message(played: Played) -> None:
    assert comparable(accumulated(written(played))) == comparable(whole(played))


@given(answers())
def test_blocks_open_and_close_one_after_the_other(played: Played) -> None:
    kinds = [each["type"] for each in events_of(written(played))]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    opened = False
    for kind in kinds[1:-2]:
        assert opened == (kind != "content_block_start")
        opened = kind != "content_block_stop"
    assert not opened


@given(st.lists(answers(), min_size=1, max_size=3), st.randoms())
def test_nothing_said_is_lost_in_any_order_of_chunks(parts: list[Played], random: Any) -> None:
    texts_said = [delta for part in parts for delta in part.deltas if "content" in delta]
    calls = [delta for delta in parts[0].deltas if "tool_calls" in delta]
    order = [True] * len(texts_said) + [False] * len(calls)
    random.shuffle(order)
    queues = {True: iter(texts_said), False: iter(calls)}
    played = Played([next(queues[is_text]) for is_text in order])
    message = accumulated(written(played))
    expected = whole(played)
    assert _text(message) == _text(expected)
    assert _inputs(message) == _inputs(expected)


def test_usage_counts_the_cache_apart() -> None:
    usage = whole(Played([{"content": "a"}])).usage
    assert (usage.input_tokens, usage.output_tokens) == (20, 8)
    assert usage.cache_read_input_tokens == 15
    assert usage.cache_creation_input_tokens == 5
    assert usage.output_tokens_details is not None
    assert usage.output_tokens_details.thinking_tokens == 3


@pytest.mark.parametrize(
    ("played", "stop_reason", "stop_sequence"),
    [
        (Played([{"content": "a"}]), "end_turn", None),
        (Played([{"content": "a"}], "length"), "max_tokens", None),
        (Played([{"content": "a"}], "content_filter"), "refusal", None),
        (Played([{"refusal": "I won't."}]), "refusal", None),
        (Played([{"content": "a"}], stop_reason="END"), "stop_sequence", "END"),
        (Played([{"content": "a"}], stop_reason="other"), "end_turn", None),
        (
            Played([{"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}]),
            "tool_use",
            None,
        ),
    ],
)
def test_why_it_stopped(played: Played, stop_reason: str, stop_sequence: str | None) -> None:
    for message in (whole(played, ["END"]), accumulated(written(played, ["END"]))):
        assert message.stop_reason == stop_reason
        assert message.stop_sequence == stop_sequence


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {}),
        ('{"city": "Par', {}),
        ('{"city": "Paris", "da', {"city": "Paris"}),
        ("not JSON", {"arguments": "not JSON"}),
        ("[1]", {"arguments": "[1]"}),
    ],
)
def test_arguments_that_are_no_whole_object(arguments: str, expected: Object) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": arguments}}
    [block] = whole(Played([{"tool_calls": [call]}], "length")).content
    assert block.type == "tool_use"
    assert block.input == expected


def test_a_call_without_an_id_is_given_one() -> None:
    calls = [{"index": index, "function": {"name": "f", "arguments": "{}"}} for index in range(2)]
    played = Played([{"tool_calls": [call]} for call in calls], "tool_calls")
    identifiers = [block.id for block in whole(played).content if block.type == "tool_use"]
    assert len(set(identifiers)) == 2
    assert all(identifier.startswith("toolu_") for identifier in identifiers)
    streamed = [b.id for b in accumulated(written(played)).content if b.type == "tool_use"]
    assert streamed == identifiers


def test_comments_say_nothing() -> None:
    assert MessageWriter(IDENTIFIER, ()).events(b": keep-alive\n\n") == b""


def test_a_stream_that_breaks_ends_with_an_error() -> None:
    writer = MessageWriter(IDENTIFIER, ())
    first = Played([{"content": "a"}]).chunks()[0]
    stream = writer.events(event(orjson.dumps(first)))
    stream += writer.failure(UpstreamBrokenError("It broke."))
    with pytest.raises(anthropic.APIStatusError, match="It broke"):
        accumulated(stream)
    last = events_of(stream)[-1]
    assert last == {"type": "error", "error": {"type": "api_error", "message": "It broke."}}


def _text(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def _inputs(message: Message) -> Iterable[Any]:
    return [block.input for block in message.content if block.type == "tool_use"]
