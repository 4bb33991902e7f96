"""Streams taken apart and put together again, whatever the network did to them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import UpstreamBrokenError
from router.relay import Relay
from router.upstreams.answer import AnswerCollector, read_completion
from router.upstreams.sse import EventSplitter, data_of
from telemetry.prices import Usage

texts = st.text(min_size=1, max_size=20)
line_ends = st.sampled_from([b"\n", b"\r\n"])


@st.composite
def cuts(draw: st.DrawFn, content: bytes) -> list[bytes]:
    """``content`` in network chunks of any size."""
    places = draw(st.lists(st.integers(0, len(content)), max_size=20))
    return [content[a:b] for a, b in pairwise([0, *sorted(places), len(content)])]


@given(st.data(), st.lists(texts, min_size=1, max_size=6), line_ends)
def test_events_survive_any_chunking(data: st.DataObject, said: list[str], end: bytes) -> None:
    events = [b"data: " + json.dumps(text, ensure_ascii=False).encode() + 2 * end for text in said]
    splitter = EventSplitter()
    got = [
        event for received in data.draw(cuts(b"".join(events))) for event in splitter.feed(received)
    ]
    assert got == events
    assert [json.loads(data_of(event)) for event in got] == said
    assert splitter.end() == []


def test_a_last_event_without_its_blank_line() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b": ping\n\ndata: [DONE]\n") == [b": ping\n\n"]
    (last,) = splitter.end()
    assert data_of(last) == b"[DONE]"
    assert data_of(b": ping\n\n") == b""
    assert data_of(b"event: x\ndata:a\ndata: b\n\n") == b"a\nb"


def choice(delta: dict[str, Any], finish_reason: str | None = None, index: int = 0) -> Any:
    return {"index": index, "delta": delta, "finish_reason": finish_reason}


@given(st.lists(texts, min_size=1, max_size=8), texts)
def test_a_stream_says_what_a_completion_says(pieces: list[str], arguments: str) -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "look", "arguments": arguments},
    }
    message = {"role": "assistant", "content": "".join(pieces), "tool_calls": [call]}
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    completion = {
        "choices": [{"message": message, "finish_reason": "tool_calls"}],
        "usage": usage,
    }
    half = len(arguments) // 2
    starting = {"index": 0, **call, "function": {"name": "look", "arguments": arguments[:half]}}
    going_on = {"index": 0, "function": {"arguments": arguments[half:]}}
    collector = AnswerCollector()
    collector.add({"choices": [choice({"role": "assistant", "content": ""})]})
    assert not collector.begun
    for piece in pieces:
        collector.add({"choices": [choice({"content": piece})]})
    collector.add({"choices": [choice({"tool_calls": [starting]})]})
    collector.add({"choices": [choice({"tool_calls": [going_on]})]})
    assert not collector.finished
    assert collector.answer().finish_reason is None
    collector.add({"choices": [choice({}, "tool_calls")]})
    assert collector.finished
    collector.add({"choices": [], "usage": usage})
    whole = read_completion(orjson.dumps(completion))
    streamed = collector.answer()
    assert (streamed.text, streamed.finish_reason) == (whole.text, whole.finish_reason)
    assert streamed.usage == whole.usage == Usage(9, 3, cached_tokens=4, reasoning_tokens=2)
    (kept,) = json.loads(streamed.choices or "")
    (said,) = json.loads(whole.choices or "")
    assert kept["message"] == said["message"] == message


def test_a_custom_tool_is_called_in_pieces_too() -> None:
    call = {"id": "call_1", "type": "custom", "custom": {"name": "write", "input": "on the roof"}}
    first = {"index": 0, **call, "custom": {"name": "write", "input": ""}}
    rest: dict[str, Any] = {"index": 0, "id": None, "type": None, "function": None}
    collector = AnswerCollector()
    collector.add({"choices": [choice({"tool_calls": [first]})]})
    for piece in ("on the", " roof"):
        collector.add({"choices": [choice({"tool_calls": [{**rest, "custom": {"input": piece}}]})]})
    collector.add({"choices": [choice({}, "tool_calls")]})
    answer = collector.answer()
    (kept,) = json.loads(answer.choices or "")
    assert kept["message"]["tool_calls"] == [call]
    assert answer.written == "writeon the roof"


def test_thoughts_that_come_within_the_content_are_no_text() -> None:
    """As Mistral's reasoning models stream them."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Well ..."}]}
    collector = AnswerCollector()
    collector.add({"choices": [choice({"content": [thought]})]})
    assert collector.begun
    collector.add({"choices": [choice({"content": [{"type": "text", "text": "ye"}]})]})
    collector.add({"choices": [choice({"content": "s", "mood": "good"})]})
    collector.add({"choices": [choice({"mood": ["better"]}, "stop")]})
    answer = collector.answer()
    assert (answer.text, answer.finish_reason) == ("yes", "stop")
    (kept,) = json.loads(answer.choices or "")
    assert kept["message"]["mood"] == ["better"]


