"""The figures of a run that was worked out by hand."""

import dataclasses
import io

import pytest
from rich.console import Console

from router.demo.report import Outcome, chart, summarise, table

# Prices in picodollars: the teacher charges 4 microdollars an answer.
CALL = 4_000_000
OUTCOMES = [
    Outcome("a", "teacher", None, CALL, CALL, latency_s=0.5, at_s=1.0),
    Outcome("a", "student", True, 0, CALL, latency_s=0.002, at_s=3.0),
    Outcome("a", "student", False, CALL, CALL, latency_s=0.004, at_s=2.0),
    Outcome("a", "student", None, 0, CALL, latency_s=0.006, at_s=4.0),
    Outcome("b", "teacher", None, CALL, CALL, latency_s=0.7, at_s=2.5),
]
KEYS = {
    "task",
    "requests",
    "student_share",
    "student_answers",
    "student_agreement",
    "cost_usd",
    "teacher_only_cost_usd",
    "p50_ms",
    "p95_ms",
}


def test_figures_of_a_task():
    row = summarise(OUTCOMES, ["b", "a"]).tasks[1]
    assert (row.task, row.requests, row.student_answers) == ("a", 4, 3)
    assert row.student_share == 0.75
    assert row.student_agreement == 0.5
    assert row.cost_usd == pytest.approx(8e-6)
    assert row.teacher_only_cost_usd == pytest.approx(16e-6)
    assert row.saved == pytest.approx(0.5)
    assert row.p50_ms == {"teacher": 500.0, "student": 4.0}
    assert row.p95_ms["student"] == pytest.approx(5.8)


def test_what_there_is_none_of_is_null():
    row = summarise(OUTCOMES, ["a", "b"]).tasks[1]
    assert row.student_agreement is None
    assert row.p50_ms == {"teacher": 700.0, "student": None}
    assert summarise([], ["a"]).totals.requests == 0


def test_totals_are_over_all_requests():
    totals = summarise(OUTCOMES, ["a", "b"]).totals
    assert (totals.requests, totals.student_share) == (5, 0.6)
    assert totals.cost_usd == pytest.approx(12e-6)
    assert totals.teacher_only_cost_usd == pytest.approx(20e-6)


def test_rows_have_the_published_names():
    summary = summarise(OUTCOMES, ["a", "b"])
    assert set(dataclasses.asdict(summary)) == {"tasks", "totals"}
    for row in (*summary.tasks, summary.totals):
        assert set(dataclasses.asdict(row)) == KEYS


def shown(baseline, lag_s=None, width=160):
    """The text of the table, and task a's line of it."""
    console = Console(width=width, record=True, file=io.StringIO())
    summary = summarise(OUTCOMES, ["a", "b"])
    console.print(table(summary, baseline, "teacher: a replay", lag_s, width))
    text = console.export_text()
    return text, next(line for line in text.splitlines() if line.lstrip("│ ").startswith("a "))


def test_the_table_shows_both_side_by_side():
    by_teacher = [dataclasses.replace(o, route="teacher") for o in OUTCOMES]
    text, line = shown(summarise(by_teacher, ["a", "b"]))
    assert "teacher: a replay" in text
    assert "*: plain baseline on the same stream" in text
    assert "75.0%" in line
    assert "50.0%" in line
    assert "500/500" in line
    assert line.count("0.0000") == 3


@pytest.mark.parametrize("width", [80, 120, 160])
def test_no_figure_is_cut_where_there_is_little_room(width):
    text, line = shown(summarise(OUTCOMES, ["a", "b"]), 2.0, width)
    assert "…" not in text
    assert ("500/500" in line) == (width == 160)
    for heading in ("requests", "student", "agreement", "saved"):
        assert f" {heading} " in text
    assert "student*" in text


@pytest.mark.parametrize(
    ("lag_s", "end"),
    [(3.21, "same test, with the product's mean training lag of 3.2 s"), (None, "same test")],
)
def test_the_footnote_says_what_training_lag_the_baseline_had(lag_s, end):
    text, _line = shown(summarise(OUTCOMES, ["a", "b"]), lag_s)
    assert " ".join(text.split()).endswith(end)


def test_the_table_does_without_a_baseline():
    text, line = shown(None, 3.21)
    assert "*" not in text
    assert "75.0%" in line
    assert line.count("0.0000") == 2


@pytest.mark.parametrize("outcomes", [OUTCOMES, OUTCOMES[:1]], ids=["both", "teacher alone"])
def test_the_chart_is_a_png(tmp_path, outcomes):
    chart(outcomes, 0.05, "replay", tmp_path / "demo.png")
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
