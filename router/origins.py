"""Pages in a browser that call the API (https://fetch.spec.whatwg.org/#http-cors-protocol).

Where keys are needed any page may, as with OpenAI's: it has to know a key, and no cookie speaks for
it. Without keys no page may read an answer, or every one that is open on this machine could.
"""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Message, Scope, Send

_REQUESTED = b"access-control-request-headers"
_SHOWN = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*")]
_METHODS = "GET, POST, DELETE, HEAD"
_REMEMBERED_S = "86400"


def is_pages(scope: Scope) -> bool:
    """Whether a page sent the request: no other client names an origin."""
    return any(name == b"origin" for name, _value in scope["headers"])


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks first what a page may send. It sends no key then."""
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _value in scope["headers"]
    )


def preflight(scope: Scope) -> Response:
    """Says that a page may send whatever it wants to."""
    # A star would not cover the header that the key is in.
    wanted = next((value for name, value in scope["headers"] if name == _REQUESTED), b"*")
    allowed = {
        "access-control-allow-methods": _METHODS,
        "access-control-allow-headers": wanted.decode("latin-1"),
        "access-control-max-age": _REMEMBERED_S,
    }
    return Response(status_code=204, headers=allowed)


def shown_to_pages(send: Send) -> Send:
    """``send`` for an answer that pages may read, with its headers."""

    async def show(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_SHOWN]}
        await send(message)

    return show
