"""Students on their way into service, as the store has them."""

from __future__ import annotations

from telemetry import trials
from telemetry.exchange import Exchange, Stage, StudentRecord
from telemetry.store import Store
from telemetry.trials import Trial, TrialTally

TASK = "support"


def train(store: Store, version: str, stage: Stage | None, now: float = 1.0) -> StudentRecord:
    serving = stage is None
    record = StudentRecord(version, TASK, now, "somewhere", serving, "passed", "{}", stage=stage)
    assert store.roster.close_run(store.roster.task_state(TASK), record)
    return record


def states(store: Store) -> dict[str, tuple[bool, Stage | None]]:
    return {each.version: (each.serving, each.stage) for each in store.roster.students(TASK)}


def exchange(identifier: str, agreed: bool | None) -> Exchange:
    return Exchange(
        id=identifier,
        created=1.0,
        task=TASK,
        route="student",
        model="new",
        reason="student_confident",
        status=200,
        stream=False,
        sampled=agreed is not None,
        agreed=agreed,
    )


def test_a_student_goes_from_stage_to_stage(store: Store) -> None:
    train(store, "old", None)
    new = train(store, "new", "shadow")
    assert states(store) == {"old": (True, None), "new": (False, "shadow")}
    assert store.roster.places() == {("old", None), ("new", "shadow")}
    assert not store.roster.give_up_files(TASK, "new")

    assert store.roster.advance(new, "canary", "shadow: fine", 2.0)
    # Another process saw the same, and is late.
    assert not store.roster.advance(new, "canary", "again", 2.5)
    (coming,) = store.roster.coming()
    assert (coming.stage, coming.verdict, coming.earned) == ("canary", "shadow: fine", None)
    assert store.roster.advance(coming, None, "canary: fine", 3.0)
    assert states(store) == {"old": (False, None), "new": (True, None)}
    (serving,) = store.roster.serving()
    assert (serving.verdict, serving.earned) == ("canary: fine", 3.0)


def test_another_that_passes_its_test_takes_the_place(store: Store) -> None:
    train(store, "old", None)
    train(store, "new", "canary")
    train(store, "newer", "canary", 2.0)
    assert states(store) == {
        "old": (True, None),
        "new": (False, None),
        "newer": (False, "canary"),
    }
    assert store.roster.promote(TASK, "old", "by hand", 3.0)
    assert states(store)["newer"] == (False, None)


def test_a_rollback_ends_the_way_first(store: Store) -> None:
    train(store, "old", None)
    train(store, "new", "canary")
    rolled_back, stays = store.roster.roll_back(TASK, "rolled back: looks odd")
    assert rolled_back is not None
    assert stays is not None
    assert (rolled_back.version, stays.version) == ("new", "old")
    assert states(store) == {"old": (True, None), "new": (False, None)}
    # The one that served goes next.
    gone, before = store.roster.roll_back(TASK, "rolled back")
    assert gone is not None
    assert (gone.version, before) == ("old", None)


def test_what_is_demoted_on_its_way_leaves_the_one_that_serves(store: Store) -> None:
    train(store, "old", None)
    train(store, "new", "canary")
    assert store.roster.demote(TASK, "new", "demoted: 3 of 3", 5.0)
    assert states(store) == {"old": (True, None), "new": (False, None)}
    assert store.roster.task_states()[TASK].epoch == 5.0
    assert not store.roster.demote(TASK, "new", "again", 6.0)


def test_a_demotion_turns_back_who_was_tested_on_the_same_answers(store: Store) -> None:
    train(store, "old", None)
    train(store, "new", "canary")
    assert store.roster.demote(TASK, "old", "demoted: 3 of 3", 5.0)
    assert states(store) == {"old": (False, None), "new": (False, None)}
    assert not store.roster.turn_back(TASK, "new", "again")


def test_trials_are_counted_with_their_audits(store: Store) -> None:
    none = TrialTally(0, 0, 0, 0, 0, 0)
    assert trials.tally(store.engine, "new", "canary", 1.0) == none
    store.write([exchange("a", True), exchange("b", False), exchange("c", None)])
    given = [Trial("new", "canary", each, took_s=0.1, answered=True) for each in "abc"]
    unsure = Trial("new", "canary", "d", took_s=1.5)
    failed = Trial("new", "canary", "e", failed=True)
    # An audit of whoever answered says nothing of one in the shadow.
    shadows = [
        Trial("new", "shadow", "b", answered=True),
        Trial("new", "shadow", "x", answered=True, agreed=True),
        Trial("new", "shadow", "y", answered=True, agreed=False),
    ]
    trials.add(store.engine, [*given, unsure, failed, *shadows])
    assert trials.tally(store.engine, "new", "canary", 1.0) == TrialTally(5, 1, 1, 3, 2, 1)
    assert trials.tally(store.engine, "new", "shadow", 1.0) == TrialTally(3, 0, 0, 3, 2, 1)


def test_trials_of_students_from_before_are_forgotten(store: Store) -> None:
    train(store, "old", None)
    train(store, "new", "canary")
    trials.add(store.engine, [Trial("old", "canary", "a"), Trial("new", "canary", "b")])
    trials.forget(store.engine, TASK, "new")
    assert trials.tally(store.engine, "old", "canary", 1.0).asked == 0
    assert trials.tally(store.engine, "new", "canary", 1.0).asked == 1
