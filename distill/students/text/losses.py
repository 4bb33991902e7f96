"""What a student loses to a teacher whose distribution of the next token is known.

All take log-probabilities [..., k] over the same k outcomes, in nats, and return a mean over all
but the last dimension. A teacher that tells its likeliest tokens alone has one outcome more, all
other tokens together (``with_tail``), so that no student is told that they never come.

The forward divergence spreads the student over all that the teacher might say (Hinton, Vinyals and
Dean 2015), the reverse one keeps it to what it can say well (MiniLLM, Gu et al. 2024), and the
generalised Jensen-Shannon divergence lies between them (GKD, Agarwal et al. 2024).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

NEVER = -1e4
"""Log-probability of what never comes: finite, so that gradients are."""

_LEAST = 1e-9
"""Least probability of a tail."""


def forward_kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher || student).

    >>> one, other = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    >>> round(forward_kl(one, other).item(), 3), round(forward_kl(one, one).item(), 3)
    (0.511, 0.0)
    """
    return (teacher.exp() * (teacher - student)).sum(-1).mean()


def reverse_kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(student || teacher)."""
    return forward_kl(student, teacher)


def jensen_shannon(teacher: Tensor, student: Tensor, beta: float) -> Tensor:
    """``beta`` of KL(teacher || mixture) and the rest of KL(student || mixture), where the mixture
    has ``beta`` of the teacher and the rest of the student; 0 < ``beta`` < 1.

    At 1/2 it is symmetric and at most log 2. Divided by ``beta`` it tends to the forward divergence
    as that tends to 0, and divided by 1 - ``beta`` to the reverse one as it tends to 1.
    """
    mixture = torch.logaddexp(teacher + math.log(beta), student + math.log(1 - beta))
    return beta * forward_kl(teacher, mixture) + (1 - beta) * forward_kl(student, mixture)


def divergence(teacher: Tensor, student: Tensor, beta: float) -> Tensor:
    """The generalised Jensen-Shannon divergence, or at ``beta`` 0 and 1, where that vanishes, the
    forward and the reverse one it tends to."""
    if beta == 0:
        return forward_kl(teacher, student)
    if beta == 1:
        return reverse_kl(teacher, student)
    return jensen_shannon(teacher, student, beta)


def softened(logits: Tensor, temperature: float) -> Tensor:
    """Log-probabilities of ``logits`` [..., k] at a temperature: the higher it is, the more is told
    of the unlikely. A divergence between two of these has ``temperature ** 2`` as much weight
    (Hinton, Vinyals and Dean 2015)."""
    return torch.log_softmax(logits.float() / temperature, -1)


def with_tail(logprobs: Tensor) -> Tensor:
    """Log-probabilities [..., k + 1] of some outcomes [..., k] and, last, of none of them."""
    rest = 1 - logprobs.exp().sum(-1, keepdim=True)
    return torch.cat([logprobs, rest.clamp_min(_LEAST).log()], dim=-1)


def told(teacher: Tensor, student: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """What a teacher has told of its likeliest tokens ``ids`` [n, k], and what a student says to
    the same [n, k + 1]; ``teacher`` are these tokens' log-probabilities [n, k], ``NEVER`` where a
    place holds no token, and ``student`` those of all tokens [n, vocabulary]."""
    none = teacher <= NEVER
    same = student.gather(-1, ids).masked_fill(none, NEVER)
    return with_tail(teacher.clamp_min(NEVER)), with_tail(same)
