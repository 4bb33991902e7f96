"""OpenTelemetry's names for what is done by generative AI, and by whom
(https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/)."""

from __future__ import annotations

from telemetry.exchange import Dialect

_OPERATIONS = {"embeddings": "embeddings", "completions": "text_completion"}
"""All else is a chat."""

_PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""Where litellm has another name."""


def operation(dialect: Dialect) -> str:
    """What is done for requests of a dialect.

    >>> operation("messages"), operation("completions")
    ('chat', 'text_completion')
    """
    return _OPERATIONS.get(dialect, "chat")


def provider(litellm: str) -> str:
    """The provider that litellm calls so.

    >>> provider("gemini"), provider("anthropic")
    ('gcp.gemini', 'anthropic')
    """
    return _PROVIDERS.get(litellm, litellm)
