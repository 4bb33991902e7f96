"""Who is signed in to the console: sessions that stand in for a key, and their table.

A browser holds a random token; the table has its SHA-256 and the id of the key that was shown at
sign-in. So neither a stolen database nor a stolen cookie gives the key away, and a session ends
with its key.
"""

from __future__ import annotations

import hashlib
from secrets import token_urlsafe

from sqlalchemy import delete, insert, select

from telemetry.schema import sessions
from telemetry.store import Store

LIFE_S = 12 * 3600.0
"""How long a session lasts at most."""


class Sessions:
    """The sessions in the store. All methods block; times are Unix times in seconds."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    def open(self, key: str, now: float) -> str:
        """The token of a new session of the key with that id."""
        token = token_urlsafe(32)
        with self._engine.begin() as connection:
            connection.execute(delete(sessions).where(sessions.c.expires <= now))
            connection.execute(
                insert(sessions).values(hash=_hash(token), key=key, expires=now + LIFE_S)
            )
        return token

    def key_of(self, token: str, now: float) -> str | None:
        """Id of the key that a session stands in for; None where there is no such session."""
        query = select(sessions.c.key).where(
            sessions.c.hash == _hash(token), sessions.c.expires > now
        )
        with self._engine.connect() as connection:
            return connection.scalar(query)

    def close(self, token: str) -> None:
        """End a session, if there is one."""
        with self._engine.begin() as connection:
            connection.execute(delete(sessions).where(sessions.c.hash == _hash(token)))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
