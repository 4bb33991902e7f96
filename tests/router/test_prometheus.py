"""A real Prometheus scrapes a real server under traffic, and every panel has something to show."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from typing import Any

import httpx
import openai
import pytest
from scipy.special import stdtrit
from sqlalchemy import select

from config.dashboards.generate import FOLDER
from distill.card import Card
from router.report.estimate import saved
from telemetry import changes, figures, runs
from telemetry.exchange import PICO
from telemetry.figures import Dimension, Sum
from telemetry.keys import Keys, new_secret
from telemetry.runs import TrainingRun
from telemetry.schema import exchanges
from telemetry.store import Store
from tests.prometheus import Prometheus
from tests.router.conftest import teacher_flags
from tests.router.server import ROOT, Server, eventually
from tests.router.taught import SENTENCES, by_slice, opposite, promote, slice_figures
from tests.router.upstream import StubUpstream

CONFIG = """
teacher: {{retries: 0, breaker_failures: 1000000}}
models:
  gone: {{model: gpt-5.4, base_url: "http://127.0.0.1:9/v1", retries: 0, breaker_failures: 1}}
  other: {{model: gpt-5.4-mini, base_url: "{url}"}}
policy: {{audit_rate: 0.9}}
policies: {{tasks: {{thrifty: {{name: budget, budget: {{usd: 1}}}}}}}}
loop: {{enabled: false}}
compute_usd_per_hour: 100
prices:
  gpt-5.4: [{{from: 2024-02-29, input: 2.5, output: 15}}]
"""

SURE, CONTRARY, UNSURE, PLAIN = "sure", "contrary", "unsure", "plain"
"""Tasks: with a student that agrees, with one that never does, with one that is never sure, and
with none."""

ASKED = SENTENCES[::3]

RANGE_S = 600
"""The dashboards' time range: longer than the server has run."""
WITHIN_S = 60.0
"""A few seconds do; the rest is for a machine that is busy with tests."""
SHOWN_S = 60
"""How much of it charts over time are asked for."""

CARD = Card(
    evaluation=by_slice(
        slice_figures("length", "short", 0.99), slice_figures("length", "long", 0.9)
    )
)
"""What a student's test has shown of it."""

DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")
}


@dataclass(frozen=True)
class Target:
    """One query of one panel."""

    dashboard: str
    panel: str
    letter: str
    instant: bool
    expression: str

    def filled_in(self, chosen: dict[str, str]) -> str:
        """The expression as Grafana sends it; of what is not ``chosen``, all."""
        built_in = {
            "__range": f"{RANGE_S}s",
            "__range_s": str(RANGE_S),
            "__rate_interval": "30s",
        }
        values = {"task": ".*", "route": ".*", "model": ".*", "name": ".*", **built_in, **chosen}
        return re.sub(r"\$(\w+)", lambda match: values[match[1]], self.expression)


def targets() -> list[Target]:
    return [
        Target(name, panel["title"], target["refId"], target["instant"], target["expr"])
        for name, dashboard in sorted(DASHBOARDS.items())
        for row in dashboard["panels"]
        for panel in (row, *row.get("panels", []))
        for target in panel.get("targets", [])
    ]


