"""The same money everywhere: the store, the figures of reports, and the metrics."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from telemetry.exchange import PICO, Exchange
from telemetry.figures import sums
from telemetry.metrics import Metrics
from telemetry.store import Audit, Store
from tests.telemetry.test_metrics import total
from tests.telemetry.test_store import exchange

EXCHANGES = 100_000
BATCH = 2_000
TASKS = 30
CENT = PICO // 100
START = 1_767_225_600.0


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
        teacher_answer=None,
        prompt_tokens=draw.randrange(5000),
        completion_tokens=draw.randrange(500),
        cost=teacher_cost if route == "teacher" else draw.randrange(10**6),
        teacher_cost=teacher_cost,
        latency_s=0.1,
    )


def test_store_metrics_and_report_agree(tmp_path: Path) -> None:
    draw = random.Random(0)
    store, metrics = Store(tmp_path), Metrics()
    exact: Counter[str] = Counter()
    by_task: Counter[str] = Counter()
    for first in range(0, EXCHANGES, BATCH):
        new = [made(number, draw) for number in range(first, first + BATCH)]
        audits = [
            Audit(one.id, "yes", agreed=draw.random() < 0.97, audit_cost=draw.randrange(10**11))
            for one in new
            if one.route == "student" and draw.random() < 0.1
        ]
        store.write(new, audits)
        for one in new:
            metrics.exchange(one)
            exact.update(cost=one.cost, teacher_cost=one.teacher_cost, requests=1)
            by_task[one.task] += one.cost
            exact.update(prompt=one.prompt_tokens, completion=one.completion_tokens)
        for audit in audits:
            task = new[int(audit.id[4:]) - first].task
            predicted = new[int(audit.id[4:]) - first].teacher_cost
            metrics.audit(task, agreed=audit.agreed, cost=audit.audit_cost, predicted=predicted)
            exact.update(audit_cost=audit.audit_cost, audits=1, disagreements=not audit.agreed)
        metrics.flush()
    (report,) = sums(store.engine, START, START + EXCHANGES)
    for name in ("requests", "cost", "teacher_cost", "audit_cost", "audits", "disagreements"):
        assert getattr(report, name) == exact[name], name
    assert (report.prompt_tokens, report.completion_tokens) == (
        exact["prompt"],
        exact["completion"],
    )
    for name, counter in {
        "requests": "protege_requests_total",
        "audits": "protege_audits_total",
        "disagreements": "protege_audit_disagreements_total",
    }.items():
        assert total(metrics, counter) == exact[name]
    assert total(metrics, "protege_tokens_total", kind="prompt") == exact["prompt"]
    for name, counter in {
        "cost": "protege_cost_usd_total",
        "teacher_cost": "protege_teacher_only_cost_usd_total",
        "audit_cost": "protege_audit_cost_usd_total",
    }.items():
        off = abs(round(total(metrics, counter) * PICO) - exact[name])
        print(f"{name}: {exact[name] / PICO:.2f} USD, the metric is off by {off / PICO:.2g} USD")
        assert off < CENT, name
    for part in sums(store.engine, START, START + EXCHANGES, ["task"]):
        (task,) = part.group
        assert part.cost == by_task[task]
        counted = total(metrics, "protege_cost_usd_total", task=task)
        assert abs(round(counted * PICO) - part.cost) < CENT
    saved = (
        total(metrics, "protege_teacher_only_cost_usd_total")
        - total(metrics, "protege_cost_usd_total")
        - total(metrics, "protege_audit_cost_usd_total")
    )
    assert abs(round(saved * PICO) - report.saved) < CENT
    store.close()
