"""Finding exchanges."""

from __future__ import annotations

import json
from typing import Any

import pytest

from telemetry import search
from telemetry.exchange import Exchange
from telemetry.search import Wanted, find
from telemetry.store import Store
from tests.telemetry.test_store import exchange

KEPT = (
    exchange("e0", created=0.5, task="v", error="upstream_broken"),
    exchange("e1", created=1.0, key="key_1", request='{"say": "50% Æble"}'),
    exchange("e2", created=2.0, status=502, answer=None, teacher_answer=None),
    exchange("e3", created=3.0, route="student", student="v1", agreed=True),
    exchange("e4", created=3.0, route="student", student="v2", agreed=False, answer="Never_mind"),
    exchange("e5", created=4.0, task="u", score=0.0),
    exchange("e6", created=5.0, task="u", right_answer="no"),
)


@pytest.fixture
def filled(store: Store) -> Store:
    store.write(KEPT)
    return store


def ids(found: list[Exchange]) -> str:
    return " ".join(each.id for each in found)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), "e6 e5 e4 e3 e2 e1 e0"),
        (Wanted(since=3.0), "e6 e5 e4 e3"),
        (Wanted(task="u"), "e6 e5"),
        (Wanted(route="student"), "e4 e3"),
        (Wanted(key="key_1"), "e1"),
        (Wanted(student="v2"), "e4"),
        (Wanted(outcome="agreed"), "e3"),
        (Wanted(outcome="disagreed"), "e4"),
        (Wanted(outcome="failed"), "e2 e0"),
        (Wanted(outcome="judged"), "e6 e5"),
        (Wanted(outcome="judged", task="t"), ""),
        (Wanted(text="50%"), "e1"),
        (Wanted(text="5%"), ""),
        (Wanted(text="never_MIND"), "e4"),
        (Wanted(text="neverXmind"), ""),
    ],
)
def test_what_is_found(filled: Store, wanted: Wanted, expected: str) -> None:
    assert ids(find(filled.engine, wanted)) == expected


SAID = 'He said "no" to\nMünchen C:\\new dir'


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        *(SAID, SAID.replace("\n", " "), '"no"', '"NO" to\nm', "to\nM", "to München", "München c:"),
        *("C:\\new", "C:\\new d", "new d", "\\", '"say"'),
    ],
)
def test_a_text_is_found_however_json_writes_it(store: Store, escaped: bool, text: str) -> None:
    sent = json.dumps({"say": SAID}, ensure_ascii=escaped)
    nothing: dict[str, Any] = {"answer": None, "teacher_answer": None}
    store.write(
        [
            exchange("asked", created=3.0, **{**nothing, "request": sent}),
            exchange("answered", created=2.0, **{**nothing, "request": "{}", "answer": SAID}),
            exchange("other", created=1.0, **{**nothing, "request": '{"do": "C:/T"}'}),
        ]
    )
    found = "asked" if text == '"say"' else "asked answered"
    assert ids(find(store.engine, Wanted(text=text))) == found


def test_a_text_is_looked_for_in_the_newest(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "READ", 5)
    assert ids(find(filled.engine, Wanted(text="50%"))) == ""
    assert ids(find(filled.engine, Wanted(text="50%", key="key_1"))) == "e1"
    monkeypatch.setattr(search, "READ", 6)
    assert ids(find(filled.engine, Wanted(text="50%"))) == "e1"


def test_page_by_page_everything_is_seen_once(filled: Store) -> None:
    seen: list[Exchange] = []
    while True:
        before = (seen[-1].created, seen[-1].id) if seen else None
        page = find(filled.engine, Wanted(before=before, limit=2))
        if not page:
            break
        assert len(page) <= 2
        seen += page
    assert ids(seen) == "e6 e5 e4 e3 e2 e1 e0"
    assert seen == sorted(KEPT, key=lambda each: (each.created, each.id), reverse=True)
