"""The same money everywhere: the store, the figures of reports, and the metrics."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from typer.testing import CliRunner

from telemetry.exchange import PICO, Exchange
from telemetry.figures import Dimension, sums
from telemetry.metrics import Metrics
from telemetry.rollup import roll_up
from telemetry.schema import exchanges
from telemetry.store import Audit, Repeat, Store
from telemetry.tryouts import Tryout
from tests.router.test_report import app
from tests.telemetry.test_metrics import total
from tests.telemetry.test_store import exchange

EXCHANGES = 100_000
BATCH = 2_000
TASKS = 30
CENT = PICO // 100
START = 1_767_225_600.0
"""The beginning of 2026."""
END = START + EXCHANGES

MONEY = ("cost", "teacher_cost", "audit_cost", "tryout_cost")


def made(number: int, draw: random.Random) -> Exchange:
    """An exchange that cost what no float can hold exactly."""
    route = draw.choice(("teacher", "student"))
    teacher_cost = draw.randrange(10**11)
    return exchange(
        f"req_{number:08d}",
        created=START + number,
        task=f"task {number % TASKS}",
        route=route,
        model="gpt-5.4" if route == "teacher" else f"v{number % 7}",
        reason="student_confident" if route == "student" else "student_unsure",
        key=f"key_{number % 5}" if number % 3 else None,
        teacher_answer=None,
        prompt_tokens=draw.randrange(5000),
        completion_tokens=draw.randrange(500),
        cost=teacher_cost if route == "teacher" else draw.randrange(10**6),
        teacher_cost=teacher_cost,
        latency_s=0.1,
    )


@dataclass
class Books:
    """A hundred thousand exchanges, and what they come to, added up by hand."""

    folder: Path
    store: Store
    metrics: Metrics = field(default_factory=Metrics)
    exact: Counter[str] = field(default_factory=Counter)
    by_task: Counter[str] = field(default_factory=Counter)

    @property
    def spent(self) -> int:
        return self.exact["cost"] + self.exact["audit_cost"] + self.exact["tryout_cost"]

    def write(self, new: list[Exchange], draw: random.Random) -> None:
        audits, repeats, tried = [], [], []
        for one in new:
            extra = draw.randrange(10**11) if draw.random() < 0.1 else None
            self.exact.update(cost=one.cost, teacher_cost=one.teacher_cost, requests=1)
            self.exact.update(prompt=one.prompt_tokens, completion=one.completion_tokens)
            self.by_task[one.task] += one.cost
            self.metrics.exchange(one)
            if extra is None:
                continue
            if one.route == "student":
                # Now and then the teacher's own answer is cut off, which costs all the same.
                agreed = None if draw.random() < 0.05 else draw.random() < 0.97
                audits.append(Audit(one.id, "yes", agreed, extra))
                predicted = one.teacher_cost
                self.metrics.audit(one.task, agreed=agreed, cost=extra, predicted=predicted)
                said = agreed is not None
                self.exact.update(audit_cost=extra, audits=said, disagreements=agreed is False)
            elif extra % 2:
                repeats.append(Repeat(one.id, None, extra))
                self.metrics.repeat(one.task, extra)
                self.exact.update(audit_cost=extra)
            else:
                told = ("gpt-5.4-mini", one.created, one.task, True, 0.1, extra, True, 0.1)
                tried.append(Tryout(one.id, *told))
                self.metrics.tryout(one.task, "gpt-5.4-mini", agreed=True, cost=extra)
                self.exact.update(tryout_cost=extra)
        self.store.write(new, [*audits, *repeats], tried)
        self.metrics.flush()


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    folder = tmp_path_factory.mktemp("books")
    kept, draw = Books(folder, Store(folder)), random.Random(0)
    for first in range(0, EXCHANGES, BATCH):
        kept.write([made(number, draw) for number in range(first, first + BATCH)], draw)
    yield kept
    kept.store.close()


def test_the_store_has_it_all(books: Books) -> None:
    """Straight from the table, and as sums before hours are summed up and after."""
    columns = [func.sum(exchanges.c[name]) for name in MONEY]
    with books.store.engine.connect() as connection:
        assert tuple(connection.execute(select(*columns)).one()) == tuple(
            books.exact[name] for name in MONEY
        )
    for _ in range(2):
        (found,) = sums(books.store.engine, START, END)
        for name in (*MONEY, "requests", "audits", "disagreements"):
            assert getattr(found, name) == books.exact[name], name
        assert found.prompt_tokens == books.exact["prompt"]
        assert found.completion_tokens == books.exact["completion"]
        assert found.saved == books.exact["teacher_cost"] - books.spent
        by_task = sums(books.store.engine, START, END, ["task"])
        assert {each.group[0]: each.cost for each in by_task} == books.by_task
        roll_up(books.store.engine, END + 1e6)


def test_metrics_agree_to_the_cent(books: Books) -> None:
    for name, counter in {
        "requests": "protege_requests_total",
        "audits": "protege_audits_total",
        "disagreements": "protege_audit_disagreements_total",
    }.items():
        assert total(books.metrics, counter) == books.exact[name]
    assert total(books.metrics, "protege_tokens_total", kind="prompt") == books.exact["prompt"]
    counters = {name: f"protege_{name}_usd_total" for name in MONEY}
    counters["teacher_cost"] = "protege_teacher_only_cost_usd_total"
    counted = {name: total(books.metrics, counter) for name, counter in counters.items()}
    for name, usd in counted.items():
        off = abs(round(usd * PICO) - books.exact[name])
        print(f"{name}: {books.exact[name] / PICO:.2f} USD, the metric is off by {off / PICO:.2g}")
        assert off < CENT, name
    saved = counted.pop("teacher_cost") - sum(counted.values())
    assert abs(round(saved * PICO) - (books.exact["teacher_cost"] - books.spent)) < CENT
    for task, cost in books.by_task.items():
        usd = total(books.metrics, "protege_cost_usd_total", task=task)
        assert abs(round(usd * PICO) - cost) < CENT


@pytest.mark.parametrize("by", ["task", "key", "model", "day"])
def test_the_report_agrees_to_the_cent(books: Books, by: Dimension) -> None:
    since, until = "2026-01-01", "2026-01-03"
    arguments = ["--data", str(books.folder), "--since", since, "--until", until, "--by", by]
    done = CliRunner().invoke(app, ["report", *arguments, "--format", "json"])
    assert done.exit_code == 0, done.output
    report: dict[str, Any] = json.loads(done.stdout)
    told = {
        "requests": books.exact["requests"] * PICO,
        "spent_usd": books.spent,
        "audit_cost_usd": books.exact["audit_cost"],
        "tryout_cost_usd": books.exact["tryout_cost"],
        "teacher_only_usd": books.exact["teacher_cost"],
        "saved_usd": books.exact["teacher_cost"] - books.spent,
    }
    for name, exact in told.items():
        assert abs(round(report["total"][name] * PICO) - exact) < CENT, name
        assert abs(round(sum(line[name] for line in report["lines"]) * PICO) - exact) < CENT, name
