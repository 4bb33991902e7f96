"""An exported student, ready to be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from config.loading import ConfigError
from distill.data.private import check_installed
from distill.evaluation.strata import Floors, Strata
from distill.export.answering import (
    CopyingModel,
    Encoder,
    LabelModel,
    Reading,
    likeliest,
    put_together,
    session,
)
from distill.export.engines import LlamaCpp, Transformers, Writer
from distill.export.folder import (
    CONFIDENCE,
    MODEL,
    RARITY,
    ExportError,
    FloorsManifest,
    Format,
    Manifest,
    RungManifest,
    check,
)
from distill.students.base import EXTRACTION, TEXT, Prediction, Rung
from distill.students.extraction.decoding import fill
from distill.students.extraction.tokens import Tokens, features
from distill.students.ladder import Ladder
from distill.students.text.engine import Engine, Sampling, Written
from distill.students.text.rung import probability
from policies.hashing import count


@dataclass(frozen=True, slots=True)
class GraphRung:
    """A label rung that is an ONNX graph."""

    manifest: RungManifest
    model: LabelModel

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def fast(self) -> bool:
        return self.model.encoder is None

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        return [self._predict(text) for text in texts]

    def _predict(self, text: str) -> Prediction:
        probabilities, confidence = self.model.ask(text)
        fields = self.manifest.fields
        values, share = likeliest(fields, probabilities)
        answer = put_together(self.manifest.pieces, values)
        if len(fields) == 1:
            (labels,) = fields
            alternatives = [
                (labels[i], float(probabilities[i])) for i in np.argsort(-probabilities)
            ]
            return Prediction(answer, confidence, tuple(alternatives))
        return Prediction(answer, confidence, ((answer, share),))


@dataclass(frozen=True, slots=True)
class CopyingRung:
    """A rung that copies its answers, of ONNX graphs."""

    model: CopyingModel

    @property
    def name(self) -> str:
        return EXTRACTION

    @property
    def fast(self) -> bool:
        return True

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        said = [self.model.ask(text) for text in texts]
        return [
            Prediction(answer, confidence, ((answer, share),)) for answer, share, confidence in said
        ]


@dataclass(frozen=True, slots=True)
class GraphNovelty:
    """How rare texts are, by an ONNX graph."""

    graph: Any

    def __call__(self, counts: sparse.csr_matrix) -> npt.NDArray[np.float64]:
        """The surprise [n] at texts with these n-gram ``counts`` [n, 2 * buckets]."""
        rows = np.split(counts.indices.astype(np.int64), counts.indptr[1:-1])
        return np.array([self.graph.run(None, {"buckets": row})[0] for row in rows])


@dataclass(frozen=True, slots=True)
class WritingRung:
    """A rung that writes its answers."""

    most_tokens: int
    writer: Writer
    confidence: Any
    """The graph of how sure it is."""

    @property
    def name(self) -> str:
        return TEXT

    @property
    def fast(self) -> bool:
        return False

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        written = self.writer.write(texts, Sampling(self.most_tokens))
        return [self._prediction(*both) for both in zip(texts, written, strict=True)]

    def _prediction(self, text: str, written: Written) -> Prediction:
        asked = {"buckets": count(text)[0], "probability": np.array(probability(written))}
        (sure,) = self.confidence.run(None, asked)
        confidence = float(sure) if written.finished else 0.0
        return Prediction(written.text, confidence, ((written.text, confidence),))


def load(folder: Path) -> Ladder:
    """The student in an exported ``folder``, whose checksums are verified. Raises ExportError."""
    check(folder)
    manifest = Manifest.read(folder)
    if manifest.masks:
        try:
            check_installed()
        except ConfigError as error:
            raise ExportError(f"{folder} reads texts without private data: {error}") from error
    try:
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
            floors=None if manifest.floors is None else _floors(folder, manifest.floors),
        )
        ladder.predict(["What it takes to answer is loaded now."])
    except ExportError:
        raise
    except Exception as error:
        # Any library that reads models may fail in its own way.
        said = " ".join(str(error).split())
        raise ExportError(f"{folder} cannot be loaded: {said}") from error
    return ladder


def _rung(folder: Path, manifest: Manifest, rung: RungManifest) -> Rung:
    if rung.name == TEXT:
        assert rung.most_tokens is not None, "a rung that writes has a limit"
        writer = _writer(folder / MODEL, manifest.format)
        return WritingRung(rung.most_tokens, writer, session(folder / CONFIDENCE))
    if rung.name == EXTRACTION:
        assert rung.extraction is not None, "a rung that copies says how answers are made"
        reading = Reading(rung.extraction, Tokens.of, features, fill)
        return CopyingRung(CopyingModel(folder, count, reading))
    encoder = None
    if rung.name != "ngram" and manifest.encoder_tokens is not None:
        encoder = Encoder(folder, manifest.encoder_tokens)
    model = LabelModel(folder / f"{rung.name}.onnx", count, encoder)
    return GraphRung(rung, model)


def _floors(folder: Path, manifest: FloorsManifest) -> Floors:
    rare = GraphNovelty(session(folder / RARITY)) if manifest.kind == "rarity" else None
    strata = Strata(manifest.kind, manifest.names, manifest.edges, rare)
    return Floors(strata, manifest.thresholds)


def _writer(folder: Path, format_: Format) -> Writer:
    match format_:
        case "hf":
            return Transformers(folder)
        case "gguf":
            return LlamaCpp(folder)
        case _:
            return Engine(folder)
