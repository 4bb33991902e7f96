"""Tuning of a sentence encoder on a task's texts and their classes.

The upper half of its layers and a linear head are trained by AdamW (Loshchilov and Hutter 2019);
word embeddings and the lower layers stay as they are, since a few thousand texts have little to say
of most words. A linear rung reads what it gives each class: as in stacking (Wolpert 1992), what it
gives those of the texts that it was tuned on comes from tunings without them.

Runs in a process of its own: ``python -m distill.students.tuned.training`` makes what
``distill.students.tuned.job`` writes to its standard input.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoModel

from distill.students import encoder
from distill.students.batches import by_length
from distill.students.encoder import GRAPH, MEMORY, TOKENIZER, EmbeddingMemory, text_key
from distill.students.export import export, mean_state
from distill.students.pace import paced
from distill.students.tuned import job
from distill.students.tuned.job import Job, Recipe, Report

_WARM = 0.1
"""Share of a tuning in which the rates rise."""
_CLIP = 1.0
_SCALE = 4.0
"""Brings what classes are given to the size of a linear rung's other features."""


class Tuned(torch.nn.Module):
    """Logarithms of the probabilities of classes [n, classes], from the mean of last states."""

    def __init__(self, folder: Path, classes: int) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(folder, local_files_only=True)
        self.encoder.requires_grad_(False)
        layers = _layers(self.encoder)
        layers[len(layers) // 2 :].requires_grad_(True)
        self.dropout = torch.nn.Dropout(0.1)
        self.head = torch.nn.Linear(self.encoder.config.hidden_size, classes)

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        mean = mean_state(self.encoder, input_ids, attention_mask)
        return functional.log_softmax(self.head(self.dropout(mean)), dim=1)


class _Read(torch.nn.Module):
    """What a tuned encoder is read as: the centred log-ratios of the classes (Aitchison 1982)."""

    def __init__(self, model: Tuned) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        given = self.model(input_ids, attention_mask)
        return (given - given.mean(dim=1, keepdim=True)) / _SCALE


def tune(job: Job) -> Report:
    """Write a tuned encoder to ``job.target``, and what is made of the texts of ``job`` without
    their help. Raises ValueError where there is no time for that, and SystemExit where the process
    that wants the encoder is gone."""
    recipe, base, target = job.recipe, Path(job.encoder), Path(job.target)
    started, used = time.monotonic(), time.process_time()
    tokens = encoder.tokens_of(base / TOKENIZER, job.texts)
    classes, folds = np.array(job.classes), np.array(job.folds)
    targets = np.eye(int(classes.max()) + 1)[classes] if job.shares is None else job.shares
    shares = torch.tensor(np.array(targets), dtype=torch.float32)
    count = shares.shape[1]
    found = np.zeros((len(tokens), count), dtype=np.float32)
    # Each tuning has time by the number of its texts.
    each_s = recipe.cpu_s / (len(tokens) * recipe.folds)

    def tuned(rows: Any) -> tuple[Tuned, float]:
        model = Tuned(base, count)
        chosen = np.flatnonzero(rows).tolist()
        epochs = _fit(
            model,
            [tokens[i] for i in chosen],
            shares[chosen],
            recipe,
            each_s * len(chosen),
        )
        return model, epochs

    with tempfile.TemporaryDirectory(dir=target) as scratch:
        for fold in np.unique(folds).tolist():
            # What serves is rounded to 8 bits, so what is tested is as well.
            graph = Path(scratch) / f"{fold}.onnx"
            export(_Read(tuned(folds != fold)[0]), graph)
            held = np.flatnonzero(folds == fold)
            texts = [job.texts[i] for i in held.tolist()]
            found[held] = encoder.compute(graph, base / TOKENIZER, texts)
    model, epochs = tuned(np.ones(len(tokens), dtype=bool))
    shutil.copyfile(base / TOKENIZER, target / TOKENIZER)
    export(_Read(model), target / GRAPH)
    EmbeddingMemory(target / MEMORY).put(dict(zip(map(text_key, job.texts), found, strict=True)))
    return Report(
        len(tokens),
        epochs,
        round(time.monotonic() - started, 1),
        round(time.process_time() - used, 1),
        round(float((found.argmax(axis=1) == classes).mean()), 4),
    )


def _layers(model: Any) -> Any:
    """The stack of layers that the encoder is made of."""
    lists = (part for part in model.modules() if isinstance(part, torch.nn.ModuleList))
    return max(lists, key=len)


def _fit(
    model: Tuned, tokens: Sequence[list[int]], shares: Any, recipe: Recipe, cpu_s: float
) -> float:
    """Train ``model`` on texts and their classes' ``shares`` [n, classes], and return the epochs
    that it came to."""
    torch.manual_seed(recipe.seed)
    body = [weight for weight in model.encoder.parameters() if weight.requires_grad]
    head = list(model.head.parameters())
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": recipe.rate}, {"params": head, "lr": recipe.head_rate}],
        weight_decay=recipe.decay,
    )
    highest = [group["lr"] for group in optimizer.param_groups]
    epochs = recipe.epochs_of(len(tokens))
    steps = epochs * math.ceil(len(tokens) / recipe.batch)
    done = 0
    model.train()
    lengths = [len(each) for each in tokens]
    batches = by_length(lengths, recipe.batch, epochs, recipe.seed)
    for share, batch in paced(batches, steps, cpu_s, _WARM):
        for group, rate in zip(optimizer.param_groups, highest, strict=True):
            group["lr"] = rate * share
        ids, mask = map(torch.from_numpy, encoder.padded([tokens[i] for i in batch]))
        (-(shares[batch] * model(ids, mask)).sum(dim=1).mean()).backward()
        torch.nn.utils.clip_grad_norm_([*body, *head], _CLIP)
        optimizer.step()
        optimizer.zero_grad()
        done += 1
    return round(done * epochs / steps, 2)


def main() -> None:
    read = job.read(sys.stdin.read())
    torch.set_num_threads(read.recipe.threads)
    print(json.dumps(asdict(tune(read))))


if __name__ == "__main__":
    main()
