"""What is forgotten, and what is said of answers that teach nobody."""

from contextlib import closing

from telemetry.store import Store
from tests.distill.synthetic import exchange


def test_texts_are_forgotten_in_batches(store):
    rows = [exchange(i, f"text {i}", "a", right_answer="b", comment="c") for i in range(1203)]
    store.write(rows)
    assert store.forget_before(1000.0 + 1100) == 1100
    assert len(store.teacher_answers("support")) == 103
    old, new = store.exchange("support-1099"), store.exchange("support-1100")
    assert (old.request, old.teacher_answer, old.right_answer, old.comment) == (None,) * 4
    assert (new.right_answer, old.prompt_tokens) == ("b", rows[1099].prompt_tokens)
    assert store.forget_before(1000.0 + 1100) == 0


def test_no_file_has_words_that_are_forgotten(tmp_path):
    """While the store is open: when nobody has it open, its log is deleted anyway."""
    with closing(Store(tmp_path)) as store:
        store.write([exchange(i, f"canary {i}", "canary") for i in range(1100)])
        assert _files_with(b"canary", tmp_path)
        store.forget_before(3000.0)
        assert _files_with(b"canary", tmp_path) == []


def test_texts_are_forgotten_while_others_read(tmp_path):
    with closing(Store(tmp_path)) as store, closing(Store(tmp_path)) as other:
        store.write([exchange(0, "text", "answer")])
        with other.engine.connect() as reading:
            reading.exec_driver_sql("SELECT * FROM exchanges").fetchone()
            assert store.forget_before(3000.0) == 1
        assert store.teacher_answers("support") == []


def _files_with(word, folder):
    return [file.name for file in folder.rglob("*") if file.is_file() and word in file.read_bytes()]


def test_what_is_left_out_is_counted_by_reason(store):
    rows = [
        exchange(0, "x", "a"),
        exchange(1, "x", "a", request=None, teacher_answer=None),
        exchange(2, "x", "a", finish_reason="length"),
        exchange(3, "x", "a", finish_reason="length", right_answer="b"),
        exchange(4, "x", "a", finish_reason=None, error="upstream_error"),
        exchange(5, "x", "a", finish_reason="content_filter"),
        exchange(6, "x", "a", teacher_answer=None, finish_reason="tool_calls"),
        exchange(7, "x", "a", score=0.0),
        exchange(8, "x", "a", route="student", teacher_answer=None),
        exchange(9, "x", "a", route="model"),
        exchange(10, "x", "a", finish_reason=None, right_answer="b"),
    ]
    store.write(rows)
    assert store.left_out("support") == {
        "not_stored": 1,
        "truncated": 1,
        "failed": 1,
        "filtered": 1,
        "no_text": 1,
        "called_wrong": 1,
    }
    assert store.left_out("support", since=1005.0) == {
        "filtered": 1,
        "no_text": 1,
        "called_wrong": 1,
    }
    assert store.left_out("other") == {}
