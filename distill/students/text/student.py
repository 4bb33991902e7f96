"""From teacher answers to a text student and what it makes of answers that it has not seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

from distill.students import novelty
from distill.students.classifier import Array
from distill.students.text import job
from distill.students.text.engine import Engine, Sampling
from distill.students.text.job import ENGINE, Job, Recipe, Report
from distill.students.text.lesson import Lesson
from distill.students.text.rung import TextRung, confidences, probability
from policies.agreement import agree
from policies.ngrams import count_ngrams

HELD_OUT = 0.2
"""Share of the answers that a student is put to the test with, and not trained on: to train it once
for each of several folds would be too dear."""

_ROOM = 1.5
"""How much longer than all of the teacher's an answer may get before it is given up."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A rung and what it makes of texts [n] that it was trained without."""

    rung: TextRung
    held: npt.NDArray[np.bool_]
    """Which of the texts those are."""
    confidences: Array
    """0 at the other ones."""
    agreed: npt.NDArray[np.bool_]
    """False at the other ones."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a text student is made of."""

    base: Path
    """The language model, as ``language.find`` found it,"""
    cache: Path
    """the folder to prepare it in,"""
    scratch: Path
    """the folder to train in, where its files lie until it is saved,"""
    recipe: Recipe
    """and how."""
    layers: int | None = None
    """How many of its layers to keep; None keeps all."""
    teacher: Path | None = None
    """The Hugging Face folder of a local teacher, if there is one."""


def train(
    start: Start,
    lessons: Sequence[Lesson],
    *,
    groups: Sequence[Hashable] | None = None,
    taught: npt.NDArray[np.bool_] | None = None,
    said: Sequence[str] | None = None,
) -> tuple[Trained, Report]:
    """Train a rung on ``lessons``; and how that went.

    ``groups`` [n] stay together on one side of the test, those that are not ``taught`` [n] are at
    most tested on, and what is tested is what the teacher ``said`` [n], by default the answers that
    are learnt. Raises TrainingError.
    """
    texts = [lesson.text for lesson in lessons]
    held = held_out(texts, groups or texts)
    learnt = ~held if taught is None else ~held & taught
    report = job.run(
        Job(
            str(start.base),
            str(start.cache),
            [lessons[i] for i in np.flatnonzero(learnt).tolist()],
            str(start.scratch),
            start.recipe,
            start.layers,
            str(start.teacher) if start.teacher else None,
        )
    )
    most_tokens = round(_ROOM * report.most_tokens)
    answers = said or [lesson.answer for lesson in lessons]
    return tested(start.scratch, most_tokens, texts, answers, held), report


def tested(
    folder: Path,
    most_tokens: int,
    texts: Sequence[str],
    answers: Sequence[str],
    held: npt.NDArray[np.bool_],
) -> Trained:
    """The rung of the model in ``folder``, and what it makes of those ``texts`` [n] that it was
    ``held`` [n] from: how sure it may be, they tell too."""
    # Only here: to serve a student takes none of what it takes to train one.
    from distill.students import fitting

    new, surprise = novelty.fit(texts, count_ngrams(texts))
    rows = np.flatnonzero(held).tolist()
    written = Engine(folder / ENGINE).write([texts[i] for i in rows], Sampling(most_tokens))
    agreed = np.array(
        [agree(one.text, answers[i]) for one, i in zip(written, rows, strict=True)],
        dtype=np.bool_,
    )
    raw = np.array([probability(one) for one in written])
    calibration = fitting.calibrate(raw, surprise[rows], agreed)
    sure = np.zeros(len(texts))
    sure[rows] = confidences(written, surprise[rows], calibration)
    right = np.zeros(len(texts), dtype=bool)
    right[rows] = agreed
    return Trained(TextRung(folder, most_tokens, calibration, new), held, sure, right)


def held_out(texts: Sequence[str], groups: Sequence[Hashable]) -> npt.NDArray[np.bool_]:
    """Which of ``texts`` [n] are for the test: those of about one in five of the ``groups`` [n].

    A group is drawn by the hash of its texts, so that as the answers grow it stays where it is.
    """
    first: dict[Hashable, int] = defaultdict(lambda: 2**64)
    for text, group in zip(texts, groups, strict=True):
        normal = " ".join(text.lower().split()).encode("utf-8", "surrogatepass")
        first[group] = min(first[group], xxhash.xxh3_64_intdigest(normal))
    # The least of several hashes is small: hashed again it is as good as any.
    return np.array(
        [
            xxhash.xxh3_64_intdigest(first[group].to_bytes(8, "big")) < HELD_OUT * 2**64
            for group in groups
        ],
        dtype=bool,
    )
