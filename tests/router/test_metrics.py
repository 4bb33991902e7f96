"""What a scraper sees of a real server: counted by several processes, and read from the store."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from distill.card import Card
from policies.promise import interval
from telemetry.exchange import PICO
from telemetry.keys import Keys, new_secret
from telemetry.store import Store
from tests.prometheus import program
from tests.router.conftest import TEACHER, teacher_flags
from tests.router.server import Server, eventually
from tests.router.taught import SENTENCES, TASK, by_slice, promote, slice_figures
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, StubUpstream

REQUESTS = 6
"""Of each kind."""
LIMIT = 5
PRICE = '{"gpt-5.4": {"input": 1000, "output": 1000}}'
COST = (PROMPT_TOKENS + COMPLETION_TOKENS) / 1000
"""USD that an answer of the teacher's costs."""
SLICES = [
    slice_figures("length", "up to 20 characters", 0.9),
    slice_figures("language", "en", None),
    slice_figures("topic", "a name in a prompt", 1.0),
]
OPENMETRICS = {"accept": "application/openmetrics-text; version=1.0.0"}


class Scraped:
    """The metrics of a server."""

    def __init__(self, server: Server) -> None:
        self._url = server.url.removesuffix("/v1") + "/metrics"

    def value(self, metric: str, /, **labels: str) -> float | None:
        """The sum of the samples that have these labels; None without any."""
        families = text_string_to_metric_families(httpx.get(self._url).text)
        values = [
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == metric and labels.items() <= sample.labels.items()
        ]
        return sum(values) if values else None

    def openmetrics(self) -> str:
        return httpx.get(self._url, headers=OPENMETRICS).text


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A data folder with a student, and a key and its id."""
    data = tmp_path_factory.mktemp("metrics")
    store = Store(data)
    promote(store, data, "animals-1", card=Card(evaluation=by_slice(*SLICES)))
    made = new_secret()
    key = Keys(store).create(
        made, 1.0, name="support", budget=10 * PICO, requests_per_minute=10 * REQUESTS
    )
    store.close()
    return data, made.text, key.id


@pytest.fixture(scope="module")
def server(shared_upstream: StubUpstream, secret: tuple[Path, str, str]) -> Iterator[Server]:
    """Two workers that have asked the teacher, also for streams, and the student, whose last audit
    disagrees."""
    data, text, _ = secret
    shared_upstream.reset()
    environment = {
        "PROTEGE_LOOP__ENABLED": "false",
        "PROTEGE_POLICY__AUDIT_RATE": "1",
        "PROTEGE_PRICES": PRICE,
    }
    flags = (*teacher_flags(shared_upstream), "--workers", "2")
    with Server(data, *flags, **environment) as server:
        headers = {"authorization": f"Bearer {text}"}

        def ask(model: str, text: str, **more: Any) -> None:
            message = {"role": "user", "content": text}
            body = {"model": model, "messages": [message], "metadata": {"task": TASK}, **more}
            # A connection each, so that both workers get some.
            answer = httpx.post(f"{server.url}/chat/completions", json=body, headers=headers)
            assert answer.status_code == 200, answer.text

        for sentence in SENTENCES[:REQUESTS]:
            ask("teacher", sentence)
            ask("auto", sentence)
            ask("teacher", sentence, stream=True)
        scraped = Scraped(server)
        audits = "protege_audits_total"
        assert eventually(lambda: scraped.value(audits, task=TASK) == REQUESTS)
        shared_upstream.answer = lambda text: "neither"
        ask("auto", SENTENCES[-1])
        assert eventually(lambda: scraped.value(audits, task=TASK) == REQUESTS + 1)
        assert eventually(lambda: scraped.value("protege_requests_total") == 3 * REQUESTS + 1)
        yield server
    shared_upstream.reset()


@pytest.fixture
def scraped(server: Server) -> Scraped:
    return Scraped(server)


def test_money(server: Server, scraped: Scraped) -> None:
    by_teacher = {"route": "teacher", "model": TEACHER, "task": TASK}
    by_student = {"route": "student", "model": "student"}
    assert scraped.value("protege_cost_usd_total", **by_teacher) == pytest.approx(
        2 * REQUESTS * COST
    )
    assert scraped.value("protege_cost_usd_total", **by_student) == 0
    assert scraped.value("protege_teacher_only_cost_usd_total") == pytest.approx(
        (3 * REQUESTS + 1) * COST
    )
    assert scraped.value("protege_audit_cost_usd_total") == pytest.approx((REQUESTS + 1) * COST)


def test_what_audits_say_of_a_student(scraped: Scraped) -> None:
    low, high = interval(REQUESTS + 1, 1, 0.05)
    for name, value in {
        "protege_agreement_ratio": REQUESTS / (REQUESTS + 1),
        "protege_agreement_audits": REQUESTS + 1,
        "protege_agreement_lower_ratio": 1 - high,
        "protege_agreement_upper_ratio": 1 - low,
        "protege_bound_ratio": 0.95,
        "protege_audit_disagreements_total": 1,
        "protege_student_serving": 1,
        "protege_dataset_examples": len(SENTENCES),
        "protege_promotions_total": 1,
        "protege_demotions_total": 0,
    }.items():
        assert scraped.value(name, task=TASK) == pytest.approx(value), name
    drift = scraped.value("protege_drift_score", task=TASK)
    assert drift is not None
    assert 0 <= drift < 1
    assert scraped.value("protege_student_info", task=TASK, version="animals-1") == 1
    assert scraped.value("protege_training_runs_total", task=TASK, outcome="promoted") == 1
    assert scraped.value("protege_training_seconds_bucket", le="1.0") == 1
    assert scraped.value("protege_training_seconds_sum") == pytest.approx(0.1)


def test_slices(scraped: Scraped) -> None:
    """Without words of anybody's requests."""
    name = "protege_slice_agreement_ratio"
    assert scraped.value(name, task=TASK, slice="length: up to 20 characters") == 0.9
    assert scraped.value(name) == 0.9


