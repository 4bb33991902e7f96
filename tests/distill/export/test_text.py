"""Exported text students, each loaded by its own runtime where nothing of ours is."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from config.settings import LoopSettings, Settings
from distill.export import gguf_file, weights
from distill.export.engines import LlamaCpp
from distill.export.export import export
from distill.export.folder import MODEL, SUMS, ExportError, Format, Manifest, seal
from distill.export.loading import load
from distill.students import label, novelty
from distill.students.classifier import Calibration
from distill.students.ladder import Ladder
from distill.students.novelty import Novelty
from distill.students.text import language, training
from distill.students.text.engine import Sampling
from distill.students.text.job import Job, Recipe
from distill.students.text.lesson import Lesson
from distill.students.text.rung import TextRung
from distill.students.usage import UsageModel
from policies.ngrams import count_ngrams
from telemetry.exchange import StudentRecord
from tests.distill.export.test_export import CARD, alone
from tests.distill.language_model import EIGHT_BITS, pairs
from tests.router.test_edge import alone as alone_served

HEAD = "Which number? "
NO_NOVELTY = Novelty(np.zeros(0, dtype=bool), np.zeros(1), 1.0)

FORMATS: tuple[Format, ...] = ("hf", "gguf", "ctranslate2")

TEXTS = [*(text for text, _ in pairs(12, seed=4)), "zz 0000", "?!", "Où est la bibliothèque ?"]


@pytest.fixture(scope="module")
def data(language_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a student of a rung of n-grams and one that writes."""
    data = tmp_path_factory.mktemp("data")
    lessons = pairs(200)
    texts = [text for text, _ in lessons]
    scratch = data / "training"
    job = Job(
        str(language_model),
        "",
        [Lesson(text, answer) for text, answer in lessons],
        str(scratch),
        Recipe(epochs=1, rank=4),
    )
    training.train(job)
    new, _ = novelty.fit(texts, count_ngrams(texts))
    written = TextRung(scratch, 8, Calibration(1.0, 0.5, 0.4), new)
    # Half of the answers are like no other, so that it is not sure of any.
    few = [answer if i % 2 else "none" for i, (_, answer) in enumerate(lessons)]
    cheap = label.train(texts, few, ("none",)).rung
    usage = UsageModel(20, 0.2, {}, 0.0)
    ladder = Ladder("numbers", "numbers", 0.9, 0.7, HEAD, (cheap, written), usage)
    ladder.save(data / "students" / "numbers")
    return data


@pytest.fixture(scope="module")
def served(data: Path) -> Ladder:
    return Ladder.load(data / "students" / "numbers")


def exported(data: Path, format_: Format, target: Path, loop: LoopSettings | None = None) -> Path:
    record = StudentRecord(
        "numbers", "numbers", 1e9, "students/numbers", True, "passed", json.dumps(CARD)
    )
    settings = Settings(data=data, loop=loop or LoopSettings())
    export(settings, record, format_, target)
    return target


@pytest.fixture(scope="module")
def folders(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Format, Path]:
    target = tmp_path_factory.mktemp("exported")
    return {format_: exported(data, format_, target / format_) for format_ in FORMATS}


