"""An exported student, ready to be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from config.settings import ConfigError
from distill.data.private import check_installed
from distill.export.answering import Encoder, LabelModel
from distill.export.folder import ExportError, Manifest, RungManifest, check
from distill.students.base import Prediction
from distill.students.ladder import Ladder
from policies.hashing import count


@dataclass(frozen=True, slots=True)
class GraphRung:
    """A label rung that is an ONNX graph."""

    name: str
    labels: tuple[str, ...]
    model: LabelModel

    @property
    def fast(self) -> bool:
        return self.model.encoder is None

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        return [self._predict(text) for text in texts]

    def _predict(self, text: str) -> Prediction:
        probabilities, confidence = self.model.ask(text)
        order = np.argsort(-probabilities)
        alternatives = tuple((self.labels[i], float(probabilities[i])) for i in order)
        return Prediction(alternatives[0][0], confidence, alternatives)


def load(folder: Path) -> Ladder:
    """The student in an exported ``folder``, whose checksums are verified. Raises ExportError."""
    check(folder)
    manifest = Manifest.read(folder)
    if manifest.masks:
        try:
            check_installed()
        except ConfigError as error:
            raise ExportError(f"{folder} reads texts without private data: {error}") from error
    ladder = Ladder(
        manifest.version,
        manifest.task,
        manifest.threshold,
        0.0,
        manifest.head,
        tuple(_rung(folder, manifest, rung) for rung in manifest.rungs),
        manifest.usage,
        manifest.masks,
        manifest.barred,
    )
    try:
        ladder.predict(["What it takes to answer is loaded now."])
    except Exception as error:
        # Any library that reads models may fail in its own way.
        said = " ".join(str(error).split())
        raise ExportError(f"{folder} cannot be loaded: {said}") from error
    return ladder


def _rung(folder: Path, manifest: Manifest, rung: RungManifest) -> GraphRung:
    encoder = None
    if rung.name != "ngram" and manifest.encoder_tokens is not None:
        encoder = Encoder(folder, manifest.encoder_tokens)
    return GraphRung(
        rung.name, rung.labels, LabelModel(folder / f"{rung.name}.onnx", count, encoder)
    )
