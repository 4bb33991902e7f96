"""Pairs of a request and its answer that were made elsewhere, as exchanges.

Students learn from them, but they are no evidence of how often a student agrees with the teacher.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import xxhash

from router.tokens import usage_of
from telemetry.exchange import Exchange
from telemetry.prices import Usage


def imported(
    body: Mapping[str, Any],
    answer: str,
    task: str,
    created: float,
    usage: Usage | None = None,
) -> Exchange:
    """The chat completion request ``body`` and its answer as an exchange of ``task``.

    The same pair always has the same id. Tokens that nobody has counted are counted as OpenAI does.
    """
    tokens = usage or usage_of(body["messages"], answer)
    content = orjson.dumps([task, body["messages"], answer])
    return Exchange(
        id=f"seed_{xxhash.xxh3_128_hexdigest(content)}",
        created=created,
        task=task,
        route="imported",
        model="imported",
        reason="imported",
        status=200,
        stream=False,
        sampled=False,
        request=orjson.dumps({**body, "metadata": {"task": task}}).decode(),
        teacher_answer=answer,
        finish_reason="stop",
        prompt_tokens=tokens.prompt_tokens,
        completion_tokens=tokens.completion_tokens,
    )
