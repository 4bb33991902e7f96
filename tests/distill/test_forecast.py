"""The offline loop, on a task whose right figures are known."""

from dataclasses import replace
from random import Random

import pytest

from config.loading import load
from distill import forecast
from distill.forecast import Play, Request
from distill.runs.label import retrain
from telemetry.prices import Usage
from tests.distill.synthetic import WORDS, messages, stream

TURNED = dict(zip(WORDS, [*list(WORDS)[1:], next(iter(WORDS))], strict=True))


def requests(pairs, **more):
    return [
        Request({"messages": messages(text), **more}, text, answer, Usage(30, 1))
        for text, answer in pairs
    ]


def play(pairs, **more):
    return Play(load(), None, Random(0)).run(requests(pairs, **more))


def served(steps):
    return [step for step in steps if step.route == "student"]


def test_it_serves_what_can_be_learnt():
    steps = play(stream(600))
    assert len(served(steps)) > 0.4 * 600
    assert sum(step.wrong for step in steps) < 0.05 * len(served(steps))
    # The first requests teach, and a share of the student's answers is audited.
    assert all(step.reason == "no_student" for step in steps[:170])
    audits = sum(step.audited for step in steps)
    assert audits / len(served(steps)) == pytest.approx(0.1, abs=0.06)


def test_it_serves_nothing_that_cannot_be_learnt():
    player = Play(load(), None, Random(0))
    assert not served(player.run(requests(stream(600, noise=1.0))))
    assert player.verdict
    assert player.promotions == 0


def test_a_teacher_that_changes_its_mind_gets_its_task_back():
    before = stream(500)
    after = [(text, TURNED[answer]) for text, answer in stream(300, seed=1)]
    player = Play(load(), None, Random(0))
    steps = player.run(requests(before + after))
    assert served(steps[400:500])
    # Demoted after a few audits, of which one answer in ten gets one; then it is learnt afresh.
    assert player.demotions >= 1
    first = load().loop.first
    assert any(not served(steps[start : start + first]) for start in range(501, 630))


def test_what_people_put_right_is_learnt_and_is_no_evidence():
    """As on a server, a student that says what people rather have does not keep the promise."""

    def played(asked):
        player = Play(load(), None, Random(0))
        return served(player.run(asked)), player.verdict

    plain = requests(stream(600))
    corrected = [
        replace(one, right_answer="refunds") if "refund" in one.text.split() else one
        for one in plain
    ]
    assert played(plain)[0]
    assert played(corrected) == ([], "no threshold meets the bound")
    cut_off = [replace(one, answer=None, right_answer=one.answer) for one in plain]
    found, verdict = played(cut_off)
    assert not found
    assert verdict.startswith("no evidence")


def with_long_ones(count, turned, seed=0):
    """Requests of which a fifth are long; of these the teacher has changed its mind on some."""
    pairs = []
    for i, (text, answer) in enumerate(stream(count, seed=seed)):
        if i % 5 == 0:
            text = f"{text} {'and so on and on ' * 8}"
            answer = TURNED[answer] if turned and i % 20 == 0 else answer
        pairs.append((text, answer))
    return pairs


@pytest.mark.parametrize("by_slice", [None, "length"])
def test_a_slice_that_breaks_the_promise_takes_the_task_back(by_slice):
    """A quarter of a fifth is within the bound."""
    pairs = with_long_ones(1200, turned=False) + with_long_ones(800, turned=True, seed=1)
    policy = {"audit_rate": 1.0, "by_slice": by_slice}
    player = Play(load(flags={"policy": policy}), None, Random(0))
    steps = player.run(requests(pairs))
    long = [step for step in steps[:1200:5] if step.route == "student"]
    assert long
    assert player.demotions == (0 if by_slice is None else 1)


def test_what_comes_in_parts_comes_to_the_same():
    all_requests = requests(stream(500, noise=0.02))
    whole = Play(load(), None, Random(0)).run(all_requests)
    player = Play(load(), None, Random(0))
    parts = [step for i in range(0, 500, 37) for step in player.run(all_requests[i : i + 37])]
    assert parts == whole
    assert player.promotions > 0


def test_rules_come_before_students():
    assert not served(play(stream(400), tools=[{"type": "function", "function": {"name": "f"}}]))
    player = Play(load(), None, Random(0))
    assert served(player.run(requests(stream(400))))
    wanting = requests(stream(100, seed=1), response_format={"type": "json_object"})
    steps = player.foresee(wanting)
    assert {step.reason for step in steps} == {"response_format"}
    # What no student can answer says nothing of how well one would.
    assert all(step.agreed is None for step in steps)


def test_what_no_student_can_answer_makes_no_audit_count_for_less(monkeypatch):
    tested = []

    def noted(challenge, *rest, **more):
        tested.append(challenge.data)
        return retrain(challenge, *rest, **more)

    monkeypatch.setattr(forecast, "retrain", noted)
    often = load(flags={"loop": {"growth": 1.1}})
    player = Play(often, None, Random(0))
    player.run(requests(stream(400)))
    player.run(requests(stream(800, seed=2), n=2))
    player.run(requests(stream(1500, seed=1)))
    last = tested[-1]
    assert last.even
    plain = max(int(example.id) for example in last.examples) + 1 - 800
    assert plain > 800
    # As many as there were requests of the kind, as nearly as so few audits tell.
    assert sum(last.weights) == pytest.approx(plain, rel=0.1)


def test_answers_that_are_none_teach_nobody():
    silent = [
        Request({"messages": messages(text)}, text, None, Usage()) for text, _ in stream(400, 2)
    ]
    player = Play(load(), None, Random(0))
    player.run(silent)
    assert player.verdict == ""
    # And there is nothing that a student's answer could be compared with.
    player.run(requests(stream(400)))
    steps = player.run(silent)
    assert len(served(steps)) > 200
    assert any(step.audited for step in steps)
    assert all(step.agreed is None for step in steps)
    assert player.demotions == 0


def test_a_task_with_one_answer_or_one_prompt_is_played_to_its_end():
    one_answer = [(text, "billing") for text, _ in stream(300)]
    one_prompt = [("are you there?", "yes")] * 300
    for pairs in (one_answer, one_prompt):
        assert len(play(pairs)) == 300


def test_a_text_that_is_longer_than_all_before_goes_to_the_teacher():
    player = Play(load(), None, Random(0))
    player.run(requests(stream(400)))
    ((text, answer),) = stream(1, seed=5)
    usual, long = player.run(requests([(text, answer), (text * 10, answer)]))
    assert usual.route == "student"
    assert (long.route, long.reason, long.agreed) == ("teacher", "length", None)


def test_a_conversation_stays_with_the_teacher():
    player = Play(load(), None, Random(0))
    begun, *teaching = requests(stream(400))
    player.run([replace(begun, turn=1), *teaching])
    ((text, answer),) = stream(1, seed=5)
    (asked,) = requests([(text, answer)])
    turns = [
        replace(asked, follows=1, turn=2),
        replace(asked, follows=2, turn=3),
        replace(asked, follows=99, turn=4),
        replace(asked, follows=4, turn=5),
        replace(asked, turn=6),
    ]
    reasons = [step.reason for step in player.run(turns)]
    assert reasons == ["pinned", "pinned", *["student_confident"] * 3]
