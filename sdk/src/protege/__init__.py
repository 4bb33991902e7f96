"""OpenAI's client, pointed at a Protege server."""

from protege.client import AsyncOpenAI, OpenAI
from protege.feedback import Feedback
from protege.provenance import Routing, routing
from protege.tasks import Task

__all__ = ["AsyncOpenAI", "Feedback", "OpenAI", "Routing", "Task", "routing"]
