"""Who is asking: the keys of the store, held in memory by each process.

A key that is created, changed or revoked by any process takes effect here within a second.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import inf

from router.errors import InvalidKeyError
from router.polling import Background, keep_fresh
from telemetry.keys import Key, Keys

POLL_S = 0.25


class Keyring:
    """All keys by the hashes of their secrets.

    As long as there never was a key everybody is let in, unless the ring is ``closed``.
    """

    def __init__(self, keys: Keys, *, closed: bool) -> None:
        self._keys = keys
        self._closed = closed
        self._revision = -1
        self._by_id: dict[str, Key] = {}
        self._by_hash: dict[str, tuple[Key, float]] = {}
        """The key, and until when that secret of it works."""
        # However many callers wait for the store in the threads that all share: who may not ask any
        # more must not be let in meanwhile.
        self._reader = ThreadPoolExecutor(1, "keys")
        self._poll = Background()

    async def start(self) -> None:
        await self.refresh()
        self._poll.start(keep_fresh(self.refresh, POLL_S, "the keys"))

    async def stop(self) -> None:
        await self._poll.stop()
        self._reader.shutdown(wait=False)

    @property
    def closed(self) -> bool:
        """Whether a key is needed."""
        return self._closed

    def caller(self, headers: Iterable[tuple[bytes, bytes]]) -> Key | None:
        """The key in a request's ``headers``, whose names are in lower case; None where everybody
        is let in. Raises InvalidKeyError."""
        if not self._closed:
            return None
        now = time.time()
        why_not = "No API key was given. Send one in the header 'Authorization: Bearer ...'."
        for secret in _secrets(headers):
            key, until = self._by_hash.get(hashlib.sha256(secret).hexdigest(), (None, 0.0))
            if key is not None and now < until and key.valid(now):
                return key
            why_not = _why_not(key, now)
        raise InvalidKeyError(why_not)

    def find(self, identifier: str | None) -> Key | None:
        """The key of that id, as it is now."""
        return None if identifier is None else self._by_id.get(identifier)

    def valid(self, now: float) -> list[Key]:
        """The keys that may be used at Unix time ``now``."""
        return [key for key in self._by_id.values() if key.valid(now)]

    async def refresh(self) -> None:
        """Take over what the store says now."""
        loop = asyncio.get_running_loop()
        revision, keys = await loop.run_in_executor(self._reader, self._read)
        self._revision = revision
        if keys is not None:
            self._by_id = {key.id: key for key in keys}
            self._by_hash = {hash: (key, until) for key in keys for hash, until in _hashes(key)}
            # Closed for good: it is not opened again by a key that is revoked or gone.
            self._closed = self._closed or bool(keys)

    def _read(self) -> tuple[int, list[Key] | None]:
        """The revision of the keys, and they themselves if it is a new one."""
        revision = self._keys.revision()
        return revision, None if revision == self._revision else self._keys.all()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A name may come to stand for any address.
        return False


def _hashes(key: Key) -> Iterator[tuple[str, float]]:
    if key.old_hash is not None and key.old_expires is not None:
        yield key.old_hash, key.old_expires
    yield key.hash, inf


def _secrets(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """What might be the secret of a key: OpenAI's clients send it in one header, Anthropic's in
    another, and OpenAI's for Azure in a third."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, secret = value.partition(b" ")
            if scheme.lower() == b"bearer" and secret.strip():
                yield secret.strip()
        elif name in (b"x-api-key", b"api-key") and value:
            yield value


def _why_not(key: Key | None, now: float) -> str:
    if key is None:
        return "Incorrect API key provided."
    if key.revoked is not None:
        return "The API key has been revoked."
    if not key.valid(now):
        return "The API key has expired."
    return "The API key has been replaced by a new one."
