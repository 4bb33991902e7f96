"""A sentence encoder fine-tuned end to end, with a linear head on the mean of its last states.

What it would take to serve one is not built: ``bench.label_students`` tells what it would gain.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import AutoModel

from distill.students.encoder import MOST_TOKENS

_BATCH = 32
_BUCKET = 8
"""Batches that are filled by length from one random draw."""
_WARM = 0.1
"""Share of the steps in which the rates rise; they fall to 0 by the last."""
_RATE, _HEAD_RATE = 2e-4, 1e-3
_DECAY = 0.01
_CLIP = 1.0
_ASKED = 64


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens of texts, and the class of each."""

    ids: list[list[int]]
    classes: torch.Tensor


class _Model(torch.nn.Module):
    def __init__(self, folder: Path, classes: int) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(folder, local_files_only=True)
        # Half of the weights; a few thousand texts have little to say of most words.
        self.encoder.embeddings.requires_grad_(False)
        self.dropout = torch.nn.Dropout(0.1)
        self.head = torch.nn.Linear(self.encoder.config.hidden_size, classes)

    def forward(self, batch: Sequence[list[int]]) -> Any:
        length = max(map(len, batch))
        ids = torch.zeros(len(batch), length, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = self.encoder(input_ids=ids, attention_mask=mask)[0].float()
        weight = mask.unsqueeze(-1).float()
        return self.head(self.dropout((hidden * weight).sum(1) / weight.sum(1)))


def log_probabilities(
    folder: Path,
    texts: Sequence[str],
    classes: Sequence[int],
    asked: Sequence[str],
    epochs: int,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Train on ``texts`` [n] and their ``classes`` [n], from 0 on; what is made of those ``asked``:
    [asked, classes].

    AdamW (Loshchilov and Hutter 2019) in bfloat16 over float32 weights.
    """
    torch.manual_seed(seed)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MOST_TOKENS)
    tokenizer.no_padding()
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    model = _Model(folder, max(classes) + 1)
    _fit(model, Encoded(ids, torch.tensor(classes)), epochs, seed)
    return _ask(model, [encoding.ids for encoding in tokenizer.encode_batch(list(asked))])


def _fit(model: _Model, data: Encoded, epochs: int, seed: int) -> None:
    body = [weight for weight in model.encoder.parameters() if weight.requires_grad]
    head = list(model.head.parameters())
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": _RATE}, {"params": head, "lr": _HEAD_RATE}], weight_decay=_DECAY
    )
    batches = list(_batches(data.ids, epochs, random.Random(seed)))
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / (_WARM * len(batches)), 1 - step / len(batches)),
    )
    model.train()
    for batch in batches:
        loss = functional.cross_entropy(model([data.ids[i] for i in batch]), data.classes[batch])
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*body, *head], _CLIP)
        optimizer.step()
        rates.step()
        optimizer.zero_grad()


def _batches(ids: Sequence[list[int]], epochs: int, rng: random.Random) -> Iterator[list[int]]:
    """Every text once an epoch, with others of like length: padding costs as much as text."""
    for _ in range(epochs):
        drawn = rng.sample(range(len(ids)), len(ids))
        batches = []
        for start in range(0, len(drawn), _BUCKET * _BATCH):
            bucket = sorted(drawn[start : start + _BUCKET * _BATCH], key=lambda i: len(ids[i]))
            batches += [bucket[at : at + _BATCH] for at in range(0, len(bucket), _BATCH)]
        rng.shuffle(batches)
        yield from batches


def _ask(model: _Model, ids: Sequence[list[int]]) -> npt.NDArray[np.float64]:
    model.eval()
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    found = np.zeros((len(ids), model.head.out_features))
    with torch.inference_mode():
        for at in range(0, len(order), _ASKED):
            batch = order[at : at + _ASKED]
            found[batch] = functional.log_softmax(model([ids[i] for i in batch]), dim=1).numpy()
    return found
