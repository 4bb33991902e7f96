"""A tuning of an encoder, as it is handed to the process that makes it and as it ends.

Without torch, so that who asks for one need not load it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from distill.students import apart


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an encoder is tuned. The rates fall to 0 by the last step or second, whichever is nearer;
    a tuning that the clock does not end is the same whenever it is made."""

    folds: int = 3
    """Tunings that leave a part of the texts out, to tell what is made of texts never seen."""
    texts_seen: int = 15_000
    """In all epochs of one tuning,"""
    epochs: tuple[int, int] = (3, 8)
    """of which there are at least and at most so many."""
    batch: int = 32
    rate: float = 2e-4
    head_rate: float = 1e-3
    decay: float = 0.01
    cpu_s: float = 900.0
    """Most processor seconds, of all tunings together."""
    threads: int = 1
    seed: int = 0

    def epochs_of(self, texts: int) -> int:
        """For so many texts: the fewer they are, the more often each is seen."""
        least, most = self.epochs
        return min(max(round(self.texts_seen / max(1, texts)), least), most)


@dataclass(frozen=True, slots=True)
class Job:
    """What to tune and where to."""

    encoder: str
    """Folder of a sentence encoder in Hugging Face layout."""
    texts: list[str]
    classes: list[int]
    """Of each text, from 0 on."""
    folds: list[int]
    """The one that each text is left out of, below ``recipe.folds``."""
    target: str
    """Folder that the tuned encoder is written to."""
    recipe: Recipe = Recipe()
    shares: list[list[float]] | None = None
    """What the teacher gave each class of each text, where that is known."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a tuning came to."""

    texts: int
    epochs: float
    """That the last tuning came to."""
    seconds: float
    cpu_s: float
    """Processor seconds."""
    agreed: float
    """Share of the texts whose class was found by the tuning without them."""


def run(job: Job) -> Report:
    """Tune an encoder. It ends when this process does. Raises TrainingError."""
    report = apart.run("distill.students.tuned.training", asdict(job), Path(job.target))
    return Report(**report)


def read(handed_over: str) -> Job:
    """The job that ``run`` has handed over, as JSON."""
    raw = json.loads(handed_over)
    recipe = raw["recipe"] | {"epochs": tuple(raw["recipe"]["epochs"])}
    return Job(**{**raw, "recipe": Recipe(**recipe)})
