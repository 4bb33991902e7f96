"""Training of a text student: low-rank updates of a language model on the teacher's answers.

LoRA (Hu et al. 2021) on every linear layer but the output, merged into the weights afterwards, so
that what serves is as fast as the model it started from. The loss is on the answers' tokens alone.

Runs in a process of its own: ``python -m distill.students.text.training JOB.json`` trains what
``distill.students.text.job`` has written there.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import AutoModelForCausalLM

from distill.students.text import engine, job, language
from distill.students.text.job import ADAPTER, ENGINE, Job, Recipe, Report
from distill.students.text.vocabulary import Vocabulary

MOST_TOKENS = 1024
"""An example with more, question and answer together, is left out of the training."""

_AT_ONCE = 2048
"""Tokens, padding included, that go through the model together: bounds the memory that it takes."""

_BUCKET = 8
"""Batches that are filled by length from one random draw."""
_WARM = 0.05
"""Share of the training in which the learning rate rises."""
_CLIP = 1.0


@dataclass(frozen=True, slots=True)
class Example:
    """A question and its answer as tokens."""

    ids: list[int]
    answer: int
    """How many of the last ids are the answer's."""


def train(job: Job) -> Report:
    """Fine-tune a language model and write what was learnt, and what serves, to ``job.target``.

    The logits of the model must be a linear map of its last hidden states, as those of Llama,
    Mistral and Qwen are. Raises LanguageModelError, and ValueError where no example is short enough
    or the engine does not know this kind of model.
    """
    recipe, target = job.recipe, Path(job.target)
    base = language.prepare(Path(job.base), Path(job.cache))
    vocabulary = language.vocabulary(base)
    examples = examples_of(job.pairs, vocabulary)
    if not examples:
        raise ValueError(f"no example has at most {MOST_TOKENS} tokens")
    torch.manual_seed(recipe.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, local_files_only=True)
    adapted = adapt(model.to(device), recipe.rank)
    report = _fit(adapted, examples, vocabulary.end, recipe)
    adapted.save_pretrained(target / ADAPTER)
    with tempfile.TemporaryDirectory(dir=target) as merged:
        adapted.merge_and_unload().save_pretrained(merged)
        for file in base.glob("tokenizer*.json"):
            shutil.copy(file, merged)
        engine.convert(Path(merged), vocabulary, target / ENGINE)
    return report


def adapt(model: Any, rank: int) -> Any:
    """The ``model`` with low-rank updates of its linear layers, which alone are trained."""
    return get_peft_model(
        model,
        LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"),
    )


def examples_of(pairs: Sequence[tuple[str, str]], vocabulary: Vocabulary) -> list[Example]:
    """The ``pairs`` of a text and an answer that are short enough."""
    examples = []
    for text, answer in pairs:
        question, said = vocabulary.question(text), vocabulary.answer(answer)
        if len(question) + len(said) <= MOST_TOKENS:
            examples.append(Example(question + said, len(said)))
    return examples


def _fit(model: Any, examples: list[Example], end: int, recipe: Recipe) -> Report:
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.rate, weight_decay=0.0)
    steps = recipe.epochs * math.ceil(len(examples) / recipe.batch)
    started, used = time.monotonic(), time.process_time()
    parent = os.getppid()
    losses: list[float] = []
    model.train()
    for batch in _batches(examples, recipe):
        progress, clock = len(losses) / steps, (time.process_time() - used) / recipe.cpu_s
        # A clock that is not ahead must change nothing, or no two trainings were the same.
        progress = clock if clock > progress + 1 / steps else progress
        if progress >= 1 or os.getppid() != parent:
            break
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * min((progress + 1 / steps) / _WARM, 1 - progress)
        losses.append(_learn(model, batch, end))
        torch.nn.utils.clip_grad_norm_(parameters, _CLIP)
        optimizer.step()
        optimizer.zero_grad()
        if len(losses) % 20 == 0:
            took = time.monotonic() - started
            print(
                f"step {len(losses)}/{steps}: loss {losses[-1]:.4f}, {took:.0f} s", file=sys.stderr
            )
    last = losses[-max(1, len(losses) // 10) :]
    return Report(
        len(examples),
        len(losses),
        round(len(losses) * recipe.epochs / steps, 2),
        round(time.monotonic() - started, 1),
        round(time.process_time() - used, 1),
        sum(last) / len(last),
        max(example.answer for example in examples),
    )


def _learn(model: Any, batch: Sequence[Example], end: int) -> float:
    """Add the gradient of a batch's loss, and return that."""
    answers = sum(example.answer for example in batch)
    size = max(1, _AT_ONCE // max(len(example.ids) for example in batch))
    total = 0.0
    for at in range(0, len(batch), size):
        part = batch[at : at + size]
        share = sum(example.answer for example in part) / answers
        loss = answer_loss(model, part, end) * share
        loss.backward()
        total += loss.item()
    return total


def _batches(examples: Sequence[Example], recipe: Recipe) -> Iterator[list[Example]]:
    """Every example once an epoch, with others of like length: padding costs as much as text."""
    rng = random.Random(recipe.seed)
    for _ in range(recipe.epochs):
        drawn = rng.sample(examples, len(examples))
        batches = []
        for start in range(0, len(drawn), _BUCKET * recipe.batch):
            bucket = drawn[start : start + _BUCKET * recipe.batch]
            bucket.sort(key=lambda example: len(example.ids))
            batches += [
                bucket[at : at + recipe.batch] for at in range(0, len(bucket), recipe.batch)
            ]
        rng.shuffle(batches)
        yield from batches


def answer_loss(model: Any, batch: Sequence[Example], end: int) -> torch.Tensor:
    """Mean cross-entropy of the answers' tokens.

    Padding comes last, where no token sees it, so no mask is needed; and logits are computed
    where an answer is predicted alone: the vocabulary is what costs most.
    """
    causal = model.get_base_model()
    length = max(len(example.ids) for example in batch)
    ids = torch.full((len(batch), length), end, dtype=torch.long)
    predicted = torch.zeros((len(batch), length), dtype=torch.bool)
    for row, example in enumerate(batch):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        predicted[row, len(example.ids) - example.answer : len(example.ids)] = True
    ids, predicted = ids.to(causal.device), predicted.to(causal.device)
    hidden = causal.base_model(input_ids=ids, use_cache=False).last_hidden_state
    logits = causal.get_output_embeddings()(hidden[:, :-1][predicted[:, 1:]])
    return functional.cross_entropy(logits.float(), ids[:, 1:][predicted[:, 1:]])


def main() -> None:
    read = job.read(Path(sys.argv[1]))
    torch.set_num_threads(read.recipe.threads)
    print(json.dumps(asdict(train(read))))


if __name__ == "__main__":
    main()
