"""Claude's thinking in a reasoning item, for the caller to give back with the functions' results.

Anthropic wants thinking that led to a call back as it was signed. Clients of the Responses API keep
an item's ``encrypted_content`` for their provider; what is in it is no secret here.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import orjson

Block = dict[str, Any]

_MARK = "claude."
_FIELDS = {"thinking": ("thinking", "signature"), "redacted_thinking": ("data",)}


def sealed(blocks: Sequence[Block]) -> str:
    """The ``encrypted_content`` that holds thinking blocks."""
    return _MARK + base64.urlsafe_b64encode(orjson.dumps(blocks)).decode()


def opened(content: Any) -> list[Block]:
    """The blocks in an ``encrypted_content``; none where it is another's."""
    if not isinstance(content, str) or not content.startswith(_MARK):
        return []
    try:
        blocks = orjson.loads(base64.urlsafe_b64decode(content.removeprefix(_MARK)))
    except ValueError:
        return []
    return blocks if isinstance(blocks, list) and all(map(_is_block, blocks)) else []


def _is_block(block: Any) -> bool:
    fields = _FIELDS.get(str(block.get("type"))) if isinstance(block, dict) else None
    return fields is not None and all(isinstance(block.get(name), str) for name in fields)
