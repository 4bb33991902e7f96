"""Legacy completions through OpenAI's client, before a real server."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any

import httpx
import openai
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion

from router.completion import DONE, event
from router.dialects.completions import CompletionsDialect, CompletionWriter
from router.errors import InvalidRequestError, UpstreamBrokenError
from router.several import AT_ONCE
from telemetry.exchange import PICO
from tests.router.conftest import TEACHER
from tests.router.server import Server
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, StubUpstream

Object = dict[str, Any]


def complete(server: Server, prompt: Any = "a cat?", **parameters: Any) -> Any:
    return server.client().completions.create(model=TEACHER, prompt=prompt, **parameters)


def chat(**body: Any) -> Object:
    raw = orjson.dumps({"model": "m", **body})
    return asyncio.run(CompletionsDialect().read(raw, None))


def test_a_completion(server: Server, upstream: StubUpstream) -> None:
    completion = complete(server, max_tokens=5, temperature=0.5, stop=["END"], seed=1, user="u")
    Completion.model_validate_json(completion.model_dump_json())
    assert completion.object == "text_completion"
    assert completion.id.startswith("cmpl-")
    assert completion.model == TEACHER
    [choice] = completion.choices
    assert (choice.text, choice.finish_reason, choice.index) == ("cat", "stop", 0)
    assert choice.logprobs is None
    assert completion.usage.prompt_tokens == PROMPT_TOKENS
    assert completion.usage.completion_tokens == COMPLETION_TOKENS
    assert upstream.requests[-1].body == {
        "model": TEACHER,
        "messages": [{"role": "user", "content": "a cat?"}],
        "max_completion_tokens": 5,
        "temperature": 0.5,
        "stop": ["END"],
        "seed": 1,
        "user": "u",
    }


def test_one_prompt_in_a_list(server: Server) -> None:
    assert complete(server, ["a dog?"]).choices[0].text == "dog"


def test_several_choices(server: Server) -> None:
    choices = complete(server, n=2, best_of=2).choices
    assert [(choice.index, choice.text) for choice in choices] == [(0, "cat"), (1, "cat")]


@pytest.mark.parametrize("include_usage", [False, True])
def test_a_stream(server: Server, upstream: StubUpstream, include_usage: bool) -> None:
    upstream.byte_by_byte = True
    options = {"include_usage": True} if include_usage else None
    chunks = list(complete(server, stream=True, n=2, stream_options=options))
    texts = ["", ""]
    reasons = []
    for chunk in chunks:
        # The client's model knows no choice that goes on, though its streams are made of them.
        finished = [choice.model_copy(update={"finish_reason": "stop"}) for choice in chunk.choices]
        whole = chunk.model_copy(update={"choices": finished})
        Completion.model_validate_json(whole.model_dump_json())
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            reasons.append(choice.finish_reason)
    assert texts == ["cat", "cat"]
    assert [reason for reason in reasons if reason] == ["stop", "stop"]
    used = [chunk.usage.prompt_tokens for chunk in chunks if chunk.usage]
    assert used == ([PROMPT_TOKENS] if include_usage else [])
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_echo(server: Server, upstream: StubUpstream, stream: bool) -> None:
    answer = complete(server, echo=True, stream=stream)
    completions = answer if stream else [answer]
    said = "".join(choice.text for each in completions for choice in each.choices)
    assert said == "a cat?cat"
    assert "echo" not in upstream.requests[-1].body


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities(server: Server, stream: bool) -> None:
    answer = complete(server, logprobs=1, stream=stream)
    completions = answer if stream else [answer]
    logprobs = [c.logprobs for each in completions for c in each.choices if c.logprobs]
    assert [token for each in logprobs for token in each.tokens] == ["c", "a", "t"]
    assert [offset for each in logprobs for offset in each.text_offset] == [0, 1, 2]
    assert [len(each.tokens) for each in logprobs] == [
        len(each.token_logprobs) for each in logprobs
    ]
    assert [set(each) for one in logprobs for each in one.top_logprobs] == [
        {"c", "?"},
        {"a", "?"},
        {"t", "?"},
    ]


def test_the_exchange_keeps_both_requests(server: Server) -> None:
    raw = server.client().completions.with_raw_response.create(model=TEACHER, prompt="a cat, kept")
    store = server.store()
    exchange = store.exchange(raw.headers["x-request-id"])
    store.close()
    assert exchange is not None
    assert exchange.dialect == "completions"
    assert orjson.loads(exchange.original or "")["prompt"] == "a cat, kept"
    assert exchange.teacher_answer == "cat"
    assert raw.parse().id == f"cmpl-{exchange.id.removeprefix('req_')}"


# Several prompts


def test_several_prompts(server: Server, upstream: StubUpstream) -> None:
    prompts = [f"a {animal} of many" for animal in ("dog", "cat", "dog", "cat") * 3]
    raw = server.client().completions.with_raw_response.create(
        model=TEACHER, prompt=prompts, n=2, echo=True, logprobs=None, user="u"
    )
    completion = raw.parse()
    Completion.model_validate_json(completion.model_dump_json())
    assert [choice.index for choice in completion.choices] == list(range(24))
    answers = [f"{prompt}{'cat' if 'cat' in prompt else 'dog'}" for prompt in prompts]
    assert [choice.text for choice in completion.choices[::2]] == answers
    assert [choice.text for choice in completion.choices[1::2]] == answers
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == 12 * PROMPT_TOKENS
    assert completion.usage.completion_tokens == 12 * COMPLETION_TOKENS
    asked = [received.body["messages"] for received in upstream.requests]
    assert sorted(messages[0]["content"] for messages in asked) == sorted(prompts)

    # Each is an exchange of its own.
    exchanges = [server.exchange(each) for each in raw.headers["x-protege-exchanges"].split(", ")]
    assert [orjson.loads(each.original or "")["prompt"] for each in exchanges] == prompts
    assert raw.headers["x-request-id"] == raw.headers["request-id"] == exchanges[0].id
    assert completion.id == f"cmpl-{exchanges[0].id.removeprefix('req_')}"
    cost = sum(each.cost for each in exchanges)
    assert Decimal(raw.headers["x-protege-cost"]) == Decimal(cost) / PICO
    assert raw.headers["x-protege-saved"] == "0"
    assert raw.headers["x-protege-route"] == "teacher"


def test_what_is_not_the_same_of_several_prompts_is_not_said(server: Server) -> None:
    raw = server.client().completions.with_raw_response.create(
        model="auto", prompt=["Translate: one", "What is the weather like on the moon today?"]
    )
    exchanges = [server.exchange(each) for each in raw.headers["x-protege-exchanges"].split(", ")]
    assert len({each.task for each in exchanges}) == 2
    assert "x-protege-task" not in raw.headers


def test_one_prompt_of_several_fails(server: Server, upstream: StubUpstream) -> None:
    upstream.status = 429
    upstream.error_headers = {"retry-after": "7"}
    with pytest.raises(openai.RateLimitError) as caught:
        complete(server, [f"a cat {number}" for number in range(50)])
    assert caught.value.response.headers["retry-after"] == "7"
    assert "out of order" in caught.value.message
    # No more are begun.
    assert len(upstream.requests) == AT_ONCE


def test_a_caller_hangs_up_on_several_prompts(server: Server, upstream: StubUpstream) -> None:
    upstream.delay_s = 0.5
    with pytest.raises(openai.APITimeoutError):
        complete(server, [f"a cat {number}" for number in range(50)], timeout=0.2)
    time.sleep(1)
    assert len(upstream.requests) == AT_ONCE


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": ["a", "b"], "stream": True}, "prompt"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"prompt": ["a", 2]}, "prompt"),
        ({"prompt": ["a", "b"], "max_tokens": 0}, "max_tokens"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1], [2]]}, "prompt"),
        ({"echo": 1}, "echo"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"suffix": "after"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
    ],
)
def test_what_cannot_be_done_is_told(server: Server, wrong: Object, param: str) -> None:
    body = {"model": TEACHER, "prompt": "a cat?", **wrong}
    response = httpx.post(f"{server.url}/completions", json=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_an_unknown_model(server: Server) -> None:
    with pytest.raises(openai.NotFoundError):
        server.client().completions.create(model="nobody", prompt="a cat?")


def test_a_stream_that_breaks(server: Server, upstream: StubUpstream) -> None:
    upstream.error_after = 2
    stream = complete(server, stream=True)
    assert [next(stream).choices[0].text for _ in range(2)] == ["c", "a"]
    with pytest.raises(openai.APIError, match="broke off"):
        list(stream)


# Whatever the chunks are


choices = st.lists(
    st.tuples(st.integers(0, 2), st.text(max_size=5), st.sampled_from([None, "content_filter"])),
    max_size=8,
)


@given(choices, st.text(max_size=5))
def test_a_stream_says_what_the_whole_does(parts: list[tuple[int, str, Any]], prefix: str) -> None:
    texts = dict.fromkeys(range(3), "")
    for index, text, _reason in parts:
        texts[index] += text
    messages = [
        {"index": index, "message": {"content": text}, "finish_reason": "stop"}
        for index, text in texts.items()
    ]
    whole = CompletionWriter("cmpl-1", prefix).whole(
        orjson.dumps({"created": 1, "model": "m", "choices": messages})
    )
    expected = {each["index"]: each["text"] for each in orjson.loads(whole)["choices"]}

    writer = CompletionWriter("cmpl-1", prefix)
    opening = [(index, "", None) for index in range(3)]
    said = dict.fromkeys(range(3), "")
    for index, text, reason in [*opening, *parts]:
        choice = {"index": index, "delta": {"content": text}, "finish_reason": reason}
        chunk = {"created": 1, "model": "m", "choices": [choice]}
        written = writer.events(event(orjson.dumps(chunk)))
        if written:
            [part] = orjson.loads(written.removeprefix(b"data: "))["choices"]
            said[part["index"]] += part["text"]
            assert part["finish_reason"] == reason
    assert said == expected
    assert writer.events(DONE) == DONE


@given(st.text(), st.booleans())
def test_the_prompt_is_what_the_user_says(prompt: str, as_list: bool) -> None:
    body = chat(prompt=[prompt] if as_list else prompt)
    assert body == {"model": "m", "messages": [{"role": "user", "content": prompt}]}


def test_reasons_that_legacy_clients_do_not_know() -> None:
    choice = {"index": 0, "message": {"content": None}, "finish_reason": "tool_calls"}
    written = CompletionWriter("cmpl-1", "").whole(orjson.dumps({"choices": [choice]}))
    [said] = orjson.loads(written)["choices"]
    assert (said["text"], said["finish_reason"]) == ("", "stop")


def test_what_is_no_text_is_left_out() -> None:
    message = {"content": {"text": "a cat"}, "refusal": "no"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    written = CompletionWriter("cmpl-1", "").whole(orjson.dumps({"choices": [choice]}))
    [said] = orjson.loads(written)["choices"]
    assert said["text"] == "no"


def test_comments_pass() -> None:
    assert CompletionWriter("cmpl-1", "").events(b": alive\n\n") == b": alive\n\n"


def test_a_failure_is_an_error_event() -> None:
    failure = CompletionWriter("cmpl-1", "").failure(UpstreamBrokenError("It broke."))
    assert orjson.loads(failure.removeprefix(b"data: "))["error"]["message"] == "It broke."


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3),
)


@given(
    st.dictionaries(
        st.sampled_from(["prompt", "echo", "suffix", "best_of", "n", "logprobs", "max_tokens"]),
        json_values,
    )
)
def test_whatever_is_sent_is_read_or_refused(body: Object) -> None:
    try:
        [message] = chat(**body)["messages"]
    except InvalidRequestError:
        return
    assert isinstance(message["content"], str)
