"""``/v1/files``: training files, in OpenAI's API
(https://platform.openai.com/docs/api-reference/files).

A file is checked line by line before it is kept, so that a job never fails for one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from router.api.guarded import for_operators
from router.api.wire import answered, body_of, listing, paging, text_of
from router.errors import InvalidRequestError, NotFoundError, UnsupportedError
from router.imports.training_file import read_pairs
from router.lookup import is_searchable
from router.turn import Arrival
from telemetry import files
from telemetry.files import File
from telemetry.store import Store

PURPOSE = "fine-tune"

_PATH = "/v1/files"
_LONGEST_NAME = 255


def add_files(app: FastAPI, store: Store) -> None:
    """With an admin's key, where there are keys: what is in a file is taught to students."""
    engine = store.engine
    operators = for_operators()

    @operators.post(_PATH)
    async def upload(request: Request) -> Response:
        name, content = await _upload(request)
        await asyncio.to_thread(read_pairs, content)
        file = await asyncio.to_thread(files.add, engine, name, content, time.time())
        return answered(shown(file))

    @operators.get(_PATH)
    async def list_files(request: Request) -> Response:
        asked = paging(request.query_params, "desc")
        _check_purpose(text_of(request.query_params, "purpose") or PURPOSE)
        after = None if asked.after is None else await found(engine, asked.after, "after")
        page = await asyncio.to_thread(
            files.page, engine, asked.limit + 1, after, newest_first=asked.newest_first
        )
        return listing([shown(file) for file in page], asked.limit)

    @operators.get(_PATH + "/{identifier}")
    async def get(identifier: str, request: Request) -> Response:
        return answered(shown(await found(engine, identifier)))

    @operators.get(_PATH + "/{identifier}/content")
    async def content(identifier: str, request: Request) -> Response:
        file = await found(engine, identifier)
        inside = await asyncio.to_thread(files.content, engine, file.id)
        headers = {"x-request-id": Arrival(None).id}
        return Response(inside, media_type="application/jsonl", headers=headers)

    @operators.delete(_PATH + "/{identifier}")
    async def delete(identifier: str, request: Request) -> Response:
        file = await found(engine, identifier)
        await asyncio.to_thread(files.remove, engine, file.id)
        return answered({"id": file.id, "object": "file", "deleted": True})

    app.router.routes.extend(operators.routes)


def shown(file: File) -> dict[str, Any]:
    """A file as OpenAI's API shows it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created),
        "filename": file.name,
        "purpose": PURPOSE,
        "status": "processed",
    }


async def found(engine: Engine, identifier: str, param: str | None = None) -> File:
    """The file of this id, which ``param`` names. Raises NotFoundError."""
    known = is_searchable(identifier)
    file = await asyncio.to_thread(files.find, engine, identifier) if known else None
    if file is None:
        raise NotFoundError(f"There is no file '{identifier}'.", param)
    return file


async def _upload(request: Request) -> tuple[str, bytes]:
    """Name and content of the file in a form. Raises InvalidRequestError or BodyTooLargeError."""
    form = await _form(request, await body_of(request))
    try:
        for name in form:
            if name not in ("file", "purpose"):
                raise UnsupportedError(f"'{name}' is not supported for files.", name)
        purpose, file = form.get("purpose"), form.get("file")
        if purpose is None:
            raise InvalidRequestError("Missing required parameter: 'purpose'.", "purpose")
        _check_purpose(purpose)
        if not isinstance(file, UploadFile):
            raise InvalidRequestError("Missing required parameter: 'file', a file.", "file")
        name = (file.filename or "file.jsonl").replace("\0", "")
        return name[:_LONGEST_NAME], await file.read()
    finally:
        await form.close()


async def _form(request: Request, body: bytes) -> FormData:
    """A form that has been read, and is no larger than a body may be."""

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InvalidRequestError("Expected a form: 'content-type: multipart/form-data'.")
    try:
        return await MultiPartParser(request.headers, stream()).parse()
    except (MultiPartException, KeyError) as error:
        raise InvalidRequestError("The body of the request is not a valid form.") from error


def _check_purpose(purpose: Any) -> None:
    if purpose != PURPOSE:
        raise UnsupportedError(f"Invalid value for 'purpose': expected '{PURPOSE}'.", "purpose")
