"""Write a student to a folder that carries all it takes to ask it elsewhere."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from config.settings import Settings
from distill.card import Card
from distill.evaluation import language, telling
from distill.evaluation.strata import Floors
from distill.export import answering, graphs, licence, weights
from distill.export.card import card as model_card
from distill.export.folder import (
    CONFIDENCE,
    COPIED,
    COPYING,
    ENCODER,
    LANGUAGE,
    MODEL,
    NGRAMS,
    RARITY,
    SLICES,
    STANDALONE,
    TAGS,
    TOKENIZER,
    ExportError,
    FloorsManifest,
    Format,
    Manifest,
    RungManifest,
    seal,
)
from distill.export.licence import Licence
from distill.students.base import TEXT, Rung
from distill.students.damaged import DamagedError
from distill.students.encoder import MOST_TOKENS, EncoderError
from distill.students.extraction import decoding, shape, tokens
from distill.students.extraction.rung import ExtractionRung
from distill.students.fields import FieldsClassifier
from distill.students.label import LabelRung
from distill.students.ladder import Ladder
from distill.students.novelty import Novelty
from distill.students.text.language import LanguageModelError
from distill.students.text.language import find as find_language_model
from distill.students.text.rung import TextRung
from policies import hashing
from policies.promise import Promise
from telemetry.exchange import StudentRecord
from telemetry.store import Store


def find(store: Store, name: str) -> StudentRecord:
    """The student of that version, or the one that serves the task of that name. Raises
    ExportError."""
    record = store.roster.student(name)
    if record is None:
        record = next((one for one in store.roster.serving() if one.task == name), None)
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
    except DamagedError as error:
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
    if ladder.hosted is not None:
        raise ExportError(f"{ladder.version} has {ladder.hosted} answer: it cannot be exported")
    if any(isinstance(rung, TextRung) for rung in ladder.rungs):
        if format_ not in _WRITERS:
            raise ExportError(f"{ladder.version} writes its answers: it goes as {_or(_WRITERS)}")
    elif format_ != "onnx":
        does = "copies its answers" if _copies(ladder) else "is a label student"
        raise ExportError(f"{ladder.version} {does}: it can be exported as onnx alone")


def _copies(ladder: Ladder) -> bool:
    return any(isinstance(rung, ExtractionRung) for rung in ladder.rungs)


def _write(
    settings: Settings, record: StudentRecord, ladder: Ladder, format_: Format, folder: Path
) -> None:
    rungs = [_write_rung(rung, format_, folder) for rung in ladder.rungs]
    encoder = ladder.encoder
    if encoder is not None:
        shutil.copyfile(encoder.graph(), folder / ENCODER)
        shutil.copyfile(encoder.folder / TOKENIZER, folder / TOKENIZER)
    _copy_source(hashing.__file__, folder / NGRAMS)
    floors = None if ladder.floors is None else _write_floors(ladder.floors, folder)
    writes = rungs[-1].name == TEXT
    if not writes:
        _copy_source(answering.__file__, folder / STANDALONE)
    started_from = _licence(ladder, settings.loop.language_model)
    card = Card.parse(record.card)
    manifest = Manifest(
        kind="text" if writes else "extraction" if _copies(ladder) else "label",
        format=format_,
        version=ladder.version,
        task=ladder.task,
        threshold=ladder.threshold,
        floors=floors,
        head=ladder.head,
        masks=ladder.masks,
        barred=ladder.barred,
        encoder_tokens=None if encoder is None else MOST_TOKENS,
        rungs=tuple(rungs),
        usage=ladder.usage,
        teachers=tuple(card.data.teachers),
        dataset=card.data.version,
        licence=started_from.name,
    )
    manifest.write(folder)
    if started_from.text is not None:
        (folder / "LICENSE").write_text(started_from.text, encoding="utf-8")
    promise = card.promise or Promise.of(settings.policy)
    text = model_card(manifest, record, card, promise)
    (folder / "README.md").write_text(text, encoding="utf-8")
    seal(folder)


def _write_rung(rung: Rung, format_: Format, folder: Path) -> RungManifest:
    if isinstance(rung, TextRung):
        (folder / MODEL).mkdir()
        _WRITERS[format_](rung, folder / MODEL)
        graph = graphs.confidence_graph(rung.calibration, rung.novelty)
        (folder / CONFIDENCE).write_bytes(graph)
        return RungManifest(name="text", calibration=rung.calibration, most_tokens=rung.most_tokens)
    if isinstance(rung, ExtractionRung):
        (folder / TAGS).write_bytes(graphs.tagger_graph(rung.tagger))
        (folder / COPIED).write_bytes(graphs.copied_graph(rung))
        (folder / COPYING).mkdir()
        for module in (tokens, shape, decoding):
            name = module.__name__.rpartition(".")[2]
            _copy_source(module.__file__, folder / COPYING / f"{name}.py")
        return RungManifest(
            name="extraction", calibration=rung.calibration, extraction=rung.extraction
        )
    assert isinstance(rung, LabelRung), "a student that is kept has no other rungs"
    (folder / f"{rung.name}.onnx").write_bytes(graphs.label_graph(rung))
    classifier = rung.classifier
    return RungManifest(
        name=rung.name,
        calibration=classifier.calibration,
        fields=tuple(head.labels for head in graphs.fields_of(rung)),
        pieces=classifier.pieces if isinstance(classifier, FieldsClassifier) else ("", ""),
    )


def _write_floors(floors: Floors, folder: Path) -> FloorsManifest:
    """Write what tells the slice of a text."""
    strata = floors.strata
    told = language if strata.kind == "language" else telling
    _copy_source(told.__file__, folder / (LANGUAGE if strata.kind == "language" else SLICES))
    if strata.kind == "rarity":
        assert isinstance(strata.novelty, Novelty), "an exported ladder stays as it is"
        (folder / RARITY).write_bytes(graphs.surprise_graph(strata.novelty))
    return FloorsManifest(
        kind=strata.kind,
        names=strata.names,
        edges=strata.edges,
        thresholds=dict(floors.thresholds),
    )


def _write_gguf(rung: TextRung, target: Path) -> None:
    # It takes torch, which other formats do without.
    from distill.export import gguf_file

    gguf_file.write(rung, target)


_WRITERS: dict[Format, Callable[[TextRung, Path], None]] = {
    "hf": weights.write_hugging_face,
    "gguf": _write_gguf,
    "ctranslate2": weights.write_ctranslate2,
}
"""What writes the language model of a rung to a folder."""


def _licence(ladder: Ladder, language_model: str | None) -> Licence:
    """That of the model that the ladder's dearest rung started from."""
    for rung in reversed(ladder.rungs):
        if isinstance(rung, TextRung):
            return licence.find(_source(weights.base(rung), language_model))
        if isinstance(rung, LabelRung) and rung.encoder is not None:
            return licence.find(rung.encoder.folder)
    return Licence(None, None)


def _source(base: Path, language_model: str | None) -> Path:
    """Where the language model comes from that lies in ``base``: a GGUF file is converted into
    another folder, without its licence."""
    if language_model is None:
        return base
    try:
        found = find_language_model(language_model)
    except LanguageModelError:
        return base
    return found if found.is_file() and found.stem == base.name else base


def _or(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"


def _copy_source(module: str | None, target: Path) -> None:
    assert module is not None, "the module is a file"
    shutil.copyfile(module, target)
