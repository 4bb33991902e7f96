"""Virtual keys: what callers identify themselves with, what each may do, and their table.

The secret of a key is shown once and stored as its SHA-256. A slow password hash would protect
nothing here: it makes guessing dear where secrets are guessable, and these are 256 random bits;
but it would cost every request what it costs a guess.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from secrets import token_hex, token_urlsafe
from typing import Any, Literal

from sqlalchemy import Row, func, insert, select, update

from telemetry import spending
from telemetry.schema import keys
from telemetry.spending import Payer
from telemetry.store import Store

Period = Literal["day", "week", "month"]
"""Of the calendar, in UTC; weeks begin on Monday."""

PREFIX = "sk-protege-"
_DAY_S = 86400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = 4
"""Random characters of a secret that stay visible, to tell keys apart: 24 of its 256 bits."""


@dataclass(frozen=True, slots=True)
class Secret:
    """What a caller sends. Its text is not part of its representation, lest it be logged."""

    text: str = field(repr=False)

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def hint(self) -> str:
        """As much of it as may be shown."""
        return f"{self.text[: len(PREFIX) + _SHOWN]}..."


def new_secret() -> Secret:
    return Secret(PREFIX + token_urlsafe(32))


@dataclass(frozen=True, slots=True)
class Key:
    """One virtual key. Times are Unix times in seconds; None means without a limit."""

    id: str
    """``key_`` and 16 hexadecimal digits."""
    name: str
    hint: str
    """The beginning of the secret."""
    hash: str = field(repr=False)
    """SHA-256 of the secret, in hexadecimal digits."""
    created: float
    expires: float | None = None
    revoked: float | None = None
    old_hash: str | None = field(default=None, repr=False)
    """Hash of the secret before the last rotation, which works until ``old_expires``."""
    old_expires: float | None = None
    admin: bool = False
    """Whether it may administer keys, and see what other keys asked."""
    budget: int | None = None
    """Picodollars that it may spend in a ``period``."""
    period: Period = "month"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    models: Sequence[str] | None = None
    """The models it may ask for, by the names that callers use."""
    tasks: Sequence[str] | None = None

    @property
    def limited(self) -> bool:
        """Whether there is anything to count."""
        limits = (self.budget, self.requests_per_minute, self.tokens_per_minute)
        return limits != (None, None, None)

    def may_ask(self, model: str) -> bool:
        """Whether it may ask for ``model``, by the name that callers use."""
        return self.models is None or model in self.models

    def valid(self, now: float) -> bool:
        return self.revoked is None and (self.expires is None or now < self.expires)


def period_start(period: Period, now: float) -> int:
    """Unix time at which the period that ``now`` is in began.

    >>> period_start("month", 1_000_000_000.0)  # 2001-09-09
    999302400
    """
    return int(_start(period, int(now // _DAY_S)).timestamp())


def period_end(period: Period, now: float) -> int:
    """Unix time at which the period that ``now`` is in ends, and the next begins."""
    # The days to somewhere within the next period, wherever this one began.
    days = {"day": 1, "week": 7, "month": 32}[period]
    return period_start(period, period_start(period, now) + days * _DAY_S)


@lru_cache
def _start(period: Period, day: int) -> datetime:
    """Where the period of the ``day``, counted from 1970, began."""
    start = _EPOCH + timedelta(day)
    if period == "week":
        return start - timedelta(start.weekday())
    return start.replace(day=1) if period == "month" else start


class Keys:
    """The keys in the store. All methods block."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    def all(self) -> list[Key]:
        """Every key, the oldest first, those included that were revoked or have expired."""
        query = select(keys).order_by(keys.c.created, keys.c.id)
        with self._engine.connect() as connection:
            return [_key(row) for row in connection.execute(query)]

    def find(self, identifier: str) -> Key | None:
        with self._engine.connect() as connection:
            row = connection.execute(select(keys).where(keys.c.id == identifier)).first()
        return None if row is None else _key(row)

    def any(self) -> bool:
        """Whether there ever was a key."""
        return self.revision() > 0

    def revision(self) -> int:
        """A number that grows with every change to any key."""
        # A sum: each row is changed under a lock of its own, and none is ever deleted.
        query = select(func.coalesce(func.sum(keys.c.revision), 0))
        with self._engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def create(self, secret: Secret, now: float, **values: Any) -> Key:
        """A new key with that secret; ``values`` are its further fields."""
        key = Key(f"key_{token_hex(8)}", hint=secret.hint, hash=secret.hash, created=now, **values)
        with self._engine.begin() as connection:
            connection.execute(insert(keys), {**asdict(key), "revision": 1})
        return key

    def change(self, identifier: str, **values: Any) -> Key | None:
        """Set some of a key's fields; the key as it is then, None if there is no such key."""
        with self._engine.begin() as connection:
            connection.execute(
                update(keys)
                .where(keys.c.id == identifier)
                .values(revision=keys.c.revision + 1, **values)
            )
            row = connection.execute(select(keys).where(keys.c.id == identifier)).first()
        return None if row is None else _key(row)

    def rotate(self, key: Key, secret: Secret, old_expires: float) -> Key | None:
        """Give a key a new secret; the one it had works until the Unix time ``old_expires``."""
        return self.change(
            key.id,
            hash=secret.hash,
            hint=secret.hint,
            old_hash=key.hash,
            old_expires=old_expires,
        )

    def revoke(self, identifier: str, now: float) -> Key | None:
        """Make a key useless for good; None if there is no such key."""
        return self.change(identifier, revoked=func.coalesce(keys.c.revoked, now))

    def spent_now(self, key: Key, now: float) -> int:
        """Picodollars that a key has spent in the period of its budget that is under way."""
        return self.spent(key.id, period_start(key.period, now))

    def spent(self, identifier: str, since: float) -> int:
        """Picodollars that a key's requests from Unix time ``since`` on have cost, audits too."""
        return spending.spent(self._engine, Payer(key=identifier), since)


def _key(row: Row[Any]) -> Key:
    values = dict(row._mapping)
    del values["revision"]
    return Key(**values)
