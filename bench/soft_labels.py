"""What a label student gains where the teacher says how likely it finds each label.

No hosted teacher can be asked offline, so one of ours stands for it: the linear student of n-grams
and encoder, trained on the headlines of one file. It answers those of the other with its likeliest
label, and gives its probabilities. Students of n-grams learn from its first answers, with these
probabilities and without, and are asked about the last 3,000.

    python -m bench.soft_labels --data FOLDER
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table

from bench.label_students import answerable
from bench.stream import read
from config.settings import LoopSettings
from distill.students import label
from distill.students.base import Prediction
from distill.students.encoder import SentenceEncoder
from distill.students.fitting import frequent_labels

_ASKED = 3000


def main(
    data: Annotated[Path, typer.Option(help="Folder with headlines_{train,test}.csv.gz.")],
    answers: Annotated[
        list[int], typer.Option(help="Teacher answers to learn from, at most 2000.")
    ] = [300, 1000, 2000],  # noqa: B006
) -> None:
    encoder = SentenceEncoder.open(
        str(LoopSettings().encoder), Path(".bench/encoder"), remember=True
    )
    known, truth = zip(*read(data / "headlines_test.csv.gz"), strict=True)
    texts = [text for text, _ in read(data / "headlines_train.csv.gz")]
    teacher = label.train(known, truth, frequent_labels(truth), encoder=encoder).rung
    given = teacher.predict(texts)
    said = [one.answer for one in given]
    table = Table("answers", "answers alone", "with their probabilities")
    for count in answers:
        cells = []
        for soft in (False, True):
            labels = frequent_labels(said[:count])
            shares = _shares(given[:count], labels) if soft else None
            made = label.train(texts[:count], said[:count], labels, shares=shares)
            found = made.rung.predict(texts[-_ASKED:])
            agreed = np.array(
                [one.answer == other for one, other in zip(found, said[-_ASKED:], strict=True)]
            )
            share = answerable([one.confidence for one in found], agreed)
            cells.append(f"{agreed.mean():.3f} ({share:.0%})")
        table.add_row(f"{count:,}", *cells)
    Console(width=100).print("Agreement with the teacher (answered at 5% wrong)", table)


def _shares(given: list[Prediction], labels: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """[n, labels + 1]; the last is for other answers, of which there are none."""
    rows = [dict(one.alternatives) for one in given]
    found = np.array([[*(row[name] for name in labels), 0.0] for row in rows])
    return found / found.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    typer.run(main)