def test_budgets(secret: tuple[Path, str, str], scraped: Scraped) -> None:
    _, _, key = secret
    spent = (2 * REQUESTS + REQUESTS + 1) * COST
    assert scraped.value("protege_key_budget_usd", key=key, name="support") == 10
    assert scraped.value("protege_key_budget_left_usd", key=key) == pytest.approx(10 - spent)
    assert scraped.value("protege_policy_budget_usd") is None


def test_a_look_is_no_request(
    server: Server, secret: tuple[Path, str, str], scraped: Scraped
) -> None:
    url, headers = f"{server.url}/chat/completions", {"authorization": f"Bearer {secret[1]}"}
    body = {"model": "teacher", "messages": [{"role": "user", "content": "a cat"}]}
    left = "x-ratelimit-remaining-requests"
    before = int(httpx.post(url, json=body, headers=headers).headers[left])
    for _ in range(3):
        scraped.value("protege_key_budget_usd")
    assert int(httpx.post(url, json=body, headers=headers).headers[left]) == before - 1
    assert eventually(lambda: scraped.value("protege_requests_total") == 3 * REQUESTS + 3)


def test_time(scraped: Scraped) -> None:
    """Where it was spent: in Protege, or upstream."""
    whole = scraped.value("protege_request_duration_seconds_sum", route="teacher")
    own = scraped.value("protege_router_seconds_sum", route="teacher")
    upstream = scraped.value("gen_ai_client_operation_duration_seconds_sum")
    assert whole is not None
    assert own is not None
    assert upstream is not None
    assert own > 0
    assert upstream > 0
    # The store is waited for after the answer is complete.
    assert own + upstream >= whole
    tokens = {"gen_ai_request_model": TEACHER, "gen_ai_token_type": "input"}
    asked = scraped.value("gen_ai_client_token_usage_count", **tokens)
    assert asked is not None
    assert asked >= 2 * REQUESTS
    assert scraped.value("gen_ai_client_token_usage_sum", **tokens) == asked * PROMPT_TOKENS
    streams = scraped.value("gen_ai_server_time_to_first_token_seconds_count")
    assert streams == scraped.value("protege_time_to_first_token_seconds_count") == REQUESTS


