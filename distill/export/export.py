"""Write a student to a folder that carries all it takes to ask it elsewhere."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from config.settings import Settings
from distill.export import answering, graphs, licence
from distill.export.card import card
from distill.export.folder import (
    ENCODER,
    NGRAMS,
    STANDALONE,
    TOKENIZER,
    ExportError,
    Format,
    Manifest,
    RungManifest,
    seal,
)
from distill.export.licence import Licence
from distill.students.base import Rung
from distill.students.classifier import Classifier
from distill.students.encoder import MOST_TOKENS, EncoderError, SentenceEncoder
from distill.students.fields import FieldsClassifier
from distill.students.label import LabelRung
from distill.students.ladder import Ladder
from distill.students.text.rung import TextRung
from policies import hashing
from telemetry.exchange import StudentRecord
from telemetry.store import Store


def find(store: Store, name: str) -> StudentRecord:
    """The student of that version, or the one that serves the task of that name. Raises
    ExportError."""
    record = store.student(name)
    if record is None:
        record = next((one for one in store.serving() if one.task == name), None)
    if record is None:
        raise ExportError(f"there is no student {name}, and no student serves a task {name}")
    if not record.path:
        raise ExportError(f"{record.version} has no files: {record.verdict}")
    return record


def export(settings: Settings, record: StudentRecord, format_: Format, target: Path) -> None:
    """Write the student ``record`` to the folder ``target``, which appears only when it is
    complete.

    The same student gives the same bytes. Raises ExportError.
    """
    try:
        ladder = Ladder.load(settings.data / record.path)
    except (OSError, KeyError, ValueError, EncoderError) as error:
        raise ExportError(f"the files of {record.version} cannot be read: {error}") from error
    _check_format(ladder, format_)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ExportError(f"{target} exists and is not an empty folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
            folder = Path(scratch) / "student"
            folder.mkdir()
            _write(settings, record, ladder, format_, folder)
            if target.exists():
                target.rmdir()
            folder.rename(target)
    except EncoderError as error:
        raise ExportError(str(error)) from error
    except OSError as error:
        raise ExportError(f"cannot write {error.filename or target}: {error.strerror}") from error


def _check_format(ladder: Ladder, format_: Format) -> None:
    if any(isinstance(rung, TextRung) for rung in ladder.rungs):
        raise ExportError(f"{ladder.version} writes its answers: it cannot be exported yet")
    if any(_answers_by_field(rung) for rung in ladder.rungs):
        raise ExportError(f"{ladder.version} answers field by field: it cannot be exported yet")
    if format_ != "onnx":
        raise ExportError(f"{ladder.version} is a label student: it can be exported as onnx alone")


def _answers_by_field(rung: Rung) -> bool:
    return isinstance(rung, LabelRung) and isinstance(rung.classifier, FieldsClassifier)


def _write(
    settings: Settings, record: StudentRecord, ladder: Ladder, format_: Format, folder: Path
) -> None:
    labels = [rung for rung in ladder.rungs if isinstance(rung, LabelRung)]
    encoder = next((rung.encoder for rung in labels if rung.encoder is not None), None)
    started_from = Licence(None, None)
    if encoder is not None:
        _write_encoder(encoder, folder)
        started_from = licence.find(encoder.folder)
    _copy_source(hashing.__file__, folder / NGRAMS)
    _copy_source(answering.__file__, folder / STANDALONE)
    data = json.loads(record.card).get("data", {})
    manifest = Manifest(
        kind="label",
        format=format_,
        version=ladder.version,
        task=ladder.task,
        threshold=ladder.threshold,
        head=ladder.head,
        masks=ladder.masks,
        barred=ladder.barred,
        encoder_tokens=None if encoder is None else MOST_TOKENS,
        rungs=tuple(_write_label(rung, folder) for rung in labels),
        usage=ladder.usage,
        teachers=tuple(data.get("teachers", ())),
        dataset=data.get("version"),
        licence=started_from.name,
    )
    manifest.write(folder)
    if started_from.text is not None:
        (folder / "LICENSE").write_text(started_from.text, encoding="utf-8")
    policy = settings.policy
    text = card(manifest, record, policy.alpha, policy.delta)
    (folder / "README.md").write_text(text, encoding="utf-8")
    seal(folder)


def _write_label(rung: LabelRung, folder: Path) -> RungManifest:
    (folder / f"{rung.name}.onnx").write_bytes(graphs.label_graph(rung))
    classifier = rung.classifier
    assert isinstance(classifier, Classifier), "one that answers field by field is not exported"
    return RungManifest(
        name=rung.name, labels=classifier.labels, calibration=classifier.calibration
    )


def _write_encoder(encoder: SentenceEncoder, folder: Path) -> None:
    shutil.copyfile(encoder.graph(), folder / ENCODER)
    shutil.copyfile(encoder.folder / TOKENIZER, folder / TOKENIZER)


def _copy_source(module: str | None, target: Path) -> None:
    assert module is not None, "the module is a file"
    shutil.copyfile(module, target)
