"""Label students side by side: how often each agrees with answers that it has not seen.

The recorded answers stand for the teacher's. The students are the linear rungs of the product,
trained as the learning loop trains them, and the ladder that its gate chose; beside them the same
encoder fine-tuned end to end, alone and with its log-probabilities added to the n-grams'. Of the
headlines (``--data`` holds ``headlines_train.csv.gz`` and ``headlines_test.csv.gz``, columns text,
label) the second file is held out; of tasks of OpenAI Evals one in five, near-duplicates together.

    python -m bench.label_students --data FOLDER sarcasm soc_codes ner_finance event_categories
"""

from __future__ import annotations

import csv
import gzip
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

from config.settings import LoopSettings, PolicySettings
from distill.data import duplicates
from distill.data.dataset import Dataset, Example, common_head
from distill.students import label
from distill.students.base import Prediction
from distill.students.encoder import SentenceEncoder
from distill.students.fitting import frequent_labels
from distill.students.text.student import held_out
from distill.train import retrain
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
    epochs: Annotated[int, typer.Option(help="Of fine-tuning; 0 leaves it out.")] = 5,
) -> None:
    encoder = SentenceEncoder.open(str(LoopSettings().encoder), _WORK / "encoder", remember=True)
    encoder.prepare()
    found = [] if data is None else [_headlines(data)]
    if tasks:
        archive = evals.Evals(evals.fetch(evals.default_cache()))
        found += [_split(task, archive, most) for task in tasks]
    figures: list[Figures] = []
    for task in found:
        for one in _measure(task, encoder, epochs):
            print(json.dumps(asdict(one)), flush=True)
            figures.append(one)
    _show(figures)
    print(f"load average {os.getloadavg()[0]:.1f}")


def _headlines(folder: Path) -> Task:
    pairs = [_read(folder / f"headlines_{part}.csv.gz") for part in ("train", "test")]
    return Task("headlines", *pairs[0], *pairs[1])


def _read(path: Path) -> tuple[list[str], list[str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def _split(task: str, archive: evals.Evals, most: int) -> Task:
    samples = archive.load(task, most, Random(0)).samples
    head = len(common_head([sample.text for sample in samples]))
    texts = [sample.text[head:] for sample in samples]
    held = held_out(texts, duplicates.groups(texts))

    def part(rows: npt.NDArray[np.bool_]) -> tuple[list[str], list[str]]:
        chosen = np.flatnonzero(rows).tolist()
        return [texts[i] for i in chosen], [samples[i].answer for i in chosen]

    return Task(task, *part(~held), *part(held))


def _measure(task: Task, encoder: SentenceEncoder, epochs: int) -> list[Figures]:
    labels = frequent_labels(task.answers)
    groups = duplicates.groups(task.texts)
    # Embedded beforehand, so that no student pays for what others use as well.
    encoder.embed([*task.texts, *task.asked])

    def linear(ngrams: bool, with_encoder: bool) -> list[Prediction]:
        chosen = encoder if with_encoder else None
        made = label.train(
            task.texts, task.answers, labels, ngrams=ngrams, encoder=chosen, groups=groups
        )
        return made.rung.predict(task.asked)

    students: dict[str, Callable[[], list[Prediction]]] = {
        "n-grams": lambda: linear(True, False),
        "encoder": lambda: linear(False, True),
        "n-grams and encoder": lambda: linear(True, True),
        "ladder": lambda: _ladder(task, groups, encoder),
    }
    figures, said = [], {}
    for name, make in students.items():
        started, used = time.monotonic(), time.process_time()
        said[name] = make()
        figures.append(_figures(task, name, said[name], started, used))
    if epochs:
        started, used = time.monotonic(), time.process_time()
        tuned = _tuned(task, labels, encoder, epochs)
        figures.append(_figures(task, "fine-tuned", _likeliest(tuned, labels), started, used))
        both = tuned + _log_shares(said["n-grams"], labels)
        figures.append(
            _figures(task, "fine-tuned and n-grams", _likeliest(both, labels), started, used)
        )
    return figures


def _ladder(task: Task, groups: Sequence[int], encoder: SentenceEncoder) -> list[Prediction]:
    """What the gate's choice says of each, sure enough or not; nothing where there is none."""
    rows = zip(task.texts, task.answers, groups, strict=True)
    examples = tuple(Example(text, answer, 1, 1, group=group) for text, answer, group in rows)
    data = Dataset("bench", "", examples)
    policy = PolicySettings(alpha=_ALPHA)
    run = retrain(task.name, "bench", data, None, TaskState(task.name), policy, encoder)
    if run.ladder is None:
        return [Prediction("", 0.0)] * len(task.asked)
    return run.ladder.predict(task.asked)


def _tuned(
    task: Task, labels: Sequence[str], encoder: SentenceEncoder, epochs: int
) -> npt.NDArray[np.float64]:
    """[asked, labels], logarithms; the class of all other answers is left out."""
    # Only here: it takes seconds to import.
    from bench import tuned_encoder

    place = {answer: i for i, answer in enumerate(labels)}
    classes = [place.get(answer, len(labels)) for answer in task.answers]
    found = tuned_encoder.log_probabilities(encoder.folder, task.texts, classes, task.asked, epochs)
    return found[:, : len(labels)]


def _log_shares(said: Sequence[Prediction], labels: Sequence[str]) -> npt.NDArray[np.float64]:
    """[asked, labels]: logarithms of what a linear student gives each label."""
    shares = [[dict(one.alternatives)[name] for name in labels] for one in said]
    return np.log(np.maximum(shares, 1e-12))


def _likeliest(scores: npt.NDArray[np.float64], labels: Sequence[str]) -> list[Prediction]:
    """As sure as the label is likely among all."""
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    sure = 1 / odds.sum(axis=1)
    best = scores.argmax(axis=1).tolist()
    return [Prediction(labels[i], p) for i, p in zip(best, sure.tolist(), strict=True)]


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
