"""The replay teacher as a process of its own, asked by the official client."""

import statistics
import sys

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.demo.processes import free_port, running
from router.demo.replay import delay_s
from router.demo.samples import Sample
from router.tokens import usage_of

PROMPT = [
    {"role": "system", "content": "Answer in a sentence."},
    {"role": "user", "content": "Where does the café lie?"},
]
ANSWER = " Am Ufer,\n links — gleich hinter der Brücke.\n"
RECORDING = [
    Sample("t", tuple(PROMPT), ANSWER),
    Sample("t", ({"role": "user", "content": "empty"},), ""),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    recording = folder / "recording.jsonl"
    recording.write_bytes(b"".join(sample.as_line() for sample in RECORDING))
    port = free_port()
    command = [sys.executable, "-m", "router.demo.replay", str(recording), str(port)]
    url = f"http://127.0.0.1:{port}/v1"
    with (
        running(command, folder / "log", f"{url}/models"),
        openai.OpenAI(base_url=url, api_key="x", max_retries=0) as client,
    ):
        yield client


def test_the_recorded_answer_with_usage(client):
    completion = client.chat.completions.create(model="any", messages=PROMPT)
    assert completion.choices[0].message.content == ANSWER
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.prompt_tokens == usage_of(PROMPT, ANSWER).prompt_tokens
    assert completion.usage.completion_tokens == usage_of(PROMPT, ANSWER).completion_tokens


def test_it_calls_itself_a_replay(client):
    completion = client.chat.completions.create(model="gpt-5.4", messages=PROMPT)
    (model,) = client.models.list().data
    assert completion.model == model.id == "replay-of-gpt-5.4"
    assert "replay" in completion.system_fingerprint
    assert "replay" in model.owned_by


@pytest.mark.parametrize("sample", RECORDING, ids=["text", "empty"])
def test_the_stream_carries_the_same_answer_and_usage(client, sample):
    messages = list(sample.messages)
    stream = client.chat.completions.create(
        model="any", messages=messages, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == sample.answer
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    usage = usage_of(messages, sample.answer)
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == usage.completion_tokens


def test_a_stream_has_usage_only_on_request(client):
    stream = client.chat.completions.create(model="any", messages=PROMPT, stream=True)
    assert all(chunk.usage is None and chunk.choices for chunk in stream)


def test_a_prompt_that_was_not_recorded(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="any", messages=[*PROMPT, *PROMPT])
    assert caught.value.code == "prompt_not_recorded"
    assert "recording" in caught.value.message


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"messages": 3}'])
def test_a_body_that_is_no_request(client, body):
    with pytest.raises(openai.BadRequestError, match="needs a JSON body with messages"):
        client.post("/chat/completions", cast_to=object, content=body)


def test_tokens_are_those_of_the_real_models_tokenizer():
    usage = usage_of([{"role": "user", "content": "hello world", "name": "me"}], "hello world")
    assert usage.completion_tokens == 2
    assert usage.prompt_tokens == 3 + 3 + 2 + 1 + 1


@given(st.binary(), st.integers(0, 500), st.integers(0, 9))
def test_a_prompts_delay_is_always_the_same(key, tokens, seed):
    assert delay_s(key, tokens, seed) == delay_s(key, tokens, seed) > 0


def test_delays_are_realistic():
    short = [delay_s(b"%d" % n, 2, 0) for n in range(2000)]
    long = [delay_s(b"%d" % n, 200, 0) for n in range(2000)]
    assert 0.4 < statistics.median(short) < 0.6 < statistics.median(long)
    assert statistics.mean(short) > statistics.median(short)
    assert short != [delay_s(b"%d" % n, 2, 1) for n in range(2000)]