@dataclass(frozen=True)
class Site:
    """A server that has had traffic, and a Prometheus that has seen all of it."""

    prometheus: Prometheus
    store: Store
    looked: float
    """Unix time at which it is looked at: while the traffic is fresh, however slow the tests."""

    def shown(self, target: Target, **chosen: str) -> list[dict[str, Any]]:
        """The series that a panel would show, without points that are no numbers."""
        query, now = target.filled_in(chosen), self.looked
        if target.instant:
            found = self.prometheus.get("query", query=query, time=now)["result"]
            series = [{**one, "values": [one["value"]]} for one in found]
        else:
            span = {"start": now - SHOWN_S, "end": now, "step": 1}
            series = self.prometheus.get("query_range", query=query, **span)["result"]
        return [one for one in series if any(value != "NaN" for _, value in one["values"])]

    def values(self, query: str) -> list[str]:
        """What there is to choose from; ``query`` is Grafana's ``label_values(metric, label)``."""
        metric, label = query.removeprefix("label_values(").removesuffix(")").split(", ")
        return self.prometheus.get(f"label/{label}/values", **{"match[]": metric})

    def of(self, dashboard: str, title: str, letter: str = "A") -> Target:
        """A query of a panel."""
        (found,) = (
            target
            for target in targets()
            if (target.dashboard, target.panel, target.letter) == (dashboard, title, letter)
        )
        return found

    def event(self, name: str) -> Target:
        """The query of an event of the first dashboard."""
        events = DASHBOARDS["protege-cost"]["annotations"]["list"]
        (expression,) = (event["expr"] for event in events if event["name"] == name)
        return Target("protege-cost", name, "A", False, expression)

    def number(self, dashboard: str, title: str) -> float:
        """What a panel shows that has but one number."""
        (series,) = self.shown(self.of(dashboard, title))
        return float(series["values"][-1][1])

    def column(self, dashboard: str, title: str) -> dict[str, float]:
        """A column of a dashboard's table of tasks."""
        (table,) = (p for p in DASHBOARDS[dashboard]["panels"] if p["title"] == "Tasks")
        names = table["transformations"][-1]["options"]["renameByName"]
        letters = {column: value.removeprefix("Value #") for value, column in names.items()}
        series = self.shown(self.of(dashboard, "Tasks", letters[title]))
        return {one["metric"]["task"]: float(one["values"][-1][1]) for one in series}

    def sum(self) -> Sum:
        (everything,) = _sum_up(self.store)
        return everything

    def sums_by_task(self) -> dict[str, Sum]:
        return {one.group[0]: one for one in _sum_up(self.store, "task")}


def _seen(prometheus: Prometheus, expression: str) -> float:
    """The one value of an expression; 0 if there is none yet."""
    found = prometheus.get("query", query=expression)["result"]
    return float(found[0]["value"][1]) if found else 0.0


def _sum_up(store: Store, *by: Dimension) -> list[Sum]:
    return figures.sums(store.engine, 0, time.time() + 1, by)


def _audited(store: Store) -> bool:
    """Whether the teacher has been asked about every answer of a student that it was to be."""
    of = exchanges.c
    query = select(of.id).where(
        of.reason == "student_confident", of.sampled.is_(True), of.agreed.is_(None)
    )
    with store.engine.connect() as connection:
        return connection.execute(query).first() is None


def _caught_up(prometheus: Prometheus, store: Store) -> bool:
    """Whether Prometheus has all that the store has."""
    (stored,) = _sum_up(store)
    seen = "sum(protege_audits_total) + sum(protege_requests_total) + sum(protege_demotions_total)"
    return _seen(prometheus, seen) == stored.requests + stored.audits + 1


