"""The language models that text students start from: a folder or an installed package.

A Hugging Face folder is taken as it is. A GGUF file is read once into such a folder, in float32.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distill.students.text.vocabulary import TOKENIZER_FILE, Vocabulary

_CONFIG = "config.json"


class LanguageModelError(Exception):
    """There is no language model by that name, or it cannot be read."""


def find(name: str) -> Path:
    """The model in folder ``name``, or the one that package ``name`` carries in ``model/`` or
    beside its code: a folder in Hugging Face layout or a GGUF file.

    Raises LanguageModelError.
    """
    for folder in _folders(name):
        if (folder / _CONFIG).is_file() and (folder / TOKENIZER_FILE).is_file():
            return folder
        for file in sorted(folder.glob("*.gguf"))[:1]:
            return file
    raise LanguageModelError(
        f"no language model: {name!r} is neither a folder nor a package that carries one"
    )


def prepare(source: Path, cache: Path) -> Path:
    """The Hugging Face folder of what ``find`` has found.

    A GGUF file is converted into ``cache`` the first time, which takes half a minute and torch.
    Raises LanguageModelError.
    """
    if source.is_dir():
        return source
    target = cache / source.stem
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=cache))
    try:
        _convert(source, scratch)
        scratch.replace(target)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        if not target.is_dir():  # Else another process was faster.
            raise LanguageModelError(f"{source}: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def thinned(model: Any, count: int) -> Any:
    """The ``model`` with ``count`` of its layers alone, the first, the last and others between them
    at even distances (Sanh et al. 2019, "DistilBERT"). Changes the model.

    Raises ValueError where it does not have so many.
    """
    from torch.nn import ModuleList

    layers = model.base_model.layers
    last = len(layers) - 1
    if not 2 <= count <= len(layers):
        raise ValueError(f"of {len(layers)} layers, {count} cannot be kept")
    kept = [round(i * last / (count - 1)) for i in range(count)]
    model.base_model.layers = ModuleList(layers[i] for i in kept)
    # Each has its place in the cache of what was read.
    for i, layer in enumerate(model.base_model.layers):
        layer.self_attn.layer_idx = i
    model.config.num_hidden_layers = count
    kinds = getattr(model.config, "layer_types", None)
    if kinds:
        model.config.layer_types = [kinds[i] for i in kept]
    return model


def vocabulary(folder: Path) -> Vocabulary:
    """Of the model in a Hugging Face folder. Raises LanguageModelError."""
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        begin, end = config.get("bos_token_id"), config.get("eos_token_id")
        # Some models end a turn and a text with different marks.
        end = end[0] if isinstance(end, list) else end
        if not isinstance(end, int):
            raise LanguageModelError(f"{folder}: the model has no mark of the end")
        return Vocabulary.of(folder / TOKENIZER_FILE, begin, end)
    except (OSError, ValueError) as error:
        raise LanguageModelError(f"{folder}: {error}") from error


def _folders(name: str) -> list[Path]:
    """Where a model of that name may lie."""
    folder = Path(name)
    if folder.is_dir():
        return [folder.resolve()]
    # The package is not imported: it may want an engine of its own.
    spec = find_spec(name) if name.isidentifier() else None
    if spec is None or spec.origin is None:
        return []
    package = Path(spec.origin).parent.resolve()
    return [package / "model", package]


def _convert(file: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    read = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **source)
    config = read.config.to_dict()
    # The weights are no longer quantised, and a model that says so is not written.
    config.pop("quantization_config", None)
    model = type(read)(type(read.config).from_dict(config))
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(file.parent, **source).save_pretrained(target)
