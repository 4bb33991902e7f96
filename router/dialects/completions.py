"""OpenAI's legacy ``POST /v1/completions`` over chat completions: the prompt is what a user says.

Source of the wire format: https://platform.openai.com/docs/api-reference/completions. Without
``max_tokens`` an answer is as long as its model makes it, not 16 tokens: the models behind a chat
are not the ones that this default was made for.
"""

from __future__ import annotations

from typing import Any

import orjson

from router.checks import (
    Checks,
    check_given,
    expect,
    invalid,
    is_count,
    is_flag,
    require,
    written,
)
from router.completion import DONE, event
from router.errors import InvalidRequestError, ProtegeError, Rendered, render
from router.request import ChatRequest, read_object
from router.several import SeveralRequestsError
from router.upstreams.answer import text_in
from router.upstreams.sse import data_of
from telemetry.exchange import Dialect as Name

Object = dict[str, Any]

MAX_LOGPROBS = 5
MAX_PROMPTS = 128

_READ = ("prompt", "echo", "suffix", "best_of", "logprobs", "max_tokens")
_FINISHED = ("stop", "length", "content_filter")
_SAYING = ("text", "logprobs", "finish_reason")
_COMMON = ("created", "model", "system_fingerprint", "usage")


class CompletionsDialect:
    """Takes prompts of text; what only a model without chat could do is refused."""

    name: Name = "completions"

    async def read(self, raw: bytes, key: str | None) -> Object:
        body = read_object(raw)
        _refuse_impossible(body)
        require(body, ("prompt",))
        prompts = _prompts(body["prompt"])
        check_given(body, _CHECKS)
        if len(prompts) > 1:
            raise _several(body, prompts)
        chat = {name: value for name, value in body.items() if name not in _READ}
        chat["messages"] = [{"role": "user", "content": prompts[0]}]
        if body.get("max_tokens") is not None:
            chat["max_completion_tokens"] = body["max_tokens"]
        if body.get("logprobs") is not None:
            chat |= {"logprobs": True, "top_logprobs": body["logprobs"]}
        return chat

    def writer(self, request: ChatRequest, identifier: str, created: float) -> CompletionWriter:
        assert request.original is not None, "a request in another dialect is kept"
        echo = orjson.loads(request.original).get("echo")
        prefix = request.body["messages"][0]["content"] if echo else ""
        return CompletionWriter(f"cmpl-{identifier.removeprefix('req_')}", prefix)

    def error(self, error: ProtegeError) -> Rendered:
        return render(error)


class CompletionWriter:
    """Writes the completion ``identifier``; every choice begins with ``prefix``."""

    def __init__(self, identifier: str, prefix: str) -> None:
        self._identifier = identifier
        self._prefix = prefix
        self._lengths: dict[int, int] = {}
        """Characters written of each choice."""

    def whole(self, completion: bytes) -> bytes:
        body = orjson.loads(completion)
        choices = [self._choice(choice, choice["message"]) for choice in body["choices"]]
        return orjson.dumps(self._completion(body, choices))

    def events(self, chunk: bytes) -> bytes:
        data = data_of(chunk)
        if chunk == DONE or not data.startswith(b"{"):
            return chunk
        body = orjson.loads(data)
        parts = [self._choice(c, c.get("delta") or {}) for c in body.get("choices") or ()]
        said = [part for part in parts if any(part[name] for name in _SAYING)]
        if not said and not body.get("usage"):
            return b""
        return event(orjson.dumps(self._completion(body, said)))

    def failure(self, error: ProtegeError) -> bytes:
        return event(render(error).content)

    def _completion(self, body: Object, choices: list[Object]) -> Object:
        common = {name: body[name] for name in _COMMON if name in body}
        return {
            "id": self._identifier,
            "object": "text_completion",
            **common,
            "choices": choices,
        }

    def _choice(self, choice: Object, said: Object) -> Object:
        """A choice, or the next part of one; ``said`` is its message or delta."""
        index = choice.get("index") or 0
        # Whatever else an upstream sends in their place, this dialect has no room for it.
        parts = (text_in(said.get("content")), said.get("refusal"))
        text = "".join(part for part in parts if isinstance(part, str))
        if index not in self._lengths:
            self._lengths[index] = 0
            text = self._prefix + text
        offset = self._lengths[index]
        self._lengths[index] += len(text)
        reason = choice.get("finish_reason")
        return {
            "index": index,
            "text": text,
            "logprobs": _logprobs(choice.get("logprobs"), offset),
            "finish_reason": reason if reason in _FINISHED or reason is None else "stop",
        }


