"""Sessions of the console in the store."""

from __future__ import annotations

from sqlalchemy import text

from telemetry.sessions import LIFE_S, Sessions
from telemetry.store import Store

NOW = 1000.0


def test_a_session_stands_in_for_its_key_until_it_is_closed(store: Store) -> None:
    sessions = Sessions(store)
    one, other = sessions.open("key_1", NOW), sessions.open("key_2", NOW)
    assert sessions.key_of(one, NOW) == "key_1"
    assert sessions.key_of(other, NOW) == "key_2"
    sessions.close(one)
    assert sessions.key_of(one, NOW) is None
    assert sessions.key_of(other, NOW) == "key_2"
    assert sessions.key_of("nobody's", NOW) is None


def test_a_session_ends_by_itself_and_leaves_nothing(store: Store) -> None:
    sessions = Sessions(store)
    token = sessions.open("key_1", NOW)
    assert sessions.key_of(token, NOW + LIFE_S - 1) == "key_1"
    assert sessions.key_of(token, NOW + LIFE_S) is None
    sessions.open("key_1", NOW + LIFE_S)
    with store.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM sessions")) == 1


def test_the_store_does_not_have_the_token(store: Store) -> None:
    token = Sessions(store).open("key_1", NOW)
    with store.engine.connect() as connection:
        assert token not in str(connection.execute(text("SELECT * FROM sessions")).all())
