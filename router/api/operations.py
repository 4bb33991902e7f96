"""Every endpoint in words and types, for the OpenAPI document.

Requests and responses of OpenAI's API are described by the types of the ``openai`` package. It
takes its time to import: this module is for the first reader of the document.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, get_args

from openai.types import Completion, EmbeddingCreateParams, FileDeleted, FileObject
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionDeleted
from openai.types.chat import CompletionCreateParams as ChatCompletionCreateParams
from openai.types.completion_create_params import CompletionCreateParams
from openai.types.fine_tuning import FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from openai.types.responses import (
    InputTokenCountParams,
    InputTokenCountResponse,
    Response,
    ResponseCreateParams,
    ResponseItem,
    ResponseStreamEvent,
)

from config.settings import PolicyName
from router.api import shapes
from router.api.wire import MOST_LISTED
from router.dialects.messages import schema as messages
from router.keys.grant import Grant


class InputItems(shapes.Listing[ResponseItem]):
    """What a response answers."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A header or a query parameter."""

    name: str
    where: str
    words: str
    schema: dict[str, Any]
    style: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint. Requests, answers and errors are given as types; an answer of None is a
    text."""

    summary: str
    tag: str
    answer: Any = None
    body: Any = None
    body_required: bool = True
    takes: str = "application/json"
    """Media type of the body."""
    gives: str = "text/plain"
    """Media type of an answer that has no type here."""
    parameters: tuple[Parameter, ...] = ()
    event: Any = None
    """Type of the data of a stream's events, where a request may ask for a stream."""
    error: Any = shapes.Error


_TERMS = (
    Parameter("x-protege-task", "header", "The task that the request is for.", {"type": "string"}),
    Parameter(
        "x-protege-policy",
        "header",
        "Who decides which route it takes.",
        {"type": "string", "enum": list(get_args(PolicyName))},
    ),
    Parameter(
        "x-protege-bound",
        "header",
        "Most of a student's answers that may be wrong for it to answer.",
        {"type": "number", "minimum": 0, "maximum": 1},
    ),
    Parameter(
        "x-protege-deadline",
        "header",
        "Seconds to wait for the teacher.",
        {"type": "number", "exclusiveMinimum": 0},
    ),
    Parameter(
        "x-protege-budget", "header", "USD that it may cost.", {"type": "number", "minimum": 0}
    ),
)

_LIMIT = Parameter(
    "limit",
    "query",
    "How many items to list.",
    {"type": "integer", "minimum": 1, "maximum": MOST_LISTED, "default": 20},
)
_AFTER = Parameter("after", "query", "Id of the last item of the page before.", {"type": "string"})
_ORDER = Parameter(
    "order", "query", "By time.", {"type": "string", "enum": ["asc", "desc"], "default": "asc"}
)
_PAGING = (_LIMIT, _AFTER, _ORDER)
_NEWEST_FIRST = replace(_ORDER, schema={**_ORDER.schema, "default": "desc"})
_METADATA = Parameter(
    "metadata",
    "query",
    "Pairs that an item's metadata must have: metadata[key]=value.",
    {"type": "object", "additionalProperties": {"type": "string"}},
    style="deepObject",
)

