"""``protege data`` on a store: out to files, in from them, reviewed and described."""

import csv
import gzip
import json
import os
import time
from datetime import date
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from config.settings import LoopSettings, PolicySettings
from distill.students.encoder import FOLDER, text_key
from distill.trainer.handover import TrainerSettings
from distill.trainer.loop import Trainer
from router.commands.data import data_app
from telemetry.exchange import StudentRecord, TaskState
from telemetry.figures import sums
from telemetry.store import Store
from tests.distill import sentence_encoder
from tests.distill.synthetic import AT_ONCE, WORDS, exchange, exchanges, messages, stream
from tests.router.server import run_cli

REFUSAL = "I'm sorry, but I can't assist with that."


def cli(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(data_app, [str(each) for each in arguments], env=environment)


def ok(*arguments: str | Path, **environment: str) -> str:
    done = cli(*arguments, **environment)
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    yield store
    store.close()


def train_once(data: Path) -> None:
    settings = TrainerSettings(
        data=data, policy=PolicySettings(), loop=LoopSettings(encoder=None, rollout=AT_ONCE)
    )
    looks = iter([False])
    Trainer(settings).run(lambda: next(looks, True))


def test_what_goes_out_as_parquet_comes_in_as_a_seed(store, tmp_path):
    pairs = stream(60)
    store.write([*exchanges(pairs), exchange(900, "weapons", REFUSAL)])
    file = tmp_path / "out.parquet"
    assert "60 pairs of support" in ok("export", "support", "--output", file, "--data", tmp_path)
    other = tmp_path / "other"
    assert ok("import", file, "--task", "seeded", "--data", other) == "60 pairs added to seeded\n"
    again = ok("import", file, "--task", "seeded", "--data", other)
    assert again == "0 pairs added to seeded, 60 were there already\n"
    into = Store(other)
    rows = into.teacher_answers("seeded")
    assert [(json.loads(row.request or "")["messages"], row.teacher_answer) for row in rows] == [
        (messages(text), answer) for text, answer in pairs
    ]
    assert [row.created for row in rows] == [1000.0 + i for i in range(60)]
    # Nobody has asked for them.
    assert sums(into.engine, 0.0, time.time()) == []
    assert into.tasks_in_use(0.0, "", 10) == []
    into.close()


def test_a_seed_teaches_but_is_no_evidence(store, tmp_path):
    file = tmp_path / "seed.csv.gz"
    with gzip.open(file, "wt", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "label"])
        writer.writerows(stream(300))
    ok("import", file, "--task", "support", "--data", tmp_path)
    train_once(tmp_path)
    (record,) = store.roster.students("support")
    assert not record.serving
    told = json.loads(record.card)["data"]
    assert (told["answers"], told["imported"], told["evidence"]) == (300, 300, 0)
    assert set(told["answers_by_label"]) == set(WORDS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("LOG.JSONL.GZ", json.dumps({"messages": messages("down again"), "answer": "outage"})),
        ("Seed.Csv.Gz", "text,label\ndown again,outage\n"),
    ],
)
def test_a_seed_may_have_its_name_in_capitals(tmp_path, name, content):
    file = tmp_path / name
    file.write_bytes(gzip.compress(content.encode()))
    told = ok("import", file, "--task", "support", "--data", tmp_path)
    assert told == "1 pairs added to support\n"


def test_the_card_is_of_what_a_run_reads_and_an_export_has_everything(store, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.data.on_record.MOST_ANSWERS", 200)
    store.write(exchanges(stream(250)))
    pairs = enumerate(stream(150, seed=1), start=250)
    seeds = [exchange(i, text, answer, route="imported") for i, (text, answer) in pairs]
    store.import_pairs(seeds, since=0.0)
    train_once(tmp_path)
    (record,) = store.roster.students("support")
    learnt = json.loads(record.card)["data"]
    card = json.loads(ok("card", "support", "--json", "--data", tmp_path))
    assert {name: learnt[name] for name in card} == card
    assert (card["answers"], card["imported"]) == (200, 100)
    file = tmp_path / "out.jsonl"
    exported = ok("export", "support", "--format", "openai", "--output", file, "--data", tmp_path)
    assert exported.startswith("400 pairs")


def test_a_seed_that_teaches_no_more_is_added_again(store, tmp_path):
    file = tmp_path / "seed.csv"
    file.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in stream(3)))

    def brought_in():
        told = ok("import", file, "--task", "support", "--data", tmp_path)
        epoch = store.roster.task_state("support").epoch
        assert len(store.teacher_answers("support", epoch)) == 3
        return told

    assert brought_in() == "3 pairs added to support\n"
    store.forget_before(time.time())
    assert brought_in() == "3 pairs added to support\n"
    student = StudentRecord("v1", "support", 1.0, "", True, "passed", "{}")
    assert store.roster.close_run(TaskState("support"), student)
    assert store.roster.demote("support", "v1", "audits disagree", time.time())
    assert brought_in() == "3 pairs added to support\n"
    assert brought_in() == "0 pairs added to support, 3 were there already\n"


