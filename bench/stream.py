"""The shipped policy on a public stream that starts with no student: gold-price headlines.

The headlines, four labels that stand for a perfect teacher's answers, are played in random order
through the product's own dataset, training runs, gate, audits and demotion. What the last student
would make of headlines that it never saw is the figure "held out". The random control sends as many
requests to the same students, but which ones is left to chance: it costs the same, and agrees as
often as they do when they are asked about everything. The long tail of what is held out are those
headlines that are as strange as the strangest tenth of the stream.

    python -m bench.stream --data FOLDER --seeds 3
    PROTEGE_POLICY__BY_SLICE=rarity python -m bench.stream --data FOLDER --seeds 3

``--data`` holds ``headlines_train.csv.gz`` and ``headlines_test.csv.gz`` (columns text, label).
"""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
import orjson
import typer
from threadpoolctl import threadpool_limits

from config.loading import load
from distill.evaluation.strata import Strata
from distill.evaluation.telling import RARITIES
from distill.forecast import Play, Request, Step
from distill.students.encoder import SentenceEncoder
from telemetry.prices import Usage

_INSTRUCTION = (
    "Say whether the headline means that the price of gold went up, down, stayed or none."
)


@dataclass(frozen=True, slots=True)
class Figures:
    """One run. All are shares, but for ``first``."""

    student: float
    """Of the stream: answered by students."""
    agreement: float
    """Of students' answers."""
    audited: float
    """Of the stream: answered by a student, and the teacher asked too."""
    saved: float
    """Of the stream: the teacher never asked."""
    first: int
    """Requests before the first that a student answered."""
    demotions: int
    control: float
    """As ``agreement``, of the random control."""
    held_out_student: float
    """Of the held-out headlines: answered by the last student."""
    held_out_agreement: float
    held_out_control: float
    tail_student: float
    """Of the long tail of the held-out headlines: answered by the last student."""
    tail_agreement: float


def play(
    seed: int,
    stream: Sequence[tuple[str, str]],
    held_out: Sequence[tuple[str, str]],
    cache: Path,
    tune: bool,
) -> Figures:
    settings = load()
    encoder = None
    if settings.loop.encoder is not None:
        encoder = SentenceEncoder.open(settings.loop.encoder, cache, remember=True)
    pairs = list(stream)
    Random(seed).shuffle(pairs)
    with threadpool_limits(1):
        playing = Play(settings, encoder, Random(seed), cache if tune else None)
        steps = playing.run([_request(*pair) for pair in pairs])
        demotions = playing.demotions
        after = playing.foresee([_request(*pair) for pair in held_out])
    served = [step for step in steps if step.route == "student"]
    served_after = [step for step in after if step.route == "student"]
    audited = sum(step.audited for step in steps)
    size = len(pairs)
    strata, _ = Strata.fit("rarity", [text for text, _ in pairs])
    places = strata.of([text for text, _ in held_out])
    tail = [step for step, place in zip(after, places, strict=True) if place == RARITIES[-1]]
    served_tail = [step for step in tail if step.route == "student"]
    return Figures(
        student=len(served) / size,
        agreement=_agreement(served),
        audited=audited / size,
        saved=(len(served) - audited) / size,
        first=next((i for i, step in enumerate(steps) if step.route == "student"), size),
        demotions=demotions,
        control=_agreement(steps),
        held_out_student=len(served_after) / len(held_out),
        held_out_agreement=_agreement(served_after),
        held_out_control=_agreement(after),
        tail_student=len(served_tail) / max(1, len(tail)),
        tail_agreement=_agreement(served_tail),
    )


def _request(text: str, label: str) -> Request:
    messages = [{"role": "system", "content": _INSTRUCTION}, {"role": "user", "content": text}]
    return Request({"messages": messages}, text, label, Usage())


def _agreement(steps: Sequence[Step]) -> float:
    """Share of what students say, given or not, that is the teacher's answer."""
    said = [step.agreed for step in steps if step.agreed is not None]
    return sum(said) / max(1, len(said))


def read(path: Path) -> list[tuple[str, str]]:
    """Pairs of a text and its label."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def main(
    data: Annotated[Path, typer.Option(help="Folder with headlines_{train,test}.csv.gz.")],
    seeds: Annotated[int, typer.Option(help="Orders to play.", min=1)] = 3,
    requests: Annotated[int, typer.Option(help="Length of the stream.", min=1)] = 5000,
    tune: Annotated[bool, typer.Option(help="Tune encoders too: minutes each.")] = True,
    cache: Annotated[Path, typer.Option(help="Folder for embeddings.")] = Path(".bench/encoder"),
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every run here.")] = None,
) -> None:
    """Print mean, least and greatest of each figure over the seeds."""
    stream, held_out = read(data / "headlines_train.csv.gz"), read(data / "headlines_test.csv.gz")
    name = load().loop.encoder
    if name is not None:
        SentenceEncoder.open(name, cache).prepare()
    job = partial(play, stream=stream[:requests], held_out=held_out, cache=cache, tune=tune)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        runs = list(pool.map(job, range(seeds)))
    for field in fields(Figures):
        values = np.array([getattr(run, field.name) for run in runs], dtype=float)
        print(f"{field.name:20} {values.mean():9.3f}  ({values.min():.3f} to {values.max():.3f})")
    if json_file is not None:
        json_file.write_bytes(
            orjson.dumps([asdict(run) for run in runs], option=orjson.OPT_INDENT_2)
        )


if __name__ == "__main__":
    typer.run(main)
