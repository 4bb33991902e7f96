"""A training of a text student, as it is handed to the process that makes it and as it ends.

Without torch, so that who asks for one need not load it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from distill.students import apart
from distill.students.text.lesson import Lesson

ENGINE = "engine"
"""Folder of a trained student that the engine reads,"""
ADAPTER = "adapter"
"""and the one with what was learnt, as peft writes it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a student is trained. The rate falls to 0 by the last epoch or second, whichever is
    nearer; a training that the clock does not end is the same whenever it is run."""

    rank: int = 32
    """Of the low-rank updates."""
    rate: float = 5e-4
    batch: int = 16
    epochs: int = 16
    cpu_s: float = 2400.0
    """Most processor seconds: a training is not cut short because others use the machine."""
    threads: int = 1
    seed: int = 0
    beta: float = 0.0
    """What is lost to a local teacher: 0 is the forward divergence, 1 the reverse one, and between
    them lies the generalised Jensen-Shannon divergence."""
    on_policy: float = 0.0
    """Share of the batches whose answers the student writes, for a local teacher to score."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to train and where to."""

    base: str
    """The language model, as ``language.find`` found it,"""
    cache: str
    """and the folder to prepare it in."""
    lessons: list[Lesson]
    target: str
    """Folder that the trained student is written to."""
    recipe: Recipe
    layers: int | None = None
    """How many of the model's layers to keep; None keeps all."""
    teacher: str | None = None
    """Hugging Face folder of a local teacher, which scores the answers."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a training came to."""

    examples: int
    """Of those given, so many were short enough."""
    steps: int
    epochs: float
    seconds: float
    cpu_s: float
    """Processor seconds."""
    loss: float
    """Mean loss of an answer's tokens in nats, over the last tenth of the steps."""
    most_tokens: int
    """Tokens of the longest answer."""


def run(job: Job) -> Report:
    """Make a training. It ends when this process does. Raises TrainingError."""
    report = apart.run("distill.students.text.training", asdict(job), Path(job.target))
    return Report(**report)


def read(handed_over: str) -> Job:
    """The job that ``run`` has handed over, as JSON."""
    raw = json.loads(handed_over)
    lessons = [Lesson(**one) for one in raw["lessons"]]
    return Job(**{**raw, "lessons": lessons, "recipe": Recipe(**raw["recipe"])})