def test_pairs_that_are_too_old_to_teach_are_left_out(store, tmp_path):
    now = time.time()
    times = (now - 10 * 86400, now - 2 * 86400, now - 86400, now, now + 86400)
    store.write([exchange(i, f"text {i}", "a", created=each) for i, each in enumerate(times)])
    file = tmp_path / "out.parquet"
    ok("export", "support", "--output", file, "--data", tmp_path)
    student = StudentRecord("v1", "seeded", 1.0, "", True, "passed", "{}")
    assert store.roster.close_run(TaskState("seeded"), student)
    assert store.roster.demote("seeded", "v1", "audits disagree", now - 1.5 * 86400)
    arguments = ("import", file, "--task", "seeded", "--data", tmp_path)
    assert ok(*arguments, PROTEGE_DATASET__RETENTION_DAYS="7") == (
        "3 pairs added to seeded, 1 are older than dataset.retention_days, "
        "1 are from before the task's last demotion\n"
    )
    rows = store.teacher_answers("seeded")
    assert [row.created for row in rows[:2]] == pytest.approx(times[2:4])
    # What is dated in the future is forgotten when all else is.
    assert now <= rows[2].created <= time.time()


@pytest.mark.parametrize(
    ("kind", "count", "created"),
    [
        (("s", None), 1_700_000_000, 1_700_000_000.0),
        (("ms", "Europe/Berlin"), 1_700_000_000_500, 1_700_000_000.5),
        (("us", "UTC"), 1_700_000_000_250_000, 1_700_000_000.25),
        (("ns", None), 1_700_000_000_123_456_789, 1_700_000_000.123456789),
        (("us", None), -1, 0.0),
    ],
)
def test_times_of_any_unit_come_in(store, tmp_path, kind, count, created):
    arguments = import_dated(tmp_path, pyarrow.timestamp(*kind), count)
    assert ok(*arguments) == "2 pairs added to dated\n"
    dated = store.teacher_answers("dated")[0]
    assert (dated.teacher_answer, dated.created) == ("dated", pytest.approx(created, abs=1e-6))


@pytest.mark.parametrize(
    ("told", "created"),
    [
        (pyarrow.array(["2023-11-14T22:13:20Z", None]), 1_700_000_000.0),
        (pyarrow.array(["2023-11-14 22:13:20.5", ""]), 1_700_000_000.5),
        (pyarrow.array([1_700_000_000, None]), 1_700_000_000.0),
        (pyarrow.array([1_700_000_000.25, None]), 1_700_000_000.25),
        (pyarrow.array([date(2023, 11, 14), None]), 1_699_920_000.0),
    ],
)
def test_times_that_other_tools_have_written_otherwise_are_times(store, tmp_path, told, created):
    asked = [json.dumps(messages(text)) for text in ("one", "two")]
    columns = {"messages": asked, "answer": ["dated", "undated"], "created": told}
    parquet.write_table(pyarrow.table(columns), tmp_path / "times.parquet")
    arguments = ("import", tmp_path / "times.parquet", "--task", "dated", "--data", tmp_path)
    assert ok(*arguments) == "2 pairs added to dated\n"
    dated, undated = store.teacher_answers("dated")
    assert (dated.created, undated.teacher_answer) == (pytest.approx(created), "undated")
    kept = ok(*arguments[:3], "young", *arguments[4:], PROTEGE_DATASET__RETENTION_DAYS="7")
    assert kept == "1 pairs added to young, 1 are older than dataset.retention_days\n"


@pytest.mark.parametrize(("unit", "count"), [("s", 10**12), ("us", -(10**18))])
def test_times_that_cannot_be_are_told_by_row(store, tmp_path, unit, count):
    done = cli(*import_dated(tmp_path, pyarrow.timestamp(unit), count))
    assert done.stdout == "1 pairs added to dated, 1 rows cannot be used\n"
    (line,) = done.stderr.splitlines()
    assert "times.parquet:1: the time " in line


def import_dated(folder, kind, count):
    """The arguments that import a pair of this time, and one without."""
    asked = [json.dumps(messages(text)) for text in ("one", "two")]
    times = pyarrow.array([count, None], pyarrow.int64()).cast(kind)
    columns = {"messages": asked, "answer": ["dated", "undated"], "created": times}
    # What nobody reads may be anything.
    table = pyarrow.table({**columns, "noted": times})
    parquet.write_table(table, folder / "times.parquet")
    return ("import", folder / "times.parquet", "--task", "dated", "--data", folder)


