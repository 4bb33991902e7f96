"""How many requests each teacher answer stands for, over all the time that they come from.

Once students serve, the teacher is asked about some kinds of requests more often than about
others, and each student makes kinds of its own. A teacher answer is weighted by the inverse of the
mean probability that a request like it reached the teacher, over all of these times together: the
balance heuristic of multiple importance sampling (Veach and Guibas 1995). Within what the students
answer, answers from before them and audits of them then count alike, and none counts as much as an
audit would by the probability of its own time alone.

For that every student that has served is asked whether it would have answered a request. About what
it was trained on it has been asked by cross-validation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distill.data.dataset import Dataset
from distill.students.damaged import reading
from distill.students.ladder import Ladder
from telemetry.exchange import Exchange
from telemetry.turnout import Turnout

_FILE = "reach.npz"


@dataclass(slots=True)
class Former:
    """A student that has served, or still does."""

    ladder: Ladder
    sure: dict[str, bool] = field(default_factory=dict)
    """By the id of an exchange: whether it would have answered the request."""
    turnout: Turnout = field(default_factory=Turnout)

    def recall(self, exchanges: Sequence[Exchange]) -> None:
        """Note what it said when it was asked."""
        for exchange in exchanges:
            if exchange.student == self.ladder.version and exchange.confidence is not None:
                self.sure[exchange.id] = exchange.confidence >= self.ladder.threshold

    def forget_others(self, exchanges: Sequence[Exchange]) -> None:
        """Know of ``exchanges`` alone: what is too old to be among them now never will be again."""
        kept = {exchange.id for exchange in exchanges}
        self.sure = {each: sure for each, sure in self.sure.items() if each in kept}

    def knows(self, data: Dataset) -> bool:
        """Whether there is an answer for each example of ``data``, by asking it where need be."""
        unknown = [each for each in data.examples if each.weight and each.id not in self.sure]
        if not unknown:
            return True
        if not self.ladder.quick:
            return False
        texts = [self.ladder.varying(data.head + example.text) for example in unknown]
        longest = self.ladder.usage.longest
        said = self.ladder.predict(texts)
        for example, text, prediction in zip(unknown, texts, said, strict=True):
            fits = longest is None or len(text) <= longest
            fits &= self.ladder.knows(example.instruction)
            self.sure[example.id] = fits and prediction.confidence >= self.ladder.threshold
        return True

    def asked(self, data: Dataset) -> npt.NDArray[np.float64]:
        """[n]: how many of the requests in its time would have reached the teacher, if all had been
        like each of the examples."""
        rates = [self.turnout.asked(False), self.turnout.asked(True)]
        return np.array([rates[self.sure.get(each.id, False)] for each in data.examples])


def weighted(data: Dataset, formers: Sequence[Former], alone: int) -> Dataset:
    """``data`` with such weights, where ``alone`` requests that a student can be asked about came
    while none was.

    It stays as it is where one of the ``formers`` cannot be asked.
    """
    if not formers or not all(former.knows(data) for former in formers):
        return data
    turnouts = [former.turnout for former in formers]
    requests = alone + sum(turnout.sure + turnout.unsure for turnout in turnouts)
    asked = alone + np.sum([former.asked(data) for former in formers], axis=0)
    examples = tuple(
        replace(example, weight=float(requests / reached)) if example.weight else example
        for example, reached in zip(data.examples, asked, strict=True)
    )
    return replace(data, examples=examples, even=True)


def save(folder: Path, sure: Mapping[str, bool]) -> None:
    """Write down in a student's ``folder`` what it would have answered."""
    np.savez(folder / _FILE, ids=np.array(list(sure)), sure=np.array(list(sure.values())))


@reading()
def load(folder: Path) -> dict[str, bool]:
    """What ``save`` wrote. Raises DamagedError."""
    with np.load(folder / _FILE) as arrays:
        return dict(zip(arrays["ids"].tolist(), arrays["sure"].tolist(), strict=True))
