"""Ask an exported student: ``python student.py "a prompt" "another one"``.

Its folder carries this file as ``student.py`` and, beside it, ``ngrams.py``, by which texts become
the input of its ONNX graphs, ``copying``, where it copies from the text, and what tells slices
apart where these have thresholds of their own.
All of it needs numpy, onnxruntime and xxhash, and ``tokenizers`` where the student has an encoder;
nothing of the router.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

Count: TypeAlias = Callable[[str], tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]
"""The buckets of a text's n-grams, each once, and how many are in each: ``ngrams.count``."""


@dataclass(frozen=True)
class Encoder:
    """Sentence embeddings."""

    folder: Path
    """Where ``encoder.onnx`` and ``tokenizer.json`` lie."""
    most_tokens: int
    """Tokens that are read of a text."""

    def __call__(self, text: str) -> npt.NDArray[np.float32]:
        """The embedding [d] of a text."""
        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        asked = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        embedding: npt.NDArray[np.float32] = self._session.run(None, asked)[0][0]
        return embedding

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.enable_truncation(self.most_tokens)
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        return session(self.folder / "encoder.onnx")


@dataclass(frozen=True)
class LabelModel:
    """One rung of a student."""

    graph: Path
    count: Count
    encoder: Encoder | None

    def ask(self, text: str) -> tuple[npt.NDArray[np.float64], float]:
        """The probability of each label, or of each field's values one field after the other [k],
        and the confidence in the likeliest answer."""
        buckets, counts = self.count(text)
        asked: dict[str, npt.NDArray[Any]] = {"buckets": buckets}
        if "counts" in self._inputs:
            asked["counts"] = counts.astype(np.float64)
        if self.encoder is not None:
            asked["embedding"] = self.encoder(text)
        probabilities, confidence = self._session.run(None, asked)
        return probabilities, float(confidence)

    @cached_property
    def _session(self) -> Any:
        return session(self.graph)

    @cached_property
    def _inputs(self) -> frozenset[str]:
        return frozenset(one.name for one in self._session.get_inputs())


@dataclass(frozen=True)
class Reading:
    """What it takes to copy from a text: of the modules in ``copying``."""

    extraction: Any
    """``shape.Extraction``: how answers are made."""
    tokens: Callable[[str], Any]
    """``tokens.Tokens.of``."""
    features: Callable[[Sequence[str]], npt.NDArray[np.int64]]
    """``tokens.features``."""
    fill: Callable[[Any, Any, npt.NDArray[np.float64]], tuple[list[str], list[float]]]
    """``decoding.fill``."""


@dataclass(frozen=True)
class CopyingModel:
    """One rung of a student, that copies its answers from the text."""

    folder: Path
    """Where ``extraction.onnx`` and ``extraction_answer.onnx`` lie."""
    count: Count
    reading: Reading

    def ask(self, text: str) -> tuple[str, float, float]:
        """The likeliest answer, what it is given, and the confidence in it."""
        reading = self.reading
        tokens = reading.tokens(text)
        (told,) = self._tagger.run(None, {"features": reading.features(tokens.words)})
        copied, shares = reading.fill(reading.extraction, tokens, told)
        share = math.prod(shares)
        buckets, counts = self.count(text)
        asked: dict[str, npt.NDArray[Any]] = {"buckets": buckets, "copied": np.array(share)}
        chosen: list[str] = []
        fields = [field for field in reading.extraction.fields if isinstance(field, tuple)]
        if fields:
            asked["counts"] = counts.astype(np.float64)
            probabilities, confidence = self._session.run(None, asked)
            chosen, given = likeliest(fields, probabilities)
            share *= given
        else:
            (confidence,) = self._session.run(None, asked)
        answer = reading.extraction.write(reading.extraction.in_order(copied, chosen))
        return answer, share, float(confidence)

    @cached_property
    def _tagger(self) -> Any:
        return session(self.folder / "extraction.onnx")

    @cached_property
    def _session(self) -> Any:
        return session(self.folder / "extraction_answer.onnx")


def likeliest(
    fields: Sequence[Sequence[str]], probabilities: npt.NDArray[np.float64]
) -> tuple[list[str], float]:
    """The likeliest values of ``fields``, and what these are given together."""
    values, share, start = [], 1.0, 0
    for labels in fields:
        given = probabilities[start : start + len(labels)]
        values.append(labels[int(given.argmax())])
        share *= float(given.max())
        start += len(labels)
    return values, share


