"""One tuning of a task's own encoder: what a label student reads best, and takes minutes to make.

So students of n-grams and of the encoder as it is come first, and the task's own is made beside
them, again as its answers grow. What comes of it is no student, but what later ones may read.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import orjson
import xxhash

from distill.answers import copied, learnable
from distill.data import soft
from distill.data.dataset import Dataset
from distill.data.suspects import sieve
from distill.export import licence
from distill.leftovers import abandoned
from distill.runs.prospects import MOST, is_hopeless
from distill.students import label
from distill.students.encoder import SentenceEncoder
from distill.students.fitting import folds_of
from distill.students.forms import Form
from distill.students.tuned import job
from distill.students.tuned.job import Job, Recipe, Report
from telemetry.exchange import TaskState

LEAST = 500
"""Answers from which on an encoder is tuned."""
_GROWTH = 1.5
"""Factor by which a task's answers must have grown before its encoder is tuned again."""
_MOST_TEXTS = 6000
"""The newest so many are tuned on; of more each would be seen too seldom."""

_ABOUT = "tuned.json"
_KEPT = 2
"""Encoders of a task that stay though no student reads them: one may be about to."""


@dataclass(frozen=True, slots=True)
class Own:
    """A task's own encoder."""

    name: str
    """What it is opened by, in the folder that it was written to."""
    task: str
    answers: int
    """Teacher answers that the task had when it was asked for,"""
    epoch: float
    """and the epoch that they were counted from."""
    created: float
    """Unix time at which it was ready."""
    head: str
    """What was left out of its texts,"""
    masked: bool
    """and whether placeholders stood in them: as in the dataset."""
    report: Report

    def fits(self, data: Dataset) -> bool:
        """Whether ``data`` have the texts that it was tuned on, of which it remembers what is made
        without them. Of the same ones cut elsewhere it would know the answers."""
        return (self.head, self.masked) == (data.head, data.masked)


def is_due(answers: int, share: float, tuned_on: int) -> bool:
    """Whether a task of so many teacher answers should have its encoder tuned now, where students
    give ``share`` of the answers and it was last tuned when there were ``tuned_on``."""
    return share < MOST and answers >= max(LEAST, _GROWTH * tuned_on)


def tune(
    state: TaskState,
    answers: int,
    data: Dataset,
    alpha: float,
    base: SentenceEncoder,
    folder: Path,
    *,
    cpu_s: float,
    sift: bool = False,
) -> Own | None:
    """Tune the encoder ``base`` to the task of ``state`` in at most so many processor seconds, on
    the ``data`` of its so many ``answers``; it is written to a new folder in ``folder``.

    None where none would help: where the answers are no labels, stand in the request, or can hardly
    be told from what is asked. With ``sift``, answers that are likely wrong are not taught. Raises
    TrainingError.
    """
    learnt = learnable(data.taught)
    if not learnt or isinstance(learnt, Form) or copied(data, learnt) is not None:
        return None
    texts = data.texts
    said = data.answers
    groups = data.groups
    doubt = sieve(data, learnt) if sift else None
    cheap = label.train(texts, said, learnt, groups=groups, taught=doubt)
    if is_hopeless(cheap, alpha):
        return None
    rows = np.flatnonzero(cheap.taught[:, -1])[-_MOST_TEXTS:].tolist()
    told = soft.shares(data, learnt)
    place = {answer: i for i, answer in enumerate(learnt)}
    recipe = Recipe(cpu_s=cpu_s)
    asked = Job(
        str(base.folder),
        [texts[i] for i in rows],
        [place.get(said[i], len(learnt)) for i in rows],
        folds_of([groups[i] for i in rows], recipe.folds).tolist(),
        "",
        recipe,
        None if told is None else told[rows].tolist(),
    )
    name = f"tuned-{xxhash.xxh3_64_hexdigest(orjson.dumps(asked))}"
    if (folder / name).is_dir():
        # The same answers make the same encoder.
        return _read(folder / name)
    scratch = folder / f".{name}"
    shutil.rmtree(scratch, ignore_errors=True)
    for left in abandoned(folder.glob(".tuned-*"), time.time()):
        shutil.rmtree(left, ignore_errors=True)
    try:
        report = job.run(replace(asked, target=str(scratch)))
        licence.carry(base.folder, scratch)
        own = Own(
            name=name,
            task=state.task,
            answers=answers,
            epoch=state.epoch,
            created=time.time(),
            head=data.head,
            masked=data.masked,
            report=report,
        )
        (scratch / _ABOUT).write_text(json.dumps(asdict(own)), encoding="utf-8")
        scratch.rename(folder / name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return own


def newest(folder: Path) -> dict[str, Own]:
    """The last encoder that was tuned for each task."""
    return {own.task: own for own in _all(folder)}


def prune(folder: Path, task: str, read: Collection[str | None]) -> None:
    """Delete the task's encoders but for the newest, and for those of these names."""
    owned = [own for own in _all(folder) if own.task == task]
    for own in owned[:-_KEPT]:
        if own.name not in read:
            shutil.rmtree(folder / own.name, ignore_errors=True)


def _all(folder: Path) -> list[Own]:
    """Those in ``folder``, the oldest first."""
    found = (_read(file.parent) for file in folder.glob(f"tuned-*/{_ABOUT}"))
    return sorted(found, key=lambda own: own.created)


def _read(folder: Path) -> Own:
    raw = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    return Own(**{**raw, "report": Report(**raw["report"])})
