"""What was spent and asked for, by payer and time."""

from __future__ import annotations

import pytest

from telemetry.spending import Payer, demand, spent
from telemetry.store import Store
from tests.telemetry.test_store import exchange


@pytest.fixture
def spender(store: Store) -> Store:
    rows = [
        exchange("a", created=899.9, cost=1, teacher_cost=10, key="k1"),
        exchange("b", created=900.5, cost=2, teacher_cost=20, key="k1"),
        exchange("c", created=1000.5, cost=4, teacher_cost=40, audit_cost=100),
        exchange("d", created=1799.99, cost=8, teacher_cost=80, task="other"),
        exchange("e", created=1.7e9, cost=16, teacher_cost=160, task="other", key="k1"),
    ]
    store.write(rows)
    return store


@pytest.mark.parametrize(
    ("payer", "since", "total"),
    [
        (Payer(), 0.0, 131),
        (Payer(), 900.0, 130),
        (Payer(), 2e9, 0),
        (Payer(task="other"), 0.0, 24),
        (Payer(key="k1"), 900.0, 18),
        (Payer(key="nobody"), 0.0, 0),
    ],
)
def test_what_was_spent(spender: Store, payer: Payer, since: float, total: int) -> None:
    assert spent(spender.engine, payer, since) == total


def test_what_was_asked_for(spender: Store) -> None:
    later = 1_700_000_000 // 900
    assert demand(spender.engine, Payer(), 0.0, 900) == {0: 10, 1: 140, later: 160}
    assert demand(spender.engine, Payer(task="other"), 900.0, 900) == {1: 80, later: 160}
    assert demand(spender.engine, Payer(key="k1"), 1000.0, 900) == {later: 160}
