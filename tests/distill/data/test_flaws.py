"""What nobody should learn is told from what is merely short or negative."""

import json
import time

import pytest

from config.settings import PolicySettings
from distill.data.dataset import build
from distill.data.flaws import flaw
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from telemetry.exchange import TaskState
from tests.distill.synthetic import exchange, exchanges, messages, stream

BODY = {"messages": messages("a text")}

REFUSALS = [
    "I'm sorry, but I can't assist with that request.",
    "I’m sorry, I cannot help with this.",
    "Sorry, but I can't provide medical advice.",
    "I cannot comply with that.",
    "I am unable to answer this question.",
    "As an AI language model, I cannot provide an opinion.",
    "Unfortunately, I'm not able to process this request.",
    "I must decline to answer.",
]
ANSWERS = [
    "No",
    "Y",
    "0",
    "Unknown",
    "Cannot be answered",
    "None of the above",
    "sorry",
    "refund",
    "I can help you with that.",
    "I cannot recommend the blue one enough, so: positive",
    "not enough information",
    "{}",
]


@pytest.mark.parametrize("answer", REFUSALS)
def test_refusals_are_told(answer):
    assert flaw(BODY, answer) == "refusal"


@pytest.mark.parametrize("answer", ANSWERS)
def test_short_and_negative_answers_are_no_refusals(answer):
    assert flaw(BODY, answer) is None


@pytest.mark.parametrize("beginning", ["", "Sorry", "Unfortunately, as an AI model"])
@pytest.mark.parametrize("row", [" ", "- ", ", ", "\n"])
def test_answers_of_nothing_but_rows_are_read_at_once(beginning, row):
    began = time.process_time()
    assert flaw(BODY, beginning + row * 800 + "x") is None
    assert flaw(BODY, beginning + row * 3 + REFUSALS[3]) == "refusal"
    assert time.process_time() - began < 1


def test_a_refusal_that_the_task_asks_for_is_an_answer():
    words = "I cannot answer that"
    asked = {"messages": [{"role": "system", "content": f"Say '{words}.' where it is no question"}]}
    assert flaw(asked, words + ".") is None
    assert flaw(BODY, words + ".") == "refusal"


@pytest.mark.parametrize(
    ("answer", "found"), [('{"a": 1}', None), ('{"a": 1', "malformed"), ("[]", "malformed")]
)
def test_json_that_is_none_is_told_where_json_was_asked_for(answer, found):
    assert flaw({**BODY, "response_format": {"type": "json_object"}}, answer) == found
    assert flaw(BODY, answer) is None


def test_flawed_answers_are_evidence_but_no_lesson():
    refused = [exchange(i, f"weapon {i} bomb", REFUSALS[0]) for i in range(40)]
    rows = [*refused, *exchanges(stream(300), task="other")]
    data = build(rows)
    assert data.evidence == len(data) == 340
    assert data.flaws == {"refusal": 40}
    run = retrain(Challenge("v", data, TaskState("t"), PolicySettings()))
    assert run.ladder is not None
    assert REFUSALS[0] not in run.labels
    # It has learnt that such requests are not for it.
    (prediction,) = run.ladder.rungs[0].predict(["weapon 77 bomb"])
    assert prediction.confidence < run.ladder.threshold


def test_what_a_person_wrote_is_no_flaw():
    rows = [exchange(0, "a text", "x", right_answer=REFUSALS[0])]
    assert build(rows).flaws == {}


def test_requests_that_no_student_is_asked_are_left_out():
    tool = {"role": "tool", "tool_call_id": "c", "content": '{"error": "timed out"}'}
    rows = [
        exchange(0, "plain", "a"),
        exchange(1, "", "a", request=json.dumps({"messages": [*messages("x"), tool]})),
        exchange(2, "", "a", request=json.dumps({"messages": messages("x"), "n": 2})),
        exchange(3, "", "a", request="not JSON"),
    ]
    data = build(rows)
    assert len(data) == 1
    assert data.dropped == {"tools": 1, "n": 1, "unreadable": 1}
