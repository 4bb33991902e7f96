"""Metrics agree with the exchanges they are counted from, and their labels are bounded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.changes import ChangeTally
from telemetry.exchange import PICO
from telemetry.metrics import Metrics
from telemetry.metrics.labels import Labels, TaskLabels
from telemetry.metrics.standing import BudgetStanding, Standing, StudentStanding
from tests.telemetry.test_store import exchange


def total(metrics: Metrics, name: str, **labels: str) -> float:
    """The sum of the series of a metric that have these labels."""
    return sum(shown(metrics, name, **labels))


def shown(metrics: Metrics, name: str, **labels: str) -> list[float]:
    """The series of a metric that have these labels."""
    metrics.flush()
    values = []
    for line in metrics.render().content.decode().splitlines():
        if re.match(rf"{name}(\{{|\s)", line):
            series, _, value = line.rpartition(" ")
            if all(f'{label}="{wanted}"' in series for label, wanted in labels.items()):
                values.append(float(value))
    return values


costs = st.integers(0, PICO)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["teacher", "student"]), costs, costs), max_size=30))
def test_sums_are_those_of_the_exchanges(rows: list[tuple[str, int, int]]) -> None:
    metrics = Metrics()
    exchanges = [
        exchange(route=route, cost=cost, teacher_cost=more, prompt_tokens=3, completion_tokens=2)
        for route, cost, more in rows
    ]
    for one in exchanges:
        metrics.exchange(one)
    for route in ("teacher", "student"):
        own = [one for one in exchanges if one.route == route]
        assert total(metrics, "protege_requests_total", route=route) == len(own)
        assert total(metrics, "protege_cost_usd_total", route=route) == pytest.approx(
            sum(one.cost for one in own) / PICO
        )
    assert total(metrics, "protege_teacher_only_cost_usd_total") == pytest.approx(
        sum(one.teacher_cost for one in exchanges) / PICO
    )
    assert total(metrics, "protege_tokens_total", kind="prompt") == 3 * len(rows)
    assert total(metrics, "protege_request_duration_seconds_count") == len(rows)


def test_an_answer_broke_off_where_its_caller_has_not_hung_up() -> None:
    metrics = Metrics()
    for error in (None, "caller_gone", "upstream_broken"):
        metrics.exchange(exchange(status=200, error=error))
    metrics.exchange(exchange(status=502, error="upstream_broken"))
    assert total(metrics, "protege_broken_answers_total") == 1


def test_audits_fallbacks_and_students() -> None:
    metrics = Metrics()
    metrics.audit("t", agreed=True, cost=PICO, predicted=PICO)
    metrics.audit("t", agreed=False, cost=PICO, predicted=PICO)
    metrics.exchange(exchange(route="student", reason="teacher_down", first_token_s=0.1))
    assert total(metrics, "protege_audits_total", task="t") == 2
    assert total(metrics, "protege_audit_disagreements_total", task="t") == 1
    assert total(metrics, "protege_audit_cost_usd_total") == 2
    assert total(metrics, "protege_fallbacks_total", task="t") == 1
    assert total(metrics, "protege_time_to_first_token_seconds_count", route="student") == 1


def test_how_far_the_teachers_predicted_cost_is_off() -> None:
    metrics = Metrics()
    for predicted, real in ((2, 3), (4, 4), (5, 0)):
        metrics.audit("t", agreed=True, cost=real * PICO, predicted=predicted * PICO)
    cost, squared = (f"protege_audited_teacher_cost_usd{end}_total" for end in ("", "_squared"))
    # A real cost of nothing is one that nobody knows.
    assert total(metrics, cost, task="t", kind="predicted") == 6
    assert total(metrics, cost, task="t", kind="real") == 7
    for kind, value in {"predicted": 20, "real": 25, "product": 22}.items():
        assert total(metrics, squared, task="t", kind=kind) == value
    metrics.exchange(exchange(task="t", route="student", teacher_cost=3 * PICO))
    metrics.exchange(exchange(task="t", teacher_cost=PICO))
    assert total(metrics, "protege_student_teacher_cost_usd_total", task="t") == 3


def test_tokens_by_task() -> None:
    metrics = Metrics()
    for task, tokens in (("a", 3), ("b", 5)):
        metrics.exchange(exchange(task=task, prompt_tokens=tokens, completion_tokens=1))
    assert total(metrics, "protege_tokens_total", task="b", kind="prompt") == 5
    assert total(metrics, "protege_tokens_total", kind="completion") == 2


def test_a_student_on_its_way_is_shown_by_its_stage() -> None:
    metrics = Metrics(codes=[], statuses=[])
    metrics.stand(Standing(coming={"t": "canary"}))
    metrics.render()
    assert shown(metrics, "protege_student_coming", task="t", stage="canary") == [1]
    metrics.stand(Standing())
    assert shown(metrics, "protege_student_coming", task="t") == []


def test_what_is_rare_is_zero_before_it_happens() -> None:
    metrics = Metrics(codes=["rate_limit_exceeded", "not_found"], statuses=[404, 429])
    metrics.exchange(exchange(task="t"))
    metrics.stand(Standing(without=["trained"]))
    metrics.flush()
    metrics.render()  # A task that has only been trained for gets its label in the first look.
    for task in ("t", "trained"):
        for name in (
            "audits",
            "audit_disagreements",
            "audit_cost_usd",
            "broken_answers",
            "fallbacks",
            "feedback",
        ):
            assert shown(metrics, f"protege_{name}_total", task=task)
        for name in ("promotions", "demotions", "rollbacks", "training_runs"):
            assert shown(metrics, f"protege_{name}_total", task=task)
    assert set(shown(metrics, "protege_feedback_total", task="t")) == {0.0}
    assert len(shown(metrics, "protege_training_runs_total", task="t")) == 3
    assert shown(metrics, "protege_errors_total", code="not_found") == [0]
    assert shown(metrics, "protege_rejected_requests_total", status="429") == [0]
    assert shown(metrics, "protege_lost_exchanges_total") == [0, 0, 0]
    metrics.rejected(429, "rate_limit_exceeded")
    metrics.rejected(418, "made up")
    metrics.exchange(exchange(task="t", status=404, error="not_found"))
    assert shown(metrics, "protege_errors_total", code="rate_limit_exceeded") == [1]
    assert shown(metrics, "protege_errors_total", code="other") == [1]
    assert shown(metrics, "protege_errors_total", code="not_found") == [1]
    assert shown(metrics, "protege_rejected_requests_total", status="429") == [1]


def test_zeros_are_bounded() -> None:
    metrics = Metrics()
    for number in range(300):
        for _ in range(20):
            metrics.exchange(exchange(task=f"t{number}"))
    metrics.flush()
    assert len(shown(metrics, "protege_audits_total")) == 200


def test_models_keys_and_slices_are_bounded() -> None:
    metrics = Metrics()
    for number in range(100):
        metrics.exchange(exchange(route="model", model=f"m{number}"))
        metrics.tryout("t", f"h{number}", agreed=True, cost=1)
    text = _text(metrics)
    for label in ("model", "gen_ai_request_model"):
        named = set(re.findall(rf'[{{,]{label}="([mh]\d+)"', text))
        assert 0 < len(named) <= 50
    assert total(metrics, "protege_requests_total", model="other") == 75
    slices = {f"length: {number}": 0.5 for number in range(100)}
    student = StudentStanding("t", "v", 0.0, 0.95, 0, None, 0.0, 1.0, 0.0, slices)
    keys = [BudgetStanding(2, 1, key=f"key_{number}", name="n") for number in range(300)]
    metrics.stand(Standing(students=[student], keys=keys))
    assert len(shown(metrics, "protege_slice_agreement_ratio", task="t")) == 20
    for name in ("", "_left"):
        assert len(shown(metrics, f"protege_key_budget{name}_usd")) == 200
    # The others have been revoked.
    metrics.stand(Standing(keys=keys[250:]))
    assert len(shown(metrics, "protege_key_budget_usd")) == 50


def test_callers_names_leave_room_for_configured_models() -> None:
    metrics = Metrics()
    metrics.breakers({"gpt-5.4": False})
    for number in range(100):
        metrics.exchange(exchange(route="model", model=f"made-up-{number}"))
    metrics.exchange(exchange(model="gpt-5.4"))
    assert total(metrics, "protege_requests_total", model="gpt-5.4") == 1


def _text(metrics: Metrics) -> str:
    metrics.flush()
    return metrics.render().content.decode()


def test_changes_of_service_are_counted() -> None:
    metrics = Metrics()
    changes = [
        ChangeTally("t", "promoted", "loop", 3, 30.0),
        ChangeTally("t", "promoted", "hand", 1, 40.0),
        ChangeTally("t", "demoted", "audits", 2, 35.0),
        ChangeTally("u", "rolled_back", "hand", 1, 50.0),
    ]
    metrics.stand(Standing(changes=changes))
    assert shown(metrics, "protege_promotions_total", task="t", cause="loop") == [3]
    assert shown(metrics, "protege_promotions_total", task="t", cause="hand") == [1]
    assert shown(metrics, "protege_demotions_total", task="t") == [2]
    assert shown(metrics, "protege_rollbacks_total", task="u") == [1]
    assert shown(metrics, "protege_rollbacks_total", task="t") == [0]
    when = "protege_student_changed_timestamp_seconds"
    assert shown(metrics, when, task="t", change="promoted") == [40]
    assert shown(metrics, when, task="u") == [50]


def test_versions_of_students_are_not_labels() -> None:
    metrics = Metrics()
    for version in range(50):
        metrics.exchange(exchange(route="student", model=f"v{version}"))
    metrics.flush()
    text = metrics.render().content.decode()
    assert len(set(re.findall('model="student",.*task="t"', text))) == 2
    assert 'model="v' not in text


@given(st.lists(st.integers(0, 30), max_size=300))
def test_task_labels_are_bounded(tasks: list[int]) -> None:
    labels = TaskLabels(least=3, most=5, free=2, remembered=10)
    given_out = {labels.label(f"t{task}") for task in tasks}
    assert len(given_out - {"other"}) <= 5


def test_a_task_gets_a_label_when_it_matters() -> None:
    labels = TaskLabels(least=3, most=2, free=0)
    assert [labels.label("a") for _ in range(4)] == ["other", "other", "a", "a"]
    assert labels.admit("student's") == "student's"
    assert labels.admit("one too many") == "other"
    assert labels.label("student's") == "student's"


def test_processes_agree_on_labels(tmp_path: Path) -> None:
    one, other = (Labels(2, tmp_path / "tasks") for _ in range(2))
    assert one.admit("a\nname") == "a\nname"
    assert "a\nname" in other
    assert other.admit("b") == "b"
    assert one.admit("c") == other.admit("c") == "other"
    assert one.admit("b") == "b"
