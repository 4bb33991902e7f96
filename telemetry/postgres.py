"""How PostgreSQL is connected to. Imported only where a database is configured: psycopg costs
start-up time."""

from __future__ import annotations

from typing import Any

from psycopg.abc import Buffer
from psycopg.types.string import StrDumper
from pydantic import SecretStr
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from config.loading import ConfigError

CONNECTIONS = 8
"""Most connections of one process: a dozen processes share what PostgreSQL allows by default."""

_DEFAULTS = {
    "application_name": "protege",
    "connect_timeout": "5",
    # Without these, a database that the network has lost is waited for until the system gives up
    # sending, which takes it a quarter of an hour; and for ever, where nothing is to be sent.
    "tcp_user_timeout": "5000",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}
"""libpq's parameters, where the URL does not give them."""


LOCK_WAIT_S = 5.0
"""How long a statement waits for a lock of somebody else's, such as an ALTER TABLE's: as long as
for a connection. What it does then may take any time: a report of years is no fault."""


def connect(database: SecretStr) -> Engine:
    """An engine for the database behind a URL. Nothing has been sent to it yet.

    Raises ConfigError, which shows nothing of the URL.
    """
    engine = create_engine(
        _url(database.get_secret_value()),
        pool_size=CONNECTIONS // 2,
        max_overflow=CONNECTIONS // 2,
        # A connection that broke while nobody used it is replaced, unnoticed.
        pool_pre_ping=True,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _write_no_nul)
    event.listen(engine, "connect", _wait_for_locks)
    return engine


def _url(written: str) -> URL:
    try:
        url = make_url(written)
    # ValueError: a port that is no number.
    except (ArgumentError, ValueError):
        raise _NOT_A_URL from None
    # A password with an unescaped @ would be taken for a part of the host, and shown as such.
    if url.drivername not in ("postgresql", "postgres") or "@" in (url.host or ""):
        raise _NOT_A_URL
    return url.set(drivername="postgresql+psycopg", query={**_DEFAULTS, **url.query})


_NOT_A_URL = ConfigError(
    [
        "database: must be a URL such as postgresql://user:password@host/name, with special "
        "characters of the password as %XX"
    ]
)


def _write_no_nul(connection: Any, _record: Any) -> None:
    connection.adapters.register_dumper(str, _NoNul)


def _wait_for_locks(connection: Any, _record: Any) -> None:
    # Not among libpq's parameters: poolers such as PgBouncer refuse connections that have it there.
    connection.execute(f"SET lock_timeout = '{round(1000 * LOCK_WAIT_S)}ms'")
    connection.commit()


class _NoNul(StrDumper):
    """PostgreSQL's text has no NUL: it is kept as the replacement character."""

    def dump(self, text: str) -> Buffer | None:
        return super().dump(text.replace("\0", "\ufffd"))
