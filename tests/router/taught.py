"""Real students for tests: trained in a moment on sentences about cats and dogs."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from distill.card import Card, Regressions, Report, SliceFigures, Verdict
from distill.evaluation.strata import Floors
from distill.students import label as label_student
from distill.students.base import Rung
from distill.students.label import LabelRung
from distill.students.ladder import Ladder
from distill.students.usage import UsageModel
from policies.promise import Promise
from telemetry import runs
from telemetry.exchange import Stage, StudentRecord
from telemetry.runs import TrainingRun
from telemetry.store import Store
from tests.router.upstream import COMPLETION_TOKENS, PROMPT_TOKENS, label

TASK = "animals"

_ANIMALS = ("cat", "dog")
_VERBS = ("sleeps", "eats", "runs", "waits", "hides", "plays", "drinks", "barks")
_PLACES = ("in the garden", "on the roof", "under the bed", "at home", "by the river")

SENTENCES = [
    f"the {animal} {verb} {place}"
    for animal, verb, place in itertools.product(_ANIMALS, _VERBS, _PLACES)
]


def as_json(text: str) -> str:
    """The label in an object."""
    return json.dumps({"animal": label(text)})


def opposite(text: str) -> str:
    """What a student says that has learnt it all wrong."""
    return "dog" if label(text) == "cat" else "cat"


def promote(
    store: Store,
    data: Path,
    version: str,
    *,
    task: str = TASK,
    teacher: Callable[[str], str] = label,
    threshold: float = 0.6,
    longest: int | None = None,
    card: Card | None = None,
    stage: Stage | None = None,
    floors: Floors | None = None,
    rungs: tuple[Rung, ...] = (),
    promise: Promise | None = None,
    instructions: tuple[str, ...] | None = None,
) -> None:
    """Put a student of ``teacher`` into service, or on its way there, as the learning loop does."""
    answers = {teacher(sentence) for sentence in SENTENCES}
    usage = UsageModel(PROMPT_TOKENS, 0.0, dict.fromkeys(answers, COMPLETION_TOKENS), 0.0, longest)
    rungs = rungs or (_rung(teacher),)
    ladder = Ladder(
        version,
        task,
        threshold,
        0.9,
        "",
        rungs,
        usage,
        floors=floors,
        promise=promise,
        instructions=instructions,
    )
    path = f"students/{version}"
    ladder.save(data / path)
    card = card or Card(gate=Verdict(threshold=threshold, reason="passed its test"))
    serves = stage is None
    record = StudentRecord(
        version, task, time.time(), path, serves, "passed its test", card.text, stage=stage
    )
    assert store.roster.close_run(store.roster.task_state(task), record)
    run = TrainingRun(task, record.created, 0.1, "promoted", len(SENTENCES))
    runs.add(store.engine, run)


def by_slice(*slices: SliceFigures) -> Report:
    """What a student's test may have found on these."""
    return Report(0.8, slices, 0.02, 0.03, Regressions(0, 0, 0))


def slice_figures(kind: str, name: str, agreement: float | None) -> SliceFigures:
    """A slice on which a student agreed so often, if it gave an answer at all."""
    answered = 0 if agreement is None else 40
    return SliceFigures(kind, name, 50, 0.3, answered, 0, agreement, 0.0, 1.0, "open")


@cache
def _rung(teacher: Callable[[str], str]) -> LabelRung:
    answers = [teacher(sentence) for sentence in SENTENCES]
    return label_student.train(SENTENCES, answers, tuple(sorted(set(answers)))).rung
