"""Tiny sentence encoders for tests, which know the words that they were made with."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from distill.students.encoder import GRAPH, TOKENIZER, EmbeddingMemory, exported_name, text_key

EXPORTED = "exported.onnx"
"""File of a ``table`` that is as one that has been exported."""

_DIM = 16


def table(folder: Path, words: Iterable[str]) -> Path:
    """Make ``folder`` an encoder that is the mean of vectors that words were given at random."""
    tokens = _write_tokenizer(folder, words)
    vectors = np.random.default_rng(0).normal(size=(len(tokens), _DIM)).astype(np.float32)
    write_graph(folder / EXPORTED, vectors)
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# Tiny\n")
    (folder / "LICENSE").write_text("You may.")
    return folder


def place(folder: Path, cache: Path) -> None:
    """Make it so that the ``table`` in ``folder`` has been exported to ``cache`` already."""
    cache.mkdir(parents=True, exist_ok=True)
    graph = (folder / EXPORTED).read_bytes()
    (cache / exported_name(folder.resolve())).write_bytes(graph)


def own(folder: Path, vectors: Mapping[str, Sequence[float]]) -> None:
    """Make ``folder`` a task's own encoder that is the mean of the ``vectors`` of words."""
    tokens = _write_tokenizer(folder, vectors)
    width = len(next(iter(vectors.values())))
    rows = [vectors.get(token, [0.0] * width) for token in tokens]
    write_graph(folder / GRAPH, np.array(rows, dtype=np.float32))


def bert(folder: Path, words: Iterable[str]) -> Path:
    """Make ``folder`` an untrained BERT of two layers in Hugging Face layout."""
    torch.manual_seed(0)
    tokens = _write_tokenizer(folder, words)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
    )
    model = BertModel(config, add_pooling_layer=False)
    # As different as a trained model's.
    torch.nn.init.normal_(model.embeddings.word_embeddings.weight, std=1.0)
    model.save_pretrained(folder)
    return folder


def remember(cache: Path, texts: Iterable[str], created: float) -> EmbeddingMemory:
    """Make it so that an encoder in ``cache`` has read ``texts`` at the Unix time ``created``."""
    cache.mkdir(parents=True, exist_ok=True)
    memory = EmbeddingMemory(cache / "some-int8.db")
    memory.put({text_key(text): np.ones(4, dtype=np.float32) for text in texts})
    with closing(sqlite3.connect(cache / "some-int8.db")) as database, database:
        database.execute("UPDATE embeddings SET created = ?", [created])
    return memory


def write_graph(file: Path, vectors: np.ndarray) -> None:
    """Write the graph of the mean of ``vectors`` [words, dim] of words."""
    graph = onnx.parser.parse_graph(
        f"""
        encoder (int64[n, m] input_ids, int64[n, m] attention_mask)
            => (float[n, {vectors.shape[1]}] embedding)
        {{
            found = Gather (table, input_ids)
            weight = Cast <to = 1> (attention_mask)
            column = Unsqueeze (weight, last)
            weighted = Mul (found, column)
            embedding = ReduceMean <keepdims = 0> (weighted, words)
        }}"""
    )
    arrays = {"table": vectors, "last": np.array([2]), "words": np.array([1])}
    graph.initializer.extend(onnx.numpy_helper.from_array(*pair[::-1]) for pair in arrays.items())
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), file)


def _write_tokenizer(folder: Path, words: Iterable[str]) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    tokens = ["[UNK]", "[CLS]", *sorted(set(words))]
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A", None, [("[CLS]", 1)])
    tokenizer.save(str(folder / TOKENIZER))
    return tokens
