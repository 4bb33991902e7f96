"""What becomes of a named task whose instruction changes, which its students never read."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.loading import load
from config.settings import LoopSettings, PolicySettings
from distill.card import Card, Learnt, taught_under
from distill.data.dataset import build
from distill.data.instructions import in_use
from distill.data.reach import Former
from distill.forecast import Play, Request, Step
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from distill.runs.run import Run
from distill.students.ladder import Ladder
from distill.trainer.handover import TrainerSettings
from distill.trainer.loop import Trainer
from policies.tasks import Prompt, read_prompt
from telemetry.exchange import Exchange, StudentRecord, TaskState
from telemetry.prices import Usage
from telemetry.store import Store
from tests.distill.synthetic import AT_ONCE, WORDS, exchange, stream

TURNED = dict(zip(WORDS, [*list(WORDS)[1:], next(iter(WORDS))], strict=True))
PLAIN = "Label the message as billing, outage or account."
POLITE = "Please label the message as billing, outage or account."
OTHER = "Name the queue that the message must not go to."


def body(text: str, instruction: str) -> dict[str, object]:
    messages = [{"role": "system", "content": instruction}, {"role": "user", "content": text}]
    return {"messages": messages, "metadata": {"task": "support"}}


def prompt(text: str, instruction: str) -> Prompt:
    return read_prompt(body(text, instruction))


def named(instruction: str) -> str:
    return prompt("", instruction).instruction


def asked(pairs: Sequence[tuple[str, str]], instruction: str, start: int = 0) -> list[Exchange]:
    return [
        exchange(start + i, text, answer, request=json.dumps(body(text, instruction)))
        for i, (text, answer) in enumerate(pairs)
    ]


def turned(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(text, TURNED[answer]) for text, answer in pairs]


def trained(rows: Sequence[Exchange], champion: Ladder | None = None, **state: float) -> Run:
    known = TaskState("support", **state)  # type: ignore[arg-type]
    return retrain(Challenge("v", build(rows), known, PolicySettings(), champion))


def student(rows: Sequence[Exchange]) -> Ladder:
    run = trained(rows)
    assert run.verdict.promoted
    assert run.ladder is not None
    return run.ladder


@given(st.lists(st.sampled_from("abc"), max_size=600))
def test_few_instructions_are_told_apart(instructions: list[str]) -> None:
    found = in_use(instructions)
    assert (found is None) == (not instructions)
    for each in found or ():
        assert each in instructions[-200:]


def test_an_instruction_is_in_use_while_it_is_asked() -> None:
    assert in_use(["a"] * 1000) == {"a"}
    assert in_use(["a"] * 1000 + ["b"] * 49) == {"a"}
    assert in_use(["a"] * 1000 + ["b"] * 50) == {"a", "b"}
    assert in_use(["a"] * 1000 + ["b"] * 200) == {"b"}
    # What has been there from the beginning is not new.
    assert in_use(list("abcdefgh") * 20) == set("abcdefgh")
    assert in_use(["a"]) == {"a"}
    assert in_use(["a"] * 60 + ["b"] * 2) == {"a", "b"}
    assert in_use(["a"] * 100 + ["b"] * 49) == {"a"}


def test_instructions_that_vary_are_not_told_apart() -> None:
    assert in_use([str(number) for number in range(500)]) is None
    assert in_use(["a"] * 900 + [str(number) for number in range(100)]) is None


def test_a_dataset_has_what_is_asked_now() -> None:
    pairs = stream(600)
    before, after = asked(pairs[:400], PLAIN), asked(pairs[400:], OTHER, start=400)
    data = build(before + after)
    assert data.instructions == (named(OTHER),)
    assert [example.id for example in data.examples] == [each.id for each in after]
    assert data.dropped == {"instruction": 400}
    both = build(before + after[:100])
    assert set(both.instructions or ()) == {named(PLAIN), named(OTHER)}
    assert both.dropped == {}


def test_what_was_imported_needs_no_instruction() -> None:
    pairs = stream(500)
    seeds = [
        exchange(i, text, answer, route="imported", request=json.dumps({"messages": bare(text)}))
        for i, (text, answer) in enumerate(pairs[:300])
    ]
    data = build(seeds + asked(pairs[300:], PLAIN, start=300))
    assert len(data) == 500
    assert data.instructions == (named(PLAIN),)
    assert build(seeds).instructions is None


def bare(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_a_student_keeps_the_instructions_that_it_was_taught(tmp_path: Path) -> None:
    ladder = student(asked(stream(400), PLAIN))
    ladder.save(tmp_path)
    again = Ladder.load(tmp_path)
    for each in (ladder, again):
        assert each.unfamiliar(prompt("my invoice", PLAIN)) is None
        assert each.unfamiliar(prompt("my invoice", OTHER)) == "instruction"
        assert each.unfamiliar(prompt("my invoice " * 90, PLAIN)) == "length"


def test_a_student_of_instructions_that_vary_is_asked_under_any() -> None:
    rows = [
        row
        for i, pair in enumerate(stream(400))
        for row in asked([pair], f"Label for customer {'abcdefghij'[i % 10]}{i}.", start=i)
    ]
    assert student(rows).unfamiliar(prompt("my invoice", OTHER)) is None


def test_whoever_knows_nothing_of_what_is_asked_is_easily_beaten() -> None:
    pairs = stream(1000)
    champion = student(asked(pairs[:600], PLAIN))
    after = asked(turned(pairs[600:]), OTHER, start=600)
    state = {"trained_on": 600, "tested_on": 600, "trained_at": 1599.0}
    # Though there is much less evidence than when the task was tested last.
    run = trained(asked(pairs[:600], PLAIN) + after, champion, attempts=1, **state)
    assert run.verdict.promoted
    assert run.ladder is not None
    assert run.ladder.instructions == (named(OTHER),)
    # But not at every run: what was there at the last test is not new.
    later = state | {"trained_at": 1950.0}
    assert trained(asked(pairs[:600], PLAIN) + after, champion, **later).verdict.delta is None


def test_an_instruction_that_asks_for_the_same_is_learnt_from_a_few_answers() -> None:
    """Of a task that has many."""
    pairs = stream(1100)
    before = asked(pairs[:1000], PLAIN)
    champion = student(before)
    state = {"trained_on": 1000, "tested_on": 1000, "trained_at": 1999.0}

    def run(count: int, **more: float) -> Run:
        return trained(
            before + asked(pairs[1000 : 1000 + count], POLITE, start=1000),
            champion,
            **state | more,
        )

    soon = run(60)
    assert soon.verdict.promoted
    assert soon.ladder is not None
    assert set(soon.ladder.instructions or ()) == {named(PLAIN), named(POLITE)}
    # What the last test saw is not new.
    assert run(65, trained_at=2060.0).verdict.delta is None
    assert run(80, trained_at=2060.0).verdict.delta is not None


def test_a_champion_is_measured_by_what_it_may_be_asked_about() -> None:
    pairs = stream(800)
    champion = student(asked(pairs[:400], PLAIN))
    rows = [
        *asked(pairs[:300], PLAIN),
        *asked(turned(pairs[400:500]), OTHER, start=500),
    ]
    data, state = build(rows), TaskState("support")
    challenge = Challenge("v", data, state, PolicySettings(), champion)
    assert 0 < challenge.to_beat == 0.75 * champion.worth
    newer = replace(champion, trained=0.0)
    rival = replace(challenge, champion=newer).rival(data.tested)
    assert rival is not None
    assert rival.answered[:300].any()
    assert not rival.answered[300:].any()


def test_an_instruction_that_asks_for_something_else_is_seen_among_many_that_do_not() -> None:
    """All in all the wrong answers are within the bound."""
    pairs = stream(2500)
    rows = [
        row
        for i, pair in enumerate(pairs)
        for row in (
            asked([pair], PLAIN, start=i) if i % 50 else asked(turned([pair]), OTHER, start=i)
        )
    ]
    verdict = trained(rows).verdict
    assert not verdict.promoted
    assert f"where instruction is {named(OTHER)}" in (verdict.veto or "")


def test_what_a_former_student_was_not_asked_it_would_not_have_answered() -> None:
    pairs = stream(700)
    former = Former(student(asked(pairs[:400], PLAIN)))
    data = build(asked(pairs[400:600], PLAIN) + asked(pairs[600:], OTHER, start=600))
    assert former.knows(data)
    sure = [former.sure[example.id] for example in data.examples]
    assert sum(sure[:200]) > 100
    assert not any(sure[200:])


def test_students_of_what_is_asked_no_more_are_as_if_there_were_none() -> None:
    def record(version: str, instructions: tuple[str, ...] | None) -> StudentRecord:
        card = Card(data=Learnt(instructions=instructions))
        return StudentRecord(version, "support", 0.0, "", True, "", card.text)

    records = [record("old", ("a",)), record("both", ("a", "b")), record("any", None)]
    assert [each.version for each in taught_under(records, ["b"])] == ["both", "any"]
    assert taught_under(records, None) == records


def test_the_trainer_forgets_students_of_what_is_asked_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a text student that nobody asks would keep the next one from being trained."""
    looked: list[list[str]] = []

    def noted(records: Sequence[StudentRecord], *_: object) -> None:
        looked.append([record.version for record in records])

    monkeypatch.setattr("distill.trainer.aside.text.waiting", noted)
    store = Store(tmp_path)
    settings = TrainerSettings(
        data=tmp_path, loop=LoopSettings(encoder=None, rollout=AT_ONCE), policy=PolicySettings()
    )
    trainer = Trainer(settings)
    pairs = stream(700)

    def train() -> list[StudentRecord]:
        looks = iter([False] * 2)
        trainer.run(lambda: next(looks, True))
        return store.roster.students("support")

    store.write(asked(pairs[:400], PLAIN))
    (first,) = train()
    assert first.serving
    assert looked == [[first.version]]
    later = [
        replace(row, created=time.time()) for row in asked(turned(pairs[400:]), OTHER, start=400)
    ]
    store.write(later)
    _, second = train()
    assert second.serving
    assert Card.parse(second.card).data.instructions == (named(OTHER),)
    assert looked[1:] == [[second.version]]
    store.close()


