"""How many wrong answers of a teacher are found, and what a student gains where they are left out.

Answers of tasks whose truth is known are made wrong: a share of all of them, blindly; or a share
of those in one slice, always in the same way. Printed is what share of the wrong answers is found,
how many of the suspects are wrong, and how many were left out; how often students of all answers,
of the sifted and of the true ones say the truth on requests that nobody has trained on; and how
often cross-validation and fresh requests find the sifted one to agree with the teacher, errors and
all.

    python -m bench.teacher_errors --data ../shared/data --evals --json errors.json
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import gzip
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

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
    headlines = read_headlines(data)
    for name, pairs in [("headlines", headlines), *(read_evals(most) if evals else ())]:
        random.Random(0).shuffle(pairs)
        pairs = pairs[:most]
        for trained in sorted({300, 1000, len(pairs) * 3 // 5}):
            if trained < len(pairs):
                yield name, pairs[:trained], pairs[trained:]


def read_headlines(folder: Path) -> Pairs:
    with gzip.open(folder / "headlines_train.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def read_evals(most: int) -> Iterator[tuple[str, Pairs]]:
    archive = Evals(fetch(default_cache()))
    for task in EVALS:
        samples = archive.load(task, most, random.Random(0)).samples
        pairs = [(str(one.messages[-1]["content"]), one.answer) for one in samples]
        known = {answer for answer, n in Counter(a for _, a in pairs).items() if n >= 20}
        yield task, [(text, answer) for text, answer in pairs if answer in known]
    archive.close()


HEADER = (
    "task              trained errors        wrong suspected found precise left out"
    " | truth: all sifted  clean | agreement: expected  fresh | CPU s"
)


def row(one: Result) -> str:
    found, precision = (
        "    -" if figure is None else f"{figure:5.2f}" for figure in (one.found, one.precision)
    )
    return (
        f"{one.task:17} {one.trained:7} {one.errors:7} {one.rate:4.0%} {one.wrong:6} "
        f"{one.suspected:9} {found}   {precision} {one.sifted:8} | {one.truth_all:10.3f} "
        f"{one.truth_sifted:6.3f} {one.truth_clean:6.3f} | {one.expected:19.3f} {one.agreed:6.3f} "
        f"| {one.seconds_all:.1f} {one.seconds_sifted:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the headlines")
    parser.add_argument("--evals", action="store_true", help="tasks of OpenAI Evals as well")
    parser.add_argument("--most", type=int, default=5000, help="samples a task")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    given = parser.parse_args()
    results = []
    print(HEADER)
    with threadpool_limits(1):
        for name, train, test in tasks(given.data, given.evals, given.most):
            for kind in ("uniform", "slice"):
                for rate in RATES if kind == "uniform" else RATES[1:]:
                    results.append(measure(name, train, test, kind, rate))
                    print(row(results[-1]), flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps([dataclasses.asdict(one) for one in results], indent=1))


if __name__ == "__main__":
    main()
