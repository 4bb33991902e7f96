"""How long a student takes for one request."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from distill.card import Latency
from distill.students.base import Rung
from distill.students.label import LabelRung
from distill.students.ladder import Ladder

_ASKED = 32
"""Texts that a student is asked about, one at a time."""


def measure(ladder: Ladder, texts: Sequence[str]) -> Latency:
    """Ask ``ladder`` about some of the varying ``texts``, evenly drawn."""
    fresh = replace(ladder, rungs=tuple(map(_forgetful, ladder.rungs)))
    step = max(1, len(texts) // _ASKED)
    # The first call loads what the later ones find there.
    fresh.predict(texts[:1])
    took = []
    for text in texts[::step][:_ASKED]:
        started = time.perf_counter()
        fresh.predict([text])
        took.append(1000 * (time.perf_counter() - started))
    p50, p95 = np.quantile(took, (0.5, 0.95)).tolist()
    return Latency(p50, p95)


def _forgetful(rung: Rung) -> Rung:
    """The rung with an encoder, if any, that has not seen the texts before."""
    if not isinstance(rung, LabelRung) or rung.encoder is None:
        return rung
    return replace(rung, encoder=rung.encoder.forgetful())
