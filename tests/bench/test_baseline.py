"""The plain baseline, on streams whose right figures are known."""

import dataclasses
from itertools import pairwise

import numpy as np
import orjson
import pytest
import typer

from bench.baseline import Request, main, read_stream, run
from config.loading import load
from distill import gate
from distill.runs.prospects import NEW_EVIDENCE
from policies.calibration import attempt_delta


def embed(texts):
    """The two numbers that the texts consist of."""
    return np.array([[float(word) for word in text.split()] for text in texts])


def stream(task: str, size: int, noise: float, seed: int = 0) -> list[Request]:
    """The answer is the sign of the first number, but for a share ``noise`` of the requests.

    One request a second."""
    rng = np.random.default_rng(seed)
    requests = []
    for second, (x, y) in enumerate(rng.normal(size=(size, 2)) * 5):
        answer = "plus" if (x > 0) != (rng.random() < noise) else "minus"
        requests.append(Request(task, f"{x:.6f} {y:.6f}", answer, 100, float(second)))
    return requests


def test_it_serves_what_it_can_learn():
    summary = run(stream("easy", 1000, 0.0), load(), embed)
    (row,) = summary.tasks
    assert row.student_share > 0.5
    assert (row.student_agreement or 0) > 0.95
    # A tenth of the student's answers is audited, and an audit costs what the teacher costs.
    by_teacher = row.requests - row.student_answers
    audits = row.cost_usd * 1e12 / 100 - by_teacher
    assert 0.05 * row.student_answers < audits < 0.2 * row.student_answers


def test_it_serves_nothing_that_cannot_be_learnt():
    (row,) = run(stream("noise", 1000, 0.5), load(), embed).tasks
    assert row.student_answers == 0
    assert row.student_agreement is None
    assert row.cost_usd == row.teacher_only_cost_usd == pytest.approx(1000 * 100e-12)


def test_it_does_not_embed_what_cannot_pass():
    unique = [Request("unique", f"{n} {n}", str(n), 100, 0.0) for n in range(500)]

    def refuse(texts):
        raise AssertionError("no answer comes twice")

    assert run(unique, load(), refuse).totals.student_answers == 0


def constant(size: int) -> list[Request]:
    """The answer is always the same; one request a second."""
    return [Request("constant", f"{n} 1", "yes", 100, float(n)) for n in range(size)]


def test_it_serves_a_task_with_one_answer():
    totals = run(constant(600), load(), embed).totals
    assert totals.student_share > 0.5
    assert totals.student_agreement == 1.0


def test_nothing_is_served_before_the_first_training():
    settings = load(flags={"loop": {"first": 400}})
    assert run(stream("easy", 399, 0.0), settings, embed).totals.student_answers == 0


def test_tasks_are_apart_and_totals_add_up():
    mixed = stream("easy", 500, 0.0) + stream("noise", 500, 0.5, seed=1)
    np.random.default_rng(2).shuffle(mixed)
    summary = run(mixed, load(), embed)
    alone = run([request for request in mixed if request.task == "easy"], load(), embed)
    rows = {row.task: row for row in summary.tasks}
    assert rows["easy"] == alone.tasks[0]
    assert summary.totals.student_answers == sum(row.student_answers for row in summary.tasks)


def graded_stream(size: int, seed: int) -> list[Request]:
    """As ``stream``, but the nearer the first number is to 0, the less certain is the answer."""
    rng = np.random.default_rng(seed)
    requests = []
    for second, (x, y) in enumerate(rng.normal(size=(size, 2)) * 5):
        noisy = rng.random() < 0.5 * np.exp(-abs(x))
        answer = "plus" if (x > 0) != noisy else "minus"
        requests.append(Request("graded", f"{x:.6f} {y:.6f}", answer, 100, float(second)))
    return requests


def test_it_keeps_the_bound_where_that_is_hard():
    totals = [run(graded_stream(600, seed), load(), embed).totals for seed in range(16)]
    kept = [row.student_agreement >= 0.95 for row in totals if row.student_agreement is not None]
    assert len(kept) >= 4
    assert kept.count(False) <= 2


@pytest.fixture
def tests_made(monkeypatch):
    """Evidence and error budget of every test that a baseline is put to; the budget is None where
    no test was worth it."""
    made = []
    judge_truly = gate.judge

    def judge(outcomes, champion_share, alpha, delta):
        verdict = judge_truly(outcomes, champion_share, alpha, delta)
        made.append((len(outcomes), None if verdict.delta is None else delta))
        return verdict

    monkeypatch.setattr(gate, "judge", judge)
    return made


def test_all_tests_of_a_task_share_one_error_budget(tests_made):
    run(stream("hard", 3000, 0.04), load(), embed)
    spent = [delta for _, delta in tests_made if delta is not None]
    assert len(spent) > 1
    assert spent == pytest.approx([attempt_delta(0.05, n + 1) for n in range(len(spent))])
    assert sum(spent) < 0.05


def test_a_task_is_tested_again_only_on_new_evidence(tests_made):
    run(stream("hard", 3000, 0.04), load(flags={"loop": {"growth": 1.1}}), embed)
    sizes = [evidence for evidence, delta in tests_made if delta is not None]
    assert len(sizes) > 1
    assert all(later >= NEW_EVIDENCE * earlier for earlier, later in pairwise(sizes))


@pytest.mark.parametrize("lag", [1, 2, 20, 40])
def test_a_student_answers_once_the_training_lag_is_over(lag):
    # It answers everything from then on, also while runs that come to nothing are under way.
    at_once = run(constant(1500), load(), embed).totals.student_answers
    assert at_once > 1000
    later = run(constant(1500), load(), embed, lag_s=lag).totals.student_answers
    assert at_once - later == lag - 1


def test_requests_of_one_moment_may_be_many():
    burst = [dataclasses.replace(request, sent_s=7.0) for request in constant(600)]
    assert run(burst, load(), embed).totals.student_answers > 300
    assert run(burst, load(), embed, lag_s=0.001).totals.student_answers == 0


def test_no_run_starts_while_another_is_under_way(tests_made):
    run(stream("hard", 3000, 0.03), load(), embed)
    at_once = len(tests_made)
    tests_made.clear()
    run(stream("hard", 3000, 0.03), load(), embed, lag_s=1000)
    # The stream is 3,000 seconds long.
    assert 1 <= len(tests_made) <= 3 < at_once


@pytest.mark.parametrize(
    ("loop", "said"),
    [
        ('{"encoder": null}', "the settings have no sentence encoder\n"),
        (
            '{"encoder": "nowhere"}',
            "no sentence encoder: 'nowhere' is neither a folder nor a package's\n",
        ),
    ],
)
def test_without_an_encoder_it_says_so_in_one_line(tmp_path, monkeypatch, capsys, loop, said):
    monkeypatch.setenv("PROTEGE_LOOP", loop)
    with pytest.raises(typer.Exit) as stopped:
        main(stream=tmp_path / "stream.jsonl", data=tmp_path)
    assert stopped.value.exit_code == 1
    assert capsys.readouterr() == ("", said)


def test_a_stream_file_is_read_back(tmp_path):
    requests = stream("easy", 3, 0.0)
    file = tmp_path / "stream.jsonl"
    file.write_bytes(b"\n".join(orjson.dumps(request) for request in requests))
    assert read_stream(file) == requests
