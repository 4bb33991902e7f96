"""What encoders remember of texts: whose it is, how much, and for how long."""

import sqlite3
import time
from contextlib import closing

import numpy as np
import pytest

from distill.students import encoder
from distill.students.encoder import (
    FOLDER,
    EmbeddingMemory,
    SentenceEncoder,
    exported_name,
    forget_before,
    text_key,
)
from tests.distill import sentence_encoder

KEYS = [text_key(text) for text in "abcdef"]


def fill(memory: EmbeddingMemory, keys: list[bytes]) -> None:
    memory.put(dict.fromkeys(keys, np.ones(4, dtype=np.float32)))


def test_the_newest_texts_alone_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(encoder, "MOST_REMEMBERED", 3)
    memory = EmbeddingMemory(tmp_path / "memory.db")
    for key in (*KEYS, KEYS[-1]):
        fill(memory, [key])
    assert memory.get(KEYS).keys() == set(KEYS[-3:])


def test_two_encoders_do_not_take_one_another_s_word(tmp_path):
    said = []
    for name, words in (("first", ["crash"]), ("second", ["a", "crash", "login"])):
        folder = sentence_encoder.table(tmp_path / "models" / name, words)
        sentence_encoder.place(folder, tmp_path / FOLDER)
        opened = SentenceEncoder.open(str(folder), tmp_path / FOLDER, remember=True)
        said.append(opened.embed(["crash"]))
        assert said[-1] == pytest.approx(opened.forgetful().embed(["crash"]), abs=1e-3)
    assert said[0] != pytest.approx(said[1], abs=1e-3)


def test_an_encoder_that_takes_another_s_place_is_exported_again(tmp_path):
    one, other = tmp_path / "a" / "enc" / "model", tmp_path / "b" / "enc" / "model"
    places = [(one, ["crash"]), (other, ["crash"]), (one, ["login", "a"])]
    names = [exported_name(sentence_encoder.table(folder, words)) for folder, words in places]
    assert len(set(names)) == 3


def test_what_was_kept_for_long_enough_is_forgotten(tmp_path):
    memory = sentence_encoder.remember(tmp_path, "abc", created=1000.0)
    own = sentence_encoder.remember(tmp_path / "tuned-x", "abc", created=1000.0)
    fill(memory, KEYS[2:])
    forget_before(tmp_path, 2000.0)
    assert memory.get(KEYS).keys() == set(KEYS[3:])
    # What a task's own encoder says of texts was learnt without them, and cannot be said again.
    assert own.get(KEYS).keys() == set(KEYS[:3])
    forget_before(tmp_path, time.time() + 1)
    assert memory.get(KEYS) == {}


def test_a_memory_of_an_earlier_version_is_read_and_written(tmp_path):
    with closing(sqlite3.connect(tmp_path / "x.db")) as old, old:
        old.execute("CREATE TABLE embeddings (hash BLOB PRIMARY KEY, vector BLOB NOT NULL)")
        vector = np.ones(4, dtype=np.float16).tobytes()
        old.execute("INSERT INTO embeddings VALUES (?, ?)", [KEYS[0], vector])
    memory = EmbeddingMemory(tmp_path / "x.db")
    fill(memory, [KEYS[1]])
    assert memory.get(KEYS).keys() == set(KEYS[:2])
    forget_before(tmp_path, 1.0)
    assert memory.get(KEYS).keys() == {KEYS[1]}