def test_messages_may_be_a_column_of_structures(store, tmp_path):
    """As the data frames of other tools have them: each has all keys that any of them has."""
    parts = [{"role": "user", "name": "Ann", "content": "down again"}]
    said = [messages("no invoice"), parts, None]
    columns = {"messages": said, "answer": ["billing", "outage", "billing"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "nested.parquet")
    done = cli("import", tmp_path / "nested.parquet", "--task", "nested", "--data", tmp_path)
    assert done.stdout == "2 pairs added to nested, 1 rows cannot be used\n"
    rows = store.teacher_answers("nested")
    assert [json.loads(row.request or "")["messages"] for row in rows] == said[:2]


def test_columns_that_cannot_be_read_are_told_in_one_line(tmp_path):
    no_text = pyarrow.array([b"\xff"]).view(pyarrow.string())
    asked = pyarrow.array([json.dumps(messages("one"))])
    for names, columns in (
        (["messages", "answer"], [asked, no_text]),
        (["messages", "answer", "answer"], [asked, asked, asked]),
    ):
        file = tmp_path / "odd.parquet"
        parquet.write_table(pyarrow.Table.from_arrays(columns, names), file)
        done = cli("import", file, "--task", "odd", "--data", tmp_path)
        assert isinstance(done.exception, SystemExit)
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"protege: {file}: ")


def test_openai_lines_go_out_and_come_in(store, tmp_path):
    store.write(exchanges(stream(5)))
    file = tmp_path / "out.jsonl"
    ok("export", "support", "--format", "openai", "--output", file, "--data", tmp_path)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    text, answer = stream(5)[0]
    said = {"role": "assistant", "content": answer}
    assert lines[0] == {"messages": [*messages(text), said]}
    with file.open("a", encoding="utf-8") as handle:
        handle.write('{"messages": []}\nnot JSON\n')
    done = cli("import", file, "--task", "again", "--data", tmp_path)
    assert done.stdout == "5 pairs added to again, 2 rows cannot be used\n"
    assert f"{file}:6" in done.stderr
    assert f"{file}:7" in done.stderr


@pytest.mark.parametrize("form", ["openai", "parquet"])
def test_private_data_do_not_go_out_where_they_are_masked(store, tmp_path, form):
    said = [{"role": "system", "content": "Help ann@example.com."}, *messages("ann@example.com?")]
    parts = [{"role": "user", "content": [{"type": "text", "text": "I am eve@example.com"}]}]
    store.write(
        [
            exchange(0, "", "write to ann@example.com", request=json.dumps({"messages": said})),
            exchange(1, "", "it is eve@example.com", request=json.dumps({"messages": parts})),
        ]
    )
    file = tmp_path / f"out.{form}"
    masked = {"PROTEGE_DATASET__PRIVATE": "mask"}
    arguments = ("export", "support", "--format", form, "--output", file, "--data", tmp_path)
    ok(*arguments, **masked)
    assert b"example.com" not in file.read_bytes()
    ok("import", file, "--task", "seeded", "--data", tmp_path)
    found = {row.teacher_answer for row in store.teacher_answers("seeded")}
    assert found == {"write to [EMAIL_1]", "it is [EMAIL_1]"}
    ok(*arguments)
    ok("import", file, "--task", "plain", "--data", tmp_path)
    found = {row.teacher_answer for row in store.teacher_answers("plain")}
    assert found == {"write to ann@example.com", "it is eve@example.com"}


def test_review_lists_what_is_likely_wrong_and_keeps_what_a_person_says(store, tmp_path):
    """Three prompts that were sent four times each, and once answered otherwise."""
    sent = [(f"{text} {text[::-1]}", "outage") for text in ("alpha", "beta", "gamma")] * 3
    rows = exchanges([*stream(60), *sent])
    rows += [exchange(900 + i, sent[i][0], "billing") for i in range(3)]
    store.write(rows)
    found = json.loads(ok("review", "support", "--json", "--data", tmp_path))
    wrong = {one["id"]: one["suggestion"] for one in found if one["doubt"] == "inconsistent"}
    assert wrong == {f"support-{900 + i}": "outage" for i in range(3)}
    shown = ok("review", "support", "--data", tmp_path)
    assert f"{len(found)} answers of support are likely wrong" in shown
    judged = ok(
        *("review", "support", "--accept", "support-900", "--drop", "support-901"),
        *("--correct", "support-902=outage", "--data", tmp_path),
    )
    assert judged == "3 answers of support judged\n"
    left = json.loads(ok("review", "support", "--json", "--data", tmp_path))
    assert not wrong.keys() & {one["id"] for one in left}
    kept = {row.id: row.lesson for row in store.teacher_answers("support")}
    assert (kept["support-900"], kept["support-902"]) == ("billing", "outage")
    assert "support-901" not in kept


