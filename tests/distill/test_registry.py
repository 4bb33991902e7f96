"""The registry: who serves, who may, and who served before."""

import json

import pytest

from distill import registry
from distill.registry import RegistryError, UntestedError
from distill.runs import text
from policies.promise import Promise
from telemetry.exchange import StudentRecord
from telemetry.store import Store

PASSED = {"threshold": 0.9, "reason": "passed", "answered": 200, "wrong": 2, "share": 0.5}
TODAY = Promise(0.05, 0.05)
FAILED = {"threshold": None, "reason": "no threshold meets the bound"}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    yield store
    store.close()


def add(
    store,
    version,
    created,
    gate=PASSED,
    serving=True,
    task="t",
    since=0.0,
    files=True,
    promise=None,
    rungs=(),
):
    """A training run's student, as the loop leaves it."""
    if files:
        (store.data / "students" / version).mkdir(parents=True)
    about = {"data": {"since": since, "answers": 100}, "promise": promise, "rungs": rungs}
    card = json.dumps({"gate": gate, **about})
    path = f"students/{version}" if files else ""
    record = StudentRecord(version, task, created, path, serving, "as the gate said", card)
    state = store.roster.task_state(task)
    assert store.roster.close_run(state, record)


def serving(store):
    return [record.version for record in store.roster.serving()]


def back(store, *why):
    """The version that a rollback goes back to."""
    record = registry.rollback(store, "t", *why)
    return record and record.version


def test_rollback_goes_back_step_by_step_and_never_forward(store):
    for created, version in enumerate(["a", "b", "c"]):
        add(store, version, float(created))
    assert back(store, "it swears") == "b"
    assert serving(store) == ["b"]
    assert store.roster.student("c").verdict == "rolled back: it swears"
    assert back(store) == "a"
    assert registry.rollback(store, "t") is None
    assert serving(store) == []
    with pytest.raises(RegistryError, match="no student serves the task 't'"):
        registry.rollback(store, "t")


def test_who_is_rolled_back_twice_takes_nobody_along(store):
    for created, version in enumerate(["a", "b", "c"]):
        add(store, version, float(created))
    registry.rollback(store, "t", version="c")
    with pytest.raises(RegistryError, match="c does not serve"):
        registry.rollback(store, "t", version="c")
    assert serving(store) == ["b"]


def test_rollback_leaves_other_tasks_alone(store):
    add(store, "a", 0.0, task="other")
    add(store, "b", 1.0)
    assert registry.rollback(store, "t") is None
    assert serving(store) == ["a"]


def test_rollback_passes_over_who_was_demoted_and_what_was_learnt_before(store):
    add(store, "a", 1.0)
    add(store, "b", 2.0)
    assert store.roster.demote("t", "b", "audits broke the bound", now=3.0)
    add(store, "c", 4.0, since=3.0)
    assert registry.rollback(store, "t") is None


def test_rollback_passes_over_who_has_no_files_any_more(store):
    for created, version in enumerate(["a", "b", "c"]):
        add(store, version, float(created))
    (store.data / "students" / "b").rmdir()
    assert back(store) == "a"
    assert serving(store) == ["a"]
    registry.promote(store, "c", "it was not its fault", TODAY)
    (store.data / "students" / "a").rmdir()
    assert registry.rollback(store, "t") is None
    assert serving(store) == []


def test_a_rolled_back_student_may_be_promoted_by_hand_and_rolled_back_again(store):
    add(store, "a", 1.0)
    add(store, "b", 2.0)
    registry.rollback(store, "t")
    again = registry.promote(store, "b", "the fault was elsewhere", TODAY)
    assert again.serving
    assert again.verdict == "promoted by hand: the fault was elsewhere"
    assert store.roster.student("a").verdict == "replaced by b"
    assert back(store) == "a"


def test_promotion_goes_on_from_who_served_last(store):
    add(store, "a", 1.0)
    add(store, "b", 2.0)
    registry.promote(store, "a", "b is slow", TODAY)
    assert serving(store) == ["a"]
    assert back(store) == "b"


