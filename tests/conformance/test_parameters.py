"""Every documented parameter of a chat completion reaches the upstream as it was sent."""

from __future__ import annotations

from typing import Any

from openai.types.chat import completion_create_params as params

from tests.conformance.clients import Client
from tests.conformance.samples import MESSAGES, SCHEMA, TOOL
from tests.router.conftest import TEACHER
from tests.router.upstream import StubUpstream

AUDIO = {"voice": "alloy", "format": "wav"}

# By the parameter that is shown: it, and what it makes no sense without.
SAMPLES: dict[str, dict[str, Any]] = {
    "audio": {"audio": AUDIO, "modalities": ["text", "audio"]},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "function_call": {"function_call": "auto", "functions": [TOOL["function"]]},
    "functions": {"functions": [TOOL["function"]]},
    "logit_bias": {"logit_bias": {"1734": -100}},
    "logprobs": {"logprobs": True},
    "max_completion_tokens": {"max_completion_tokens": 64},
    "max_tokens": {"max_tokens": 64},
    "messages": {
        "messages": [
            {"role": "developer", "content": "Answer with one word."},
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": "is it a cat?", "name": "ann"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "look", "arguments": '{"where": "on the roof"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "whiskers"},
            {"role": "assistant", "content": "maybe", "refusal": None},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "and these?"},
                    {
                        "type": "image_url",
                        "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"},
                    },
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                    {"type": "file", "file": {"file_data": "AAAA", "filename": "cat.pdf"}},
                ],
            },
        ]
    },
    "metadata": {"metadata": {"team": "support"}, "store": True},
    "modalities": {"modalities": ["text"]},
    "model": {"model": TEACHER},
    "moderation": {"moderation": {"model": "omni-moderation-latest"}},
    "n": {"n": 2},
    "parallel_tool_calls": {"parallel_tool_calls": False, "tools": [TOOL]},
    "prediction": {"prediction": {"type": "content", "content": "cat"}},
    "presence_penalty": {"presence_penalty": -0.5},
    "prompt_cache_key": {"prompt_cache_key": "animals"},
    "prompt_cache_options": {"prompt_cache_options": {"mode": "auto"}},
    "prompt_cache_retention": {"prompt_cache_retention": "24h"},
    "reasoning_effort": {"reasoning_effort": "low"},
    "response_format": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "animal", "strict": True, "schema": SCHEMA},
        }
    },
    "safety_identifier": {"safety_identifier": "user-7"},
    "seed": {"seed": 7},
    "service_tier": {"service_tier": "flex"},
    "stop": {"stop": ["\n", "END"]},
    "store": {"store": True},
    "stream": {"stream": True, "stream_options": {"include_usage": True}},
    "stream_options": {
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
    },
    "temperature": {"temperature": 0.0},
    "tool_choice": {
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "tools": [TOOL],
    },
    "tools": {"tools": [TOOL]},
    "top_logprobs": {"top_logprobs": 3, "logprobs": True},
    "top_p": {"top_p": 0.9},
    "user": {"user": "user-7"},
    "verbosity": {"verbosity": "low"},
    "web_search_options": {"web_search_options": {"search_context_size": "low"}},
}


def test_there_is_a_sample_of_every_parameter() -> None:
    assert set(SAMPLES) == set(params.CompletionCreateParamsStreaming.__annotations__)


def test_parameters_reach_the_upstream_unchanged(client: Client, upstream: StubUpstream) -> None:
    for name, sample in SAMPLES.items():
        body = {"model": TEACHER, "messages": MESSAGES, **sample}
        if body.get("stream"):
            client.stream("chat.completions.create", **body)
        else:
            client.call("chat.completions.create", **body)
        assert upstream.requests[-1].body == body, name


def test_parameters_that_nobody_knows_reach_it_too(client: Client, upstream: StubUpstream) -> None:
    unknown = {"x_new": {"deep": [1, None, "é"]}, "top_k": 5}
    client.call("chat.completions.create", model="teacher", messages=MESSAGES, extra_body=unknown)
    assert upstream.requests[-1].body == {"model": TEACHER, "messages": MESSAGES, **unknown}


def test_what_is_for_the_router_stays_there(client: Client, upstream: StubUpstream) -> None:
    metadata = {"task": "pets", "team": "support"}
    client.call("chat.completions.create", model="auto", messages=MESSAGES, metadata=metadata)
    assert upstream.requests[-1].body["metadata"] == {"team": "support"}
