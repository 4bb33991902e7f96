"""An exported folder's files: its manifest, and the checksums that hold it together."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from config.settings import SliceKind
from distill.students.classifier import Calibration
from distill.students.extraction.shape import Extraction
from distill.students.usage import UsageModel

Format = Literal["hf", "onnx", "gguf", "ctranslate2"]

MANIFEST = "manifest.json"
ENCODER = "encoder.onnx"
"""Graph of the encoder, where a label rung has one,"""
TOKENIZER = "tokenizer.json"
"""and what makes its tokens."""
NGRAMS = "ngrams.py"
"""Counts n-grams: `policies.hashing`."""
STANDALONE = "student.py"
"""Asks a student that does not write: `distill.export.answering`."""
TAGS, COPIED = "extraction.onnx", "extraction_answer.onnx"
"""Graphs of a rung that copies: what each token is, and what is made of what was copied,"""
COPYING = "copying"
"""and folder of the code that finds what is copied: part of `distill.students.extraction`."""
MODEL = "model"
"""Folder of the language model of a student that writes."""
GGUF = "model.gguf"
"""File with it, in that folder, where the format is GGUF."""
CONFIDENCE = "confidence.onnx"
"""Graph of how sure such a student is."""
RARITY = "rarity.onnx"
"""Graph of how rare a text is, where that decides which threshold it takes."""
SLICES, LANGUAGE = "slices.py", "language.py"
"""Tell the slice of a text: `distill.evaluation.telling` and `distill.evaluation.language`."""
SUMS = "SHA256SUMS"
"""Checksums of all other files, as ``sha256sum --check`` reads them."""

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


class ExportError(Exception):
    """A student cannot be exported, or an exported one cannot be used. In one line."""


class RungManifest(BaseModel):
    """One rung of an exported student."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["ngram", "embedding", "both", "tuned", "extraction", "text"]
    """What it reads or, ``extraction``, that it copies its answers or, ``text``, that it writes
    them. A label rung's graph is ``NAME.onnx``."""
    calibration: Calibration
    """Is part of its graph already."""
    fields: tuple[tuple[str, ...], ...] = ()
    """The answers of a label rung, in the order of its probabilities. Where it answers JSON objects
    field by field, the values of each of these,"""
    pieces: tuple[str, ...] = ("", "")
    """and what stands around them."""
    extraction: Extraction | None = None
    """How the answers of a rung that copies are made."""
    most_tokens: int | None = None
    """Longest answer of a rung that writes."""


class FloorsManifest(BaseModel):
    """Thresholds of slices that keep the promise each on its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: SliceKind
    """What tells them apart."""
    names: tuple[str, ...]
    """Those that have a name; texts in none of them are in that of all others."""
    edges: tuple[int, ...]
    """Of lengths, in characters."""
    thresholds: dict[str, float]
    """By the slice's name. Those that are not here are left to the teacher."""


class Manifest(BaseModel):
    """What there is to know of an exported student, to ask it as it is asked in service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    kind: Literal["label", "extraction", "text"]
    format: Format
    """Of its language model; label rungs are ONNX graphs always."""
    version: str
    task: str
    threshold: float
    """The least confidence at which an answer keeps the promise,"""
    floors: FloorsManifest | None = None
    """where slices have thresholds of their own the least of these."""
    head: str
    """What the task's texts begin with, and the student does not read."""
    masks: bool
    """Whether it reads placeholders in the place of private data."""
    barred: tuple[str, ...]
    """Answers that it is wrong on too often, however sure it is."""
    encoder_tokens: int | None
    """Tokens that its encoder reads of a text; None where it has none."""
    rungs: tuple[RungManifest, ...]
    """From cheapest to dearest: the first that is sure enough answers."""
    usage: UsageModel
    """What the teacher would have counted for a request."""
    teachers: tuple[str, ...]
    dataset: str | None
    """Version of the data that it was trained on."""
    licence: str | None
    """Of the model that it started from; None where that is not known, or there is none."""

    def write(self, folder: Path) -> None:
        text = self.model_dump_json(indent=1)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Raises ExportError."""
        try:
            return cls.model_validate_json((folder / MANIFEST).read_bytes())
        except OSError as error:
            raise ExportError(f"{folder} is no exported student: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(map(str, first["loc"]))
            raise ExportError(f"{folder / MANIFEST}: {at}: {first['msg']}") from error


def seal(folder: Path) -> None:
    """Write the checksums of all files in ``folder``."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    lines = [f"{_digest(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check(folder: Path) -> None:
    """Raises ExportError unless all files that ``seal`` has seen are as they were."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{folder} is no exported student: it has no {SUMS}") from error
    named = set()
    for line in lines:
        found = _LINE.fullmatch(line)
        path = PurePosixPath(found[2]) if found else None
        if found is None or path is None or path.is_absolute() or ".." in path.parts:
            raise ExportError(f"{folder / SUMS}: not a checksum of one of its files: {line!r}")
        try:
            same = _digest(folder / path) == found[1]
        except OSError as error:
            raise ExportError(f"{folder / path} is missing: {error.strerror}") from error
        if not same:
            raise ExportError(f"{folder / path} is not what was exported: its checksum differs")
        named.add(found[2])
    if MANIFEST not in named:
        raise ExportError(f"{folder / SUMS} has no checksum of {MANIFEST}")


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
