"""RouteLLM's metrics, and the routing bench on outcomes whose cause is known."""

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bench import routing as bench
from bench.routing import Example, by_domain, by_prompt, estimate, read
from bench.routing_metrics import routing

OUTCOMES = Path(__file__).parents[3] / "shared" / "data" / "routellm_mmlu.csv.gz"

outcome = st.tuples(st.integers(0, 5), st.sampled_from([-1.0, 0.0, 1.0]))


@st.composite
def scored(draw):
    scores, gains = zip(*draw(st.lists(outcome, min_size=1, max_size=60)), strict=True)
    assume(sum(gains) > 0)
    return np.array(scores, dtype=float), np.array(gains)


def test_metrics_by_hand():
    # Of ten prompts the strong model is better on the first two and no worse on the rest: PGR is
    # 0, 0.5, 1, 1, ... at 0, 1, 2, 3, ... calls.
    gains = [1.0, 1.0] + [0.0] * 8
    found = routing(np.arange(10, 0, -1), gains)
    assert found.apgr == pytest.approx((0.5 + 8 * 1 + 0.5) / 10)
    assert found.cpt50 == pytest.approx(0.1)
    assert found.cpt80 == pytest.approx(0.16)


@given(scored())
def test_equal_scores_route_at_random(pair):
    found = routing(np.zeros(len(pair[1])), pair[1])
    assert (found.apgr, found.cpt50, found.cpt80) == pytest.approx((0.5, 0.5, 0.8))


def test_random_routing_has_half():
    gains = np.repeat([1.0, 0.0, -1.0], [180, 770, 50])
    rng = np.random.default_rng(0)
    found = [routing(rng.random(1000), gains).apgr for _ in range(300)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)


@given(scored())
def test_nothing_beats_the_oracle(pair):
    scores, gains = pair
    assert routing(scores, gains).apgr <= routing(gains, gains).apgr + 1e-9


@given(scored())
def test_the_opposite_order_recovers_the_rest(pair):
    scores, gains = pair
    assert routing(scores, gains).apgr + routing(-scores, gains).apgr == pytest.approx(1)


@given(scored(), st.randoms())
def test_only_the_order_of_scores_matters(pair, rng):
    scores, gains = pair
    order = rng.sample(range(len(scores)), len(scores))
    assert routing(np.exp(scores[order]) - 3, gains[order]) == routing(scores, gains)


@given(scored())
def test_more_quality_takes_more_calls(pair):
    found = routing(*pair)
    assert 0 <= found.cpt50 <= found.cpt80 <= 1


@pytest.mark.parametrize("gains", [[0.0, 0.0], [1.0, -1.0], [-1.0, 0.0]])
def test_without_a_gap_there_is_nothing_to_recover(gains):
    with pytest.raises(ValueError, match="no gap"):
        routing([1.0, 2.0], gains)


def examples(count):
    """Prompts of four domains, some of them twice; the strong model is better at sums."""
    rng = Random(0)
    made = []
    for number in range(count):
        kind, gain = rng.choice([("sum", 1.0), ("rhyme", 0.0), ("fable", 0.0)])
        made.append(Example(f"domain {number % 4}", f"{kind} {rng.randrange(count)}", gain))
    return made


@pytest.mark.parametrize(("split", "key"), [(by_prompt, "prompt"), (by_domain, "domain")])
def test_a_split_keeps_groups_whole(split, key):
    every = examples(200)
    found = split(every, 0.5, seed=3)
    sides = [{getattr(example, key) for example in side} for side in (found.train, found.test)]
    assert not sides[0] & sides[1]
    assert len(sides[0]) == pytest.approx(len(sides[1]), abs=1)
    assert len(found.train) + len(found.test) == 200
    assert found == split(every, 0.5, seed=3)
    assert found != split(every, 0.5, seed=4)


def test_an_interval_by_hand():
    found = estimate([1.0, 2.0, 3.0])
    # Student's t with two degrees of freedom: 4.303.
    assert found.mean == 2
    assert found.half_width == pytest.approx(4.303 / 3**0.5, abs=1e-3)


def test_the_difficulty_model_is_between_random_and_oracle():
    rows = list(bench.measure(examples(400), seeds=2))
    assert len(rows) == 4 * len(bench.SCORERS)
    for start in range(0, len(rows), len(bench.SCORERS)):
        apgr = {row.score: row.apgr.mean for row in rows[start : start + len(bench.SCORERS)]}
        assert apgr["random"] == pytest.approx(0.5, abs=0.15)
        assert apgr["difficulty model"] > 0.7
        assert apgr["oracle"] >= apgr["difficulty model"]


def write(path, rows, columns=("domain", "prompt", "weak_correct", "strong_correct")):
    with gzip.open(path, "wt", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def run(*arguments):
    command = [sys.executable, "-m", "bench.routing", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_prints_a_table_and_writes_figures(tmp_path):
    rows = [(one.domain, one.prompt, False, bool(one.gain)) for one in examples(300)]
    target = tmp_path / "routing.json"
    data = write(tmp_path / "outcomes.csv.gz", rows)
    done = run("--data", data, "--json", target, "--seeds", "2")
    assert done.returncode == 0, done.stderr
    assert "difficulty model" in done.stdout
    figures = json.loads(target.read_text())
    best = [row["apgr"]["mean"] for row in figures["rows"] if row["score"] == "oracle"]
    assert len(best) == 4
    assert min(best) > 0.7


def test_nothing_outside_of_the_repository_is_looked_for():
    done = run()
    assert done.returncode == 2
    assert "--data" in done.stderr


def test_a_file_that_is_not_there_is_one_line_of_complaint(tmp_path):
    done = run("--data", tmp_path / "none.csv.gz")
    assert done.returncode == 2
    assert done.stderr.startswith("routing: cannot read")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        ([], ("domain", "prompt"), "no column 'weak_correct'"),
        ([("a", "b", "maybe", "True")], None, "'maybe' is neither"),
        ([("a", "b", "True")], None, "'' is neither"),
    ],
)
def test_bad_data_is_refused(tmp_path, rows, columns, said):
    path = tmp_path / "bad.csv.gz"
    write(path, rows) if columns is None else write(path, rows, columns)
    with pytest.raises(bench.DataError, match=said):
        read(path)


@pytest.mark.parametrize(
    "content", [b"not gzip", gzip.compress(b"domain,prompt\n" * 99, mtime=0)[:-12]]
)
def test_a_broken_archive_is_refused(tmp_path, content):
    path = tmp_path / "broken.csv.gz"
    path.write_bytes(content)
    with pytest.raises(bench.DataError):
        read(path)


@pytest.mark.skipif(not OUTCOMES.exists(), reason="the outcomes are not here")
def test_mmlu():
    every = read(OUTCOMES)
    gains = np.array([example.gain for example in every])
    assert routing(gains, gains).apgr == pytest.approx(1.27, abs=0.01)
    some = Random(0).sample(every, 1500)
    split = by_prompt(some, 0.5, seed=0)
    found = routing(bench.learnt(split, 0), [example.gain for example in split.test])
    assert found.apgr > 0.55
