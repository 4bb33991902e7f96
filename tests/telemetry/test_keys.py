"""Virtual keys in the store, and the periods of their budgets."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.keys import PREFIX, Keys, Period, new_secret, period_end, period_start
from telemetry.store import Audit, Store
from tests.telemetry.test_store import exchange

NOW = 1000.0

periods = st.sampled_from(["day", "week", "month"])
times = st.floats(0, 4e9)


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("day", "2026-11-24", "2026-11-25"),
        ("week", "2026-11-23", "2026-11-30"),
        ("month", "2026-11-01", "2026-12-01"),
    ],
)
def test_periods_are_those_of_the_calendar(period: Period, start: str, end: str) -> None:
    now = datetime(2026, 11, 24, 20, 28, 9, tzinfo=UTC).timestamp()
    assert period_start(period, now) == datetime.fromisoformat(f"{start}T00:00Z").timestamp()
    assert period_end(period, now) == datetime.fromisoformat(f"{end}T00:00Z").timestamp()


@given(period=periods, now=times)
def test_every_moment_is_in_one_period(period: Period, now: float) -> None:
    start, end = period_start(period, now), period_end(period, now)
    assert start <= now < end
    assert period_start(period, start) == start
    assert period_start(period, end - 1) == start
    assert period_start(period, end) == end
    assert period_end(period, start) == end


def test_a_secret_shows_only_its_beginning() -> None:
    secret = new_secret()
    hidden = secret.text.removeprefix(PREFIX)
    assert len(hidden) == 43
    assert secret.text != new_secret().text
    assert secret.hint == f"{PREFIX}{hidden[:4]}..."
    assert secret.hash == hashlib.sha256(secret.text.encode()).hexdigest()
    assert hidden not in repr(secret)


def test_what_goes_in_comes_out(store: Store) -> None:
    keys, secret = Keys(store), new_secret()
    assert not keys.any()
    assert keys.find("key_1") is None
    key = keys.create(
        secret,
        NOW,
        name="app",
        expires=2000.5,
        admin=True,
        budget=2**62,
        period="week",
        requests_per_minute=10**12,
        tokens_per_minute=5,
        models=["auto"],
        tasks=["a", "b"],
    )
    plain = keys.create(new_secret(), NOW + 1, name="plain")
    assert keys.all() == [key, plain]
    assert keys.find(key.id) == key
    assert plain.models is None
    assert not plain.limited
    assert keys.any()
    assert secret.hash not in repr(key)


def test_the_store_never_has_a_secret(store: Store) -> None:
    keys, secret = Keys(store), new_secret()
    keys.create(secret, NOW, name="app")
    with store.engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT * FROM keys").one()
    assert secret.hash in row
    assert not any(secret.text in str(value) for value in row)


def test_every_change_is_a_new_revision(store: Store) -> None:
    keys, old, new = Keys(store), new_secret(), new_secret()
    seen = [keys.revision()]
    key = keys.create(old, NOW, name="app")
    seen.append(keys.revision())
    renamed = keys.change(key.id, name="other")
    assert renamed == replace(key, name="other")
    seen.append(keys.revision())
    rotated = keys.rotate(key, new, 1600.0)
    assert rotated is not None
    assert (rotated.hash, rotated.hint) == (new.hash, new.hint)
    assert (rotated.old_hash, rotated.old_expires) == (old.hash, 1600.0)
    seen.append(keys.revision())
    revoked = keys.revoke(key.id, 1700.0)
    assert revoked is not None
    assert revoked.revoked == 1700.0
    assert not revoked.valid(1700.0)
    seen.append(keys.revision())
    assert seen == sorted(set(seen))
    assert keys.change("key_1", name="nobody") is None
    assert keys.revision() == seen[-1]


def test_a_key_is_revoked_once(store: Store) -> None:
    keys = Keys(store)
    key = keys.create(new_secret(), NOW, name="app")
    keys.revoke(key.id, 1700.0)
    again = keys.revoke(key.id, 1800.0)
    assert again is not None
    assert again.revoked == 1700.0


def test_a_key_is_valid_until_it_expires(store: Store) -> None:
    key = Keys(store).create(new_secret(), NOW, name="app", expires=2000.0)
    assert key.valid(1999.9)
    assert not key.valid(2000.0)


def test_what_a_key_has_spent_is_what_its_exchanges_and_their_audits_cost(store: Store) -> None:
    keys = Keys(store)
    store.write(
        [
            exchange("before", key="a", created=99.9, cost=1),
            exchange("first", key="a", created=100.0, cost=2**40),
            exchange("audited", key="a", created=150.0, cost=0),
            exchange("other", key="b", created=150.0, cost=5),
            exchange("nobody", created=150.0, cost=7),
        ],
        [Audit("audited", "yes", True, 3)],
    )
    assert keys.spent("a", 100) == 2**40 + 3
    assert keys.spent("b", 0) == 5
    assert keys.spent("c", 0) == 0
