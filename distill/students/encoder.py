"""Sentence embeddings: what dearer label rungs read beside n-grams.

The encoder runs in ONNX Runtime in 8-bit integers; torch exports it once into a cache folder. There
are also encoders of a task's own (``distill.runs.own_encoder``), in folders of that cache.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

Embeddings = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]

MOST_TOKENS = 128
"""Tokens that are read of a text."""

FOLDER = "encoder"
"""Where encoders are kept, below a store's folder."""
GRAPH = "encoder.onnx"
"""File of a task's own encoder, which has no other."""
MEMORY = "embeddings.db"
"""File of what is remembered there."""
TOKENIZER = "tokenizer.json"

MOST_REMEMBERED = 1_000_000
"""Texts whose embeddings are kept of one encoder, some 900 bytes each: the newest."""

_BATCH = 16
_SQL_VARIABLES = 500
_NO_ROW = 2**63 - 1
"""More than the number of any row."""


class EncoderError(Exception):
    """The encoder cannot be found or exported."""


class SentenceEncoder:
    """What an encoder in Hugging Face layout makes of texts: unit-length means of its last states,
    or what one of a task's own makes of these."""

    def __init__(
        self, name: str, folder: Path, graph: Path, memory: EmbeddingMemory | None
    ) -> None:
        self.name = name
        """What it is opened by."""
        self.folder = folder
        self._exported = graph
        self._memory = memory

    @classmethod
    def open(cls, name: str, cache: Path, remember: bool = False) -> SentenceEncoder:
        """The encoder in folder ``name``, the one that package ``name`` carries in ``model/``, or
        the one of a task's own of that name.

        It is exported into ``cache`` when first used, or by ``prepare``. With ``remember``,
        embeddings are kept there too: no text is embedded twice, at the price of a write to disk.
        Raises EncoderError.
        """
        cache.mkdir(parents=True, exist_ok=True)
        folder = _find(name, cache)
        if (folder / GRAPH).is_file():
            graph, memory = folder / GRAPH, folder / MEMORY
        else:
            graph = cache / exported_name(folder)
            memory = graph.with_suffix(".db")
        return cls(name, folder, graph, EmbeddingMemory(memory) if remember else None)

    @property
    def tuned(self) -> bool:
        """Whether it is a task's own."""
        return self._exported.parent == self.folder

    def forgetful(self) -> SentenceEncoder:
        """The same encoder, which embeds a text that it is asked about again."""
        return SentenceEncoder(self.name, self.folder, self._exported, None)

    def prepare(self) -> None:
        """Export the encoder if that has not been done; takes some seconds. Raises EncoderError."""
        if self._exported.exists():
            return
        # In a process of its own: torch and transformers take half a gigabyte to load.
        command = [sys.executable, "-m", "distill.students.export"]
        done = subprocess.run(
            [*command, self.folder, self._exported], capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise EncoderError(f"cannot export the encoder in {self.folder}: {last}")

    def graph(self) -> Path:
        """The exported encoder. Raises EncoderError."""
        self.prepare()
        return self._exported

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embeddings [n, dim] of ``texts``; may be called from several threads, a core each."""
        if self._memory is None:
            return self._compute(texts)
        keys = [text_key(text) for text in texts]
        known = self._memory.get(list(dict.fromkeys(keys)))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            fresh = self._compute(list(missing.values()))
            new = dict(zip(missing, fresh, strict=True))
            self._memory.put(new)
            known |= new
        return np.stack([known[key] for key in keys])

    def _compute(self, texts: Sequence[str]) -> Embeddings:
        return compute(self.graph(), self.folder / TOKENIZER, texts)


def exported_name(folder: Path) -> str:
    """What the encoder in ``folder`` is called once it has been exported: another one that lies
    elsewhere, or takes its place, is called otherwise."""
    files = [(file.name, file.stat()) for file in sorted(folder.iterdir())]
    seen = [(name, about.st_size, about.st_mtime_ns) for name, about in files]
    digits = xxhash.xxh3_64_hexdigest(repr((folder, seen)).encode())
    return f"{folder.parent.name}-{folder.name}-{digits[:8]}-int8.onnx"


def forget_before(cache: Path, horizon: float) -> None:
    """Delete the embeddings that were kept in ``cache`` before the Unix time ``horizon``.

    Those that a task's own encoder keeps stay as long as it does: they are what it has learnt.
    """
    for memory in cache.glob("*.db"):
        EmbeddingMemory(memory).forget_before(horizon)


def compute(graph: Path, tokenizer: Path, texts: Sequence[str]) -> Embeddings:
    """What the ``graph`` makes of each of ``texts``: [n, dim]."""
    session = _session(graph)
    encodings = tokens_of(tokenizer, texts)
    # Texts of like length together: padding costs as much as text.
    order = sorted(range(len(texts)), key=lambda i: len(encodings[i]))
    batches = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    parts = [_run(session, [encodings[i] for i in batch]) for batch in batches]
    result: Embeddings = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
    result[order] = np.concatenate(parts)
    return result


def tokens_of(tokenizer: Path, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of each of ``texts``, at most ``MOST_TOKENS`` of them."""
    return [encoding.ids for encoding in _tokenizer(tokenizer).encode_batch(list(texts))]


def padded(tokens: Sequence[Sequence[int]]) -> tuple[Tokens, Tokens]:
    """Tokens of several texts as one array, and which of it are theirs: both [n, longest]."""
    ids = np.zeros((len(tokens), max(map(len, tokens))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, each in enumerate(tokens):
        ids[row, : len(each)] = each
        mask[row, : len(each)] = 1
    return ids, mask


# Shared by all encoders of a process: every ladder of a server opens its own.
@lru_cache
def _tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(MOST_TOKENS)
    tokenizer.no_padding()
    return tokenizer


# Each takes some 33 MB (MiniLM in 8-bit integers), and tasks may have their own.
@lru_cache(maxsize=16)
def _session(model: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # A second thread slows a session down; who has cores to spare calls from several threads.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options)


def _run(session: Any, tokens: Sequence[Sequence[int]]) -> Embeddings:
    ids, mask = padded(tokens)
    embedding: Embeddings = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    return embedding


def text_key(text: str) -> bytes:
    """What a text is remembered by."""
    return xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass"))


class EmbeddingMemory:
    """Embeddings by hash of their text, in half precision, in one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Embeddings]:
        found: dict[bytes, Embeddings] = {}
        with closing(self._connect()) as connection:
            for start in range(0, len(keys), _SQL_VARIABLES):
                some = keys[start : start + _SQL_VARIABLES]
                marks = ",".join("?" * len(some))
                query = f"SELECT hash, vector FROM embeddings WHERE hash IN ({marks})"
                for key, vector in connection.execute(query, some):
                    found[key] = np.frombuffer(vector, dtype=np.float16).astype(np.float32)
        return found

    def put(self, new: dict[bytes, Embeddings]) -> None:
        now = time.time()
        rows = [(key, vector.astype(np.float16).tobytes(), now) for key, vector in new.items()]
        with closing(self._connect()) as connection, connection:
            connection.executemany("INSERT OR IGNORE INTO embeddings VALUES (?, ?, ?)", rows)
            # Rows are numbered as they come.
            newest = "SELECT max(rowid) FROM embeddings"
            connection.execute(
                f"DELETE FROM embeddings WHERE rowid <= ({newest}) - ?", [MOST_REMEMBERED]
            )

    def forget_before(self, horizon: float) -> None:
        # Found at once, since rows are numbered as they come and there is no older one most times.
        kept = "SELECT rowid FROM embeddings WHERE created >= ? ORDER BY rowid LIMIT 1"
        with closing(self._connect()) as connection, connection:
            connection.execute(
                f"DELETE FROM embeddings WHERE rowid < ifnull(({kept}), {_NO_ROW})", [horizon]
            )

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS embeddings "
            "(hash BLOB PRIMARY KEY, vector BLOB NOT NULL, created REAL NOT NULL DEFAULT 0)"
        )
        columns = {row[1] for row in connection.execute("PRAGMA table_info(embeddings)")}
        if "created" not in columns:
            # Made by an earlier version. Another process may be about to do the same.
            with suppress(sqlite3.OperationalError):
                connection.execute(
                    "ALTER TABLE embeddings ADD COLUMN created REAL NOT NULL DEFAULT 0"
                )
        return connection


def _find(name: str, cache: Path) -> Path:
    folder = cache / name
    if not folder.is_dir():
        folder = Path(name)
    if not folder.is_dir() and name.isidentifier():
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin).parent / "model"
    if not (folder / TOKENIZER).is_file():
        raise EncoderError(f"no sentence encoder: {name!r} is neither a folder nor a package's")
    return folder.resolve()
