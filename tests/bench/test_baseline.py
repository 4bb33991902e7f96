"""The plain baseline, on streams whose right figures are known."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from bench.baseline import Request, read_stream, run, threshold, upper_bounds
from config.settings import load


def embed(texts):
    """The two numbers that the texts consist of."""
    return np.array([[float(word) for word in text.split()] for text in texts])


def stream(task: str, size: int, noise: float, seed: int = 0) -> list[Request]:
    """The answer is the sign of the first number, but for a share ``noise`` of the requests."""
    rng = np.random.default_rng(seed)
    requests = []
    for x, y in rng.normal(size=(size, 2)) * 5:
        answer = "plus" if (x > 0) != (rng.random() < noise) else "minus"
        requests.append(Request(task, f"{x:.6f} {y:.6f}", answer, 100))
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
    unique = [Request("unique", f"{n} {n}", str(n), 100) for n in range(500)]

    def refuse(texts):
        raise AssertionError("no answer comes twice")

    assert run(unique, load(), refuse).totals.student_answers == 0


def test_it_serves_a_task_with_one_answer():
    constant = [Request("constant", f"{n} 1", "yes", 100) for n in range(600)]
    totals = run(constant, load(), embed).totals
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


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9, 0.95]), st.booleans()), max_size=150),
    st.sampled_from([0.05, 0.2, 0.5]),
)
def test_the_threshold_is_the_lowest_that_keeps_the_bound(held_out, alpha):
    confidences = np.array([confidence for confidence, _ in held_out])
    right = np.array([is_right for _, is_right in held_out], dtype=bool)

    def keeps(level: float) -> bool:
        served = confidences >= level
        wrong = (~right[served]).sum()
        return bool(wrong < served.sum() and binom.cdf(wrong, served.sum(), alpha) <= 0.05)

    good = [level for level in set(confidences.tolist()) if keeps(level)]
    assert threshold(confidences, right, alpha, 0.05) == (min(good) if good else None)


def test_the_bound_is_where_so_few_errors_become_unlikely():
    (bound,) = upper_bounds(np.array([3]), np.array([100]), 0.05)
    assert binom.cdf(3, 100, bound) == pytest.approx(0.05)
    assert upper_bounds(np.array([5, 0]), np.array([5, 0]), 0.05).tolist() == [1.0, 1.0]


def test_a_stream_file_is_read_back(tmp_path):
    requests = stream("easy", 3, 0.0)
    file = tmp_path / "stream.jsonl"
    file.write_bytes(b"\n".join(orjson.dumps(request) for request in requests))
    assert read_stream(file) == requests
