"""litellm's embeddings in OpenAI's form."""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any

import orjson


def embeddings(content: dict[str, Any], *, as_base64: bool) -> bytes:
    """OpenAI's list of embeddings, from litellm's. ``as_base64`` packs each as OpenAI does, in
    little-endian floats of 32 bits, whether or not the provider can."""
    usage = content.get("usage") or {}
    tokens = usage.get("prompt_tokens") or usage.get("total_tokens") or 0
    return orjson.dumps(
        {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": _packed(item["embedding"]) if as_base64 else item["embedding"],
                }
                for index, item in enumerate(content["data"])
            ],
            "model": content["model"],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _packed(vector: list[float]) -> str:
    floats = array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats).decode()