# The whole loop.


def requests(pairs: Sequence[tuple[str, str]], instruction: str) -> list[Request]:
    return [Request(body(text, instruction), text, answer, Usage(30, 1)) for text, answer in pairs]


def served(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.route == "student"]


def player() -> Play:
    return Play(load(), None, Random(0))


def test_a_changed_instruction_is_the_teachers_until_it_is_learnt() -> None:
    loop = player()
    before = loop.run(requests(stream(600), PLAIN))
    assert served(before[400:])
    after = loop.run(requests(turned(stream(1200, seed=1)), OTHER))
    assert {step.reason for step in after[:100]} == {"instruction"}
    assert loop.demotions == 0
    assert len(served(after[-300:])) > 200
    assert sum(step.wrong for step in after) < 0.05 * len(served(after))


def test_an_instruction_that_comes_back_is_answered_at_once() -> None:
    loop = player()
    loop.run(requests(stream(600), PLAIN))
    tried = loop.run(requests(turned(stream(60, seed=1)), OTHER))
    assert not served(tried)
    back = loop.run(requests(stream(100, seed=2), PLAIN))
    assert len(served(back)) > 60


def test_what_a_better_wording_asks_for_is_soon_learnt() -> None:
    """Answers under the former wording teach as well, until it has not been asked for long."""
    loop = player()
    loop.run(requests(stream(400), PLAIN))
    after = loop.run(requests(stream(400, seed=1), POLITE))
    first = next(place for place, step in enumerate(after) if step.route == "student")
    assert 50 <= first < 200


def test_two_instructions_at_once_are_both_answered() -> None:
    loop = player()
    pairs = stream(900)
    both = [requests([pair], (PLAIN, POLITE)[i % 2])[0] for i, pair in enumerate(pairs)]
    steps = loop.run(both)
    assert len(served(steps[-200::2])) > 50
    assert len(served(steps[-199::2])) > 50
