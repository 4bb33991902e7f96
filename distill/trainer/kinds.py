"""The kinds of students that a trainer makes, each with what its settings say of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import xxhash

from distill.data.dataset import Dataset
from distill.runs import hosted, label, text
from distill.runs.challenge import Challenge
from distill.runs.hosted import Evidence
from distill.runs.run import Run
from distill.students.text import language
from distill.students.text.job import Recipe
from distill.students.text.language import LanguageModelError
from distill.students.text.student import Start
from distill.trainer.encoders import Encoders
from distill.trainer.handover import TrainerSettings
from distill.trainer.shelf import Shelf

logger = logging.getLogger("protege.trainer")

_SLUG_LENGTH = 40
_SCRATCH = "training"
"""Folder that text students are trained in, below that of the data."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of student."""

    suffix: str
    """What the versions of its students end with."""
    train: Callable[[Challenge], Run | None]
    """Makes a run; None where the challenge is not worth one."""

    def version(self, task: str, data: Dataset) -> str:
        """That of the task's student of these ``data``."""
        return f"{_slug(task)}-{data.version[:8]}{self.suffix}"


class Kinds:
    """Those of one trainer; may be used from several threads."""

    def __init__(self, settings: TrainerSettings, encoders: Encoders, shelf: Shelf) -> None:
        self._settings = settings
        self._encoders = encoders
        self._shelf = shelf
        self._language = _language(settings.loop.language_model, "no text students will be trained")
        self._sifts = settings.dataset.suspects == "drop"
        self._teacher = _language(settings.loop.local_teacher, "it will not score answers")

    @property
    def can_write(self) -> bool:
        """Whether there are text students."""
        return self._language is not None

    def ngrams(self) -> Kind:
        """Labels, told by n-grams alone."""
        return Kind("-ngrams", label.retrain)

    def hurried(self) -> Kind:
        """Labels, told by n-grams alone until there is time for the encoder."""
        train = partial(label.retrain, encoder_comes=True, sift=self._sifts)
        return Kind("-ngrams", train)

    def label(self, task: str, *, again: bool) -> Kind:
        """Labels of the ``task``, told by whatever serves the most; ``again``, after what was made
        of much the same answers in a hurry."""
        return Kind(self._encoders.suffix(task), partial(self._train_label, again))

    def text(self) -> Kind:
        """A language model, tuned to the task."""
        return Kind("-text", self._train_text)

    def retest(self, version: str) -> Kind:
        """The text student of that version, only put to the test again."""
        return Kind("-text", partial(self._test_again, version))

    def hosted(self, evidence: Evidence) -> Kind:
        """A provider's model, of which there is such ``evidence``."""
        return Kind(f"-{_slug(evidence.model)}", partial(hosted.retrain, evidence=evidence))

    def scratch(self, task: str) -> Path:
        """The folder that a text student of ``task`` is trained in."""
        # Whose names have no Latin letters would share that of a version.
        return (
            self._settings.data
            / _SCRATCH
            / xxhash.xxh3_64_hexdigest(task.encode("utf-8", "surrogatepass"))
        )

    def _train_label(self, again: bool, challenge: Challenge) -> Run:
        encoders = self._encoders
        tuned = encoders.own(challenge.task, challenge.data)
        return label.retrain(
            challenge,
            encoders.general,
            tuned=tuned,
            renewed=again or (tuned is not None and encoders.is_new(challenge.state)),
            sift=self._sifts,
        )

    def _train_text(self, challenge: Challenge) -> Run | None:
        assert self._language is not None, "a text student starts from a language model"
        loop = self._settings.loop
        start = Start(
            self._language,
            self._settings.data / "language",
            self.scratch(challenge.task),
            Recipe(cpu_s=60 * loop.text_minutes, on_policy=loop.on_policy),
            loop.language_layers,
            self._teacher,
        )
        return text.retrain(challenge, start)

    def _test_again(self, version: str, challenge: Challenge) -> Run | None:
        return text.retest(challenge, self._shelf.former(version))


def _language(name: str | None, without: str) -> Path | None:
    """The language model by that name; None where there is none, and a word in the log of how it
    goes on ``without``."""
    try:
        return None if name is None else language.find(name)
    except LanguageModelError as error:
        logger.error("%s; %s", error, without)
        return None


def _slug(task: str) -> str:
    """A name for a folder and a model, whatever the task is called."""
    # Its end has the hash of a task that nobody has named.
    return re.sub(r"[^a-z0-9]+", "-", task.lower())[-_SLUG_LENGTH:].strip("-") or "task"