def test_the_last_that_is_said_of_an_answer_counts(store, tmp_path):
    store.write([exchange(0, "text", "billing")])

    def taught(option, said):
        ok("review", "support", option, said, "--data", tmp_path)
        return [row.lesson for row in store.teacher_answers("support")]

    assert taught("--correct", "support-0=outage") == ["outage"]
    assert taught("--drop", "support-0") == []
    assert taught("--correct", "support-0=outage") == ["outage"]
    assert taught("--accept", "support-0") == ["billing"]


def test_the_program_knows_the_command(store, tmp_path):
    process = run_cli("data", "card", "nothing", "--data", str(tmp_path))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == "protege: there is no answer of the teacher to learn from in the task nothing\n"


def test_a_verdict_on_the_teacher_is_the_opposite_where_the_student_said_otherwise(store, tmp_path):
    audit = {"route": "student", "sampled": True, "agreed": False, "answer": "the student's"}
    store.write([exchange(i, f"text {i}", "teacher's", **_audited(audit)) for i in range(3)])
    ok("review", "support", "--accept", "support-0", "--drop", "support-1", "--data", tmp_path)
    assert {row.id for row in store.teacher_answers("support")} == {"support-0", "support-2"}


def _audited(values):
    return {name: value for name, value in values.items() if name != "answer"}


def test_the_card_says_what_is_left_out(store, tmp_path):
    cut = exchange(900, "cut", "a", finish_reason="length")
    store.write([*exchanges(stream(30)), exchange(800, "weapons", REFUSAL), cut])
    told = json.loads(ok("card", "support", "--json", "--data", tmp_path))
    assert told["not_learnt"] == {"refusal": 1}
    assert told["left_out"] == {"truncated": 1}
    shown = ok("card", "support", "--data", tmp_path)
    assert "truncated: 1" in shown


def test_texts_are_forgotten_without_a_server(store, tmp_path):
    store.write(exchanges(stream(4)))
    memory = sentence_encoder.remember(tmp_path / FOLDER, ["old"], created=1000.0)
    done = ok("forget", "--data", tmp_path, PROTEGE_DATASET__RETENTION_DAYS="30")
    assert done == "The texts of 4 exchanges are deleted\n"
    assert store.teacher_answers("support") == []
    assert memory.get([text_key("old")]) == {}


def test_only_files_are_written(store, tmp_path):
    store.write(exchanges(stream(3)))
    file, link, pipe = (tmp_path / name for name in ("out.jsonl", "link.jsonl", "pipe"))
    link.symlink_to(file)
    os.mkfifo(pipe)
    export = ("export", "support", "--format", "openai", "--data", tmp_path, "--output")
    ok(*export, link)
    assert link.is_symlink()
    assert len(file.read_text().splitlines()) == 3
    for place in (pipe, tmp_path):
        done = cli(*export, place)
        assert done.exit_code == 1
        assert done.stderr == f"protege: cannot write to {place}: it is there, and no file\n"
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("export", "nothing", "--output", "x.parquet"), "no answer of the teacher"),
        (("export", "support", "--output", "x", "--format", "xml"), "--format: expected parquet"),
        (("export", "support", "--output", "no/x.parquet"), "no/x.parquet: No such file"),
        (("import", "missing.jsonl", "--task", "t"), "missing.jsonl: No such file"),
        (("import", "missing.parquet", "--task", "t"), "missing.parquet: No such file"),
        (("import", "broken.parquet", "--task", "t"), "broken.parquet: not valid Parquet"),
        (("import", "wrong.csv", "--task", "t"), "no column label"),
        (("import", "empty.jsonl", "--task", "t"), "no pair in it"),
        (("review", "support", "--accept", "req_no"), "there is no exchange req_no"),
        (("review", "support", "--correct", "support-0"), "expected ID=ANSWER"),
        (("review", "support", "--accept", "support-0", "--drop", "support-0"), "judged twice"),
        (("forget",), "retention_days is not set"),
    ],
)
def test_mistakes_are_told_in_one_line(store, tmp_path, monkeypatch, arguments, reason):
    store.write(exchanges(stream(3)))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "wrong.csv").write_text("text\nx\n")
    (tmp_path / "empty.jsonl").write_text("\n")
    places = [
        str(tmp_path / one) if one.endswith((".jsonl", ".parquet", ".csv")) else one
        for one in arguments
    ]
    done = cli(*places, "--data", tmp_path)
    assert done.exit_code == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert reason in line
