"""How many wrong answers of a teacher are found, and what a student gains where they are left out.

Answers of tasks whose truth is known are made wrong: a share of all of them, blindly; or a share
of those in one slice, always in the same way. Printed is what share of the wrong answers is found,
how many of the suspects are wrong, and how many were left out; how often students of all answers,
of the sifted and of the true ones say the truth on requests that nobody has trained on; and how
often cross-validation and fresh requests find the sifted one to agree with the teacher, errors and
all.

    python -m bench.teacher_errors --data FOLDER --evals --json errors.json
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from bench.stream import read
from distill.data import duplicates
from distill.data.dataset import Dataset, Example
from distill.data.suspects import sieve, suspects
from distill.students import label
from distill.students.fitting import frequent_labels
from router.demo.evals import Evals, default_cache, fetch

EVALS = ("sarcasm",)
RATES = (0.0, 0.05, 0.1, 0.2)

Pairs = list[tuple[str, str]]
"""Texts and the right answers to them."""


@dataclass(frozen=True)
class Result:
    """What was found of a task's wrong answers, and what came of it. All shares."""

    task: str
    trained: int
    tested: int
    errors: str
    rate: float
    wrong: int
    """Answers that were made wrong."""
    suspected: int
    found: float | None
    """Of the wrong answers, those among the suspects."""
    precision: float | None
    """Of the suspects, those that are wrong."""
    sifted: int
    """Suspects that were left out: none, where that would have made no better student."""
    truth_all: float
    truth_sifted: float
    truth_clean: float
    expected: float
    """Agreement with the teacher, errors and all, of the sifted student by cross-validation,"""
    agreed: float
    """and on fresh requests."""
    seconds_all: float
    """CPU time to train on all answers,"""
    seconds_sifted: float
    """and with the sieve."""


def measure(name: str, train: Pairs, test: Pairs, kind: str, rate: float) -> Result:
    """What comes of it where errors of a ``kind`` are made at a ``rate``."""
    rng = random.Random(f"{name} {kind} {rate}")
    right = [answer for _, answer in train]
    labels = frequent_labels(right)
    teach = corrupter(kind, rate, train, labels, rng)
    taught = [teach(text, answer) for text, answer in train]
    data = dataset([(text, answer) for (text, _), answer in zip(train, taught, strict=True)])
    wrong = np.array([a != b for a, b in zip(taught, right, strict=True)])
    texts, groups = [text for text, _ in train], [example.group for example in data.examples]
    started = time.process_time()
    full = label.train(texts, taught, labels, groups=groups)
    seconds_all = time.process_time() - started
    started = time.process_time()
    sifted = label.train(texts, taught, labels, groups=groups, taught=sieve(data, labels))
    seconds_sifted = time.process_time() - started
    clean = label.train(texts, right, labels, groups=groups)
    suspected = np.zeros(len(data), dtype=bool)
    suspected[[one.place for one in suspects(data, labels, full.probabilities)]] = True
    fresh = [teach(text, answer) for text, answer in test]
    return Result(
        name,
        len(train),
        len(test),
        kind,
        rate,
        int(wrong.sum()),
        int(suspected.sum()),
        share(suspected & wrong, wrong),
        share(suspected & wrong, suspected),
        int((~sifted.taught[:, -1]).sum()),
        accuracy(full, test, [answer for _, answer in test]),
        accuracy(sifted, test, [answer for _, answer in test]),
        accuracy(clean, test, [answer for _, answer in test]),
        float(sifted.agreed.mean()),
        accuracy(sifted, test, fresh),
        seconds_all,
        seconds_sifted,
    )


