"""Input items as the messages of a chat completion.

Items are finer than messages: what an assistant says and the functions that it calls are items of
their own, and one message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from router.checks import expect, is_mapping, is_objects, is_text, text_of
from router.dialects.responses.namespaces import name_of
from router.dialects.responses.thinking import opened
from router.dialects.responses.tools import TOOLS
from router.errors import UnsupportedError

Message = dict[str, Any]
Part = dict[str, Any]

_CALLS = {tool.item: tool for tool in TOOLS}
_RESULTS = tuple(f"{kind}_output" for kind in _CALLS)

ROLES = ("user", "assistant", "system", "developer")


def messages_of(said: str | Sequence[Any]) -> list[Message]:
    """The messages that say what ``input`` says, a text or a list of items.

    Of reasoning items only Claude's thinking is kept, as ``thinking_blocks`` of the message that it
    led to: a chat completion has no place for another's. Raises InvalidRequestError.
    """
    if isinstance(said, str):
        return [{"role": "user", "content": said}]
    messages: list[Message] = []
    shown: list[Part] = []
    thought: list[Part] = []
    for index, item in enumerate(said):
        _add(item, f"input[{index}]", messages, shown)
        if type_of(item) == "reasoning":
            thought += opened(item.get("encrypted_content"))
        elif thought:
            _sign(messages[-1], thought)
            thought = []
    _show(shown, messages)
    return messages


def type_of(item: Mapping[str, Any]) -> str:
    """What an item is. A message need not say so, nor need a reference."""
    if item.get("type"):
        return str(item["type"])
    return "message" if "role" in item or "content" in item else "item_reference"


def _add(item: Any, at: str, messages: list[Message], shown: list[Part]) -> None:
    """Add what an item says to ``messages``; ``shown`` are the parts that the functions before it
    gave and no message has yet."""
    expect(is_mapping(item), at, "an object")
    kind = type_of(item)
    if kind == "message" or kind in _CALLS:
        _show(shown, messages)
    if kind == "message":
        _add_message(item, at, messages)
    elif kind in _CALLS:
        _add_call(item, at, messages)
    elif kind in _RESULTS:
        messages.append(_result(item, at, shown))
    elif kind != "reasoning":
        raise UnsupportedError(f"Items of type '{kind}' are not supported.", f"{at}.type")


def _sign(message: Message, thought: list[Part]) -> None:
    """Let ``message`` be what the model said after these thoughts."""
    if message["role"] == "assistant":
        message["thinking_blocks"] = [*message.get("thinking_blocks", ()), *thought]


def _add_message(item: Mapping[str, Any], at: str, messages: list[Message]) -> None:
    role = text_of(item, "role", at)
    expect(role in ROLES, f"{at}.role", f"one of {', '.join(ROLES)}")
    content = _content(item.get("content"), f"{at}.content", _part)
    calling = _calling(messages)
    if role == "assistant" and calling is not None and calling["content"] is None:
        calling["content"] = content
    else:
        messages.append({"role": role, "content": content})


def _add_call(item: Mapping[str, Any], at: str, messages: list[Message]) -> None:
    tool = _CALLS[type_of(item)]
    call = {
        "id": text_of(item, "call_id", at),
        "type": tool.type,
        tool.type: {"name": name_of(item, at), tool.given: text_of(item, tool.given, at)},
    }
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def _calling(messages: Sequence[Message]) -> Message | None:
    """The last message, if it calls functions."""
    return messages[-1] if messages and "tool_calls" in messages[-1] else None


def _result(item: Mapping[str, Any], at: str, shown: list[Part]) -> Message:
    """What a function gave. A tool's message holds text alone; the rest is added to ``shown``."""
    content = _content(item.get("output"), f"{at}.output", _given)
    if isinstance(content, list):
        texts = [part for part in content if part["type"] == "text"]
        shown += [part for part in content if part["type"] != "text"]
        content = _plain(texts) or ""
    return {"role": "tool", "tool_call_id": text_of(item, "call_id", at), "content": content}


def _show(shown: list[Part], messages: list[Message]) -> None:
    """Let the user show what the functions gave: all of their messages have to come before."""
    if shown:
        messages.append({"role": "user", "content": list(shown)})
        shown.clear()


def _content(content: Any, at: str, translate: Callable[[Part, str], Part]) -> str | list[Part]:
    """A single text becomes a string, which every provider understands."""
    expect(is_text(content) or is_objects(content), at, "a string or an array of objects")
    if isinstance(content, str):
        return content
    return _plain([translate(part, f"{at}[{index}]") for index, part in enumerate(content)])


def _plain(parts: list[Part]) -> str | list[Part]:
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _given(part: Part, at: str) -> Part:
    """A part of what a function gave."""
    kind = text_of(part, "type", at)
    return _part(part, at) if kind in ("input_image", "input_file") else _text(part, at)


def _part(part: Part, at: str) -> Part:
    kind = text_of(part, "type", at)
    if kind == "refusal":
        return {"type": "refusal", "refusal": text_of(part, "refusal", at)}
    if kind == "input_image":
        return _image(part, at)
    if kind == "input_file":
        return _file(part, at)
    if kind == "input_audio":
        expect(is_mapping(part.get("input_audio")), f"{at}.input_audio", "an object")
        return {"type": "input_audio", "input_audio": part["input_audio"]}
    return _text(part, at)


def _text(part: Part, at: str) -> Part:
    kind = text_of(part, "type", at)
    if kind not in ("input_text", "output_text", "text"):
        raise UnsupportedError(f"Content of type '{kind}' is not supported here.", f"{at}.type")
    return {"type": "text", "text": text_of(part, "text", at)}


def _image(part: Part, at: str) -> Part:
    if part.get("file_id") is not None:
        raise UnsupportedError(
            "Images by file id are not supported: send image_url, which may be a data URL.",
            f"{at}.file_id",
        )
    image = {"url": text_of(part, "image_url", at)}
    if part.get("detail") is not None:
        image["detail"] = text_of(part, "detail", at)
    return {"type": "image_url", "image_url": image}


def _file(part: Part, at: str) -> Part:
    if part.get("file_url") is not None:
        raise UnsupportedError(
            "Files by URL are not supported: send file_data or file_id.", f"{at}.file_url"
        )
    names = [name for name in ("file_data", "file_id", "filename") if part.get(name) is not None]
    expect("file_data" in names or "file_id" in names, at, "a file with file_data or file_id")
    return {"type": "file", "file": {name: text_of(part, name, at) for name in names}}