def put_together(pieces: Sequence[str], values: Sequence[str]) -> str:
    """The answer with these ``values`` [fields] between its ``pieces`` [fields + 1]."""
    return pieces[0] + "".join(map("".join, zip(values, pieces[1:], strict=True)))


def session(graph: Path) -> Any:
    """An ONNX graph, ready to run on one thread: a second one slows a small graph down."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class Floors:
    """The least confidence at which the texts of each slice are answered."""

    tell: Callable[[str], str]
    """The slice of a text."""
    names: Sequence[str]
    """Those that have a name; all others go together."""
    thresholds: dict[str, float]

    def floor(self, text: str) -> float:
        """Infinite where the teacher answers."""
        name = self.tell(text)
        return self.thresholds.get(name if name in self.names else "(others)", math.inf)


def floors(folder: Path, said: dict[str, Any], count: Count) -> Floors:
    """What ``said``, of a manifest, means; its folder carries what tells the slice of a text."""
    if said["kind"] == "language":
        return Floors(import_module("language").language, said["names"], said["thresholds"])
    slices = import_module("slices")
    if said["kind"] == "length":

        def tell(text: str) -> str:
            (name,) = slices.lengths([text], said["edges"])
            return str(name)

    else:
        rarity = session(folder / "rarity.onnx")

        def tell(text: str) -> str:
            (name,) = slices.rarities(rarity.run(None, {"buckets": count(text)[0]}))
            return str(name)

    return Floors(tell, said["names"], said["thresholds"])


def asker(
    folder: Path, rung: dict[str, Any], count: Count, encoder: Encoder | None
) -> Callable[[str], tuple[str, float]]:
    """What says the likeliest answer of a ``rung``, of a manifest, and the confidence in it."""
    if rung["name"] == "extraction":
        tokens = import_module("copying.tokens")
        reading = Reading(
            import_module("copying.shape").Extraction.from_json(rung["extraction"]),
            tokens.Tokens.of,
            tokens.features,
            import_module("copying.decoding").fill,
        )
        copying = CopyingModel(folder, count, reading)

        def copy(text: str) -> tuple[str, float]:
            answer, _, confidence = copying.ask(text)
            return answer, confidence

        return copy
    reads = None if rung["name"] == "ngram" else encoder
    model = LabelModel(folder / f"{rung['name']}.onnx", count, reads)

    def choose(text: str) -> tuple[str, float]:
        probabilities, confidence = model.ask(text)
        values, _ = likeliest(rung["fields"], probabilities)
        return put_together(rung["pieces"], values), confidence

    return choose


def answer(folder: Path, texts: list[str], count: Count) -> list[dict[str, Any]]:
    """What the student in ``folder`` says to each of ``texts``, and whether it is sure of that.

    The cheapest rung that is sure enough answers; else the surest of all.
    """
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    encoder = Encoder(folder, manifest["encoder_tokens"]) if manifest["encoder_tokens"] else None
    rungs = [asker(folder, rung, count, encoder) for rung in manifest["rungs"]]
    threshold, barred = manifest["threshold"], manifest["barred"]
    own = floors(folder, manifest["floors"], count) if manifest["floors"] else None
    said = []
    for text in texts:
        read = text.removeprefix(manifest["head"])
        floor = threshold if own is None else own.floor(read)
        best: tuple[float, str] = (-1.0, "")
        for ask in rungs:
            said_here, confidence = ask(read)
            if confidence > best[0]:
                best = (confidence, said_here)
            if confidence >= floor or math.isinf(floor):
                break
        confidence = 0.0 if best[1] in barred else best[0]
        sure = confidence >= floor
        if threshold <= confidence < floor:
            # Whoever compares it with the threshold is told the same.
            confidence = math.nextafter(threshold, 0.0)
        said.append({"answer": best[1], "confidence": confidence, "sure": sure})
    return said


if __name__ == "__main__":
    # Or the folder would hold a file that is no part of it.
    sys.dont_write_bytecode = True
    for line in answer(Path(__file__).parent, sys.argv[1:], import_module("ngrams").count):
        print(json.dumps(line, ensure_ascii=False))
