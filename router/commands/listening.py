"""Where a server listens."""

from __future__ import annotations

import socket

from router.commands.opened import fail


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to that address, which processes that this one starts may have too. Ends the
    program where that cannot be."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        fail(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}")
    listener.set_inheritable(True)
    return listener


def address_of(host: str, listener: socket.socket) -> str:
    """Of a server on ``host``, as URLs have it: with the port that it was given."""
    port = listener.getsockname()[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