@pytest.mark.parametrize("format_", FORMATS)
def test_the_program_on_the_card_answers_as_the_student_does(
    folders: dict[Format, Path], served: Ladder, format_: Format
) -> None:
    folder = folders[format_]
    (program,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    said = alone("del sys.argv[1]\n" + program, folder, *(HEAD + text for text in TEXTS))
    writes = served.rungs[-1]
    expected = [writes.predict([text])[0].answer for text in TEXTS]
    assert said.splitlines()[:12] == expected[:12]


def test_code_in_a_folder_is_not_run_whatever_is_said_to_a_question(
    folders: dict[Format, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(folders["hf"], folder)
    own = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    model = folder / MODEL
    (model / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": own}))
    (model / "own.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    (folder / SUMS).unlink()
    seal(folder)
    monkeypatch.setattr("builtins.input", lambda _question: "y")
    with pytest.raises(ExportError, match="cannot be loaded"):
        load(folder)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("format_", FORMATS)
def test_a_loaded_folder_is_as_sure_as_the_student(
    folders: dict[Format, Path], served: Ladder, format_: Format
) -> None:
    loaded = load(folders[format_])
    assert [rung.name for rung in loaded.rungs] == ["ngram", "text"]
    assert not loaded.rungs[-1].fast
    known = 0
    for text in TEXTS:
        (one,), (other,) = (rungs[-1].predict([text]) for rungs in (loaded.rungs, served.rungs))
        assert one.confidence == pytest.approx(other.confidence, abs=EIGHT_BITS)
        if other.confidence > 0.5:
            assert one.answer == other.answer
            known += 1
        (first,), (second,) = loaded.predict([text]), served.predict([text])
        assert first.confidence == pytest.approx(second.confidence, abs=EIGHT_BITS)
    assert known >= 10
    assert loaded.rungs[-1].predict(TEXTS[-1:])[0].confidence == 0.0


def test_ctranslate2_is_the_very_engine_that_serves(
    folders: dict[Format, Path], served: Ladder
) -> None:
    loaded = load(folders["ctranslate2"])
    for text in TEXTS:
        (one,), (other,) = (rungs[-1].predict([text]) for rungs in (loaded.rungs, served.rungs))
        assert one.answer == other.answer
        assert one.confidence == pytest.approx(other.confidence, abs=1e-9)


def test_a_text_student_is_served_alone_and_always_where_it_is_told_to(
    folders: dict[Format, Path], served: Ladder
) -> None:
    names = {"version": "numbers", "task": "numbers"}
    reasons = set()
    with alone_served(folders["gguf"], "--always", **names) as client:
        for text in [*TEXTS[:8], TEXTS[-1]]:
            (expected,) = served.predict([text])
            response = client.chat.completions.with_raw_response.create(
                model="auto", messages=[{"role": "user", "content": HEAD + text}]
            )
            reason = response.headers["x-protege-reason"]
            confidence = float(response.headers["x-protege-confidence"])
            assert confidence == pytest.approx(expected.confidence, abs=EIGHT_BITS)
            assert reason == ("student_confident" if confidence >= 0.9 else "forced")
            if expected.confidence > 0.5:
                assert response.parse().choices[0].message.content == expected.answer
            reasons.add(reason)
    assert reasons == {"student_confident", "forced"}


def logits(model: Any, ids: list[int]) -> Any:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()


def test_weights_are_those_that_were_trained(
    folders: dict[Format, Path], data: Path, language_model: Path
) -> None:
    """What was merged is what serves, and not the model that it started from."""
    merged = AutoModelForCausalLM.from_pretrained(folders["hf"] / "model")
    assert merged.dtype == torch.float32
    base = AutoModelForCausalLM.from_pretrained(language_model)
    rung = TextRung.load(data / "students" / "numbers")
    words = weights.vocabulary(rung)
    (written,) = rung._engine.write(["abc 1234"], Sampling(8))
    question = words.question("abc 1234")
    ids = question + words.answer(written.text)
    logprobs = torch.log_softmax(torch.tensor(logits(merged, ids)), -1)
    given = [float(logprobs[i - 1, ids[i]]) for i in range(len(question), len(ids))]
    assert given == pytest.approx(written.logprobs, abs=0.1)
    assert np.abs(logits(merged, ids) - logits(base, ids)).max() > 0.1


def test_a_gguf_file_has_the_same_weights(folders: dict[Format, Path]) -> None:
    """By transformers, which reads it without any of what wrote it."""
    merged = AutoModelForCausalLM.from_pretrained(folders["hf"] / "model")
    folder = folders["gguf"] / "model"
    read = AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf")
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf")
    text = "zz a 1234 Où?"
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert (
        ids
        == AutoTokenizer.from_pretrained(folders["hf"] / "model")(
            text, add_special_tokens=False
        ).input_ids
    )
    # Of numbers in 8 bits, one in 256 is rounded away.
    assert np.abs(logits(read, ids) - logits(merged, ids)).max() < 0.5
    assert (logits(read, ids).argmax(1) == logits(merged, ids).argmax(1)).mean() > 0.8


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_llama_cpp_reads_models_of_this_kind(
    language_model: Path, tmp_path: Path, kind: str
) -> None:
    """Models that have learnt nothing, large enough for 8 bits and with other numbers of heads."""
    words = language.vocabulary(language_model)
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind,
        vocab_size=words.tokenizer.get_vocab_size(),
        hidden_size=96,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        bos_token_id=words.begin,
        eos_token_id=words.end,
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    for name, parameter in model.named_parameters():
        # Biases begin at nothing, and would be lost unseen.
        torch.nn.init.normal_(parameter, mean=float("norm" in name), std=0.3)
    gguf_file.write_model(model, words, tmp_path / "model.gguf")
    words.save(tmp_path)
    (said,) = LlamaCpp(tmp_path).write(["abc 1234"], Sampling(3))
    question = words.question("abc 1234")
    ids = model.generate(
        torch.tensor([question]),
        attention_mask=torch.ones(1, len(question)),
        max_new_tokens=3,
        do_sample=False,
        pad_token_id=words.end,
    )[0].tolist()
    assert said.text == words.text(ids[len(question) :])
    first = torch.log_softmax(torch.tensor(logits(model, question)[-1]), -1).max()
    assert said.logprobs[0] == pytest.approx(float(first), abs=0.1)
    assert not said.finished


def test_an_answer_with_a_token_of_unknown_probability_is_not_sure(
    folders: dict[Format, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As llama.cpp reports one that has part of a character for a token: it leaves that out."""
    engine = LlamaCpp(folders["gguf"] / "model")
    (whole,) = engine.write(["abc 1234"], Sampling(8))
    assert whole.finished
    real = engine._server

    class Forgetful:
        def handle_completions(self, asked: dict[str, Any]) -> dict[str, Any]:
            said = real.handle_completions(asked)
            del said["choices"][0]["logprobs"]["content"][0]
            return said

    monkeypatch.setattr(engine, "_server", Forgetful())
    (part,) = engine.write(["abc 1234"], Sampling(8))
    assert part.text == whole.text
    assert not part.finished


def test_what_gguf_does_not_know_is_refused(language_model: Path, tmp_path: Path) -> None:
    words = language.vocabulary(language_model)
    size = {"vocab_size": 300, "n_embd": 8, "n_layer": 1, "n_head": 1}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **size))
    with pytest.raises(ExportError, match="llama and qwen2, not gpt2"):
        gguf_file.write_model(model, words, tmp_path / "model.gguf")


def test_the_same_text_student_gives_the_same_bytes(
    folders: dict[Format, Path], data: Path, tmp_path: Path
) -> None:
    again = exported(data, "gguf", tmp_path / "again")
    assert (again / "SHA256SUMS").read_text() == (folders["gguf"] / "SHA256SUMS").read_text()


def test_the_card_of_a_text_student(folders: dict[Format, Path]) -> None:
    for format_, folder in folders.items():
        manifest = Manifest.read(folder)
        assert (manifest.kind, manifest.format) == ("text", format_)
        assert [rung.name for rung in manifest.rungs] == ["ngram", "text"]
        assert manifest.rungs[-1].most_tokens == 8
        card = (folder / "README.md").read_text()
        assert "| kind | text, of ngram and text |" in card
        assert HEAD in card
    assert not (folders["hf"] / "student.py").exists()


def test_a_text_student_does_not_go_as_onnx(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="numbers writes its answers: it goes as hf, gguf or ct"):
        exported(data, "onnx", tmp_path / "numbers")


def test_a_student_whose_base_is_gone_is_told_so(data: Path, tmp_path: Path) -> None:
    rung = TextRung.load(data / "students" / "numbers")
    rung.save(tmp_path)
    file = tmp_path / "text" / "adapter" / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"base_model_name_or_path": str(tmp_path / "gone")}))
    with pytest.raises(ExportError, match="started from is gone"):
        weights.base(TextRung.load(tmp_path))
    file.write_text("{")
    with pytest.raises(ExportError, match="cannot be read"):
        weights.base(TextRung.load(tmp_path))


def test_a_damaged_student_is_told_so(data: Path, tmp_path: Path) -> None:
    rung = TextRung.load(data / "students" / "numbers")
    rung.save(tmp_path)
    (tmp_path / "text" / "adapter" / "adapter_model.safetensors").write_bytes(b"{")
    with pytest.raises(ExportError, match="cannot be merged"):
        weights.merged(TextRung.load(tmp_path))


def test_a_student_with_some_of_the_layers_is_merged_with_those(
    language_model: Path, tmp_path: Path
) -> None:
    """Its adapter says how many these are."""
    words = language.vocabulary(language_model)
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
    config = AutoConfig.for_model(
        "llama",
        vocab_size=words.tokenizer.get_vocab_size(),
        num_hidden_layers=4,
        num_key_value_heads=2,
        bos_token_id=words.begin,
        eos_token_id=words.end,
        **size,
    )
    base = tmp_path / "base"
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    adapted = training.adapt(language.thinned(model, 2), rank=2)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(tmp_path / "text" / "adapter")
    rung = TextRung(tmp_path / "text", 8, Calibration(1.0, 0.0, 0.0), NO_NOVELTY)
    merged = weights.merged(rung)
    assert merged.config.num_hidden_layers == 2
    ids = words.question("abc 1234")
    expected = logits(adapted, ids)
    np.testing.assert_allclose(logits(merged, ids), expected, atol=1e-4)
