"""The items of a response that is being streamed, each of which sends its own events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import orjson

from router.dialects.responses import output
from router.dialects.responses.namespaces import Named
from router.dialects.responses.output import Ids, Item
from router.dialects.responses.tools import CUSTOM, FUNCTION, Tool
from router.upstreams.answer import add_thinking


class Emit(Protocol):
    """Sends one event."""

    def __call__(self, kind: str, /, **fields: Any) -> None: ...


class Reasoning:
    """What the upstream thought, as one summary; and Claude's thinking, for it to read again."""

    def __init__(self, emit: Emit, ids: Ids, index: int) -> None:
        self._emit = emit
        self._id = ids.reasoning(index)
        self._index = index
        self._place = {"item_id": self._id, "output_index": index, "summary_index": 0}
        self._text: list[str] = []
        self._thinking: list[Item] = []
        self.closed = False
        item = output.reasoning(self._id, "")
        emit("response.output_item.added", output_index=index, item=item)

    def say(self, text: str) -> None:
        if not self._text:
            part = output.summary_part("")
            self._emit("response.reasoning_summary_part.added", **self._place, part=part)
        self._text.append(text)
        self._emit("response.reasoning_summary_text.delta", **self._place, delta=text)

    def keep(self, thinking: Sequence[Item]) -> None:
        """Pieces of thinking blocks."""
        add_thinking(self._thinking, thinking)

    def is_whole(self) -> bool:
        return True

    def close(self, status: output.Status) -> None:
        self.closed = True
        text = "".join(self._text)
        if text:
            self._emit("response.reasoning_summary_text.done", **self._place, text=text)
            self._emit(
                "response.reasoning_summary_part.done",
                **self._place,
                part=output.summary_part(text),
            )
        self._emit("response.output_item.done", output_index=self._index, item=self.shown(status))

    def shown(self, status: output.Status) -> Item:
        return output.reasoning(self._id, "".join(self._text), self._thinking)


class Message:
    """What the upstream said: text and refusals."""

    def __init__(self, emit: Emit, ids: Ids, index: int) -> None:
        self._emit = emit
        self._id = ids.message(index)
        self._index = index
        self._parts: list[_Text | _Refusal] = []
        self._status: output.Status = "in_progress"
        self.closed = False
        emit("response.output_item.added", output_index=index, item=self.shown("in_progress"))

    def say(self, text: str, tokens: Sequence[Item] = ()) -> None:
        self._part(_Text).say(text, tokens)

    def refuse(self, refusal: str) -> None:
        self._part(_Refusal).say(refusal)

    def is_whole(self) -> bool:
        return True

    def close(self, status: output.Status) -> None:
        self.closed = True
        self._status = status
        self._parts[-1].close()
        self._emit("response.output_item.done", output_index=self._index, item=self.shown(status))

    def shown(self, status: output.Status) -> Item:
        """``status`` is that of an item that has not been closed."""
        parts = [part.shown() for part in self._parts]
        return output.message(self._id, parts, self._status if self.closed else status)

    def _part(self, kind: type[_Part]) -> _Part:
        """The last part, if it is of this ``kind``, or else a new one."""
        if self._parts:
            last = self._parts[-1]
            if isinstance(last, kind):
                return last
            last.close()
        place = {
            "item_id": self._id,
            "output_index": self._index,
            "content_index": len(self._parts),
        }
        new = kind(self._emit, place)
        self._parts.append(new)
        return new


class _Text:
    """A part of a message that is text."""

    def __init__(self, emit: Emit, place: Mapping[str, Any]) -> None:
        self._emit = emit
        self._place = place
        self._text: list[str] = []
        self._tokens: list[Item] = []
        emit("response.content_part.added", **place, part=self.shown())

    def say(self, text: str, tokens: Sequence[Item]) -> None:
        self._text.append(text)
        self._tokens += tokens
        self._emit("response.output_text.delta", **self._place, delta=text, logprobs=tokens)

    def close(self) -> None:
        self._emit(
            "response.output_text.done",
            **self._place,
            text="".join(self._text),
            logprobs=self._tokens,
        )
        self._emit("response.content_part.done", **self._place, part=self.shown())

    def shown(self) -> Item:
        return output.text_part("".join(self._text), self._tokens)


class _Refusal:
    """A part of a message that is a refusal."""

    def __init__(self, emit: Emit, place: Mapping[str, Any]) -> None:
        self._emit = emit
        self._place = place
        self._refusal: list[str] = []
        emit("response.content_part.added", **place, part=self.shown())

    def say(self, refusal: str) -> None:
        self._refusal.append(refusal)
        self._emit("response.refusal.delta", **self._place, delta=refusal)

    def close(self) -> None:
        self._emit("response.refusal.done", **self._place, refusal="".join(self._refusal))
        self._emit("response.content_part.done", **self._place, part=self.shown())

    def shown(self) -> Item:
        return output.refusal_part("".join(self._refusal))


class Call:
    """A tool that the upstream calls. It is announced once its name is known."""

    def __init__(self, tool: Tool, emit: Emit, ids: Ids, index: int) -> None:
        self._tool = tool
        self._emit = emit
        self._id = ids.call(tool, index)
        self._index = index
        self._place = {"item_id": self._id, "output_index": index}
        self._call_id = ""
        self._named: Named = {"name": ""}
        self._given: list[str] = []
        self._is_announced = False
        self._status: output.Status = "in_progress"
        self.closed = False

    def add(self, part: Mapping[str, Any], names: Mapping[str, Named]) -> None:
        """``names`` are those of tools in namespaces."""
        called = part.get(self._tool.type) or {}
        given = called.get(self._tool.given) or ""
        # After its end comes nothing but white space.
        if self.closed:
            return
        if given:
            self._given.append(given)
        if self._is_announced:
            if given:
                self._say(given)
            return
        self._call_id = part.get("id") or self._call_id
        name = called.get("name")
        if name:
            self._named = names.get(name, {"name": name})
            self._announce()

    def is_whole(self) -> bool:
        """Whether nothing can follow: the arguments are a whole JSON object. A custom tool is given
        any text."""
        if not self._is_announced or self._tool is CUSTOM:
            return False
        try:
            return isinstance(orjson.loads("".join(self._given)), dict)
        except orjson.JSONDecodeError:
            return False

    def close(self, status: output.Status) -> None:
        if not self._is_announced:
            self._announce()
        self.closed = True
        self._status = status
        name = {"name": self._named["name"]} if self._tool is FUNCTION else {}
        said = {self._tool.given: "".join(self._given)}
        self._emit(f"{self._tool.events}.done", **self._place, **name, **said)
        self._emit("response.output_item.done", output_index=self._index, item=self.shown(status))

    def shown(self, status: output.Status) -> Item:
        """``status`` is that of an item that has not been closed."""
        return self._item("".join(self._given), self._status if self.closed else status)

    def _item(self, given: str, status: output.Status) -> Item:
        return output.tool_call(self._tool, self._id, self._call_id, self._named, given, status)

    def _announce(self) -> None:
        self._is_announced = True
        empty = self._item("", "in_progress")
        self._emit("response.output_item.added", output_index=self._index, item=empty)
        if self._given:
            self._say("".join(self._given))

    def _say(self, given: str) -> None:
        self._emit(f"{self._tool.events}.delta", **self._place, delta=given)


_Part = TypeVar("_Part", _Text, _Refusal)
