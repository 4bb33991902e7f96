"""What of a server's own store is played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from config.loading import load
from router.estimate.logged import Bad, EstimateError, Logged
from router.estimate.pricing import Pricing
from router.estimate.stored import Stored
from telemetry.exchange import Exchange
from telemetry.prices import Usage
from telemetry.store import Store
from tests.distill.synthetic import exchange


def stored(data: Path, database: SecretStr | None, exchanges: list[Exchange]) -> Stored:
    store = Store(data, database)
    store.write(exchanges)
    store.close()
    flags: dict[str, Any] = {"data": data}
    if database is not None:
        flags["database"] = database.get_secret_value()
    return Stored(load(flags=flags))


def rows(log: Stored) -> list[Logged | Bad]:
    with log.rows() as read:
        return list(read)


def test_the_sample_is_played_in_order_of_time(tmp_path: Path, database: SecretStr | None) -> None:
    audited: dict[str, Any] = {"route": "student", "agreed": False}
    kept = [
        exchange(0, "plain", "yes", cached_tokens=3, teacher_cost=7),
        exchange(1, "audited", "yes", **audited),
        exchange(2, "corrected", "yes", right_answer="maybe"),
        exchange(3, "disliked", "yes", score=0.0),
        exchange(4, "disliked of the student", "yes", score=0.0, **audited),
        exchange(5, "liked of the student", "yes", score=1.0, **audited),
        exchange(6, "cut off", "ye", finish_reason="length"),
        exchange(7, "audit cut off", "no", route="student", teacher_answer=None, audited=9.0),
        exchange(8, "disliked and put right", "yes", score=0.0, right_answer="maybe"),
        exchange(9, "cut off and put right", "ye", finish_reason="length", right_answer="maybe"),
    ]
    left_out = [
        exchange(10, "unsure", "yes", sampled=False),
        exchange(11, "not audited", "no", route="student", teacher_answer=None),
        exchange(12, "another model's", "yes", route="model"),
        exchange(13, "failed", "yes", status=502),
        exchange(14, "private", "yes", request=None),
        exchange(15, "embedded", "yes", dialect="embeddings"),
    ]
    log = stored(tmp_path, database, [*reversed(kept), *left_out])
    read = rows(log)
    assert all(isinstance(row, Logged) for row in read)
    answers = {row.prompt.text: row.answer for row in read if isinstance(row, Logged)}
    assert answers == {
        "plain": "yes",
        "audited": "yes",
        "corrected": "yes",
        "disliked": None,
        "disliked of the student": "yes",
        "liked of the student": None,
        "cut off": None,
        "audit cut off": None,
        "disliked and put right": "yes",
        "cut off and put right": None,
    }
    right = {row.prompt.text for row in read if isinstance(row, Logged) and row.right_answer}
    assert right == {"corrected", "disliked and put right", "cut off and put right"}
    assert list(answers) == ["plain", "audited", *list(answers)[2:]]
    assert (log.size, log.read) == (10, 10)
    first = read[0]
    assert isinstance(first, Logged)
    assert first.prompt.task == "support"
    assert (first.created, first.cost) == (1000.0, 7)
    assert first.usage == Usage(21, 1, 3)


def test_what_was_charged_counts_unless_other_prices_are_asked_for(tmp_path: Path) -> None:
    (row,) = rows(stored(tmp_path, None, [exchange(0, "plain", "yes", teacher_cost=7)]))
    assert isinstance(row, Logged)
    usage = Usage(1000, 100)
    assert Pricing(load(), None).cost(row, usage) == 7
    # USD 2.50 and 15 a million tokens.
    assert Pricing(load(), "gpt-5.4").cost(row, usage) == (2500 + 1500) * 10**6
    given = load(flags={"prices": {"mine": {"input": 1, "output": 2}}})
    assert Pricing(given, "mine").cost(row, usage) == (1000 + 200) * 10**6


def test_a_damaged_request_is_a_bad_row(tmp_path: Path) -> None:
    damaged = exchange(0, "plain", "yes", request="{")
    odd = exchange(1, "plain", "yes", request=json.dumps({"messages": []}))
    listed = exchange(2, "plain", "yes", request="[]")
    for row, which in zip(
        rows(stored(tmp_path, None, [damaged, odd, listed])), range(3), strict=True
    ):
        assert isinstance(row, Bad)
        assert row.where == f"support-{which}"


def test_a_store_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "protege.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(EstimateError, match="file is not a database"):
        Stored(load(flags={"data": tmp_path}))
