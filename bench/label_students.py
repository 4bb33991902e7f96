"""Label students side by side: how often each agrees with answers that it has not seen.

The recorded answers stand for the teacher's. The students are the linear rungs of the product,
trained as the learning loop trains them, and the ladder that its gate chose; without an encoder
that was tuned to the task, and with one. Of the headlines (``--data`` holds
``headlines_train.csv.gz`` and ``headlines_test.csv.gz``, columns text, label) the second file is
held out; of tasks of OpenAI Evals one in five, near-duplicates together.

    python -m bench.label_students --data FOLDER sarcasm soc_codes ner_finance event_categories
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table

from bench.stream import read
from config.settings import LoopSettings, PolicySettings
from distill.data import duplicates
from distill.data.dataset import Dataset, Example, common_head
from distill.runs import own_encoder
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from distill.students import label
from distill.students.base import Prediction
from distill.students.encoder import SentenceEncoder
from distill.students.fitting import frequent_labels
from distill.students.text.student import held_out
from policies.agreement import agree
from router.demo import evals
from telemetry.exchange import TaskState

_WORK = Path(".bench")
_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Task:
    """Texts and answers, to train on and held out."""

    name: str
    texts: list[str]
    answers: list[str]
    asked: list[str]
    truth: list[str]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one student on the held-out answers of one task."""

    task: str
    student: str
    trained_on: int
    held_out: int
    agreed: float
    """Share of all answers that are the teacher's."""
    answered: float
    """Greatest share of requests of whose answers at most ``alpha`` disagree, the threshold chosen
    in hindsight."""
    seconds: float
    """That its training and its answers took,"""
    cpu_s: float
    """and processor time of it."""


def main(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks of OpenAI Evals.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the headlines.")] = None,
    most: Annotated[int, typer.Option(help="Samples of each task at most.")] = 12_500,
    tune: Annotated[bool, typer.Option(help="Tune encoders too: minutes each.")] = True,
) -> None:
    encoder = SentenceEncoder.open(str(LoopSettings().encoder), _WORK / "encoder", remember=True)
    encoder.prepare()
    found = [] if data is None else [_headlines(data)]
    if tasks:
        archive = evals.Evals(evals.fetch(evals.default_cache()))
        found += [_split(task, archive, most) for task in tasks]
    figures: list[Figures] = []
    for task in found:
        for one in _measure(task, encoder, tune):
            print(json.dumps(asdict(one)), flush=True)
            figures.append(one)
    _show(figures)
    print(f"load average {os.getloadavg()[0]:.1f}")


def _headlines(folder: Path) -> Task:
    train, test = (read(folder / f"headlines_{part}.csv.gz") for part in ("train", "test"))
    return Task(
        "headlines",
        texts=[text for text, _ in train],
        answers=[answer for _, answer in train],
        asked=[text for text, _ in test],
        truth=[answer for _, answer in test],
    )


def _split(task: str, archive: evals.Evals, most: int) -> Task:
    samples = archive.load(task, most, Random(0)).samples
    head = len(common_head([sample.text for sample in samples]))
    texts = [sample.text[head:] for sample in samples]
    held = held_out(texts, duplicates.groups(texts))

    def part(rows: npt.NDArray[np.bool_]) -> tuple[list[str], list[str]]:
        chosen = np.flatnonzero(rows).tolist()
        return [texts[i] for i in chosen], [samples[i].answer for i in chosen]

    return Task(task, *part(~held), *part(held))


def _measure(task: Task, encoder: SentenceEncoder, tune: bool) -> list[Figures]:
    groups = duplicates.groups(task.texts)
    data = _dataset(task, groups)
    labels = frequent_labels(task.answers)
    # Embedded beforehand, so that no student pays for what others use as well.
    encoder.embed([*task.texts, *task.asked])

    def linear(ngrams: bool, chosen: SentenceEncoder | None) -> list[Prediction]:
        made = label.train(
            task.texts, task.answers, labels, ngrams=ngrams, encoder=chosen, groups=groups
        )
        return made.rung.predict(task.asked)

    def ladder(tuned: SentenceEncoder | None) -> list[Prediction]:
        """What the gate's choice says of each, sure enough or not; nothing where there is none."""
        policy, state = PolicySettings(alpha=_ALPHA), TaskState(task.name)
        run = retrain(Challenge("bench", data, state, policy), encoder, tuned=tuned)
        if run.ladder is None:
            return [Prediction("", 0.0)] * len(task.asked)
        return run.ladder.predict(task.asked)

    students: dict[str, Callable[[], list[Prediction]]] = {
        "n-grams": lambda: linear(True, None),
        "encoder": lambda: linear(False, encoder),
        "n-grams and encoder": lambda: linear(True, encoder),
        "ladder": lambda: ladder(None),
    }
    own = _tuned(task, data, encoder) if tune else None
    if own is not None:
        students |= {
            "n-grams and own encoder": lambda: linear(True, own),
            "ladder with own encoder": lambda: ladder(own),
        }
    figures = []
    for name, make in students.items():
        started, used = time.monotonic(), time.process_time()
        figures.append(_figures(task, name, make(), started, used))
    return figures


def _dataset(task: Task, groups: Sequence[int]) -> Dataset:
    rows = zip(task.texts, task.answers, groups, strict=True)
    examples = tuple(Example(text, answer, 1, 1, group=group) for text, answer, group in rows)
    return Dataset("bench", "", examples)


def _tuned(task: Task, data: Dataset, encoder: SentenceEncoder) -> SentenceEncoder | None:
    """The task's own encoder, tuned in the time that the loop allows; None where it has none."""
    state, cpu_s = TaskState(task.name), 60 * LoopSettings().tuning_minutes
    cache = _WORK / "encoder"
    own = own_encoder.tune(state, len(data), data, _ALPHA, encoder, cache, cpu_s=cpu_s)
    if own is None:
        return None
    print(json.dumps(asdict(own)), flush=True)
    return SentenceEncoder.open(own.name, cache, remember=True)


def _figures(
    task: Task, student: str, said: Sequence[Prediction], started: float, used: float
) -> Figures:
    agreed = np.array(
        [agree(one.answer, truth) for one, truth in zip(said, task.truth, strict=True)]
    )
    return Figures(
        task.name,
        student,
        len(task.texts),
        len(task.asked),
        float(agreed.mean()),
        answerable([one.confidence for one in said], agreed),
        round(time.monotonic() - started, 1),
        round(time.process_time() - used, 1),
    )


def answerable(confidences: Sequence[float], agreed: npt.NDArray[np.bool_]) -> float:
    """The greatest share of the surest of n answers of which at most ``alpha`` disagree."""
    surest = np.argsort([-one for one in confidences], kind="stable")
    wrong = np.cumsum(~agreed[surest])
    kept = np.flatnonzero(wrong <= _ALPHA * np.arange(1, len(agreed) + 1))
    return (int(kept[-1]) + 1) / len(agreed) if len(kept) else 0.0


def _show(figures: Sequence[Figures]) -> None:
    students = list(dict.fromkeys(one.student for one in figures))
    table = Table("task", *students, title="Agreement on held-out answers (answered at 5% wrong)")
    for task in dict.fromkeys(one.task for one in figures):
        by = {one.student: one for one in figures if one.task == task}
        cells = [f"{by[name].agreed:.3f} ({by[name].answered:.0%})" for name in students]
        table.add_row(task, *cells)
    Console(width=160).print(table)


if __name__ == "__main__":
    typer.run(main)