@pytest.fixture(scope="module")
def site(shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    shared_upstream.reset()
    # What an audit takes is not what was predicted.
    shared_upstream.spend = cycle((3, 8, 9, 21)).__next__
    folder = tmp_path_factory.mktemp("prometheus")
    config, data = folder / "protege.yaml", folder / "data"
    config.write_text(CONFIG.format(url=shared_upstream.url))
    store = Store(data)
    secrets = {name: new_secret() for name in ("app", "poor")}
    for name, budget in (("app", 100 * PICO), ("poor", 1)):
        Keys(store).create(secrets[name], time.time(), name=name, budget=budget)
    promote(store, data, "sure-1", task=SURE, card=CARD)
    promote(store, data, "contrary-1", task=CONTRARY, teacher=opposite)
    promote(store, data, "regretted-1", task=UNSURE)
    assert store.roster.roll_back(UNSURE, "regretted")
    promote(store, data, "unsure-1", task=UNSURE, threshold=1.01)
    for outcome in ("kept", "failed"):
        runs.add(store.engine, TrainingRun(SURE, time.time(), 2.0, outcome, 200))
    flags = (*teacher_flags(shared_upstream), "--config", str(config))
    with (
        Server(data, *flags) as server,
        Prometheus(
            ROOT / "config/prometheus/prometheus.yml",
            folder / "prometheus",
            server.url.removeprefix("http://").removesuffix("/v1"),
        ) as prometheus,
    ):
        # A task with a student has a name of its own from the first look at the metrics on.
        assert eventually(lambda: _seen(prometheus, "sum(protege_student_serving)") == 3, WITHIN_S)
        caller = _Caller(server, {name: secret.text for name, secret in secrets.items()})
        caller.ask_all()
        caller.ask_without_teacher(shared_upstream)
        # A rate takes two looks.
        assert eventually(lambda: _seen(prometheus, "sum(protege_fallbacks_total)") == 1, WITHIN_S)
        caller.ask_all()
        caller.ask_without_teacher(shared_upstream)
        assert eventually(lambda: _audited(store) and _caught_up(prometheus, store), WITHIN_S)
        # And once more: what is left of budgets is read before what was spent is counted.
        caught_up = time.time()
        assert eventually(lambda: _seen(prometheus, "timestamp(up)") > caught_up, WITHIN_S)
        yield Site(prometheus, store, time.time())
    store.close()


class _Caller:
    """Somebody who asks in every way that there is a figure for."""

    def __init__(self, server: Server, secrets: dict[str, str]) -> None:
        http = httpx.Client()
        self._clients = {
            name: server.client(api_key=secret, http_client=http)
            for name, secret in {**secrets, "stranger": "sk-protege-unknown"}.items()
        }

    def ask_all(self) -> None:
        for task in (SURE, CONTRARY, UNSURE, PLAIN):
            for text in ASKED:
                self.ask(task, text)
        for task in (SURE, PLAIN):
            list(self.ask(task, stream=True))
        self.ask(PLAIN, model="other")
        for name in ("poor", "poor", "stranger"):
            self._ask_in_vain(name)
        self._ask_in_vain("app", model="gone")
        self._praise(self.ask("thrifty"))

    def ask_without_teacher(self, upstream: StubUpstream) -> None:
        """Let a student answer that is not sure."""
        upstream.status = 500
        try:
            self.ask(UNSURE)
        finally:
            upstream.status = 200

    def ask(self, task: str, text: str = SENTENCES[0], key: str = "app", **more: Any) -> Any:
        messages = [{"role": "user", "content": text}]
        body = {"model": "auto", "messages": messages, "metadata": {"task": task}, **more}
        return self._clients[key].chat.completions.create(**body)

    def _ask_in_vain(self, key: str, **more: Any) -> None:
        with contextlib.suppress(openai.APIStatusError):
            self.ask(PLAIN, key=key, **more)

    def _praise(self, answer: Any) -> None:
        body = {"exchange": answer._request_id, "thumb": "up"}
        self._clients["app"].post("/feedback", body=body, cast_to=object)


@pytest.mark.parametrize("dashboard", sorted(DASHBOARDS))
def test_every_panel_has_something_to_show(dashboard: str, site: Site) -> None:
    empty = [
        (target.panel, target.letter, target.filled_in({}))
        for target in targets()
        if target.dashboard == dashboard and not site.shown(target)
    ]
    assert not empty


@pytest.mark.parametrize("dashboard", sorted(DASHBOARDS))
def test_every_variable_narrows_every_panel_that_has_it(dashboard: str, site: Site) -> None:
    for variable in DASHBOARDS[dashboard]["templating"]["list"][1:]:
        values = site.values(variable["query"])
        assert values
        for target in targets():
            if target.dashboard == dashboard and f"${variable['name']}" in target.expression:
                some = [site.shown(target, **{variable["name"]: value}) for value in values]
                assert any(some), (target, values)
                assert not site.shown(target, **{variable["name"]: "nothing"}) or _is_count(target)


def _is_count(target: Target) -> bool:
    """Whether a panel counts what may be nothing."""
    return "vector(0)" in target.expression


def test_every_event_is_marked_when_it_happened(site: Site) -> None:
    for name, dashboard in DASHBOARDS.items():
        for event in dashboard["annotations"]["list"]:
            query = Target(name, event["name"], "A", False, event["expr"])
            assert site.shown(query), event["name"]
    (demoted,) = site.shown(site.event("Student demoted"))
    assert demoted["metric"] == {"task": CONTRARY}
    (change,) = (one for one in changes.tallies(site.store.engine) if one.change == "demoted")
    assert float(demoted["values"][-1][1]) / 1000 == pytest.approx(change.last)
    (price,) = site.shown(site.event("Price changed"))
    begins = datetime(2024, 2, 29, tzinfo=UTC).timestamp()
    assert (price["metric"]["model"], float(price["values"][-1][1])) == ("gpt-5.4", 1000 * begins)


def test_totals_agree_with_the_store(site: Site) -> None:
    stored = site.sum()
    spent = stored.cost + stored.audit_cost
    for title, value in {
        "Spent": spent / PICO,
        "Saved": stored.saved / PICO,
        "Saved share": stored.saved / stored.teacher_cost,
        "The teacher alone": stored.teacher_cost / PICO,
        "Audits": stored.audit_cost / PICO,
        "Requests": stored.requests,
        "Answered by students": stored.by_student / stored.requests,
        "A thousand requests": 1000 * spent / PICO / stored.requests,
        "Tokens": stored.prompt_tokens + stored.completion_tokens,
    }.items():
        assert value
        assert site.number("protege-cost", title) == pytest.approx(value, rel=1e-9), title


def test_how_sure_the_saving_is_agrees_with_the_report(site: Site) -> None:
    stored = site.sum()
    predicted, likely = stored.student_teacher_cost, saved(stored, 0.95)
    assert site.number("protege-cost", "Predicted") == pytest.approx(predicted / PICO, rel=1e-9)
    off = stored.pair_audit_cost / stored.pair_teacher_cost - 1
    assert off
    assert site.number("protege-cost", "Prediction off by") == pytest.approx(off, rel=1e-6)
    assert likely is not None
    # The report's interval has Student's distribution.
    wider = float(stdtrit(stored.pairs - 1, 0.975)) / 1.96
    assert 1 < wider < 1.1
    for letter, end in (("A", likely.low), ("B", likely.high)):
        (series,) = site.shown(site.of("protege-cost", "Saved, by audits", letter))
        shown = float(series["values"][-1][1])
        assert likely.usd + (shown - likely.usd) * wider == pytest.approx(end, rel=1e-6)
    assert likely.low < likely.high


def test_tasks_agree_with_the_store(site: Site) -> None:
    stored = site.sums_by_task()
    for task in (SURE, CONTRARY, UNSURE):
        one = stored[task]
        for title, value in {
            "Requests": one.requests,
            "By students": one.by_student / one.requests,
            "Answers": one.cost / PICO,
            "Audits": one.audit_cost / PICO,
            "The teacher alone": one.teacher_cost / PICO,
            "Saved": one.saved / PICO,
        }.items():
            shown = site.column("protege-cost", title)[task]
            assert shown == pytest.approx(value, rel=1e-9, abs=1e-12), (task, title)
    requests = site.column("protege-cost", "Requests").values()
    assert sum(requests) == sum(one.requests for one in stored.values())


def test_quality_agrees_with_the_store(site: Site) -> None:
    stored = site.sums_by_task()
    assert stored[CONTRARY].disagreements
    for task in (SURE, CONTRARY):
        assert site.column("protege-quality", "Audits")[task] == stored[task].audits
    disagreed = site.column("protege-quality", "Disagreed")
    assert disagreed[CONTRARY] == stored[CONTRARY].disagreements
    assert site.column("protege-quality", "Agreement")[SURE] == 1.0
    slices = site.shown(site.of("protege-quality", "Slices with the least agreement"))
    assert {one["metric"]["slice"] for one in slices} == {"length: short", "length: long"}
    assert site.number("protege-students", "Demotions") == 1
    assert site.number("protege-students", "Training runs") == 6


def test_budgets_agree_with_the_store(site: Site) -> None:
    by_key = _sum_up(site.store, "key")
    spent = {one.group[0]: (one.cost + one.audit_cost) / PICO for one in by_key}
    for key in Keys(site.store).all():
        (used,) = (
            float(series["values"][-1][1])
            for series in site.shown(site.of("protege-keys", "Keys", "B"))
            if series["metric"]["key"] == key.id
        )
        assert key.budget is not None
        assert used == pytest.approx(min(spent[key.id], key.budget / PICO), abs=1e-12)


def test_a_slow_point_leads_to_its_exchange(site: Site) -> None:
    target = site.of("protege-traffic", "Spread")
    span = {"start": site.looked - RANGE_S, "end": site.looked}
    found = site.prometheus.get("query_exemplars", query=target.filled_in({}), **span)
    shown = {one["labels"]["exchange_id"] for series in found for one in series["exemplars"]}
    assert shown
    assert all(site.store.exchange(identifier) for identifier in shown)


def test_alerts_fire(site: Site) -> None:
    for alert, label, value in [
        ("ProtegeBoundBroken", "task", CONTRARY),
        ("ProtegeKeyBudgetSpent", "name", "poor"),
    ]:
        query = f'ALERTS{{alertname="{alert}", alertstate="firing", {label}="{value}"}}'
        assert eventually(partial(_fires, site, query)), alert


def _fires(site: Site, query: str) -> bool:
    return _seen(site.prometheus, query) == 1
