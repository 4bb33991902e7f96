"""The students that there are: which serves, which may, and which served before.

Every training run leaves a student in the store, whatever came of it. The loop promotes those that
pass the gate; people promote and roll back here. Servers of the same store follow within a second.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from typing import Any

from distill.card import Card
from distill.students.base import TEXT
from policies.promise import Promise
from telemetry.exchange import StudentRecord, TaskState
from telemetry.store import Store

_KEPT_SERVED = 8
"""Students that have served that keep their files, of a task and beside the one that serves: what
they would have answered tells how much the teacher's answers count."""
_KEPT_OTHERS = 3
"""Those of the others that do."""

_ROLLED_BACK = "rolled back: "
"""How the verdict on a student begins that a person has taken out of service."""

_OVERTAKEN = "another student was tested meanwhile; tested again with the next answers"


class RegistryError(Exception):
    """What was asked of a student cannot be done. In one line."""


class UntestedError(RegistryError):
    """The promise is not tested for a student: it serves only if a person insists."""


def find(store: Store, version: str) -> StudentRecord:
    """The student of this version. Raises RegistryError."""
    record = store.roster.student(version)
    if record is None:
        raise RegistryError(f"there is no student {version}")
    return record


def promote(
    store: Store, version: str, reason: str, promise: Promise, *, force: bool = False
) -> StudentRecord:
    """Let a student take over its task, and return it as it is then.

    It answers all that it is sure of at once, whatever ``loop.rollout`` says of the loop's own.
    Raises RegistryError where it cannot serve, UntestedError where no test says that its answers
    keep the ``promise`` and nobody insists (``force``).
    """
    record = find(store, version)
    if record.serving:
        raise RegistryError(f"{version} serves already")
    if not record.path:
        raise RegistryError(f"{version} has no files: {record.verdict}")
    if _is_gone(store, record):
        raise RegistryError(f"the files of {version} are gone: {store.data / record.path}")
    state = store.roster.task_state(record.task)
    doubt = untested(record, state, promise)
    if doubt is not None and not force:
        raise UntestedError(f"{version} {doubt}: its answers are not promised to be right")
    verdict = f"promoted by hand: {reason}"
    if doubt is not None:
        verdict += f" (untested: it {doubt})"
    if not store.roster.promote(record.task, version, verdict, time.time()):
        raise RegistryError(f"{version} has no files any more")
    return find(store, version)


def rollback(
    store: Store, task: str, reason: str = "no reason given", version: str | None = None
) -> StudentRecord | None:
    """Put the student that served ``task`` before into the place of the one that serves now.

    A student that is on its way into service goes first: then the one that serves stays, and is
    returned.
    None where there is none from before that has kept its place, and its files: the teacher answers
    then. The one that is rolled back comes into service again by hand alone; a later one must pass
    the gate on more evidence. Raises RegistryError where no student serves the task, or it is not
    ``version``'s turn to go, if that is given: another one is never rolled back in its place.
    """
    gone = [each.version for each in store.roster.students(task) if _is_gone(store, each)]
    found = store.roster.roll_back(task, f"{_ROLLED_BACK}{reason}", gone, version)
    if not found and version is not None:
        raise RegistryError(f"{version} does not serve")
    if not found:
        raise RegistryError(f"no student serves the task {task!r}")
    return found[1]


def _is_gone(store: Store, record: StudentRecord) -> bool:
    """Whether the files of a student are not where they should be."""
    return not (store.data / record.path).is_dir()


def untested(record: StudentRecord, state: TaskState, promise: Promise | None = None) -> str | None:
    """Why no test says that a student keeps the ``promise``, by default the one that it was tested
    for; None where one does."""
    card = Card.parse(record.card)
    since, tested = card.data.since, card.promise
    if not card.gate.passed:
        return f"has not passed the gate ({card.gate.reason or record.verdict})"
    if since is not None and since < state.epoch:
        return "was tested on answers from before the task's last demotion"
    if promise is not None and tested is not None and not tested.covers(promise):
        return f"was tested for less ({tested}) than is promised now ({promise})"
    return None


def overtaken(record: StudentRecord) -> StudentRecord:
    """The student of a run as it is kept where another of its task was put to the test since that
    began: whatever its own test found, it does not hold."""
    card = Card.parse(record.card)
    if card.gate.threshold is None:
        return record
    gate = replace(card.gate, promoted=False, reason=_OVERTAKEN, veto=_OVERTAKEN)
    text = replace(card, gate=gate).text
    return replace(record, serving=False, stage=None, verdict=_OVERTAKEN, card=text)


def prune(store: Store, task: str) -> None:
    """Delete the files of students that nobody will go back to: all but the one that serves, one
    that is about to, the newest that have served, whether or not they were rolled back, the newest
    that have not, and the newest that writes, which may be waiting for another test. Figures
    stay."""
    idle = [record for record in store.roster.students(task) if record.path and not record.placed]
    served = sorted((each for each in idle if _has_served(each)), key=_earned)
    others = [each for each in idle if not _has_served(each)]
    waiting = [each for each in idle if TEXT in Card.parse(each.card).rungs][-1:]
    for record in (*served[:-_KEPT_SERVED], *others[:-_KEPT_OTHERS]):
        if record not in waiting and store.roster.give_up_files(task, record.version):
            shutil.rmtree(store.data / record.path, ignore_errors=True)


def _has_served(record: StudentRecord) -> bool:
    """Or has been about to. Who is rolled back by mistake must be there to be promoted again."""
    return record.earned is not None or record.verdict.startswith(_ROLLED_BACK)


def _earned(record: StudentRecord) -> float:
    """About when it took over, where it has lost its place."""
    return record.earned or record.created


def summary(record: StudentRecord) -> dict[str, Any]:
    """What there is to say of a student in one line each, None where nothing is known.

    ``share``, ``disagreement`` and ``upper`` are shares; times are Unix times or seconds.
    """
    card = Card.parse(record.card)
    gate, data, evaluation = card.gate, card.data, card.evaluation
    latency, expected = card.latency, card.expected
    regressions = evaluation and evaluation.regressions
    return {
        "version": record.version,
        "task": record.task,
        "created": record.created,
        "earned": record.earned,
        "state": _state(record),
        "verdict": record.verdict,
        "gate": gate.reason,
        "dataset": data.version,
        "answers": data.answers,
        "evidence": data.evidence,
        "rungs": ", ".join(card.rungs),
        "threshold": gate.threshold,
        "share": gate.share,
        "disagreement": gate.disagreement,
        "upper": gate.upper,
        "barred": ", ".join(gate.barred),
        "slice_thresholds": ", ".join(
            f"{name}: {threshold:.4f}" for name, threshold in gate.floors.items()
        ),
        "calibration_error": evaluation and evaluation.calibration_error,
        "brier": evaluation and evaluation.brier,
        "teacher_agrees_with_itself": data.consistency and data.consistency.share,
        "regressions": regressions and regressions.total,
        "regressions_wrong": regressions and regressions.wrong,
        "p50_ms": latency and latency.p50_ms,
        "p95_ms": latency and latency.p95_ms,
        "training_s": card.training_s,
        "expected_training_usd": expected and expected.training_usd,
        "expected_saving_usd": expected and expected.saving_usd,
    }


def _state(record: StudentRecord) -> str:
    """Whether it serves or is about to, may be rolled back to, or may be promoted by hand."""
    if record.serving:
        return "serving"
    if record.stage is not None:
        return record.stage
    if record.earned is not None:
        return "replaced"
    return "kept" if record.path else "figures only"
