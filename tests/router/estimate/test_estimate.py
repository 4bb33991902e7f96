"""``protege estimate`` as it is typed."""

from __future__ import annotations

import csv
import gzip
import json
import signal
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
import typer
from scipy.stats import binom
from typer.testing import CliRunner

from distill.forecast import Step
from router.commands.estimate import estimate
from router.demo.report import Row
from router.estimate.figures import Figures, Tally, TaskFigures, total
from router.estimate.report import interval
from telemetry.store import Store
from tests.distill import sentence_encoder
from tests.distill.synthetic import WORDS, exchanges, messages, stream
from tests.router.server import ROOT, Child, children, eventually, run_cli

NO_ENCODER = {"PROTEGE_LOOP__ENCODER": "null"}
COMMAND = typer.Typer(pretty_exceptions_enable=False)
COMMAND.command()(estimate)
DEMO_KEYS = {
    "teacher", "seed", "alpha", "requests", "failures",
    "training_lag_s", "tasks", "totals", "baseline",
}  # fmt: skip
ROWS = 500
HEADLINES = ROOT.parent / "shared" / "data" / "headlines_train.csv.gz"


def run(*arguments: object, **environment: str) -> tuple[int, str, str]:
    process = run_cli("estimate", *map(str, arguments), **NO_ENCODER, **environment)
    try:
        output, errors = process.communicate(timeout=150)
    finally:
        process.kill()
    return process.returncode, output, errors


