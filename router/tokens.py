"""Tokens as OpenAI counts them, for calls whose provider has not said."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tiktoken

from telemetry.prices import Usage


def usage_of(messages: Sequence[Mapping[str, Any]], answer: str) -> Usage:
    """Three tokens a message and three for the reply besides the texts."""
    prompt = 3
    for message in messages:
        prompt += 3 + _tokens(_text(message.get("content")))
        if isinstance(message.get("name"), str):
            prompt += 1 + _tokens(message["name"])
    return Usage(prompt_tokens=prompt, completion_tokens=_tokens(answer))


def prepare() -> None:
    """Load the vocabulary, which takes a second."""
    _encoding()


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return content or ""


def _tokens(text: str) -> int:
    return len(_encoding().encode(text, disallowed_special=()))


@cache
def _encoding() -> tiktoken.Encoding:
    # litellm ships the vocabularies; without them tiktoken would go to the network.
    litellm = find_spec("litellm")
    if litellm is not None and litellm.origin is not None:
        folder = Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"
        os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(folder))
    return tiktoken.get_encoding("o200k_base")
