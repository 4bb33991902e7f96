"""litellm's embeddings in OpenAI's form."""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any

import orjson

from router.errors import UpstreamBrokenError


def embeddings(content: dict[str, Any], *, as_base64: bool) -> bytes:
    """OpenAI's list of embeddings, from litellm's. ``as_base64`` packs each as OpenAI does, in
    little-endian floats of 32 bits, whether or not the provider can.

    Raises UpstreamBrokenError where the provider has sent something else.
    """
    try:
        vectors = [item["embedding"] for item in content["data"]]
        shown = [_packed(vector) for vector in vectors] if as_base64 else vectors
    except (LookupError, TypeError) as error:
        raise UpstreamBrokenError("The upstream's answer holds no embeddings.") from error
    usage = content.get("usage") or {}
    tokens = usage.get("prompt_tokens") or usage.get("total_tokens") or 0
    return orjson.dumps(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": embedding}
                for index, embedding in enumerate(shown)
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