_STORED = "/v1/chat/completions"
_RESPONSE = "/v1/responses/{identifier}"
_KEY = "/v1/keys/{identifier}"
_FILE = "/v1/files/{identifier}"
_JOBS = "/v1/fine_tuning/jobs"
_JOB = _JOBS + "/{identifier}"

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "/v1/chat/completions"): Operation(
        "Create a chat completion",
        "Generation",
        ChatCompletion,
        ChatCompletionCreateParams,
        parameters=_TERMS,
        event=ChatCompletionChunk,
    ),
    ("POST", "/v1/responses"): Operation(
        "Create a response",
        "Generation",
        Response,
        ResponseCreateParams,
        parameters=_TERMS,
        event=ResponseStreamEvent,
    ),
    ("POST", "/v1/responses/input_tokens"): Operation(
        "Estimate the tokens of a response's request",
        "Generation",
        InputTokenCountResponse,
        InputTokenCountParams,
    ),
    ("POST", "/v1/messages"): Operation(
        "Create a message in Anthropic's API",
        "Generation",
        shapes.Message,
        messages.Request,
        parameters=_TERMS,
        event=shapes.MessageEvent,
        error=shapes.AnthropicError,
    ),
    ("POST", "/v1/messages/count_tokens"): Operation(
        "Estimate the tokens of a message's request",
        "Generation",
        shapes.TokenCount,
        messages.Prompt,
        error=shapes.AnthropicError,
    ),
    ("POST", "/v1/completions"): Operation(
        "Complete a text",
        "Generation",
        Completion,
        CompletionCreateParams,
        parameters=_TERMS,
        event=shapes.CompletionChunk,
    ),
    ("POST", "/v1/embeddings"): Operation(
        "Create embeddings with a configured model",
        "Generation",
        shapes.Embeddings,
        EmbeddingCreateParams,
        parameters=_TERMS,
    ),
    ("GET", "/v1/models"): Operation("List models", "Models", shapes.Models),
    ("GET", "/v1/models/{name}"): Operation("Show a model", "Models", dict[str, Any]),
    ("GET", _STORED): Operation(
        "List stored chat completions",
        "Stored completions",
        shapes.Listing[ChatCompletion],
        parameters=(
            *_PAGING,
            Parameter("model", "query", "The model that answered.", {"type": "string"}),
            _METADATA,
        ),
    ),
    ("GET", _STORED + "/{identifier}"): Operation(
        "Show a stored chat completion", "Stored completions", ChatCompletion
    ),
    ("GET", _STORED + "/{identifier}/messages"): Operation(
        "List the messages of a stored chat completion's request",
        "Stored completions",
        shapes.Listing[shapes.StoredMessage],
        parameters=_PAGING,
    ),
    ("POST", _STORED + "/{identifier}"): Operation(
        "Replace a stored chat completion's metadata",
        "Stored completions",
        ChatCompletion,
        shapes.MetadataChange,
    ),
    ("DELETE", _STORED + "/{identifier}"): Operation(
        "Forget the texts of a stored chat completion", "Stored completions", ChatCompletionDeleted
    ),
    ("GET", _RESPONSE): Operation("Show a response", "Responses", Response),
    ("DELETE", _RESPONSE): Operation("Forget a response", "Responses", shapes.Deleted),
    ("GET", _RESPONSE + "/input_items"): Operation(
        "List what a response answers",
        "Responses",
        InputItems,
        parameters=(_LIMIT, _AFTER, _NEWEST_FIRST),
    ),
    ("POST", _RESPONSE + "/cancel"): Operation(
        "Refuse to cancel a response: none is made in the background", "Responses", Response
    ),
    ("POST", "/v1/feedback"): Operation(
        "Say what an answer was worth", "Learning", shapes.Feedback, shapes.FeedbackRequest
    ),
    ("GET", "/v1/tasks"): Operation(
        "List tasks", "Learning", shapes.Listing[shapes.Task], parameters=(_LIMIT, _AFTER)
    ),
    ("GET", "/v1/tasks/{name}"): Operation("Show a task", "Learning", shapes.Task),
    ("POST", "/v1/files"): Operation(
        "Upload a training file",
        "Learning",
        FileObject,
        shapes.FileUpload,
        takes="multipart/form-data",
    ),
    ("GET", "/v1/files"): Operation(
        "List training files",
        "Learning",
        shapes.Listing[FileObject],
        parameters=(
            *(_LIMIT, _AFTER, _NEWEST_FIRST),
            Parameter("purpose", "query", "What they are for.", {"enum": ["fine-tune"]}),
        ),
    ),
    ("GET", _FILE): Operation("Show a training file", "Learning", FileObject),
    ("GET", _FILE + "/content"): Operation(
        "What is in a training file", "Learning", gives="application/jsonl"
    ),
    ("DELETE", _FILE): Operation("Delete a training file", "Learning", FileDeleted),
    ("POST", _JOBS): Operation(
        "Have a task's student trained", "Learning", shapes.Job, shapes.JobRequest
    ),
    ("GET", _JOBS): Operation(
        "List training runs, the newest first",
        "Learning",
        shapes.Listing[shapes.Job],
        parameters=(_LIMIT, _AFTER, _METADATA),
    ),
    ("GET", _JOB): Operation("Show a training run", "Learning", shapes.Job),
    ("POST", _JOB + "/cancel"): Operation("Cancel a training run", "Learning", shapes.Job),
    ("GET", _JOB + "/events"): Operation(
        "What a training run did, the newest first",
        "Learning",
        shapes.Listing[FineTuningJobEvent],
        parameters=(_LIMIT, _AFTER),
    ),
    ("GET", _JOB + "/checkpoints"): Operation(
        "The student that a training run made",
        "Learning",
        shapes.Listing[FineTuningJobCheckpoint],
        parameters=(_LIMIT, _AFTER),
    ),
    ("POST", "/v1/keys"): Operation("Create a virtual key", "Keys", shapes.NewKey, Grant),
    ("GET", "/v1/keys"): Operation(
        "List virtual keys", "Keys", shapes.Listing[shapes.Key], parameters=_PAGING
    ),
    ("GET", _KEY): Operation("Show a virtual key", "Keys", shapes.Key),
    ("PATCH", _KEY): Operation("Change a virtual key", "Keys", shapes.Key, Grant),
    ("DELETE", _KEY): Operation("Revoke a virtual key", "Keys", shapes.Key),
    ("POST", _KEY + "/rotate"): Operation(
        "Give a virtual key a new secret",
        "Keys",
        shapes.NewKey,
        shapes.Rotation,
        body_required=False,
    ),
    ("GET", "/healthz"): Operation("Whether the process is alive", "Operation", shapes.Status),
    ("GET", "/readyz"): Operation("Whether it can serve", "Operation", shapes.Status),
    ("GET", "/metrics"): Operation("Metrics in Prometheus' text format", "Operation"),
    ("GET", "/openapi.json"): Operation("This document", "Operation", dict[str, Any]),
}
