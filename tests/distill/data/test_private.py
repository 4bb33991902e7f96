"""Private data are found, hidden alike, and come back as they were."""

import asyncio
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from config.loading import load
from config.settings import PolicySettings
from distill.data.dataset import build
from distill.data.private import find, mask
from distill.forecast import Play, Request
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from distill.students.ladder import Ladder
from router.students.serving import Student
from telemetry.exchange import TaskState
from telemetry.prices import Usage
from tests.distill.synthetic import exchange, exchanges, messages, stream

PRIVATE = {
    "EMAIL": ["ann@example.com", "j.o'neil+x@mail.example.co.uk", "jürgen@exämple.de"],
    "PHONE": ["+49 171 1234567", "(415) 555-2671", "+1 212 555 0199"],
    "CARD": ["4111 1111 1111 1111", "378282246310005"],
    "IBAN": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"],
    "SSN": ["536-90-4399"],
    "IP": ["192.168.0.17", "2001:db8::ff00:42:8329"],
    "SECRET": ["sk-" + "a1" * 20, "AKIA" + "Z" * 16, "ghp_" + "x" * 36],
}
HARMLESS = [
    "We met on 2024-05-06 at 12:30, order 12345678, total 1,299.00 EUR.",
    "4111 1111 1111 1112 is no card, DE88 3704 0044 0532 0130 00 no account.",
    "Version 1.2.3, ratio 3:4, C++::std, 999.999.999.999, meet @ noon.",
    "",
]


@pytest.mark.parametrize("kind", PRIVATE)
def test_each_kind_is_found(kind):
    for value in PRIVATE[kind]:
        masked = mask(f"Well, {value} is mine.")
        assert list(masked.values) == [f"[{kind}_1]"], value
        assert value.endswith(masked.values[f"[{kind}_1]"])


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_alike_stays(text):
    assert mask(text).text == text


def test_the_same_has_the_same_placeholder():
    masked = mask("ann@example.com wrote to bob@example.com; ann@example.com waits.")
    assert masked.text == "[EMAIL_1] wrote to [EMAIL_2]; [EMAIL_1] waits."
    assert masked.hide("Ask bob@example.com, not eve@example.com") == (
        "Ask [EMAIL_2], not eve@example.com"
    )
    assert masked.restore("Dear [EMAIL_2], [EMAIL_9]") == "Dear bob@example.com, [EMAIL_9]"


def test_a_placeholder_that_the_text_has_already_is_not_taken():
    masked = mask("[EMAIL_1] is a placeholder and ann@example.com is not.")
    assert masked.text == "[EMAIL_1] is a placeholder and [EMAIL_2] is not."
    assert masked.restore(masked.text) == "[EMAIL_1] is a placeholder and ann@example.com is not."


pieces = st.one_of(
    st.sampled_from([value for values in PRIVATE.values() for value in values]),
    st.sampled_from(["[EMAIL_1]", "[PHONE_2]", "[", "]", " ", ", ", "\n"]),
    st.text(max_size=8),
)


@given(st.lists(pieces, max_size=8).map("".join))
@example("1.1.1.1[IP_1]")
def test_what_is_hidden_comes_back(text):
    masked = mask(text)
    assert masked.restore(masked.text) == text
    assert [text[s.start : s.end] for s in find(text)] == [
        masked.values[p] for p in _placeholders(masked)
    ]


