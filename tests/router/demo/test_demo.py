"""``protege demo`` as it is typed, on traffic of the test's own."""

import json
import re
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from sqlalchemy import select

import bench.baseline
from router.demo.report import Row
from telemetry.exchange import PICO
from telemetry.schema import exchanges
from telemetry.store import Store
from tests.router.server import run_cli
from tests.router.upstream import StubUpstream

ROWS = set(Row.__dataclass_fields__)
NO_ENCODER = {"PROTEGE_LOOP": '{"encoder": null}'}


def write_traffic(path: Path, size: int) -> None:
    """Two tasks in turn: whether a text speaks of a cat, and a sum."""
    with path.open("w") as file:
        for number in range(size):
            animal = "cat" if number % 3 else "dog"
            tasks = {
                "animals": ("Cat or dog?", f"Number {number} is a {animal}, I say.", animal),
                "sums": ("Add.", f"{number} + {number * 7}", str(number * 8)),
            }
            task, (system, user, answer) = list(tasks.items())[number % 2]
            messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
            file.write(json.dumps({"task": task, "messages": messages, "answer": answer}) + "\n")


def run_demo(folder: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    demo = run_cli("demo", "--out", str(folder / "out"), *arguments, **environment)
    output, errors = demo.communicate(timeout=150)
    return demo.returncode, output, errors


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run over 600 requests: folder, exit code, what it said."""
    folder = tmp_path_factory.mktemp("demo")
    write_traffic(folder / "own.jsonl", 600)
    arguments = ["--data", str(folder / "own.jsonl"), "--json", str(folder / "figures.json")]
    # Slowly enough for a training run to end before the stream does, on a busy machine too.
    arguments += ["--concurrency", "24"]
    return folder, *run_demo(folder, *arguments, "--alpha", "0.1", "--requests", "700")


@pytest.fixture(scope="module")
def figures(finished):
    return json.loads((finished[0] / "figures.json").read_text())


def test_it_ends_well_and_says_what_it_did(finished):
    _folder, code, output, errors = finished
    assert (code, errors) == (0, "")
    assert "replay of recorded answers, priced as gpt-5.4" in output
    assert "there are 600 different samples" in output
    assert "animals" in output
    assert "demo.png" in output
    assert re.search(r"Took \d+ s: data .*, start .*, requests .*, audits .*, baseline .*", output)


def test_the_figures_have_the_published_names(figures):
    assert set(figures) == {
        "teacher", "seed", "alpha", "requests", "failures",
        "training_lag_s", "tasks", "totals", "baseline",
    }  # fmt: skip
    assert figures["teacher"] == {"name": "replay-of-gpt-5.4", "replay": True}
    assert (figures["requests"], figures["failures"], figures["alpha"]) == (600, 0, 0.1)
    for part in (figures, figures["baseline"]):
        assert [row["task"] for row in part["tasks"]] == ["animals", "sums"]
        assert [row["requests"] for row in part["tasks"]] == [300, 300]
        for row in (*part["tasks"], part["totals"]):
            assert set(row) == ROWS


def test_the_figures_are_the_stores(finished, figures):
    store = Store(finished[0] / "out" / "data")
    with store.engine.connect() as connection:
        rows = connection.execute(select(exchanges)).all()
    store.close()
    totals = figures["totals"]
    served = [row for row in rows if row.route == "student"]
    assert len(rows) == 600
    assert totals["student_answers"] == len(served)
    assert totals["cost_usd"] == pytest.approx(sum(r.cost + r.audit_cost for r in rows) / PICO)
    by_teacher = [row for row in rows if row.route == "teacher"]
    assert totals["teacher_only_cost_usd"] > sum(row.cost for row in by_teacher) / PICO * 0.999
    # The run ends only when every audit is in.
    assert all(row.agreed is not None for row in served if row.sampled)


def test_what_cannot_be_learnt_stays_with_the_teacher(figures):
    sums = figures["tasks"][1]
    assert sums["student_answers"] == 0
    assert sums["student_agreement"] is None
    assert sums["cost_usd"] == pytest.approx(sums["teacher_only_cost_usd"])
    assert sums["p50_ms"]["student"] is None
    assert sums["p95_ms"]["teacher"] > sums["p50_ms"]["teacher"] > 0


def test_the_baseline_had_the_same_stream(figures):
    product, plain = figures["totals"], figures["baseline"]["totals"]
    assert plain["teacher_only_cost_usd"] == pytest.approx(product["teacher_only_cost_usd"])
    assert plain["requests"] == product["requests"]


def test_the_stream_says_when_each_request_was_sent(finished):
    lines = (finished[0] / "out" / "stream.jsonl").read_text().splitlines()
    sent = [json.loads(line)["sent_s"] for line in lines]
    assert len(sent) == 600
    assert sent == sorted(sent)
    # 96 are under way at a time, so the others wait for answers.
    assert 0 <= sent[95] < sent[96] + 0.01
    assert sent[-1] - sent[95] > 0.5


def test_students_are_counted_by_what_became_of_them(finished):
    """A run that passed no test may have files all the same."""
    store = Store(finished[0] / "out" / "data")
    runs = [run for task in store.roster.task_states() for run in store.roster.students(task)]
    store.close()
    passed = sum(json.loads(run.card)["gate"].get("threshold") is not None for run in runs)
    serving = sum(run.serving for run in runs)
    said = f"{len(runs)} training runs: {passed} students passed their test; {serving} serve"
    assert said in " ".join(finished[2].split())


def test_the_training_lag_is_the_runs_own(finished, figures):
    store = Store(finished[0] / "out" / "data")
    runs = [run for task in store.roster.task_states() for run in store.roster.students(task)]
    store.close()
    training_s = [json.loads(run.card)["training_s"] for run in runs]
    assert sum(training_s) / len(runs) < figures["training_lag_s"]
    assert "same test, with the product's mean training lag of" in finished[2]


def test_the_baseline_had_the_training_lag(finished, figures, capsys):
    out = finished[0] / "out"

    def baseline(lag):
        bench.baseline.main(out / "stream.jsonl", out / "data", lag=lag, alpha=0.1)
        return json.loads(capsys.readouterr().out)

    assert baseline(figures["training_lag_s"])["totals"] == figures["baseline"]["totals"]
    assert baseline(0.0)["totals"]["student_answers"] > 0
    assert baseline(600.0)["totals"]["student_answers"] == 0


def test_there_is_a_chart(finished):
    assert (finished[0] / "out" / "demo.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def stub():
    upstream = StubUpstream()
    upstream.start()
    yield upstream
    upstream.stop()


def test_a_real_teacher_is_asked_and_failures_are_counted(tmp_path, stub):
    write_traffic(tmp_path / "own.jsonl", 20)
    stub.status = 429
    code, output, _errors = run_demo(
        tmp_path,
        *("--data", str(tmp_path / "own.jsonl"), "--json", str(tmp_path / "figures.json")),
        *("--teacher", "stub", "--requests", "20"),
        PROTEGE_TEACHER__BASE_URL=stub.url,
        **NO_ENCODER,
    )
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert code == 1
    assert figures["teacher"] == {"name": "stub", "replay": False}
    assert figures["baseline"] is None
    assert figures["training_lag_s"] is None
    assert "No plain baseline: the settings have no sentence encoder\n" in output
    assert figures["failures"] == figures["requests"] == 20
    assert "20 failed" in output
    assert "server.log" in output


def test_ctrl_c_stops_everything(tmp_path):
    write_traffic(tmp_path / "own.jsonl", 1000)
    arguments = ["--data", str(tmp_path / "own.jsonl"), "--concurrency", "2"]
    demo = run_cli("demo", "--out", str(tmp_path / "out"), *arguments)
    assert demo.stdout is not None
    url = next(line for line in demo.stdout if "requests to" in line).split()[3].rstrip(",")
    time.sleep(0.5)
    demo.send_signal(signal.SIGINT)
    _output, errors = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert errors.strip() == "protege: stopped"
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{url}/models", timeout=5)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--data", "missing.jsonl"], 1, "protege: missing.jsonl: No such file or directory"),
        (["--alpha", "2"], 2, "protege: policy.alpha: input should be less than 1 (got 2.0)"),
        (["--json", "no/such/folder/f.json"], 1, "protege: no/such/folder: no such folder"),
    ],
)
def test_bad_input_gets_one_line(tmp_path, arguments, code, said):
    returned, _output, errors = run_demo(tmp_path, *arguments)
    assert (returned, errors.strip()) == (code, said)


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path):
    (tmp_path / "out" / "data").mkdir(parents=True)
    precious = tmp_path / "out" / "data" / "thesis.txt"
    precious.write_text("draft")
    code, _output, errors = run_demo(tmp_path, "--data", "any.jsonl")
    assert code == 1
    assert "please choose another --out" in errors
    assert precious.read_text() == "draft"


def test_keep_leaves_the_server_up_until_ctrl_c(tmp_path):
    write_traffic(tmp_path / "own.jsonl", 10)
    arguments = ["--data", str(tmp_path / "own.jsonl"), "--keep"]
    demo = run_cli("demo", "--out", str(tmp_path / "out"), *arguments, **NO_ENCODER)
    assert demo.stdout is not None
    url = next(line for line in demo.stdout if "stays up" in line).split()[5]
    with urllib.request.urlopen(f"{url}/models", timeout=5) as response:
        assert response.status == 200
    demo.send_signal(signal.SIGINT)
    assert (demo.wait(60), demo.communicate()[1]) == (0, "")
