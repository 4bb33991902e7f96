"""Pages in a browser that call the API (https://fetch.spec.whatwg.org/#http-cors-protocol).

Where keys are needed any page may, as with OpenAI's: it has to know a key, and no cookie speaks for
it. Without keys whatever runs on this machine is let in, and so would be every page that is open in
its browser. No page may read an answer then, and one from another machine may not even ask: what it
sends blindly would be answered, and paid for.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import Message, Scope, Send

from router.errors import ForbiddenError
from router.keys.keyring import is_loopback

_REQUESTED = b"access-control-request-headers"
_SHOWN = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*")]
_METHODS = "GET, POST, DELETE, HEAD"
_REMEMBERED_S = "86400"

_NO_PAGES = "Pages in a browser may call a server with keys only. Create one: protege keys create"
_NO_NAMES = (
    "Without keys a server answers to names of its own machine alone, such as localhost. Create a "
    "key to call it by another name: protege keys create"
)


def check_local(scope: Scope, *, by_any_name: bool) -> None:
    """What a server without keys asks of a request, to whatever path.

    A browser names the origin of the page with all that can change something. A page may have its
    own name resolved to this machine, and be of one origin with the server then (DNS rebinding),
    but it cannot choose what the browser calls the server; ``by_any_name`` does without that.
    Raises ForbiddenError.
    """
    if is_preflight(scope):
        raise ForbiddenError(_NO_PAGES)
    for name, value in scope["headers"]:
        if name == b"origin" and not _is_local(value):
            raise ForbiddenError(_NO_PAGES)
        if name == b"host" and not by_any_name and not _is_local(b"//" + value):
            raise ForbiddenError(_NO_NAMES)


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


# Few are in use, and they come with every request.
@lru_cache(maxsize=64)
def _is_local(url: bytes) -> bool:
    """Whether the host of ``url`` is this machine, whoever is asked what it stands for."""
    try:
        host = urlsplit(url.decode("latin-1")).hostname or ""
    except ValueError:
        return False
    # RFC 6761, section 6.3.
    return host.endswith(".localhost") or is_loopback(host)