@pytest.mark.parametrize(
    ("fields", "demoted", "why"),
    [
        ({"gate": FAILED}, False, r"has not passed the gate \(no threshold meets the bound\)"),
        ({"since": 0.0}, True, "before the task's last demotion"),
        (
            {"promise": {"alpha": 0.1, "delta": 0.05}},
            False,
            r"tested for less \(alpha 0.1 and delta 0.05\) than is promised now \(alpha 0.05 and",
        ),
        ({"promise": {"alpha": 0.01, "delta": 0.1}}, False, "tested for less"),
    ],
)
def test_what_was_not_tested_is_promoted_by_force_alone(store, fields, demoted, why):
    add(store, "old", 1.0)
    add(store, "new", 2.0, serving=False, **fields)
    if demoted:
        store.roster.demote("t", "old", "audits broke the bound", now=3.0)
    with pytest.raises(UntestedError, match=why):
        registry.promote(store, "new", "I know better", TODAY)
    assert "new" not in serving(store)
    registry.promote(store, "new", "I know better", TODAY, force=True)
    assert serving(store) == ["new"]
    assert "untested" in store.roster.student("new").verdict


def test_who_was_tested_for_as_much_or_more_is_promoted(store):
    add(store, "as-much", 1.0, serving=False, promise={"alpha": 0.05, "delta": 0.05})
    add(store, "more", 2.0, serving=False, promise={"alpha": 0.01, "delta": 0.05})
    for version in ("as-much", "more"):
        assert registry.promote(store, version, "it is fast", TODAY).serving


def test_who_cannot_serve(store):
    add(store, "serves", 1.0)
    add(store, "figures", 2.0, serving=False, files=False)
    add(store, "gone", 3.0, serving=False)
    (store.data / "students" / "gone").rmdir()
    for version, why in (
        ("nobody", "there is no student nobody"),
        ("serves", "serves already"),
        ("figures", "has no files: as the gate said"),
        ("gone", "are gone"),
    ):
        with pytest.raises(RegistryError, match=why):
            registry.promote(store, version, "try", TODAY, force=True)
    assert serving(store) == ["serves"]


def test_a_summary_has_the_thresholds_of_slices(store):
    add(store, "a", 0.0, gate={**PASSED, "floors": {"usual": 0.9, "long tail": 0.96}})
    told = registry.summary(store.roster.student("a"))
    assert told["slice_thresholds"] == "usual: 0.9000, long tail: 0.9600"


def test_a_summary_says_what_is_known(store):
    add(store, "a", 1.0)
    told = registry.summary(store.roster.student("a"))
    assert (told["state"], told["share"], told["disagreement"]) == ("serving", 0.5, 0.01)
    assert told["training_s"] is None
    add(store, "b", 2.0, gate=FAILED, serving=False, files=False)
    told = registry.summary(store.roster.student("b"))
    assert (told["state"], told["gate"]) == ("figures only", "no threshold meets the bound")
    assert told["disagreement"] is None


def test_a_student_that_a_slice_speaks_against_is_promoted_by_force_alone(store):
    add(store, "a", 1.0, gate=PASSED | {"veto": "too many are wrong"}, serving=False)
    with pytest.raises(UntestedError):
        registry.promote(store, "a", "I know better", TODAY)


def test_files_are_kept_of_those_alone_that_somebody_may_go_back_to(store):
    for place in range(10):
        add(store, f"served{place}", float(place))
        add(store, f"failed{place}", place + 0.5, gate=FAILED, serving=False)
    registry.prune(store, "t")
    kept = {record.version for record in store.roster.students("t") if record.path}
    assert kept == {f"served{place}" for place in range(1, 10)} | {
        f"failed{place}" for place in range(7, 10)
    }
    assert {folder.name for folder in (store.data / "students").iterdir()} == kept
    assert store.roster.student("served0").verdict == "replaced by served1"
    assert serving(store) == ["served9"]


def test_who_was_rolled_back_can_be_promoted_again_however_many_others_are_trained(store):
    add(store, "served", 0.0)
    registry.rollback(store, "t", "by mistake")
    for place in range(1, 6):
        add(store, f"failed{place}", float(place), gate=FAILED, serving=False)
    registry.prune(store, "t")
    registry.promote(store, "served", "after all", TODAY)
    assert serving(store) == ["served"]


def test_a_text_student_waits_for_its_next_test_however_many_others_are_trained(store):
    for place, rung in enumerate(["text", "text", *["ngram"] * 5]):
        add(store, f"{rung}{place}", float(place), gate=FAILED, serving=False, rungs=[rung])
    registry.prune(store, "t")
    records = store.roster.students("t")
    kept = {record.version for record in records if record.path}
    assert kept == {"text1", "ngram4", "ngram5", "ngram6"}
    waiting = text.waiting(records, store.roster.task_state("t"), 200)
    assert waiting is not None
    assert waiting.version == "text1"