def write_jsonl(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def sums(count: int) -> list[dict[str, Any]]:
    """A task that nobody can learn."""
    return [
        {
            "messages": [
                {"role": "system", "content": "[Add] the numbers."},
                {"role": "user", "content": f"{number} + {number * 7}"},
                {"role": "assistant", "content": str(number * 8)},
            ],
            # Markup to some, and in a formula wrong.
            "metadata": {"task": "[Add] $ and $^"},
        }
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task that can be learnt, one that cannot, and some rows that are none."""
    lines: list[dict[str, Any]] = [
        {
            "messages": messages(text),
            "answer": answer,
            "model": "gpt-5.4",
            "timestamp": 1.7e9 + 60 * number,
            "usage": {"prompt_tokens": 100, "completion_tokens": 10},
        }
        for number, (text, answer) in enumerate(stream(ROWS))
    ]
    lines += sums(100)
    Random(0).shuffle(lines)
    path = tmp_path_factory.mktemp("logs") / "logs.jsonl"
    write_jsonl(path, lines)
    with path.open("a") as file:
        file.writelines(["{}\n"] * 12)
    return path


@pytest.fixture(scope="module")
def finished(logs: Path) -> tuple[int, str, str]:
    folder = logs.parent
    return run(logs, "--json", folder / "e.json", "--png", folder / "e.png", "--workers", 2)


@pytest.fixture(scope="module")
def figures(logs: Path, finished: tuple[int, str, str]) -> dict[str, Any]:
    return json.loads((logs.parent / "e.json").read_text())


def test_it_says_what_would_have_been(finished: tuple[int, str, str]) -> None:
    code, output, errors = finished
    assert code == 0
    assert "label-the-message-as-" in output
    assert "No student for [Add] $ and $^: " in output
    assert "Traceback" not in errors


def test_bad_rows_are_shown_and_counted(
    logs: Path, finished: tuple[int, str, str], figures: dict[str, Any]
) -> None:
    said = finished[2].splitlines()
    assert said[0].startswith(f"protege: {logs}:{ROWS + 101}: no answer")
    assert said[10] == "protege: and 2 more rows that cannot be used"
    assert len(said) == 11
    assert figures["skipped_rows"] == 12


def test_the_figures_have_the_demos_names(figures: dict[str, Any]) -> None:
    assert set(figures) >= DEMO_KEYS
    for row in (*figures["tasks"], figures["totals"]):
        assert set(row) >= set(Row.__dataclass_fields__)
    assert figures["teacher"] == {"name": "gpt-5.4", "replay": True}
    assert figures["requests"] == ROWS + 100
    assert (figures["alpha"], figures["delta"], figures["audit_rate"]) == (0.05, 0.05, 0.1)
    assert figures["since"] < figures["until"]


def test_the_figures_add_up(figures: dict[str, Any]) -> None:
    learnt, unlearnt = figures["tasks"]
    assert (learnt["requests"], unlearnt["requests"]) == (ROWS, 100)
    assert learnt["student_share"] > 0.3
    assert learnt["promotions"] >= 1
    assert unlearnt["student_answers"] == unlearnt["audits"] == 0
    assert unlearnt["verdict"] or unlearnt["requests"] < 170
    assert 0 < learnt["audits"] < learnt["student_answers"]
    assert learnt["student_agreement"] == 1 - learnt["disagreement"]
    low, high = learnt["disagreement_interval"]
    assert low <= learnt["disagreement"] <= high
    price = learnt["teacher_only_cost_usd"] / ROWS
    calls = ROWS - learnt["student_answers"] + learnt["audits"]
    assert learnt["cost_usd"] == pytest.approx(price * calls)
    assert learnt["audit_cost_usd"] == pytest.approx(price * learnt["audits"])
    for name in ("requests", "student_answers", "disagreements", "audits", "cost_usd"):
        assert figures["totals"][name] == pytest.approx(learnt[name] + unlearnt[name])
    for row in (*figures["tasks"], figures["totals"]):
        points = row["curve"]
        assert points == sorted(points, key=lambda point: (point["logs"], point["requests"]))
        for name in ("requests", "student_answers", "disagreements", "cost_usd"):
            assert points[-1][name] == pytest.approx(row[name])


def test_there_is_a_chart(logs: Path, finished: tuple[int, str, str]) -> None:
    assert (logs.parent / "e.png").read_bytes().startswith(b"\x89PNG")


def test_the_number_of_workers_makes_no_difference(
    logs: Path, figures: dict[str, Any], tmp_path: Path
) -> None:
    run(logs, "--json", tmp_path / "1.json", "--workers", 1)
    assert json.loads((tmp_path / "1.json").read_text()) == figures


def test_a_table_and_its_prices(tmp_path: Path) -> None:
    path = tmp_path / "support.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *stream(500)])
    out = tmp_path / "e.json"
    arguments = ("--alpha", "0.1", "--audit-rate", "0.5", "--price-as", "gpt-5.4-mini")
    code, _output, errors = run(path, "--json", out, *arguments)
    assert (code, errors) == (0, "")
    figures = json.loads(out.read_text())
    (row,) = figures["tasks"]
    assert row["task"] == "support"
    assert (figures["alpha"], figures["teacher"]["name"]) == (0.1, "gpt-5.4-mini")
    assert row["student_answers"] > 200
    assert row["audits"] / row["student_answers"] == pytest.approx(0.5, abs=0.1)
    assert 0 < row["cost_usd"] < row["teacher_only_cost_usd"]


@pytest.mark.skipif(not HEADLINES.exists(), reason="the headlines are not there")
def test_headlines_are_learnt(tmp_path: Path) -> None:
    """Real texts with four labels, of which n-grams learn a part."""
    path, out = tmp_path / "headlines.csv", tmp_path / "e.json"
    with gzip.open(HEADLINES) as lines:
        path.write_bytes(b"".join(islice(lines, 2001)))
    code, _output, errors = run(path, "--json", out, PROTEGE_LOOP__GROWTH="2")
    assert (code, errors) == (0, "")
    (row,) = json.loads(out.read_text())["tasks"]
    assert row["requests"] == 2000
    assert row["student_share"] > 0.1
    assert row["disagreement"] <= 0.05
    # Knowing what it knows is what makes the difference.
    assert row["random_disagreement"] > 3 * row["disagreement"]


def test_what_people_have_put_right_is_not_what_the_teacher_said(tmp_path: Path) -> None:
    rows = [
        replace(row, right_answer="refunds") if "refund" in text.split() else row
        for row, (text, _) in zip(exchanges(stream(400)), stream(400), strict=True)
    ]
    store = Store(tmp_path)
    store.write(rows)
    store.close()
    code, output, errors = run("--data", tmp_path)
    assert code == 0, errors
    assert "No student for support: no threshold meets the bound" in output


def test_what_is_missing_is_gone_without_and_told(tmp_path: Path) -> None:
    path = tmp_path / "logs.jsonl"
    write_jsonl(path, [{**line, "model": "home-made"} for line in sums(3)])
    process = run_cli(
        *("estimate", str(path)),
        PROTEGE_LOOP__ENCODER="no_such_package",
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "no price is known for home-made" in errors
    assert "students will read n-grams alone" in errors
    assert "too few answers to train a student" in output


def test_encoders_are_tuned_where_that_is_asked_for(tmp_path: Path) -> None:
    """One that has no weights cannot be, which the estimate survives."""
    folder = sentence_encoder.table(tmp_path / "base" / "tiny", ["a"])
    sentence_encoder.place(folder, tmp_path / "cache" / "protege" / "encoder")
    path = tmp_path / "mixed.csv"
    rows = [*stream(250), *((f"w{i * 7919} a", list(WORDS)[i % 3]) for i in range(550))]
    Random(0).shuffle(rows)
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    said = {}
    for option in ((), ("--tune",)):
        process = run_cli(
            *("estimate", str(path), *option),
            PROTEGE_LOOP__ENCODER=str(folder),
            PROTEGE_LOOP__GROWTH="3",
            XDG_CACHE_HOME=str(tmp_path / "cache"),
        )
        _, said[option] = process.communicate(timeout=100)
        assert process.returncode == 0
    assert "no encoder was tuned to a task, as a server does from 500 answers on" in said[()]
    assert "no encoder was tuned: the training ended with 1" in said["--tune",]
    assert "as a server does" not in said["--tune",]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.jsonl"], "missing.jsonl: No such file or directory"),
        (["."], ".: Is a directory"),
        (["empty.jsonl"], "empty.jsonl: the file is empty"),
        (["blank.jsonl"], "blank.jsonl: no requests to play"),
        ([], "either LOGS or --data is needed, and not both"),
        (["blank.jsonl", "--data", "b"], "either LOGS or --data is needed, and not both"),
        (["--data", "nothing-here"], "nothing-here: no store in it"),
        (["blank.jsonl", "--alpha", "2"], "policy.alpha: input should be less than 1 (got 2.0)"),
        (["blank.jsonl", "--json", "no/such/f.json"], "no/such: no such folder"),
        (["blank.jsonl", "--png", "."], ".: is a folder"),
        (["blank.jsonl", "--price-as", "home-made"], "no price is known for home-made"),
    ],
)
def test_mistakes_are_told_in_a_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.jsonl").touch()
    Path("blank.jsonl").write_text("\n\n")
    # Without a process for each: they differ in nothing that a process would show.
    done = CliRunner().invoke(COMMAND, arguments)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"protege: {said}\n")


def test_a_mistake_is_told_without_a_traceback() -> None:
    said = "protege: missing.jsonl: No such file or directory\n"
    assert run("missing.jsonl") == (2, "", said)


def test_ctrl_c_stops_it(tmp_path: Path) -> None:
    path = tmp_path / "logs.jsonl"
    # Hard enough to be trained on again and again.
    pairs = stream(20_000, noise=0.3)
    write_jsonl(path, [{"messages": messages(text), "answer": said} for text, said in pairs])
    process = run_cli("estimate", str(path), **NO_ENCODER)

    def playing() -> list[Child]:
        return [child for child in children(process.pid) if "spawn_main" in child.command]

    assert eventually(lambda: bool(playing()), 60)
    workers = playing()
    process.send_signal(signal.SIGINT)
    _output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "protege: stopped\n")
    assert not any(Path(f"/proc/{worker.pid}").exists() for worker in workers)


def test_what_the_teacher_gave_no_whole_answer_to_is_neither_right_nor_wrong() -> None:
    tally = Tally()
    for agreed in (True, False, None, None):
        tally.add(Step("student", "student_confident", agreed, audited=True), 10)
    assert (tally.student_answers, tally.compared, tally.disagreements) == (4, 2, 1)
    assert (tally.audits, tally.audit_cost, tally.opinions) == (4, 40, 2)


def test_the_random_control_costs_as_much() -> None:
    """Half of the requests are easy, and the student is sure of these alone."""
    easy = Tally(
        *(100, 100, 0, 10, 10, 10, 100), saved_by_route=100, opinions=100, opinions_cost=100
    )
    hard = Tally(*(100, 0, 0, 0, 0, 300, 300), opinions=100, wrong_opinions=100, opinions_cost=300)
    control = total([easy, hard]).control
    # Of 400, 100 are saved: by a quarter of all answers, half of which are wrong.
    assert (control.answers, control.disagreements) == (50, 25)
    assert control.disagreement == 0.5
    tasks = [TaskFigures("easy", {0: easy}), TaskFigures("hard", {0: hard})]
    # A coin for each task knows which one is easy.
    assert Figures(tasks).control.disagreement == 0


@pytest.mark.parametrize(("rate", "answers"), [(0.0, 5), (0.03, 200), (0.5, 20), (1.0, 5)])
def test_the_interval_holds_its_level(rate: float, answers: int) -> None:
    misses = sum(
        binom.pmf(wrong, answers, rate)
        for wrong in range(answers + 1)
        if not interval(wrong, answers, 0.1)[0] <= rate <= interval(wrong, answers, 0.1)[1]
    )
    assert misses <= 0.1
