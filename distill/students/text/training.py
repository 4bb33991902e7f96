"""Training of a text student: low-rank updates of a language model on the teacher's answers.

LoRA (Hu et al. 2021) on every linear layer but the output, merged into the weights afterwards, so
that what serves is as fast as the model it started from. The loss is on the answers' tokens alone
(``distill.students.text.objective``). Where a local teacher can score whatever is written, the
student may write a share of the answers itself (GKD, Agarwal et al. 2024).

Runs in a process of its own: ``python -m distill.students.text.training`` trains what
``distill.students.text.job`` writes to its standard input.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from distill.students.batches import by_length
from distill.students.pace import paced
from distill.students.text import engine, job, language
from distill.students.text.examples import MOST_TOKENS, Example, examples_of, reasons_of
from distill.students.text.job import ADAPTER, ENGINE, Job, Recipe, Report
from distill.students.text.objective import objective
from distill.students.text.scorer import Scorer
from distill.students.text.shortlist import shortlist

_AT_ONCE = 2048
"""Tokens, padding included, that go through the model together: bounds the memory that it takes."""

_WARM = 0.05
"""Share of the training in which the learning rate rises."""
_CLIP = 1.0
_ROOM = 4
"""Tokens by which what a student writes may be longer than the teacher's longest answer."""


def train(job: Job) -> Report:
    """Fine-tune a language model and write what was learnt, and what serves, to ``job.target``.

    The logits of the model must be a linear map of its last hidden states, as those of Llama,
    Mistral and Qwen are. Raises LanguageModelError, and ValueError where no example is short
    enough, the engine does not know this kind of model, a local teacher has other tokens, or there
    is no time for one step; SystemExit where the process that wants the student is gone.
    """
    recipe, target = job.recipe, Path(job.target)
    base = language.prepare(Path(job.base), Path(job.cache))
    vocabulary = language.vocabulary(base)
    torch.manual_seed(recipe.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    teacher = None
    if job.teacher:
        folder = language.prepare(Path(job.teacher), Path(job.cache))
        teacher = Scorer(folder, vocabulary, device, dtype)
    examples = examples_of(job.lessons, vocabulary, teacher.question if teacher else None)
    if not examples:
        raise ValueError(f"no example has at most {MOST_TOKENS} tokens")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, local_files_only=True)
    if job.layers is not None:
        model = language.thinned(model, job.layers)
    adapted = adapt(model.to(device), recipe.rank)
    reasons = reasons_of(job.lessons, vocabulary)
    report = _fit(adapted, examples, reasons, vocabulary.end, recipe, teacher)
    adapted.save_pretrained(target / ADAPTER)
    with tempfile.TemporaryDirectory(dir=target) as merged:
        adapted.merge_and_unload().save_pretrained(merged)
        for file in base.glob("tokenizer*.json"):
            shutil.copy(file, merged)
        said = [example.ids[-example.answer :] for example in (*examples, *reasons)]
        engine.convert(Path(merged), vocabulary, target / ENGINE, shortlist(said, vocabulary))
    return report


def adapt(model: Any, rank: int) -> Any:
    """The ``model`` with low-rank updates of its linear layers, which alone are trained."""
    return get_peft_model(
        model,
        LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"),
    )


def _fit(
    model: Any,
    examples: Sequence[Example],
    reasons: Sequence[Example],
    end: int,
    recipe: Recipe,
    teacher: Scorer | None,
) -> Report:
    """Train ``model`` on answers and on the reasoning before them."""
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.rate, weight_decay=0.0)
    steps = recipe.epochs * math.ceil((len(examples) + len(reasons)) / recipe.batch)
    longest = max(example.answer for example in examples)
    chance = random.Random(recipe.seed)
    precision = _precision()
    started, used = time.monotonic(), time.process_time()
    losses: list[float] = []
    model.train()
    learnt = [*examples, *reasons]
    lengths = [len(example.ids) for example in learnt]
    batches = by_length(lengths, recipe.batch, recipe.epochs, recipe.seed)
    for share, places in paced(batches, steps, recipe.cpu_s, _WARM):
        batch = [learnt[i] for i in places]
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * share
        if teacher is not None and chance.random() < recipe.on_policy:
            batch = written(model, batch, longest + _ROOM, end)
        with precision:
            losses.append(_learn(model, batch, end, teacher, recipe.beta))
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
        longest,
    )


def _precision() -> AbstractContextManager[Any]:
    """16-bit floats where the processor multiplies them faster: sums and what is learnt stay in 32
    bits (Micikevicius et al. 2018, "Mixed Precision Training")."""
    can = torch.cpu.get_capabilities()
    fast = can.get("avx512_bf16", False) or can.get("amx_bf16", False)
    return torch.autocast("cpu", torch.bfloat16, enabled=fast)


def _learn(
    model: Any, batch: Sequence[Example], end: int, teacher: Scorer | None, beta: float
) -> float:
    """Add the gradient of a batch's loss, and return that."""
    weight = sum(example.weight for example in batch)
    size = max(1, _AT_ONCE // max(len(example.ids) for example in batch))
    total = 0.0
    for at in range(0, len(batch), size):
        part = batch[at : at + size]
        share = sum(example.weight for example in part) / weight
        loss = objective(model.get_base_model(), part, end, teacher, beta) * share
        loss.backward()
        total += loss.item()
    return total


@torch.no_grad()
def written(model: Any, batch: Sequence[Example], most: int, end: int) -> list[Example]:
    """The questions of a batch, with what the student answers now in at most so many tokens. It is
    drawn at random, or it would always hear the same."""
    questions = [example.ids[: -example.answer] for example in batch]
    length = max(map(len, questions))
    # What is written goes on from the last token, so padding comes first.
    ids = torch.tensor([[end] * (length - len(one)) + one for one in questions])
    seen = torch.tensor([[0] * (length - len(one)) + [1] * len(one) for one in questions])
    said = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=seen.to(model.device),
        max_new_tokens=most,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        eos_token_id=end,
        pad_token_id=end,
    )
    examples = []
    for example, question, answer in zip(batch, questions, said[:, length:].tolist(), strict=True):
        until = answer.index(end) + 1 if end in answer else len(answer)
        new = replace(example, ids=question + answer[:until], answer=until, told=(), own=True)
        examples.append(new)
    return examples


def main() -> None:
    read = job.read(sys.stdin.read())
    torch.set_num_threads(read.recipe.threads)
    print(json.dumps(asdict(train(read))))


if __name__ == "__main__":
    main()