@pytest.mark.parametrize("unit", ["退货政策说明", "c0ffee", "c0ffee:"])
def test_a_text_without_spaces_takes_about_as_long_as_one_with(unit):
    def took(text):
        started = time.process_time()
        mask(text)
        return time.process_time() - started

    unbroken = unit * 4000
    assert took(unbroken + "z") < 200 * took("Where is my parcel? " * (len(unbroken) // 20))


def test_an_address_ends_where_another_begins():
    masked = mask("@nobody.org ann@example.co1bob@example.org@example.com")
    assert masked.text == "@nobody.org [EMAIL_1][EMAIL_2]@example.com"
    assert list(masked.values.values()) == ["ann@example.co", "1bob@example.org"]


def _placeholders(masked):
    """Those that stand for something, in order."""
    found = [(masked.text.find(p, at), p) for p in masked.values for at in _places(masked.text, p)]
    return [placeholder for _, placeholder in sorted(found)]


def _places(text, part):
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def test_a_dataset_holds_no_private_data_where_they_are_masked():
    rows = [
        exchange(0, "I am ann@example.com, find my mail", "ann@example.com"),
        exchange(1, "bob@example.com here, find my mail", "bob@example.com\n"),
        exchange(2, "eve@example.com", "ask mallory@example.com"),
        *(exchange(3 + i, f"whom do I ask? {i}", "help@example.com") for i in range(3)),
    ]
    data = build(rows, "mask")
    assert [e.answer.strip() for e in data.examples] == [
        *["[EMAIL_1]"] * 2,
        # Nobody could tell whose address it would be.
        "ask [EMAIL_01]",
        *["help@example.com"] * 3,
    ]
    assert data.flaws == {"private": 1}
    assert data.private == {"EMAIL": 6}
    assert "@" not in "".join(e.text for e in data.examples)
    assert {(e.request, e.choices) for e in data.examples} == {(None, None)}
    assert [e.request for e in build(rows).examples] == [row.request for row in rows]
    assert build(rows, "detect").examples == build(rows).examples
    assert build(rows, "detect").private == data.private
    assert len({build(rows).version, data.version}) == 2


def test_what_an_answer_alone_has_is_like_nothing_else():
    said = '{"to": "agent@example.com", "for": "ann@example.com"}'
    again = ["agent@example.com", "other@example.com", "ann@example.com", "help@example.com"]
    rows = [
        exchange(0, "ann@example.com", said, repeats=json.dumps(again)),
        exchange(1, "bob@example.com", "agent@example.com"),
        *(exchange(2 + i, f"whom do I ask? {i}", "help@example.com") for i in range(3)),
    ]
    first, second, *_ = build(rows, "mask").examples
    assert first.answer == '{"to": "[EMAIL_01]", "for": "[EMAIL_1]"}'
    # The teacher said the same again, or it did not.
    assert first.repeats == ("[EMAIL_01]", "[EMAIL_02]", "[EMAIL_1]", "help@example.com")
    assert second.answer not in {"agent@example.com", "[EMAIL_1]", *first.repeats}
    assert (first.flaw, second.flaw) == ("private", "private")


def test_a_text_with_very_much_that_is_private_is_too_long():
    """To look for it takes long, and a server waits meanwhile."""
    data = build(exchanges(mail_tasks(250)), "mask")
    ladder = retrain(Challenge("v", data, TaskState("t"), PolicySettings())).ladder
    assert ladder is not None
    with ThreadPoolExecutor(1) as executor:
        student = Student(ladder, executor, executor)
        assert not student.is_too_long(f"tell {'a' * 1000}@example.com")
        assert student.is_too_long(f"tell {'a' * 5000}@example.com")


def test_what_the_teacher_said_before_a_person_put_it_right_is_masked_too():
    said = {"right_answer": "ann@example.com"}
    rows = [
        exchange(0, "I am ann@example.com", "bob@example.com", **said),
        exchange(1, "ann@example.com is me", "it is ann@example.com", **said),
    ]
    assert build(rows, "mask").said == ["[EMAIL_01]", "it is [EMAIL_1]"]


def mail_tasks(count, seed=0):
    """Pairs of a text with an address of its own, and that address."""
    rng = random.Random(seed)
    texts = stream(count, seed)
    people = [f"u{rng.randrange(10**9)}@example.com" for _ in texts]
    return [(f"{text} for {one}", one) for (text, _), one in zip(texts, people, strict=True)]


def test_a_student_of_masked_texts_answers_in_the_words_of_its_caller(tmp_path):
    data = build(exchanges(mail_tasks(250)), "mask")
    run = retrain(Challenge("v", data, TaskState("t"), PolicySettings()))
    assert run.labels == ("[EMAIL_1]",)
    assert run.ladder is not None
    run.ladder.save(tmp_path)
    ladder = Ladder.load(tmp_path)
    assert ladder.masks
    text = "please tell ann@example.com"
    assert ladder.varying(text) == "please tell [EMAIL_1]"

    async def ask():
        with ThreadPoolExecutor(1) as executor:
            return await Student(ladder, executor, executor).predict(text)

    prediction = asyncio.run(ask()).prediction
    assert prediction.answer == prediction.alternatives[0][0] == "ann@example.com"


def test_no_student_agrees_with_an_address_that_its_caller_did_not_give():
    pairs = [
        (text, f"agent{i}@example.com" if i % 2 else own)
        for i, (text, own) in enumerate(mail_tasks(250))
    ]
    data = build(exchanges(pairs), "mask")
    run = retrain(Challenge("v", data, TaskState("t"), PolicySettings()))
    assert not run.verdict.promoted


def test_the_forecast_compares_what_callers_would_read():
    requests = [
        Request({"messages": messages(text)}, text, answer, Usage(30, 5))
        for text, answer in mail_tasks(300)
    ]
    player = Play(load(None, {"dataset": {"private": "mask"}}), None, random.Random(0))
    steps = player.run(requests)
    served = [step for step in steps if step.route == "student"]
    assert served
    assert not any(step.wrong for step in served)
