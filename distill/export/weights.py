"""The weights of a text student: those of the language model that it started from, with what it has
learnt merged into them."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

from distill.export.folder import ExportError
from distill.students.text import language
from distill.students.text.job import ADAPTER, ENGINE
from distill.students.text.rung import TextRung
from distill.students.text.vocabulary import Vocabulary

_LAYER = re.compile(r"\.layers\.(\d+)\.")


def base(rung: TextRung) -> Path:
    """The Hugging Face folder of the language model that ``rung`` started from. Raises
    ExportError."""
    file = rung.folder / ADAPTER / "adapter_config.json"
    try:
        folder = Path(json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (OSError, KeyError, ValueError) as error:
        raise ExportError(f"{file} cannot be read: {error}") from error
    if not (folder / "config.json").is_file():
        raise ExportError(f"the language model that it started from is gone: {folder}")
    return folder


def vocabulary(rung: TextRung) -> Vocabulary:
    return Vocabulary.load(rung.folder / ENGINE)


def merged(rung: TextRung) -> Any:
    """The model as transformers has it, in float32. Raises ExportError."""
    folder = base(rung)
    try:
        return _merged(folder, rung.folder / ADAPTER)
    except Exception as error:
        # Any of the libraries that read the files may fail in its own way.
        said = " ".join(str(error).split())
        raise ExportError(f"{rung.folder / ADAPTER} cannot be merged: {said}") from error


def _merged(base: Path, adapter: Path) -> Any:
    import torch
    from peft import PeftModel
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    with safe_open(adapter / "adapter_model.safetensors", "pt") as weights:
        layers = {int(found[1]) for name in weights.keys() if (found := _LAYER.search(name))}  # noqa: SIM118
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    if len(layers) < model.config.num_hidden_layers:
        # It was trained with some of them alone.
        model = language.thinned(model, len(layers))
    with warnings.catch_warnings():
        # peft uses names of transformers that it will have to give up.
        warnings.simplefilter("ignore", FutureWarning)
        return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload().eval()


def write_hugging_face(rung: TextRung, target: Path) -> None:
    """Write a folder that transformers reads alone. Raises ExportError."""
    model, words = merged(rung), vocabulary(rung)
    model.generation_config.eos_token_id = words.end
    model.generation_config.pad_token_id = words.end
    model.save_pretrained(target)
    for file in base(rung).glob("tokenizer*.json"):
        shutil.copyfile(file, target / file.name)
    words.save(target)


def write_ctranslate2(rung: TextRung, target: Path) -> None:
    """Write the folder that the student is served from: in 8-bit integers."""
    shutil.copytree(rung.folder / ENGINE, target, dirs_exist_ok=True)