def _prompts(prompt: Any) -> list[str]:
    """The texts of ``prompt``, at least one. Raises InvalidRequestError."""
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and prompt and all(isinstance(each, str) for each in prompt):
        return prompt
    if isinstance(prompt, list) and prompt and all(isinstance(each, int | list) for each in prompt):
        raise InvalidRequestError(
            "Prompts of tokens are not supported: models have different tokens. Send the text.",
            "prompt",
        )
    raise invalid("prompt", "a string or an array of strings")


def _several(body: Object, prompts: list[str]) -> SeveralRequestsError:
    """A request for each prompt, whose choices are numbered over all of them.

    Raises InvalidRequestError.
    """
    if body.get("stream"):
        raise InvalidRequestError(
            "Several prompts in one request are not streamed: send a request for each.", "prompt"
        )
    if len(prompts) > MAX_PROMPTS:
        raise InvalidRequestError(
            f"A request may have {MAX_PROMPTS} prompts, not {len(prompts)}: send several.", "prompt"
        )
    each = body.get("n") or 1

    def merge(answers: list[bytes]) -> bytes:
        completions = [orjson.loads(answer) for answer in answers]
        choices = [
            {**choice, "index": place * each + choice["index"]}
            for place, completion in enumerate(completions)
            for choice in completion["choices"]
        ]
        usage = _summed([completion.get("usage") for completion in completions])
        return orjson.dumps({**completions[0], "choices": choices, "usage": usage})

    # Before the first of them is answered.
    written({**body, "prompt": ""})
    bodies = (orjson.dumps({**body, "prompt": prompt}) for prompt in prompts)
    return SeveralRequestsError(bodies, merge)


def _summed(counts: list[Any]) -> Object | None:
    """What objects of numbers, and of such objects, come to; None if there are none."""
    known = [each for each in counts if isinstance(each, dict)]
    if not known:
        return None
    summed: Object = {}
    for name in dict.fromkeys(name for each in known for name in each):
        values = [each.get(name) for each in known]
        if any(isinstance(value, dict) for value in values):
            summed[name] = _summed(values)
        else:
            summed[name] = sum(value for value in values if isinstance(value, int | float))
    return summed


def _refuse_impossible(body: Object) -> None:
    """Raises InvalidRequestError for what no chat model can do."""
    echo, suffix, best_of = body.get("echo"), body.get("suffix"), body.get("best_of")
    expect(echo is None or is_flag(echo), "echo", "a boolean")
    if echo and body.get("logprobs") is not None:
        raise InvalidRequestError(
            "'echo' with 'logprobs' is not supported: chat models do not rate their prompt.", "echo"
        )
    if suffix not in (None, ""):
        raise InvalidRequestError(
            "'suffix' is not supported: chat models do not insert text.", "suffix"
        )
    if best_of is not None and best_of != (body.get("n") or 1):
        raise InvalidRequestError(
            "'best_of' is not supported unless it equals 'n': chat models do not rank their "
            "answers.",
            "best_of",
        )


_CHECKS: Checks = {
    "max_tokens": (is_count, "a positive integer"),
    "logprobs": (
        lambda value: type(value) is int and 0 <= value <= MAX_LOGPROBS,
        f"an integer from 0 to {MAX_LOGPROBS}",
    ),
}


def _logprobs(logprobs: Object | None, offset: int) -> Object | None:
    """The legacy shape: one list for each thing that is known of a token. ``offset`` is where the
    first token begins in its choice's text."""
    tokens = [*((logprobs or {}).get("content") or ()), *((logprobs or {}).get("refusal") or ())]
    if not tokens:
        return None
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token["token"])
    return {
        "tokens": [token["token"] for token in tokens],
        "token_logprobs": [token["logprob"] for token in tokens],
        # The token that was written is always among them.
        "top_logprobs": [
            {each["token"]: each["logprob"] for each in (*token["top_logprobs"], token)}
            for token in tokens
        ],
        "text_offset": offsets,
    }
