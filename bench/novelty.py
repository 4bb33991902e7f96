"""Whether students know what they have not learnt, on the demo's tasks and what is not of them.

Each task's n-gram student is trained on one half of its samples. The other half, prompts of the
other tasks, prompts in other languages and its own with the letters replaced are put to it. AUROC
is that of its surprise at what is not of the task. Its confidence, at the lowest threshold at which
at most 5% of its answers to the other half are wrong, says how much it would answer of each; its
calibration error (ECE, ten bins of equal size) is measured with and without heed to the surprise.

    python -m bench.novelty --samples 900
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from distill.data.dataset import common_head
from distill.students import fitting, label
from distill.students.classifier import Classifier
from distill.students.fitting import frequent_labels
from distill.students.label import LabelRung
from policies.ngrams import TfIdf, count_ngrams
from router.demo import evals

_LANGUAGES = ("arabic", "chinese", "french", "german", "hindi", "japanese", "korean", "polish")
"""In the names of tasks whose prompts are at least in part in these."""

_ALPHA = 0.05
_BINS = 10

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Blind:
    """The same student without heed to what is new in a text."""

    classifier: Classifier
    tfidf: TfIdf

    def confidences(self, texts: Sequence[str]) -> Array:
        features = self.tfidf(count_ngrams(texts))
        predictions = self.classifier.predict(features, np.zeros(len(texts)))
        return np.array([prediction.confidence for prediction in predictions])


@dataclass(frozen=True, slots=True)
class Met:
    """What became of texts that are not of the task."""

    auroc: float
    blind: float
    """Share that the student would answer without heed to the surprise,"""
    heeding: float
    """and with it."""


def main(
    samples: Annotated[int, typer.Option(help="Most samples of a task.", min=300)] = 900,
    seed: int = 0,
) -> None:
    """Print a row a task: calibration error, then what became of each kind of strange texts."""
    archive = evals.Evals(evals.fetch(evals.default_cache()))

    def load(task: str, most: int) -> list[tuple[str, str]]:
        loaded = archive.load(task, most, Random(seed)).samples
        return [(sample.text, sample.answer) for sample in loaded]

    data = {task: load(task, samples) for task in evals.TASKS}
    languages = [name for name in archive.tasks() if name.startswith(_LANGUAGES)]
    foreign = [text for name in languages for text, _ in load(name, 5)]
    archive.close()
    shown = Table(caption="answered: without > with heed to the surprise")
    shown.add_column("task")
    for heading in ("ECE", "covered", "others", "answered", "foreign", "answered", "gibberish"):
        shown.add_column(heading, justify="right")
    shown.add_column("answered", justify="right")
    with threadpool_limits(1):
        for task, own in data.items():
            others = [text for name in data if name != task for text, _ in data[name][:30]]
            if cells := _cells(own, others, foreign, Random(seed)):
                shown.add_row(task, *cells)
    Console(width=120).print(shown)


def _cells(
    own: Sequence[tuple[str, str]], others: list[str], foreign: list[str], rng: Random
) -> list[str]:
    """A task's row; empty where its answers are no closed set."""
    head = common_head([text for text, _ in own])
    texts = [text.removeprefix(head) for text, _ in own]
    half = len(texts) // 2
    answers = [answer for _, answer in own]
    labels = frequent_labels(answers[:half])
    if not labels:
        return []
    rung = label.train(texts[:half], answers[:half], labels).rung
    blind = _blind(texts[:half], answers[:half], labels)
    predictions = rung.predict(texts[half:])
    agreed = np.array(
        [p.answer == answer for p, answer in zip(predictions, answers[half:], strict=True)]
    )
    before = blind.confidences(texts[half:])
    after = np.array([prediction.confidence for prediction in predictions])
    thresholds = _threshold(before, agreed), _threshold(after, agreed)
    shares = [float(np.mean(c >= t)) for c, t in zip((before, after), thresholds, strict=True)]
    cells = [f"{ece(before, agreed):.3f} > {ece(after, agreed):.3f}", _arrow(*shares)]
    for strange in (others, foreign, [gibberish(text, rng) for text in texts[half:]]):
        met = _meet(rung, blind, texts[half:], strange, thresholds)
        cells += [f"{met.auroc:.3f}", _arrow(met.blind, met.heeding)]
    return cells


def _blind(texts: Sequence[str], answers: Sequence[str], labels: Sequence[str]) -> Blind:
    counts = count_ngrams(texts)
    tfidf = TfIdf.fit(counts)
    fitted = fitting.fit(tfidf(counts), answers, labels, np.zeros(len(texts)), texts)
    return Blind(fitted.classifier, tfidf)


def _meet(
    rung: LabelRung,
    blind: Blind,
    usual: Sequence[str],
    strange: Sequence[str],
    thresholds: tuple[float, float],
) -> Met:
    surprise = rung.novelty(count_ngrams([*usual, *strange]))
    is_strange = np.arange(len(surprise)) >= len(usual)
    after = np.array([prediction.confidence for prediction in rung.predict(strange)])
    return Met(
        float(roc_auc_score(is_strange, surprise)),
        float(np.mean(blind.confidences(strange) >= thresholds[0])),
        float(np.mean(after >= thresholds[1])),
    )


def _threshold(confidences: Array, agreed: npt.NDArray[np.bool_]) -> float:
    """The lowest above 0 at which at most 5% of the answers are wrong; infinite if there is
    none."""
    order = np.argsort(-confidences)
    errors = np.cumsum(~agreed[order]) / np.arange(1, len(order) + 1)
    fits = np.flatnonzero((errors <= _ALPHA) & (confidences[order] > 0))
    return float(confidences[order[fits[-1]]]) if len(fits) else float("inf")


def ece(confidences: Array, agreed: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error over bins of equal size."""
    bins = np.array_split(np.argsort(confidences), _BINS)
    gaps = [len(one) * abs(confidences[one].mean() - agreed[one].mean()) for one in bins]
    return float(sum(gaps) / len(confidences))


def gibberish(text: str, rng: Random) -> str:
    """The text with other letters."""
    letters = string.ascii_lowercase
    return "".join(rng.choice(letters) if char.isalpha() else char for char in text)


def _arrow(before: float, after: float) -> str:
    return f"{before:.0%} > {after:.0%}"


if __name__ == "__main__":
    typer.run(main)
