"""A request to the Messages API as the chat completion request that says the same.

What OpenAI's API has no words for is spelled as litellm does, which gives it back to an Anthropic
model unchanged: ``thinking_blocks`` of an assistant message, ``cache_control`` of parts and tools.
How hard to think is said twice, in Claude's words and in those of others: who answers decides
(``router.upstreams.thinking.in_own_words``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from router.checks import written
from router.dialects.messages.schema import (
    AnyChoice,
    AssistantTurn,
    Base64Source,
    ContentSource,
    Document,
    FileSource,
    Image,
    OutputConfig,
    PlainSource,
    Prompt,
    RedactedThinking,
    Request,
    SearchResult,
    Shown,
    SystemTurn,
    Text,
    Thinking,
    ThinkingBudget,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    UrlSource,
    UserTurn,
)
from router.upstreams.thinking import CLAUDES_MODES

Object = dict[str, Any]

_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_TIERS = {"standard_only": "default"}
_LONGEST_USER = 64
"""Characters. OpenAI refuses longer ones."""

# The budgets that litellm gives an Anthropic model for each effort: the effort's budget is never
# more than the caller's, for it must stay below max_tokens.
_BUDGETS = ((4096, "high"), (2048, "medium"), (0, "low"))


def chat_request(request: Request) -> Object:
    """The whole request. A stream always ends with its usage: a message has to have it."""
    body = chat_prompt(request)
    body["max_completion_tokens"] = request.max_tokens
    said: Object = {
        "stop": request.stop_sequences or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "service_tier": _TIERS.get(request.service_tier or ""),
        "store": request.store,
    }
    if request.metadata is not None:
        said["user"] = _user(request.metadata.user_id)
        said["metadata"] = request.metadata.model_extra or None
    body |= {name: value for name, value in said.items() if value is not None}
    if request.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def _user(identifier: str | None) -> str | None:
    """A name for the same user that OpenAI takes: Claude Code's is as long as three."""
    if identifier is None or len(identifier) <= _LONGEST_USER:
        return identifier
    return hashlib.sha256(identifier.encode()).hexdigest()[:_LONGEST_USER]


def chat_prompt(prompt: Prompt) -> Object:
    """The part of it that the model reads."""
    body: Object = {"model": prompt.model, "messages": []}
    if prompt.system:
        body["messages"].append({"role": "system", "content": _content(prompt.system)})
    for turn in prompt.messages:
        body["messages"] += _messages(turn)
    if prompt.tools:
        body["tools"] = [_tool(tool) for tool in prompt.tools]
    if prompt.tool_choice is not None:
        body |= _tool_choice(prompt.tool_choice)
    effort = _effort(prompt)
    if effort is not None:
        body["reasoning_effort"] = effort
    if prompt.thinking is not None and prompt.thinking.type in CLAUDES_MODES:
        body["thinking"] = prompt.thinking.model_dump(exclude_none=True)
    if prompt.format is not None:
        body["response_format"] = _response_format(prompt.format.schema_)
    return body


# Messages


def _messages(turn: UserTurn | AssistantTurn | SystemTurn) -> list[Object]:
    if isinstance(turn, AssistantTurn):
        return [_assistant_message(turn)]
    if isinstance(turn, SystemTurn):
        return [{"role": "system", "content": _content(turn.content)}]
    return _user_messages(turn)


def _user_messages(turn: UserTurn) -> list[Object]:
    """The tools' messages, and one of what else the user says.

    A tool's message holds text alone: the images of its result are the user's to show.
    """
    messages: list[Object] = []
    shown: list[Object] = []
    for block in turn.content:
        if isinstance(block, ToolResult):
            parts = [part for each in block.content for part in _parts(each)]
            messages.append(_tool_message(block, [part for part in parts if _is_text(part)]))
            shown += [part for part in parts if not _is_text(part)]
        else:
            shown += _parts(block)
    if shown or not messages:
        messages.append({"role": "user", "content": _plain(shown)})
    return messages


def _tool_message(result: ToolResult, parts: list[Object]) -> Object:
    # A chat completion's tool cannot fail but by saying so.
    if result.is_error:
        parts = [{"type": "text", "text": "The tool failed."}, *parts]
    return {"role": "tool", "tool_call_id": result.tool_use_id, "content": _plain(parts)}


