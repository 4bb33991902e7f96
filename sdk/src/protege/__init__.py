"""OpenAI's client, pointed at a Protege server."""

from protege.client import AsyncOpenAI, OpenAI

__all__ = ["AsyncOpenAI", "OpenAI"]
