"""``GET /openapi.json``: what is served, by OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import FastAPI
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from router.api.wire import passed
from router.turn import Arrival

if TYPE_CHECKING:
    from router.api.operations import Operation, Parameter

_REFERENCE = "#/components/schemas/{model}"
_CONVERTER = re.compile(r":\w+}")
_NAME = re.compile(r"{(\w+)}")

# Virtual keys, as OpenAI's clients send them and as Anthropic's do; none where none is configured.
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}, {}]


def add_openapi(app: FastAPI) -> None:
    """Describe every route that ``app`` has."""

    @app.get("/openapi.json")
    async def openapi(request: Request) -> Response:
        content = await asyncio.to_thread(_content, tuple(_endpoints(request.app)))
        return passed(content, Arrival(None).id)


def _endpoints(app: FastAPI) -> Iterable[tuple[str, str]]:
    """Method and path of each, as the document names them."""
    for route in app.routes:
        assert isinstance(route, Route)
        for method in sorted(route.methods or ()):
            if method != "HEAD":
                yield method, _CONVERTER.sub("}", route.path)


@cache
def _content(endpoints: tuple[tuple[str, str], ...]) -> bytes:
    # It imports all types of OpenAI's package, which is worth a second of anybody's start.
    from router.api.operations import OPERATIONS

    return orjson.dumps(document({endpoint: OPERATIONS[endpoint] for endpoint in endpoints}))


def document(operations: dict[tuple[str, str], Operation]) -> dict[str, Any]:
    """The document for ``operations`` by method and path."""
    schemas = _Schemas(operations.values())
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in operations.items():
        paths.setdefault(path, {})[method.lower()] = _described(path, operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Protege", "version": version("protege-router")},
        "paths": paths,
        "components": {"schemas": schemas.shared, "securitySchemes": _SCHEMES},
        "security": _SECURITY,
    }


class _Schemas:
    """JSON schemas of the types that operations speak of; ``shared`` are those with a name."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        spoken = [(each.answer, each.body, each.event, each.error) for each in operations]
        self._types = list(dict.fromkeys(kind for kinds in spoken for kind in kinds if kind))
        adapters: list[Any] = [
            (index, "validation", TypeAdapter(kind)) for index, kind in enumerate(self._types)
        ]
        self._schemas, shared = TypeAdapter.json_schemas(adapters, ref_template=_REFERENCE)
        self.shared: dict[str, Any] = shared["$defs"]

    def of(self, kind: Any) -> dict[str, Any]:
        return self._schemas[self._types.index(kind), "validation"]


def _described(path: str, operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    error = {"application/json": {"schema": schemas.of(operation.error)}}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*map(_in_path, _NAME.findall(path)), *map(_parameter, operation.parameters)],
        "responses": {
            "200": {"description": "The answer.", "content": _answer(operation, schemas)},
            "4XX": {"description": "The request's fault.", "content": error},
            "5XX": {"description": "The server's or the upstream's fault.", "content": error},
        },
    }
    if operation.body is not None:
        content = {operation.takes: {"schema": schemas.of(operation.body)}}
        described["requestBody"] = {"required": operation.body_required, "content": content}
    return described


def _answer(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    if operation.answer is None:
        return {operation.gives: {"schema": {"type": "string"}}}
    answer = {"application/json": {"schema": schemas.of(operation.answer)}}
    if operation.event is not None:
        answer["text/event-stream"] = {"schema": _event(schemas.of(operation.event))}
    return answer


def _event(data: dict[str, Any]) -> dict[str, Any]:
    """Each event of a stream. OpenAI's last one says ``[DONE]`` in place of JSON."""
    said = {"type": "string", "contentMediaType": "application/json", "contentSchema": data}
    last = {"type": "string", "const": "[DONE]"}
    return {
        "type": "object",
        "properties": {"event": {"type": "string"}, "data": {"anyOf": [last, said]}},
        "required": ["data"],
    }


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.words,
        "schema": parameter.schema,
    }
    if parameter.style is not None:
        described |= {"style": parameter.style, "explode": True}
    return described
