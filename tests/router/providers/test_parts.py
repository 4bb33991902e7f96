"""An upstream whose content is a list of parts, thoughts and text, in every dialect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from anthropic import Anthropic

from tests.router.providers.conftest import Providers
from tests.router.providers.openai import mistral

TEXT = "a cat"


@pytest.fixture(autouse=True)
def reasoning(providers: Providers) -> None:
    providers.stubs["llama"].reply = mistral("It purrs.", TEXT)


def chat(providers: Providers, stream: bool) -> tuple[str, str]:
    raw = providers.client().chat.completions.with_raw_response.create(
        model="llama", messages=[{"role": "user", "content": "hi"}], stream=stream
    )
    answer: Any = raw.parse()
    if stream:
        contents = [chunk.choices[0].delta.content for chunk in answer if chunk.choices]
    else:
        contents = [answer.choices[0].message.content]
    return raw.headers["x-request-id"], "".join(map(text_in, contents))


def text_in(content: Any) -> str:
    """Chat completions pass as they are."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part["type"] == "text")
    return content or ""


def messages(providers: Providers, stream: bool) -> tuple[str, str]:
    url = providers.server.url.removesuffix("/v1")
    client = Anthropic(base_url=url, api_key="caller-key", max_retries=0)
    asked: Any = {
        "model": "llama",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi"}],
    }
    if stream:
        with client.messages.stream(**asked) as events:
            message = events.get_final_message()
    else:
        message = client.messages.create(**asked)
    texts = [block.text for block in message.content if block.type == "text"]
    return message.id.replace("msg_", "req_"), "".join(texts)


def responses(providers: Providers, stream: bool) -> tuple[str, str]:
    client = providers.client()
    if stream:
        with client.responses.stream(model="llama", input="hi") as events:
            response: Any = events.get_final_response()
    else:
        response = client.responses.create(model="llama", input="hi")
    return response.id.replace("resp_", "req_"), response.output_text


def completions(providers: Providers, stream: bool) -> tuple[str, str]:
    answer: Any = providers.client().completions.create(model="llama", prompt="hi", stream=stream)
    parts = list(answer) if stream else [answer]
    said = "".join(choice.text for part in parts for choice in part.choices)
    return parts[0].id.replace("cmpl-", "req_"), said


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ask", [chat, messages, responses, completions])
def test_the_text_among_the_parts_is_the_answer(
    providers: Providers, ask: Callable[[Providers, bool], tuple[str, str]], stream: bool
) -> None:
    exchange, said = ask(providers, stream)
    assert said == TEXT
    assert providers.exchange(exchange).answer == TEXT
