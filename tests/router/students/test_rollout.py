"""Students that come into service step by step, beside a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from config.settings import Settings
from distill import registry
from distill.registry import summary
from policies.promise import Promise
from router.students import rollout
from router.students.rollout import SETTLE_S, Rollouts
from router.students.serving import Students
from telemetry import trials
from telemetry.exchange import StudentRecord
from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually
from tests.router.taught import SENTENCES, opposite, promote
from tests.router.upstream import StubUpstream

Headers = Mapping[str, str]

SURE = SENTENCES[0]
NEARLY_ALL = 0.999999
ENVIRONMENT = {
    "PROTEGE_LOOP__ENABLED": "false",
    "PROTEGE_LOOP__ROLLOUT": (
        f'{{"shadow": 3, "canary": 4, "share": 1, "audit_rate": {NEARLY_ALL}}}'
    ),
    "PROTEGE_POLICY__AUDIT_RATE": "0.000001",
}


@pytest.fixture(scope="module")
def running(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("rollout")
    with Server(data, *teacher_flags(shared_upstream), "--workers", "2", **ENVIRONMENT) as server:
        yield server


@pytest.fixture
def server(running: Server, upstream: StubUpstream) -> Server:
    return running


@pytest.fixture
def store(server: Server) -> Iterator[Store]:
    store = server.store()
    yield store
    store.close()


def ask(server: Server, task: str, text: str = SURE, **more: Any) -> Headers:
    wanted: Any = {"model": "auto", "messages": [{"role": "user", "content": text}]}
    wanted |= {"metadata": {"task": task}, **more}
    return server.client().chat.completions.with_raw_response.create(**wanted).headers


def ask_until(server: Server, task: str, model: str) -> Headers:
    """Ask until ``model`` answers; the headers of its answer."""
    found: list[Headers] = []

    def answered() -> bool:
        found.append(ask(server, task))
        return found[-1]["x-protege-model"] == model

    assert eventually(answered)
    return found[-1]


def student(store: Store, version: str) -> StudentRecord:
    return registry.find(store, version)


def test_a_canary_that_does_well_takes_over(server: Server, store: Store) -> None:
    promote(store, server.data, "good-0", task="good", teacher=opposite)
    promote(store, server.data, "good-1", task="good", stage="canary")
    assert summary(student(store, "good-1"))["state"] == "canary"
    answer = ask_until(server, "good", "good-1")
    exchange = server.exchange_soon(answer["x-request-id"])
    # What it says is audited more often, and counts for less.
    assert exchange.sampled
    assert exchange.propensity == pytest.approx(NEARLY_ALL)
    assert eventually(lambda: bool(ask(server, "good")) and student(store, "good-1").serving)
    assert eventually(lambda: ask(server, "good")["x-protege-model"] == "good-1")
    now = student(store, "good-1")
    assert now.stage is None
    assert now.earned is not None
    assert now.verdict.startswith("passed its test; canary: ")
    assert "0 of " in now.verdict
    assert student(store, "good-0").verdict == "replaced by good-1"
    seen = trials.tally(store.engine, "good-1", "canary", 60.0)
    assert seen.answered >= 4
    assert seen.compared >= 2

    def counts_in_full() -> bool:
        full = server.exchange_soon(ask(server, "good")["x-request-id"])
        return full.propensity == pytest.approx(0.000001)

    # The other worker follows within a second.
    assert eventually(counts_in_full)


def test_a_canary_that_contradicts_the_promise_is_demoted(server: Server, store: Store) -> None:
    promote(store, server.data, "bad-0", task="bad")
    promote(store, server.data, "bad-1", task="bad", teacher=opposite, stage="canary")
    ask_until(server, "bad", "bad-1")
    assert eventually(lambda: bool(ask(server, "bad")) and not student(store, "bad-1").placed)
    assert "audits disagree" in student(store, "bad-1").verdict
    assert student(store, "bad-0").serving
    ask_until(server, "bad", "bad-0")
    metrics = httpx.get(server.url.replace("/v1", "/metrics")).text
    assert 'protege_demotions_total{task="bad"} 1.0' in metrics


def test_what_a_canary_answers_for_want_of_money_is_audited_as_often_as_its_other_answers(
    server: Server, store: Store
) -> None:
    promote(store, server.data, "frugal-1", task="frugal", threshold=1.01, stage="canary")
    headers: Any = {"x-protege-budget": "0.0000001"}

    def by_student() -> bool:
        # Until the canary is known nobody answers for so little.
        with suppress(openai.BadRequestError):
            answers.append(ask(server, "frugal", extra_headers=headers))
        return bool(answers)

    answers: list[Headers] = []
    assert eventually(by_student)
    assert answers[0]["x-protege-reason"] == "budget"
    exchange = server.exchange_soon(answers[0]["x-request-id"])
    assert exchange.propensity == NEARLY_ALL


def test_one_in_the_shadow_answers_nobody(server: Server, store: Store) -> None:
    promote(store, server.data, "dark-1", task="dark", stage="shadow")
    routes: list[str] = []

    def went_on() -> bool:
        route = ask(server, "dark", stream=len(routes) % 2 == 0)["x-protege-route"]
        if student(store, "dark-1").stage != "shadow":
            return True
        routes.append(route)
        return False

    assert eventually(went_on)
    assert set(routes) == {"teacher"}
    assert student(store, "dark-1").stage == "canary"
    verdict = student(store, "dark-1").verdict
    assert verdict.startswith("passed its test; shadow: 0 of ")
    seen = trials.tally(store.engine, "dark-1", "shadow", 60.0)
    assert seen.compared >= 3
    assert seen.disagreements == 0
    ask_until(server, "dark", "dark-1")


def test_one_in_the_shadow_is_not_asked_what_it_was_not_taught(
    server: Server, store: Store
) -> None:
    promote(
        store, server.data, "novice-1", task="novice", stage="shadow", instructions=("another",)
    )
    promote(store, server.data, "adept-1", task="adept", stage="shadow")

    def compared(version: str) -> int:
        return trials.tally(store.engine, version, "shadow", 60.0).compared

    def went_on() -> bool:
        ask(server, "novice")
        ask(server, "adept")
        return student(store, "adept-1").stage != "shadow"

    assert eventually(went_on)
    assert compared("adept-1") >= 3
    assert compared("novice-1") == 0
    assert student(store, "novice-1").stage == "shadow"


def test_one_that_would_contradict_the_teacher_never_answers(server: Server, store: Store) -> None:
    promote(store, server.data, "grim-1", task="grim", teacher=opposite, stage="shadow")
    routes = set()

    def ended() -> bool:
        routes.add(ask(server, "grim")["x-protege-route"])
        return not student(store, "grim-1").placed

    assert eventually(ended)
    assert routes == {"teacher"}
    assert student(store, "grim-1").verdict.startswith("demoted in the shadow: ")
    assert store.roster.task_states()["grim"].epoch > 0


def test_one_that_cannot_be_loaded_is_turned_back(server: Server, store: Store) -> None:
    promote(store, server.data, "gone-0", task="gone")
    promote(store, server.data, "gone-1", task="gone", stage="canary")
    ask_until(server, "gone", "gone-1")
    promote(store, server.data, "gone-2", task="gone", stage="canary")
    store.roster.turn_back("gone", "gone-2", "for the test")
    (server.data / student(store, "gone-2").path / "ladder.json").unlink()
    again = student(store, "gone-2")
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE students SET stage = 'canary' WHERE version = '{again.version}'"
        )
    assert eventually(lambda: not student(store, "gone-2").placed)
    assert student(store, "gone-2").verdict == "turned back: it cannot be loaded"
    ask_until(server, "gone", "gone-0")


def test_a_forced_student_may_be_the_canary(server: Server, store: Store) -> None:
    promote(store, server.data, "asked-1", task="asked", stage="canary")
    ask_until(server, "asked", "asked-1")

    def forced() -> bool:
        try:
            return ask(server, "asked", model="student")["x-protege-model"] == "asked-1"
        except openai.NotFoundError:
            # The other worker has yet to hear of it.
            return False

    assert eventually(forced)


def test_a_rollback_and_a_promotion_by_hand(server: Server, store: Store) -> None:
    promote(store, server.data, "hand-0", task="hand")
    promote(store, server.data, "hand-1", task="hand", stage="shadow")
    stays = registry.rollback(store, "hand", "looks odd")
    assert stays is not None
    assert stays.version == "hand-0"
    assert student(store, "hand-1").verdict == "rolled back: looks odd"
    registry.promote(store, "hand-1", "looks fine", Promise(0.05, 0.05))
    ask_until(server, "hand", "hand-1")


def test_what_was_seen_survives_the_server(shared_upstream: StubUpstream, tmp_path: Path) -> None:
    shared_upstream.reset()
    store = Store(tmp_path)
    promote(store, tmp_path, "kept-1", stage="canary")
    flags = teacher_flags(shared_upstream)

    def seen() -> int:
        return trials.tally(store.engine, "kept-1", "canary", 60.0).compared

    with Server(tmp_path, *flags, **ENVIRONMENT) as server:
        for _ in range(3):
            assert ask(server, "animals")["x-protege-model"] == "kept-1"
        assert eventually(lambda: seen() == 3)
        server.kill()
    assert student(store, "kept-1").stage == "canary"
    with Server(tmp_path, *flags, **ENVIRONMENT) as server:
        ask(server, "animals")
        assert eventually(lambda: student(store, "kept-1").serving)
    assert student(store, "kept-1").verdict.endswith(
        "canary: 4 answers, 0 of 4 compared answers disagree"
    )
    store.close()


def test_a_server_that_cannot_write_down_what_was_seen_stops_as_any_other(
    upstream: StubUpstream, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    promote(store, tmp_path, "last-1", task="last", stage="canary")
    with store.engine.begin() as connection:
        connection.exec_driver_sql("alter table trials rename to elsewhere")
    with Server(tmp_path, *teacher_flags(upstream), **ENVIRONMENT) as server:
        answer = ask(server, "last")
        assert answer["x-protege-model"] == "last-1"
        assert server.stop() == 0
    # What else there was to write down is.
    audited = store.exchange(answer["x-request-id"])
    assert audited is not None
    assert audited.audited is not None
    store.close()
    assert server.complaints()[-1].endswith("is lost: OperationalError: no such table: trials\n")
    assert not any("shutdown failed" in line for line in server.errors)


async def test_what_cannot_be_written_down_does_not_grow_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "MOST_SEEN", 3)
    store = Store(tmp_path)
    promote(store, tmp_path, "some-1", stage="canary")
    students = Students(store, tmp_path)
    await students.refresh()
    settings = Settings()
    rollouts = Rollouts(settings.loop.rollout, settings.policy, store, students)
    canary = students.coming("animals")
    assert canary is not None
    for number in range(10):
        rollouts.failed(canary, f"req_{number}")
    with store.engine.begin() as connection:
        connection.exec_driver_sql("alter table trials rename to elsewhere")
    await rollouts.stop()
    with store.engine.begin() as connection:
        connection.exec_driver_sql("alter table elsewhere rename to trials")
    await rollouts.stop()
    with store.engine.connect() as connection:
        kept = set(connection.exec_driver_sql("select exchange from trials").scalars())
    assert kept == {"req_7", "req_8", "req_9"}
    await students.stop()
    store.close()


def test_a_canary_is_asked_for_its_share_alone(
    shared_upstream: StubUpstream, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    promote(store, tmp_path, "rare-0")
    promote(store, tmp_path, "rare-1", stage="canary")
    rare = {**ENVIRONMENT, "PROTEGE_LOOP__ROLLOUT": '{"share": 0.000001}'}
    with Server(tmp_path, *teacher_flags(shared_upstream), **rare) as server:
        assert {ask(server, "animals")["x-protege-model"] for _ in range(5)} == {"rare-0"}
        assert ask(server, "animals", model="student")["x-protege-model"] == "rare-0"
        metrics = httpx.get(f"{server.url.removesuffix('/v1')}/metrics").text
        assert 'protege_student_coming{stage="canary",task="animals"} 1.0' in metrics
    assert student(store, "rare-1").stage == "canary"
    store.close()


def test_a_canary_that_answers_is_asked_for_more(
    shared_upstream: StubUpstream, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    promote(store, tmp_path, "more-0")
    promote(store, tmp_path, "more-1", stage="canary")
    quarter = {**ENVIRONMENT, "PROTEGE_LOOP__ROLLOUT": '{"share": 0.25, "canary": 40}'}

    def answered() -> int:
        return trials.tally(store.engine, "more-1", "canary", 60.0).answered

    with Server(tmp_path, *teacher_flags(shared_upstream), **quarter) as server:
        first: list[str] = []
        while first.count("more-1") < 20:
            first.append(ask(server, "animals")["x-protege-model"])
        assert "more-0" in first
        assert eventually(lambda: answered() == 20)
        time.sleep(SETTLE_S)
        # With half of its answers given it has all of the requests.
        assert {ask(server, "animals")["x-protege-model"] for _ in range(12)} == {"more-1"}
    store.close()
