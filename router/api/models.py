"""``GET /v1/models``: the names that a request's ``model`` may have.

Callers that say which version of Anthropic's API they speak are answered in its shape
(https://docs.anthropic.com/en/api/models-list), all others in OpenAI's.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from router.api.wire import answered
from router.dialects.messages.errors import is_anthropics
from router.errors import ModelNotFoundError
from router.models import Models
from router.students.serving import Students
from telemetry.keys import Key


def add_models(app: FastAPI, models: Models, students: Students) -> None:
    """List and show models, and students by their versions. All are as old as the server: when
    models were made is not known."""
    created = int(time.time())

    def describe(request: Request, name: str) -> dict[str, Any]:
        if not is_anthropics(request.scope):
            return {"id": name, "object": "model", "created": created, "owned_by": "protege"}
        return {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": datetime.fromtimestamp(created, UTC).isoformat(),
            "lifecycle": "active",
        }

    def allowed(request: Request) -> list[str]:
        """Those that the caller's key may ask for."""
        key: Key | None = request.scope.get("key")
        ours = (
            student.version
            for student in students.all()
            if key is None or key.tasks is None or student.task in key.tasks
        )
        return [name for name in (*models.names(), *ours) if key is None or key.may_ask(name)]

    @app.get("/v1/models")
    async def list_models(request: Request) -> Response:
        names = allowed(request)
        listed: dict[str, Any] = {"data": [describe(request, name) for name in names]}
        if is_anthropics(request.scope):
            ends = {"first_id": names[0], "last_id": names[-1]} if names else {}
            paging = {"has_more": False, "first_id": None, "last_id": None, **ends}
            return answered({**listed, **paging})
        return answered({"object": "list", **listed})

    @app.get("/v1/models/{name:path}")
    async def get_model(request: Request, name: str) -> Response:
        if name not in allowed(request):
            raise ModelNotFoundError(f"The model '{name}' does not exist.", "model")
        return answered(describe(request, name))
