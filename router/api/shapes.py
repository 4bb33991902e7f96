"""What the endpoints answer with, where it is Protege's own or OpenAI's package says less."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from openai.types.fine_tuning import FineTuningJob
from pydantic import BaseModel

from telemetry.jobs import Origin
from telemetry.keys import Period

_Item = TypeVar("_Item")


class Listing(BaseModel, Generic[_Item]):
    object: Literal["list"]
    data: list[_Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | int | None


class Error(BaseModel):
    """An error in OpenAI's shape."""

    error: ErrorDetail


class AnthropicErrorDetail(BaseModel):
    type: str
    message: str


class AnthropicError(BaseModel):
    """An error in Anthropic's shape."""

    type: Literal["error"]
    error: AnthropicErrorDetail


class StoredMessage(BaseModel):
    """A message of a stored completion's request."""

    id: str
    role: str
    content: str | None
    content_parts: list[dict[str, Any]] | None
    name: str | None


class MetadataChange(BaseModel):
    metadata: dict[str, str] | None
    """At most 16 pairs, keys of at most 64 characters and values of at most 512."""


class FeedbackRequest(BaseModel):
    exchange: str
    """Id of an exchange, a completion, a response or a message."""
    score: float | None = None
    """From 0 (wrong) to 1 (right)."""
    thumb: Literal["up", "down"] | None = None
    answer: str | None = None
    """The right answer."""
    comment: str | None = None


class Feedback(BaseModel):
    """What is now known of an exchange's answer."""

    object: Literal["protege.feedback"]
    exchange: str
    score: float | None
    answer: str | None
    comment: str | None


class TaskStudent(BaseModel):
    version: str
    created: int


class Task(BaseModel):
    """A task and what became of its requests in the last 30 days."""

    id: str
    object: Literal["protege.task"]
    requests: int
    student: TaskStudent | None
    student_share: float
    audits: int
    agreement: float | None


class FileUpload(BaseModel):
    """A form."""

    purpose: Literal["fine-tune"]
    file: bytes
    """Lines of JSON, each with ``messages``, of which the last is the right answer."""


class JobRequest(BaseModel):
    """A training run that somebody wants, in OpenAI's terms."""

    training_file: str
    """Id of a file, or ``log`` for the task's own answers alone."""
    model: Literal["auto", "ngrams"]
    suffix: str | None = None
    """The task, where ``metadata.task`` does not say."""
    metadata: dict[str, str] | None = None
    seed: int | None = None
    """Nothing depends on it: the same answers give the same student."""
    hyperparameters: dict[str, Any] | None = None
    """Each ``auto``."""
    method: dict[str, Any] | None = None


class Job(FineTuningJob):
    """A training run."""

    task: str
    origin: Origin
    """Who began it."""


class Key(BaseModel):
    """A virtual key without its secret."""

    id: str
    object: Literal["key"]
    name: str
    hint: str
    created_at: int
    expires_at: float | None
    revoked_at: float | None
    admin: bool
    budget_usd: float | None
    period: Period
    spent_usd: float
    requests_per_minute: int | None
    tokens_per_minute: int | None
    models: list[str] | None
    tasks: list[str] | None


class NewKey(Key):
    """A key with a secret that is shown this once."""

    secret: str


class Rotation(BaseModel):
    grace_s: float = 0.0
    """Seconds that the old secret goes on working for."""


class Deleted(BaseModel):
    id: str
    object: str
    deleted: Literal[True]


class Message(BaseModel):
    """Anthropic's message (https://docs.anthropic.com/en/api/messages)."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[dict[str, Any]]
    stop_reason: str | None
    stop_sequence: str | None
    usage: dict[str, Any]


class Embedding(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str
    """Numbers, or in base64 their 32-bit floats."""


class EmbeddingsUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    """Embeddings in either format. OpenAI's package has a type for that of numbers alone."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage


class CompletionChunk(BaseModel):
    """A part of a legacy completion. OpenAI's package has no type for a choice that goes on."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]


class MessageEvent(BaseModel):
    """An event of Anthropic's streams."""

    type: str


class TokenCount(BaseModel):
    input_tokens: int


class Models(BaseModel):
    """Every name that a request's ``model`` may have."""

    data: list[dict[str, Any]]


class Status(BaseModel):
    status: str