def test_a_plain_answer_is_no_more_than_its_text() -> None:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "yes",
        "refusal": None,
        "annotations": [],
    }
    content = orjson.dumps({"choices": [{"message": message, "finish_reason": "stop"}]})
    answer = read_completion(content)
    assert (answer.text, answer.choices, answer.usage) == ("yes", None, None)


def test_several_choices_have_finished_when_all_have() -> None:
    collector = AnswerCollector()
    collector.add({"choices": [choice({"content": "a"}), choice({"content": "b"}, index=1)]})
    collector.add({"choices": [choice({}, "stop", index=1)]})
    assert not collector.finished
    collector.add({"choices": [choice({}, "length")]})
    assert collector.finished
    assert collector.answer().finish_reason == "length"
    assert collector.answer().text == "a"
    kept = json.loads(collector.answer().choices or "")
    assert [one["message"]["content"] for one in kept] == ["a", "b"]
    assert [one["finish_reason"] for one in kept] == ["length", "stop"]


def test_logprobs_of_a_stream_are_collected() -> None:
    token = {"token": "a", "logprob": -0.1, "top_logprobs": []}
    collector = AnswerCollector()
    for _ in range(2):
        collector.add({"choices": [{**choice({"content": "a"}), "logprobs": {"content": [token]}}]})
    collector.add({"choices": [choice({}, "stop")]})
    (kept,) = json.loads(collector.answer().choices or "")
    assert kept["logprobs"] == {"content": [token, token]}


async def relayed(*events: Any, include_usage: bool = False) -> tuple[list[bytes], Relay]:
    async def upstream() -> Any:
        for event in events:
            yield event if isinstance(event, bytes) else b"data: " + orjson.dumps(event) + b"\n\n"

    relay = Relay(upstream(), 10.0, include_usage=include_usage)
    await relay.open()
    return [event async for event in relay], relay


DONE = b"data: [DONE]\n\n"


async def test_the_end_waits_for_the_store() -> None:
    first, second = choice({"content": "a"}), choice({"content": "b"}, index=1)
    passed, relay = await relayed(
        {"choices": [first]},
        {"choices": [choice({}, "stop")]},
        {"choices": [second]},
        {"choices": [choice({}, "stop", index=1)]},
        {"choices": [], "usage": {"prompt_tokens": 1}},
        DONE,
    )
    # The first choice's end no longer waits once a second choice shows up.
    assert len(passed) == 3
    assert b'"index":1' in relay.ending[0]
    assert relay.ending[1:] == [DONE]


async def test_usage_reaches_who_asked_for_it() -> None:
    events = (
        {"choices": [choice({"content": "a"}, "stop")]},
        {"choices": [], "usage": {"prompt_tokens": 5}},
        DONE,
    )
    _, withheld = await relayed(*events)
    _, passed_on = await relayed(*events, include_usage=True)
    assert len(withheld.ending) == 2
    assert len(passed_on.ending) == 3
    for relay in (withheld, passed_on):
        usage = relay.answer().usage
        assert usage is not None
        assert usage.prompt_tokens == 5


@pytest.mark.parametrize(
    "events",
    [
        [],
        [DONE],
        [{"choices": [choice({"role": "assistant"})]}, DONE],
        [{"error": {"message": "no"}}],
        [b"data: {\n\n"],
        [b"data: []\n\n"],
        [{"choices": [choice({"content": "a"})]}],
        [{"choices": [choice({"content": "a"})]}, DONE],
        [{"choices": [choice({"content": "a"})]}, {"error": "no"}],
        [{"choices": [choice({"content": "a"})]}, {"choices": ["x"]}],
    ],
)
async def test_streams_that_break(events: list[Any]) -> None:
    with pytest.raises(UpstreamBrokenError):
        await relayed(*events)
