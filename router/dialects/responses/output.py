"""What a response consists of: its items, their parts, and their ids.

Ids are derived from the exchange and the place in the output, so that a response looks the same
whenever it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from router.dialects.responses.namespaces import Named
from router.dialects.responses.thinking import sealed
from router.dialects.responses.tools import CUSTOM, FUNCTION, TOOLS, Tool
from router.upstreams.answer import text_in

Item = dict[str, Any]
Status = Literal["in_progress", "completed", "incomplete"]

_PREFIX = "resp_"
_EXCHANGE = "req_"
_ITEM = re.compile(r"(?:[a-z]+_)+([0-9a-f]{32})[0-9a-f]{2,}")


def response_id(exchange_id: str) -> str:
    return _PREFIX + exchange_id.removeprefix(_EXCHANGE)


def exchange_of(identifier: str) -> str | None:
    """The id of the exchange in which the response of this id was given; None if it is no id."""
    digits = identifier.removeprefix(_PREFIX)
    return None if digits == identifier else _EXCHANGE + digits


def response_of(item_id: str) -> str | None:
    """The id of the response that an item of this id is in; None if it is no id of ours."""
    match = _ITEM.fullmatch(item_id)
    return _PREFIX + match[1] if match else None


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of one response's items."""

    exchange_id: str

    def message(self, index: int) -> str:
        return self._of("msg", index)

    def reasoning(self, index: int) -> str:
        return self._of("rs", index)

    def call(self, tool: Tool, index: int) -> str:
        return self._of(tool.prefix, index)

    def input(self, kind: str, index: int) -> str:
        """Of an item of the input that came without one."""
        return self._of(_KINDS.get(kind, "item") + "_in", index)

    def _of(self, prefix: str, index: int) -> str:
        return f"{prefix}_{self.exchange_id.removeprefix(_EXCHANGE)}{index:02x}"


_KINDS = {
    "message": "msg",
    "reasoning": "rs",
    **{tool.item: tool.prefix for tool in TOOLS},
    **{f"{tool.item}_output": f"{tool.prefix}o" for tool in TOOLS},
}


def message(identifier: str, parts: Sequence[Item], status: Status) -> Item:
    return {
        "id": identifier,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": list(parts),
    }


def text_part(text: str, logprobs: Sequence[Item] = ()) -> Item:
    return {
        "type": "output_text",
        "annotations": [],
        "logprobs": list(logprobs),
        "text": text,
    }


def refusal_part(refusal: str) -> Item:
    return {"type": "refusal", "refusal": refusal}


def summary_part(text: str) -> Item:
    return {"type": "summary_text", "text": text}


def reasoning(identifier: str, text: str, thinking: Sequence[Item] = ()) -> Item:
    """The upstream's reasoning as a summary, which is where clients look for it; ``thinking`` are
    the blocks of Claude's."""
    summary = [summary_part(text)] if text else []
    item = {"id": identifier, "type": "reasoning", "summary": summary}
    return {**item, "encrypted_content": sealed(thinking)} if thinking else item


def tool_call(
    tool: Tool, identifier: str, call_id: str, named: Named, given: str, status: Status
) -> Item:
    return {
        "id": identifier,
        "type": tool.item,
        "status": status,
        tool.given: given,
        # Some servers give calls no id, but the result must name one.
        "call_id": call_id or f"call_{identifier}",
        **named,
    }


def items_of(
    ids: Ids, choice: Mapping[str, Any], names: Mapping[str, Named], *, logprobs: bool
) -> list[Item]:
    """The items that say what a choice of a chat completion says.

    ``names`` are those of functions in namespaces; ``logprobs`` shows log-probabilities.
    """
    items = list(_items(ids, choice, names, logprobs))
    if incomplete_reason(choice.get("finish_reason")) and "status" in items[-1]:
        # What was cut off is the end.
        items[-1]["status"] = "incomplete"
    return items


def incomplete_reason(finish_reason: str | None) -> str | None:
    """Why a response that ended so is not complete; None if it is."""
    return {"length": "max_output_tokens", "content_filter": "content_filter"}.get(
        finish_reason or ""
    )


def reasoning_text(said: Mapping[str, Any]) -> str:
    """The reasoning in a message or a part of one, by either of the names that servers use."""
    text = said.get("reasoning_content") or said.get("reasoning")
    return text if isinstance(text, str) else ""


def text_of(said: Mapping[str, Any]) -> str:
    """The text in a message or a part of one."""
    return text_in(said.get("content")) or ""


def tokens_of(logprobs: Mapping[str, Any] | None) -> list[Item]:
    """The log-probabilities of a choice's text, token by token."""
    return [
        {
            **_token(token),
            "top_logprobs": [_token(each) for each in token.get("top_logprobs") or ()],
        }
        for token in (logprobs or {}).get("content") or ()
    ]


def _items(
    ids: Ids, choice: Mapping[str, Any], names: Mapping[str, Named], logprobs: bool
) -> Iterator[Item]:
    said: Mapping[str, Any] = choice["message"]
    index = 0
    thoughts = reasoning_text(said)
    thinking = said.get("thinking_blocks") or ()
    if thoughts or thinking:
        yield reasoning(ids.reasoning(index), thoughts, thinking)
        index += 1
    calls = [
        call for call in said.get("tool_calls") or () if any(call.get(one.type) for one in TOOLS)
    ]
    parts = list(_parts(said, tokens_of(choice.get("logprobs")) if logprobs else []))
    # An answer that says nothing is an empty message.
    if not parts and not calls and not index:
        parts = [text_part("")]
    if parts:
        yield message(ids.message(index), parts, "completed")
        index += 1
    for call_index, call in enumerate(calls, index):
        yield _call(ids, call_index, call, names)


def _call(ids: Ids, index: int, call: Mapping[str, Any], names: Mapping[str, Named]) -> Item:
    tool = FUNCTION if call.get(FUNCTION.type) else CUSTOM
    called = call[tool.type]
    name, given = called.get("name") or "", called.get(tool.given) or ""
    named = names.get(name, {"name": name})
    return tool_call(tool, ids.call(tool, index), call.get("id") or "", named, given, "completed")


def _parts(said: Mapping[str, Any], tokens: Sequence[Item]) -> Iterator[Item]:
    text = text_of(said)
    if text:
        yield text_part(text, tokens)
    if said.get("refusal"):
        yield refusal_part(said["refusal"])


def _token(token: Mapping[str, Any]) -> Item:
    text = token["token"]
    return {
        "token": text,
        # Null for tokens that are no text of their own.
        "bytes": token.get("bytes") or list(text.encode()),
        "logprob": token["logprob"],
    }