def test_what_each_process_alone_knows(scraped: Scraped) -> None:
    assert scraped.value("protege_store_queue_exchanges") == 0
    assert scraped.value("protege_store_lag_seconds") == 0
    assert scraped.value("protege_in_flight_requests") == 0
    assert eventually(lambda: scraped.value("protege_breaker_open", upstream=TEACHER) == 0)


def test_openmetrics(scraped: Scraped) -> None:
    names = {family.name for family in read_openmetrics(scraped.openmetrics())}
    assert {"protege_requests", "protege_agreement_ratio", "protege_training_seconds"} <= names


def test_promtool_has_nothing_to_say_against_them(server: Server) -> None:
    """Names, types and helps, as Prometheus' own tool judges them."""
    text = httpx.get(server.url.removesuffix("/v1") + "/metrics").content
    command = [program("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_exemplars_of_all_workers(server: Server, scraped: Scraped) -> None:
    """Whichever worker is asked: each shows the newest exchange of any."""
    found = {
        sample.exemplar.labels["exchange_id"]
        for family in read_openmetrics(scraped.openmetrics())
        if family.name == "protege_request_duration_seconds"
        for sample in family.samples
        if sample.exemplar is not None
    }
    store = server.store()
    assert found
    exchanges = [store.exchange(each) for each in found]
    assert {one.route for one in exchanges if one} == {"teacher", "student"}
    store.close()


def test_an_open_breaker_and_a_policys_budget(upstream: StubUpstream, tmp_path: Path) -> None:
    environment = {
        "PROTEGE_LOOP__ENABLED": "false",
        "PROTEGE_POLICY__NAME": "budget",
        "PROTEGE_POLICY__BUDGET": '{"usd": 2}',
        "PROTEGE_PRICES": PRICE,
        "PROTEGE_TEACHER__BREAKER_FAILURES": "1",
        "PROTEGE_TEACHER__RETRIES": "0",
    }
    with Server(tmp_path / "data", *teacher_flags(upstream), **environment) as server:
        scraped = Scraped(server)
        client = server.client()
        message: Any = {"role": "user", "content": "a cat"}
        create = client.chat.completions.with_raw_response.create
        answer = create(model="auto", messages=[message])
        assert scraped.value("protege_policy_budget_usd") == 2
        assert scraped.value("protege_policy_budget_left_usd") == pytest.approx(2 - COST)
        assert scraped.value("protege_breaker_open", upstream=TEACHER) == 0
        identifier = answer.headers["x-request-id"]
        assert f'# {{exchange_id="{identifier}"}}' in scraped.openmetrics()
        upstream.status = 500
        assert scraped.value("protege_errors_total", code="upstream_error") == 0
        with pytest.raises(Exception, match="500"):
            client.chat.completions.create(model="auto", messages=[message])
        assert scraped.value("protege_errors_total", code="upstream_error") == 1
        assert scraped.value("protege_breaker_open", upstream=TEACHER) == 1


def test_a_store_that_cannot_be_read(server: Server, secret: Any, scraped: Scraped) -> None:
    """Last of all: the server has nothing to read any more, and shows what it knew."""
    store = server.store()
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE training_runs")
    store.close()
    assert scraped.value("protege_requests_total") is not None


def test_servers_on_the_same_data_count_each_for_itself(
    upstream: StubUpstream, tmp_path: Path
) -> None:
    def ask(server: Server) -> None:
        body = {"model": "teacher", "messages": [{"role": "user", "content": "a cat"}]}
        assert httpx.post(f"{server.url}/chat/completions", json=body).status_code == 200

    def counts(server: Server, requests: int) -> bool:
        return eventually(lambda: Scraped(server).value("protege_requests_total") == requests)

    flags = (*teacher_flags(upstream), "--workers", "2")
    quiet = {"PROTEGE_LOOP__ENABLED": "false"}
    with Server(tmp_path, *flags, **quiet) as first:
        ask(first)
        assert counts(first, 1)
        with Server(tmp_path, *flags, **quiet) as second:
            ask(second)
            ask(second)
            assert counts(second, 2)
            assert counts(first, 1)
            second.kill()
    with Server(tmp_path, *flags, **quiet):
        # What the others have left, however they ended, is gone.
        assert len(list((tmp_path / "metrics").iterdir())) == 1