def corrupter(
    kind: str, rate: float, train: Pairs, labels: Sequence[str], rng: random.Random
) -> Corrupter:
    """``uniform`` errors are drawn among the other labels. Those of a ``slice`` turn the answers to
    the shortest fourth of the texts into the next label."""
    lengths = sorted(len(text) for text, _ in train)
    return Corrupter(kind == "slice", rate, lengths[len(lengths) // 4], labels, rng)


@dataclass(frozen=True)
class Corrupter:
    """A teacher that errs."""

    in_slice: bool
    rate: float
    short: int
    labels: Sequence[str]
    rng: random.Random

    def __call__(self, text: str, answer: str) -> str:
        if answer not in self.labels or (self.in_slice and len(text) > self.short):
            return answer
        if self.rng.random() >= self.rate:
            return answer
        place = self.labels.index(answer)
        step = 1 if self.in_slice else self.rng.randrange(1, len(self.labels))
        return self.labels[(place + step) % len(self.labels)]


def dataset(pairs: Pairs) -> Dataset:
    groups = duplicates.groups([text for text, _ in pairs])
    examples = (
        Example(text, answer, 1, 1, group=group, id=str(i))
        for i, ((text, answer), group) in enumerate(zip(pairs, groups, strict=True))
    )
    return Dataset("bench", "", tuple(examples))


def accuracy(trained: label.Trained, test: Pairs, answers: Sequence[str]) -> float:
    predictions = trained.rung.predict([text for text, _ in test])
    return float(np.mean([p.answer == a for p, a in zip(predictions, answers, strict=True)]))


def share(some: np.ndarray, all_of_them: np.ndarray) -> float | None:
    return float(some.sum() / all_of_them.sum()) if all_of_them.any() else None


def tasks(data: Path, evals: bool, most: int) -> Iterator[tuple[str, Pairs, Pairs]]:
    """Each task's name, what to train on and what to test on."""
    headlines = read(data / "headlines_train.csv.gz")
    for name, pairs in [("headlines", headlines), *(read_evals(most) if evals else ())]:
        random.Random(0).shuffle(pairs)
        pairs = pairs[:most]
        for trained in sorted({300, 1000, len(pairs) * 3 // 5}):
            if trained < len(pairs):
                yield name, pairs[:trained], pairs[trained:]


def read_evals(most: int) -> Iterator[tuple[str, Pairs]]:
    archive = Evals(fetch(default_cache()))
    for task in EVALS:
        samples = archive.load(task, most, random.Random(0)).samples
        pairs = [(str(one.messages[-1]["content"]), one.answer) for one in samples]
        known = {answer for answer, n in Counter(a for _, a in pairs).items() if n >= 20}
        yield task, [(text, answer) for text, answer in pairs if answer in known]
    archive.close()


def table(results: Sequence[Result]) -> Table:
    shown = Table("task", "trained", "errors", title="Answers that were made wrong")
    for heading in (
        *("wrong", "suspected", "found", "precise", "left out"),
        *("truth: all", "sifted", "clean", "expected", "fresh", "CPU s", "sieve"),
    ):
        shown.add_column(heading, justify="right")
    for one in results:
        figures = (
            *(one.found, one.precision, one.truth_all, one.truth_sifted, one.truth_clean),
            *(one.expected, one.agreed),
        )
        found, precision, *others = ("–" if each is None else f"{each:.3f}" for each in figures)
        shown.add_row(
            *(one.task, str(one.trained), f"{one.rate:.0%} {one.errors}"),
            *(str(one.wrong), str(one.suspected), found, precision, str(one.sifted)),
            *others,
            *(f"{seconds:.1f}" for seconds in (one.seconds_all, one.seconds_sifted)),
        )
    return shown


def main(
    data: Annotated[Path, typer.Option(help="Folder with headlines_train.csv.gz.")],
    evals: Annotated[bool, typer.Option(help="Tasks of OpenAI Evals as well.")] = False,
    most: Annotated[int, typer.Option(help="Samples a task.", min=1)] = 5000,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures here.")
    ] = None,
) -> None:
    """Print what was found of the wrong answers, and what came of it."""
    results = []
    with threadpool_limits(1):
        for name, train, test in tasks(data, evals, most):
            for kind in ("uniform", "slice"):
                for rate in RATES if kind == "uniform" else RATES[1:]:
                    results.append(measure(name, train, test, kind, rate))
                    typer.echo(f"{name}, {len(train)} trained, {rate:.0%} {kind}", err=True)
    Console(width=150).print(table(results))
    if json_file is not None:
        json_file.write_text(json.dumps([dataclasses.asdict(one) for one in results], indent=1))


if __name__ == "__main__":
    typer.run(main)
