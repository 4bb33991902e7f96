"""An estimate against what became of the same requests when they were served."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import openai
import pytest
from sqlalchemy import select

from config.loading import load
from distill import schedule
from router.demo.report import Outcome, Row, summarise
from router.students.serving import POLL_S
from telemetry.schema import exchanges
from telemetry.store import Store
from tests.distill.synthetic import FILLER, messages, stream
from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually, run_cli
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, StubUpstream

REQUESTS = 1500
HARD = 0.25
"""Share of requests whose answer nobody could learn."""
NEAR = 0.05
"""How far an estimated share may be from the served one: coins fall differently, and an audit is
in a moment later."""

NO_ENCODER = {"PROTEGE_LOOP__ENCODER": "null", "PROTEGE_LOOP__ROLLOUT__CANARY": "0"}


def traffic() -> list[tuple[str, str]]:
    rng = Random(0)
    pairs = stream(REQUESTS)
    return [
        (" ".join([*rng.sample(FILLER, 8), str(rng.randrange(10**6))]), answer)
        if rng.random() < HARD
        else (text, answer)
        for text, answer in pairs
    ]


@dataclass
class Served:
    """What the server made of the traffic."""

    data: Path
    row: Row
    audits: int


@pytest.fixture(scope="module")
def teacher() -> Iterator[StubUpstream]:
    upstream = StubUpstream(answer=dict(traffic()).__getitem__).start()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def served(teacher: StubUpstream, tmp_path_factory: pytest.TempPathFactory) -> Served:
    data = tmp_path_factory.mktemp("served")
    with Server(data, *teacher_flags(teacher), **NO_ENCODER) as server:
        store = server.store()
        client = server.client()
        serving = store.roster.serving()
        for number, (text, _answer) in enumerate(traffic()):
            ask(client, text)
            if number % 10 == 9:
                # Slowly, compared with training: the estimate knows no wait for it.
                assert eventually(lambda: not due(store), 60)
                if store.roster.serving() != serving:
                    serving = store.roster.serving()
                    time.sleep(2 * POLL_S)
        store.close()
    # On its way out the server has finished its audits.
    rows = recorded(data)
    answers = dict(traffic())
    outcomes = [
        Outcome(
            "support",
            row.route,
            row.answer == answers[json.loads(row.request)["messages"][-1]["content"]]
            if row.route == "student"
            else None,
            row.cost + row.audit_cost,
            row.teacher_cost,
        )
        for row in rows
    ]
    audits = sum(row.agreed is not None for row in rows)
    return Served(data, summarise(outcomes, ["support"]).totals, audits)


def ask(client: openai.OpenAI, text: str) -> None:
    client.chat.completions.create(model="auto", messages=messages(text))  # type: ignore[arg-type]


def recorded(data: Path) -> list[Any]:
    store = Store(data)
    with store.engine.connect() as connection:
        rows = connection.execute(select(exchanges)).all()
    store.close()
    return list(rows)


def due(store: Store) -> bool:
    answers, states = store.teacher_answer_counts(), store.roster.task_states()
    return bool(schedule.due(answers, states, 0.0, load().loop, last={}, changed={}))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs") / "logs.jsonl"
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS}
    lines = [
        {"messages": messages(text), "answer": answer, "usage": usage} for text, answer in traffic()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def estimated(*arguments: str, out: Path) -> dict[str, Any]:
    process = run_cli("estimate", *arguments, "--json", str(out), **NO_ENCODER)
    _output, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (0, "")
    return json.loads(out.read_text())


def test_an_estimate_is_near_what_is_served(served: Served, logs: Path, tmp_path: Path) -> None:
    row = estimated(str(logs), out=tmp_path / "e.json")["totals"]
    assert row["requests"] == served.row.requests == REQUESTS
    # There is something to be right or wrong about: neither all nor nothing.
    assert 0.3 < served.row.student_share < 0.9
    assert row["student_share"] == pytest.approx(served.row.student_share, abs=NEAR)
    assert row["student_agreement"] == pytest.approx(served.row.student_agreement, abs=NEAR)
    saved = 1 - row["cost_usd"] / row["teacher_only_cost_usd"]
    assert saved == pytest.approx(served.row.saved, abs=NEAR)
    assert row["teacher_only_cost_usd"] == pytest.approx(served.row.teacher_only_cost_usd, rel=0.01)
    audited = row["audits"] / row["student_answers"]
    assert audited == pytest.approx(served.audits / served.row.student_answers, abs=NEAR)
    # Had a coin chosen, the hard ones would have been answered as well.
    assert row["random_disagreement"] > row["disagreement"] + 0.05


def test_the_servers_own_store_can_be_played(served: Served, tmp_path: Path) -> None:
    figures = estimated("--data", str(served.data), out=tmp_path / "e.json")
    rows = [row for row in recorded(served.data) if row.sampled]
    (row,) = figures["tasks"]
    assert row["task"] == rows[0].task
    # What reached the teacher because a student was unsure would make the task look hard.
    assert row["requests"] == len(rows) < REQUESTS
    assert figures["teacher"]["name"] == "gpt-5.4"
    cost = sum(row.teacher_cost for row in rows) / 10**12
    assert row["teacher_only_cost_usd"] == pytest.approx(cost)