def _assistant_message(turn: AssistantTurn) -> Object:
    texts = [block for block in turn.content if isinstance(block, Text)]
    calls = [_tool_call(block) for block in turn.content if isinstance(block, ToolUse)]
    message: Object = {"role": "assistant", "content": _content(texts) if texts else None}
    if calls:
        message["tool_calls"] = calls
    elif not texts:
        message["content"] = ""
    signed = [
        block.model_dump()
        for block in turn.content
        if isinstance(block, RedactedThinking) or (isinstance(block, Thinking) and block.signature)
    ]
    if signed:
        message["thinking_blocks"] = signed
    # What no Anthropic model has signed is another's reasoning.
    unsigned = "".join(
        block.thinking
        for block in turn.content
        if isinstance(block, Thinking) and not block.signature
    )
    if unsigned:
        message["reasoning_content"] = unsigned
    return message


def _tool_call(use: ToolUse) -> Object:
    function = {"name": use.name, "arguments": written(use.input).decode()}
    return {"id": use.id, "type": "function", "function": function}


# Parts of a message


def _content(texts: Iterable[Text]) -> str | list[Object]:
    return _plain([_text(block.text, block.cache_control) for block in texts])


def _plain(parts: Sequence[Object]) -> str | list[Object]:
    """The parts, or a string where they are no more than that."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return list(parts)


def _parts(block: Shown) -> list[Object]:
    if isinstance(block, Text):
        return [_text(block.text, block.cache_control)]
    if isinstance(block, Image):
        return [_cached(_image(block), block.cache_control)]
    if isinstance(block, SearchResult):
        said = [block.title, block.source, *(text.text for text in block.content)]
        return [_text("\n".join(said), block.cache_control)]
    return _document(block)


def _text(text: str, cache_control: Object | None) -> Object:
    return _cached({"type": "text", "text": text}, cache_control)


def _image(block: Image) -> Object:
    source = block.source
    if isinstance(source, FileSource):
        return _file(source)
    url = source.url if isinstance(source, UrlSource) else _data_url(source)
    return {"type": "image_url", "image_url": {"url": url}}


def _document(block: Document) -> list[Object]:
    """What is said of it, and its content."""
    parts = [_text(said, None) for said in (block.title, block.context) if said]
    source = block.source
    if isinstance(source, PlainSource):
        return [*parts, _text(source.data, block.cache_control)]
    if isinstance(source, ContentSource):
        return [*parts, *(part for each in source.content for part in _parts(each))]
    return [*parts, _cached(_file(source), block.cache_control)]


def _file(source: Base64Source | UrlSource | FileSource) -> Object:
    if isinstance(source, Base64Source):
        return {
            "type": "file",
            "file": {"filename": "document.pdf", "file_data": _data_url(source)},
        }
    # litellm lets a URL be a file's id.
    identifier = source.url if isinstance(source, UrlSource) else source.file_id
    return {"type": "file", "file": {"file_id": identifier}}


def _data_url(source: Base64Source) -> str:
    return f"data:{source.media_type};base64,{source.data}"


def _cached(content: Object, cache_control: Object | None) -> Object:
    return {**content, "cache_control": cache_control} if cache_control else content


def _is_text(part: Object) -> bool:
    return bool(part["type"] == "text")


# Tools and settings


def _tool(tool: Tool) -> Object:
    function: Object = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return _cached({"type": "function", "function": function}, tool.cache_control)


def _tool_choice(choice: AnyChoice | ToolChoice) -> Object:
    chosen: Object = {}
    if isinstance(choice, ToolChoice):
        chosen["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    else:
        chosen["tool_choice"] = _CHOICES[choice.type]
    if choice.disable_parallel_tool_use:
        chosen["parallel_tool_calls"] = False
    return chosen


def _effort(prompt: Prompt) -> str | None:
    """How hard to think; None where the caller leaves it to the model."""
    config = prompt.output_config or OutputConfig()
    if config.effort is not None:
        return config.effort
    if isinstance(prompt.thinking, ThinkingBudget):
        budget = prompt.thinking.budget_tokens
        return next(effort for least, effort in _BUDGETS if budget >= least)
    return None


def _response_format(schema: Object) -> Object:
    described = {"name": "answer", "schema": schema, "strict": _is_closed(schema)}
    return {"type": "json_schema", "json_schema": described}


def _is_closed(schema: Any) -> bool:
    """Whether every object in it requires all its properties and allows no others: what OpenAI
    wants of a schema to follow it to the letter."""
    if isinstance(schema, list):
        return all(map(_is_closed, schema))
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object":
        properties = schema.get("properties") or {}
        required = schema.get("required") or []
        if set(properties) != set(required) or schema.get("additionalProperties") is not False:
            return False
    return all(map(_is_closed, schema.values()))
