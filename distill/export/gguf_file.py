"""A text student as a GGUF file, which llama.cpp and what is built on it read
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).

Matrices are in 8-bit integers, 32 of a row with a scale of their own (``Q8_0``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFWriter, TokenType

from distill.export import weights
from distill.export.folder import GGUF, ExportError
from distill.students.text.rung import TextRung
from distill.students.text.vocabulary import Vocabulary

_ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}

# How a text is parted before its bytes are merged: what tokenizer.json says, and its name in GGUF.
_PARTED_BY = {
    ("ByteLevel",): "gpt-2",
    ("Digits", "ByteLevel"): "smollm",
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "ByteLevel",
    ): "qwen2",
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "ByteLevel",
    ): "llama-bpe",
}

Weights = npt.NDArray[np.float32]


def write(rung: TextRung, target: Path) -> None:
    """Write ``model.gguf`` and what makes its tokens to the folder ``target``. Raises ExportError,
    as ``write_model`` does."""
    words = weights.vocabulary(rung)
    write_model(weights.merged(rung), words, target / GGUF)
    words.save(target)


def write_model(model: Any, words: Vocabulary, file: Path) -> None:
    """Write a model of transformers' and its tokenizer to a ``file``.

    Raises ExportError for models that are neither Llama's nor Qwen 2's kind, or have another
    tokenizer than of byte pairs.
    """
    config = model.config
    architecture = _ARCHITECTURES.get(config.model_type)
    if architecture is None:
        known = " and ".join(_ARCHITECTURES)
        raise ExportError(f"gguf takes models of kind {known}, not {config.model_type}")
    writer = GGUFWriter(file, gguf.MODEL_ARCH_NAMES[architecture])
    _add_shape(writer, config)
    _add_tokenizer(writer, words, config.vocab_size)
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    state = model.state_dict()
    if config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    for name, tensor in sorted(state.items()):
        array = tensor.detach().float().numpy()
        if architecture == gguf.MODEL_ARCH.LLAMA:
            array = _reordered(name, array, config)
        _add(writer, str(names.get_name(name, (".weight", ".bias"))), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: GGUFWriter, config: Any) -> None:
    rope = config.rope_parameters
    if rope.get("rope_type", "default") != "default":
        raise ExportError(f"gguf: positions of kind {rope['rope_type']} are not known here")
    if getattr(config, "use_sliding_window", False):
        raise ExportError("gguf: attention to a window of the text is not known here")
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_tokenizer(writer: GGUFWriter, words: Vocabulary, size: int) -> None:
    read = json.loads(words.tokenizer.to_str())
    if read["model"]["type"] != "BPE":
        raise ExportError(f"gguf: tokenizers of kind {read['model']['type']} are not known here")
    parted = read["pre_tokenizer"] or {}
    steps = parted.get("pretokenizers", [parted])
    by = tuple(step.get("pattern", {}).get("Regex") or step.get("type") for step in steps)
    if by not in _PARTED_BY:
        raise ExportError("gguf: how its tokenizer parts texts is not known here")
    # More rows than tokens: models round the size of their vocabulary up.
    tokens = [f"[PAD{i}]" for i in range(size)]
    types = [TokenType.UNUSED] * size
    for token, i in read["model"]["vocab"].items():
        tokens[i], types[i] = token, TokenType.NORMAL
    for added in read["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    merges = [one if isinstance(one, str) else " ".join(one) for one in read["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_PARTED_BY[by])
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    if words.begin is not None:
        writer.add_bos_token_id(words.begin)
    writer.add_eos_token_id(words.end)
    # The marks are part of the question.
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)


def _reordered(name: str, array: Weights, config: Any) -> Weights:
    """Queries and keys of Llama's kind: GGUF has the two numbers that a position turns side by
    side, transformers half a head apart."""
    if ".q_proj." in name:
        heads = config.num_attention_heads
    elif ".k_proj." in name:
        heads = config.num_key_value_heads
    else:
        return array
    halves = array.reshape(heads, 2, -1, *array.shape[1:])
    return halves.swapaxes(1, 2).reshape(array.shape)


def _add(writer: GGUFWriter, name: str, array: Weights) -> None:
    kind = GGMLQuantizationType.Q8_0
    if array.ndim == 1 or array.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        writer.add_tensor(name, array.astype(np.float32))
    else:
        writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
