"""What a request to the Messages API may hold, as far as a chat completion can say the same."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, ValidationError

from router.errors import InvalidRequestError


class _Object(BaseModel):
    # Built when the first request comes: a server that gets none of them need not wait for it.
    model_config = ConfigDict(strict=True, frozen=True, defer_build=True)


class _Cacheable(_Object):
    cache_control: dict[str, Any] | None = None


def _blocks(content: Any) -> Any:
    """A string is short for one block of text."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


_SHORT = BeforeValidator(_blocks)
_BY_TYPE = Discriminator("type")


# What both sides may show


class Base64Source(_Object):
    type: Literal["base64"]
    media_type: str
    data: str


class UrlSource(_Object):
    type: Literal["url"]
    url: str


class FileSource(_Object):
    type: Literal["file"]
    file_id: str


class Text(_Cacheable):
    type: Literal["text"]
    text: str


class Image(_Cacheable):
    type: Literal["image"]
    source: Annotated[Base64Source | UrlSource | FileSource, _BY_TYPE]


class PlainSource(_Object):
    type: Literal["text"]
    data: str


class ContentSource(_Object):
    type: Literal["content"]
    content: Annotated[list[Annotated[Text | Image, _BY_TYPE]], _SHORT]


def _refuse_to_cite(citations: Any) -> None:
    if isinstance(citations, dict) and citations.get("enabled"):
        raise ValueError("not supported here: an answer that is translated cites nothing")


class _Citable(_Cacheable):
    citations: Annotated[None, BeforeValidator(_refuse_to_cite)] = None


class Document(_Citable):
    type: Literal["document"]
    source: Annotated[Base64Source | UrlSource | FileSource | PlainSource | ContentSource, _BY_TYPE]
    title: str | None = None
    context: str | None = None


class SearchResult(_Citable):
    type: Literal["search_result"]
    title: str
    source: str
    content: list[Text]


Shown = Text | Image | Document | SearchResult


# What belongs to one side


class ToolResult(_Cacheable):
    type: Literal["tool_result"]
    tool_use_id: str
    content: Annotated[list[Annotated[Shown, _BY_TYPE]], _SHORT] = []
    is_error: bool = False


class ToolUse(_Cacheable):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class Thinking(_Object):
    type: Literal["thinking"]
    thinking: str
    signature: str = ""


class RedactedThinking(_Object):
    type: Literal["redacted_thinking"]
    data: str


# Turns


class UserTurn(_Object):
    role: Literal["user"]
    content: Annotated[list[Annotated[Shown | ToolResult, _BY_TYPE]], _SHORT]


class AssistantTurn(_Object):
    role: Literal["assistant"]
    content: Annotated[
        list[Annotated[Text | ToolUse | Thinking | RedactedThinking, _BY_TYPE]], _SHORT
    ]


class SystemTurn(_Object):
    role: Literal["system"]
    content: Annotated[list[Text], _SHORT]


Turn = Annotated[UserTurn | AssistantTurn | SystemTurn, Discriminator("role")]


# Tools


class Tool(_Cacheable):
    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


def _own_tool(tool: Any) -> Any:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind not in (None, "custom"):
        raise ValueError(
            f"tools of type '{kind}' are Anthropic's own and not supported here: "
            "define the tool by its name and input_schema"
        )
    return tool


class AnyChoice(_Object):
    type: Literal["auto", "any", "none"]
    disable_parallel_tool_use: bool = False


class ToolChoice(_Object):
    type: Literal["tool"]
    name: str
    disable_parallel_tool_use: bool = False


# Settings of the answer


class Metadata(_Object):
    # Anthropic knows the user's id alone; what else there is says what a chat's metadata says.
    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    user_id: str | None = None


class ThinkingBudget(_Object):
    type: Literal["enabled"]
    budget_tokens: int = Field(ge=1024)
    display: str | None = None


class ThinkingMode(_Object):
    type: Literal["disabled", "adaptive", "between_tools"]
    display: str | None = None


class JsonFormat(_Object):
    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(_Object):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: JsonFormat | None = None


def _refuse(value: Any) -> None:
    if value:
        raise ValueError("not supported here: only Anthropic's own servers can do that")


def _refuse_thread(value: Any) -> None:
    if value:
        raise ValueError("not supported here: send all messages of the conversation")


class Prompt(_Object):
    """What the model reads: all of a request whose tokens are to be counted."""

    model: str
    messages: list[Turn] = Field(min_length=1)
    system: Annotated[list[Text], _SHORT] | None = None
    tools: list[Annotated[Tool, BeforeValidator(_own_tool)]] | None = None
    tool_choice: Annotated[AnyChoice | ToolChoice, _BY_TYPE] | None = None
    thinking: Annotated[ThinkingBudget | ThinkingMode, _BY_TYPE] | None = None
    output_config: OutputConfig | None = None
    output_format: JsonFormat | None = None
    """The older name of ``output_config.format``."""

    @property
    def format(self) -> JsonFormat | None:
        """What the answer has to look like, by either name."""
        said = self.output_config and self.output_config.format
        return said or self.output_format


class Request(Prompt):
    """A request for a message."""

    # What is not known may mean that the answer would be a wrong one.
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    max_tokens: int = Field(ge=1)
    stop_sequences: list[str] | None = None
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    store: bool | None = None
    """Not Anthropic's: false keeps no text, as in a chat completion request."""
    container: Annotated[None, BeforeValidator(_refuse)] = None
    mcp_servers: Annotated[None, BeforeValidator(_refuse)] = None
    compaction: Annotated[None, BeforeValidator(_refuse)] = None
    inference_geo: Annotated[None, BeforeValidator(_refuse)] = None
    billing_policy: Annotated[None, BeforeValidator(_refuse)] = None
    thread: Annotated[None, BeforeValidator(_refuse_thread)] = None

    # These make an answer cheaper, faster or likelier at Anthropic, and no other one.
    cache_control: Any = None
    context_management: Any = None
    diagnostics: Any = None
    fallback_credit_token: Any = None
    fallbacks: Any = None
    speed: Any = None


_Kind = TypeVar("_Kind", bound=Prompt)


def check(kind: type[_Kind], body: dict[str, Any]) -> _Kind:
    """``body`` as a request of that kind. Raises InvalidRequestError for the first mistake in it,
    worded as Anthropic does: the place, then what is wrong there."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        mistake = error.errors(include_url=False)[0]
        at = ".".join(str(part) for part in mistake["loc"])
        wrong = mistake["ctx"]["error"] if mistake["type"] == "value_error" else mistake["msg"]
        raise InvalidRequestError(f"{at}: {wrong}" if at else str(wrong), at or None) from error
