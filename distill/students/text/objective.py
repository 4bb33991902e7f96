"""What a text student loses on a batch: its words, and more where the teacher gave more.

To the cross-entropy of the answers' tokens comes a divergence from the teacher, of the same weight:
over the whole vocabulary where the teacher is at hand to score each token, over its likeliest
tokens where it has told those, and none where it gave words alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from distill.students.text.examples import Example
from distill.students.text.losses import NEVER, divergence, forward_kl, softened, told
from distill.students.text.scorer import Scorer, answer_logits

_TEMPERATURE = 2.0
"""At which a local teacher and its student are compared: one that is sure tells little else."""


def objective(
    causal: Any,
    batch: Sequence[Example],
    end: int,
    teacher: Scorer | None = None,
    beta: float = 0.0,
) -> Tensor:
    """Mean loss of the answers' tokens, in nats. ``end`` pads; ``beta`` is the divergence's from a
    local teacher (``losses.divergence``)."""
    rows = [(example.ids, example.answer) for example in batch]
    logits = answer_logits(causal, rows, end).float()
    device = logits.device
    targets = torch.tensor([id_ for ids, answer in rows for id_ in ids[-answer:]], device=device)
    counts = _each(batch, [0.0 if one.own else one.counts for one in batch]).to(device)
    loss = (counts * functional.cross_entropy(logits, targets, reduction="none")).sum()
    if teacher is not None:
        loss = loss + _scored(logits, batch, teacher, beta)
    likeliest = [(at, one) for at, one in enumerate(_told(batch)) if one]
    if likeliest:
        loss = loss + _listed(logits, *zip(*likeliest, strict=True))
    return loss / sum(example.weight for example in batch)


def _each(batch: Sequence[Example], values: Sequence[float]) -> Tensor:
    """An example's value for each token of its answer."""
    answers = torch.tensor([example.answer for example in batch])
    return torch.tensor(values).repeat_interleave(answers)


def _told(batch: Sequence[Example]) -> list[Any]:
    """What the teacher has told of each token."""
    return [one for example in batch for one in example.told or [{}] * example.answer]


def _scored(logits: Tensor, batch: Sequence[Example], teacher: Scorer, beta: float) -> Tensor:
    """Summed divergence from a local teacher on what it is to score."""
    asked = [example for example in batch if example.asked]
    if not asked:
        return logits.new_zeros(())
    here = logits[_each(batch, [bool(example.asked) for example in batch]).bool().to(logits.device)]
    said = teacher.logits(asked)
    # Models may have more logits than there are tokens.
    width = min(said.shape[-1], here.shape[-1])
    both = [softened(one[:, :width], _TEMPERATURE) for one in (said, here)]
    return _TEMPERATURE**2 * len(here) * divergence(both[0], both[1], beta)


def _listed(logits: Tensor, at: Sequence[int], likeliest: Sequence[Any]) -> Tensor:
    """Summed divergence from the ``likeliest`` tokens that the teacher has told at these places.

    It is the forward one: of what the teacher would make of other tokens nothing is known.
    """
    most = max(map(len, likeliest))
    filled = [[*one.items(), *[(0, NEVER)] * (most - len(one))] for one in likeliest]
    ids = torch.tensor([[id_ for id_, _ in row] for row in filled], device=logits.device)
    said = torch.tensor([[logprob for _, logprob in row] for row in filled], device=logits.device)
    here = softened(logits[torch.tensor(at, device=logits.device)], 1.0)
    return len(at) * forward_kl(*told(said, here, ids))
