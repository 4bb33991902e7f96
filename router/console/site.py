"""All pages of the console under one roof: their paths, who is let in, and how errors look."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.datastructures import FormData, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.api.wire import body_of
from router.console import exchanges, keys, live, overview, students, tasks
from router.console.access import COOKIE, Access, Visitor, check_origin, remember
from router.console.application import ROOT, Parts
from router.console.page import Desk, Page
from router.errors import SHAPES, ForbiddenError, InvalidRequestError, NotFoundError, ProtegeError
from telemetry.sessions import Sessions

_HERE = Path(__file__).parent
_LARGEST_FORM = 1_000_000

_HEADERS = {
    # Nothing from elsewhere, nothing inline: a prompt that is markup stays text even if it were
    # not escaped.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_UNSTORED = {"cache-control": "no-store"}

Show = Callable[[Page], Awaitable[Response]]
Act = Callable[[Page, FormData], Awaitable[Response]]

_log = logging.getLogger(__name__)


def site(parts: Parts) -> ASGIApp:
    """The application below ``ROOT``."""
    desk = Desk(parts)
    access = Access(parts.ring, Sessions(parts.store))
    door = _Door(access, desk)
    feed = live.Feed(parts.store, access)
    routes = [
        Route("/sign-in", door.sign_in, methods=["GET", "POST"]),
        Route("/sign-out", door.post(door.sign_out), methods=["POST"]),
        Route("/live", door.get(feed.stream)),
        Route("/tasks", door.get(tasks.show_all)),
        Route("/task", door.get(tasks.show_one)),
        Route("/students", door.get(students.show_all)),
        Route("/student", door.get(students.show_one)),
        Route("/student/promote", door.post(students.promote), methods=["POST"]),
        Route("/student/roll-back", door.post(students.roll_back), methods=["POST"]),
        Route("/exchanges", door.get(exchanges.show_all)),
        Route("/exchange", door.get(exchanges.show_one)),
        Route("/exchange/feedback", door.post(exchanges.give_feedback), methods=["POST"]),
        Route("/keys", door.get(keys.show_all)),
        Route("/key", door.get(keys.show_one)),
        Route("/keys/change", door.post(keys.change), methods=["POST"]),
        Route("/keys/rotate", door.post(keys.rotate), methods=["POST"]),
        Route("/keys/create", door.post(keys.create), methods=["POST"]),
        Route("/keys/revoke", door.post(keys.revoke), methods=["POST"]),
        Mount("/static", StaticFiles(directory=_HERE / "static")),
        Route("/", door.get(overview.show)),
    ]
    # FastAPI's way of catching what is unexpected would answer in the API's shape.
    handlers = {HTTPException: door.unknown, ProtegeError: door.refuse, Exception: door.fail}
    inner = Starlette(routes=[Mount(ROOT, routes=routes)], exception_handlers=handlers)

    inner.state.largest_body = _LARGEST_FORM

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == ROOT:
            # As it is typed; below it all links are relative to the root of the server.
            scope = {**scope, "path": f"{ROOT}/", "raw_path": f"{ROOT}/".encode()}
        headers = _HEADERS if "/static/" in scope["path"] else {**_HEADERS, **_UNSTORED}

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await inner(scope, receive, sent)

    return guarded


class _Door:
    """Lets visitors in, or shows them where to sign in."""

    def __init__(self, access: Access, desk: Desk) -> None:
        self._access = access
        self._desk = desk

    def get(self, show: Show) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that shows something to whoever is let in."""

        async def endpoint(request: Request) -> Response:
            visitor = await self._access.visitor(request)
            if not visitor.admitted:
                return self._elsewhere(request)
            return self._known(await show(Page(request, visitor, self._desk)), request, visitor)

        return endpoint

    def post(self, act: Act) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that changes something, if a form of the console's own asks for it."""

        async def endpoint(request: Request) -> Response:
            visitor = await self._access.visitor(request)
            form = await _form(request)
            check_origin(request, visitor, form)
            if not visitor.admitted:
                return self._elsewhere(request)
            return await act(Page(request, visitor, self._desk), form)

        return endpoint

    async def sign_in(self, request: Request) -> Response:
        visitor = await self._access.visitor(request)
        page = Page(request, visitor, self._desk)
        if visitor.admitted:
            return RedirectResponse(ROOT, 303)
        if request.method == "GET":
            shown = self._sign_in_page(page, 200, request.query_params.get("next", ROOT))
            return self._known(shown, request, visitor)
        form = await _form(request)
        check_origin(request, visitor, form)
        try:
            token = await self._access.sign_in(str(form.get("key", "")))
        except ProtegeError as error:
            status = SHAPES[type(error)].status
            return self._sign_in_page(page, status, str(form.get("next", "")), error.message)
        response = RedirectResponse(_within(str(form.get("next", ""))), 303)
        # A token that somebody else may have set before is worth nothing now.
        remember(request, response, token)
        return response

    async def sign_out(self, page: Page, _form: FormData) -> Response:
        await self._access.sign_out(page.visitor)
        return RedirectResponse(f"{ROOT}/sign-in", 303)

    async def refuse(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, ProtegeError)
        return await self._told(request, SHAPES[type(error)].status, error.message)

    async def unknown(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        words = "There is no such page." if error.status_code == 404 else str(error.detail)
        return await self._told(request, error.status_code, words)

    async def fail(self, request: Request, _error: Exception) -> Response:
        # It may be the store that failed, which knows who the visitor is.
        page = Page(request, Visitor("", None, admitted=False), self._desk)
        message = "The console failed. The server's log says why."
        return page.render("error.html", 500, message=message)

    async def _told(self, request: Request, status: int, message: str) -> Response:
        visitor = await self._access.visitor(request)
        return Page(request, visitor, self._desk).render("error.html", status, message=message)

    def _sign_in_page(self, page: Page, status: int, to: str, mistake: str = "") -> Response:
        return page.render("sign_in.html", status, next=to, mistake=mistake)

    def _elsewhere(self, request: Request) -> Response:
        if request.method != "GET" or request.url.path == f"{ROOT}/live":
            raise ForbiddenError("Sign in first.")
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{ROOT}/sign-in?{urlencode({'next': here})}", 303)

    def _known(self, response: Response, request: Request, visitor: Visitor) -> Response:
        """The response, with which a new visitor gets the cookie that its forms are tied to."""
        if COOKIE not in request.cookies:
            remember(request, response, visitor.token)
        return response


async def _form(request: Request) -> FormData:
    """The fields of a form. Raises InvalidRequestError or BodyTooLargeError."""
    raw = await body_of(request)
    try:
        fields = dict(parse_qsl(raw.decode(), keep_blank_values=True))
    except ValueError as error:
        raise InvalidRequestError("The form cannot be read.") from error
    if any("\0" in value for value in fields.values()):
        raise NotFoundError("No text has a null character.")
    # Browsers send every line break as CR LF, whatever was typed. In a right answer, which is
    # learnt as it stands, it would be another answer than the teacher's.
    return FormData({name: value.replace("\r\n", "\n") for name, value in fields.items()})


def _within(path: str) -> str:
    """``path`` if it is one of the console's, else that of its first page."""
    # Two slashes, of either kind, would lead to another server.
    ours = path == ROOT or path.startswith((f"{ROOT}/", f"{ROOT}?"))
    return path if ours and "\\" not in path else ROOT
