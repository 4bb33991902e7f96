"""``protege policy``: replay, frontier and explain, on logs of real servers and simulated ones."""

from __future__ import annotations

import asyncio
import json
import random
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from typer.testing import CliRunner

from bench.replay import draw, run
from config.settings import PolicySettings
from policies.fixed import Random
from policies.threshold import Bound
from policies.utility import Utility
from router.commands.policy import policy_app
from router.whatif.named import UnknownPolicyError, named
from telemetry.exchange import Exchange, StudentRecord, TaskState
from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually, run_cli
from tests.router.taught import SENTENCES, TASK, opposite, promote
from tests.router.upstream import StubUpstream, label

REQUESTS = 400


def call(*arguments: str) -> tuple[int, str, list[str]]:
    """Exit code, output and lines on standard error of ``protege policy``, run in this process."""
    result = CliRunner().invoke(policy_app, arguments, catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr.splitlines()


def fill(store: Store, seed: int = 0) -> list[Exchange]:
    """Exchanges of a day, of one task, as a server writes them down."""
    rng = np.random.default_rng(seed)
    now = time.time()
    log = run(draw(rng, REQUESTS), Bound(), 0.2, rng)
    exchanges = []
    for number, past in enumerate(log):
        fields = asdict(past)
        kept = fields.pop("kept")
        exchanges.append(
            Exchange(
                id=f"req_{number}",
                created=now - 86400 * (1 - number / REQUESTS),
                model="m",
                reason=json.loads(past.decision or "")["reason"],
                stream=False,
                sampled=past.agreed is not None,
                request="{}" if kept else None,
                answer="yes",
                teacher_cost=past.cost,
                **fields,
            )
        )
    store.write(exchanges)
    return exchanges


@pytest.fixture
def log(
    database: SecretStr | None, data: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[Exchange]]:
    """What is in the store that commands find by ``--data``, or by the environment."""
    if database is not None:
        monkeypatch.setenv("PROTEGE_DATABASE", database.get_secret_value())
    store = Store(data, database)
    yield fill(store)
    store.close()


def test_replay(log: list[Exchange], data: Path, tmp_path: Path) -> None:
    where = ("--data", str(data), "--json", str(tmp_path / "out.json"))
    code, shown, errors = call("replay", "--policy", "bound", "--threshold", "0.8", *where)
    assert (code, errors) == (0, [])
    for words in ("as it was", "bound, threshold 0.8", "same cost", "teacher alone"):
        assert words in shown
    found = json.loads((tmp_path / "out.json").read_text())
    assert (found["requests"], found["left_out"], found["confidence"]) == (REQUESTS, {}, 0.95)
    paid = sum(exchange.cost + exchange.audit_cost for exchange in log) / 1e12
    assert found["happened"]["usd"]["value"] == pytest.approx(paid)
    served = sum(exchange.route == "student" for exchange in log)
    assert found["happened"]["student_share"]["value"] == pytest.approx(served / REQUESTS)
    sure = sum((exchange.confidence or 0) >= 0.8 for exchange in log)
    replayed = found["replayed"]
    assert replayed["student_share"]["value"] == pytest.approx(sure / REQUESTS)
    assert replayed["usd"]["value"] < found["happened"]["usd"]["value"]
    assert found["control"]["usd"]["value"] == pytest.approx(replayed["usd"]["value"])
    assert found["control"]["disagreement"]["value"] > replayed["disagreement"]["value"]
    assert found["teacher"]["disagreement"] is None
    assert set(replayed["estimators"]) == {"dr", "ips", "snips"}
    for figure in ("student_share", "usd", "latency_s", "p95_s", "disagreement"):
        assert replayed[figure]["low"] <= replayed[figure]["value"] <= replayed[figure]["high"]


def test_explain_a_slice(data: Path) -> None:
    store = Store(data)
    unsure = next(exchange for exchange in fill(store) if exchange.route == "teacher")
    version, task = unsure.student or "", unsure.task
    card = json.dumps({"gate": {"floors": {"usual": 0.75}}})
    record = StudentRecord(version, task, 0.0, "", True, "passed", card)
    assert store.roster.close_run(TaskState(task), record)
    store.write(
        [replace(unsure, id=name.split()[0], stratum=name) for name in ("usual", "long tail")]
    )
    store.close()
    _, shown, _ = call("explain", "usual", "--data", str(data))
    assert "usual: a threshold of its own, 0.7500" in shown
    _, shown, _ = call("explain", "long", "--data", str(data))
    assert "long tail: left to the teacher" in shown
    _, shown, _ = call("explain", "long", "--json", "--data", str(data))
    assert json.loads(shown)["slice"] == "long tail"


@pytest.mark.parametrize(
    "policy",
    ["bound", "teacher", "student", "random:0.3", "cascade:0.7", "utility:1,0,1", "deadline:9"],
)
def test_every_policy_that_looks_at_one_request(
    log: list[Exchange], data: Path, tmp_path: Path, policy: str
) -> None:
    out = tmp_path / "out.json"
    code, shown, _ = call("replay", "--policy", policy, "--data", str(data), "--json", str(out))
    assert code == 0
    assert policy in shown
    shares = {"teacher": 0.0, "student": 1.0, "random:0.3": 0.3}
    found = json.loads(out.read_text())["replayed"]["student_share"]["value"]
    assert found == pytest.approx(shares.get(policy, found))


def test_replay_looks_at_a_task_and_a_time(log: list[Exchange], data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    where = ("--data", str(data), "--json", str(out))
    assert call("replay", "--since", "12h", "--task", "task", *where)[0] == 0
    assert json.loads(out.read_text())["requests"] == pytest.approx(REQUESTS / 2, abs=3)
    code, shown, errors = call("replay", "--task", "another", *where)
    assert (code, shown) == (1, "")
    assert errors == ["protege: no request of the task another in this time can be replayed."]


def test_alpha_chooses_thresholds(log: list[Exchange], data: Path, tmp_path: Path) -> None:
    shares = []
    for alpha in ("0", "0.3", "1"):
        out = tmp_path / "out.json"
        assert call("replay", "--alpha", alpha, "--data", str(data), "--json", str(out))[0] == 0
        shares.append(json.loads(out.read_text())["replayed"]["student_share"]["value"])
    assert shares[0] == 0.0 < shares[1] < shares[2]


def test_frontier(log: list[Exchange], data: Path, tmp_path: Path) -> None:
    out, png = tmp_path / "out.json", tmp_path / "out.png"
    # The name of the picture does not say what it is.
    png = png.with_suffix(".foo")
    files = ("--json", str(out), "--png", str(png))
    code, shown, errors = call("frontier", "task", "--data", str(data), *files)
    assert (code, errors) == (0, [])
    assert "teacher alone" in shown
    assert "as it was" in shown
    assert "AIQ" in shown
    assert png.read_bytes().startswith(b"\x89PNG")
    found = json.loads(out.read_text())
    first, *others = found["points"]
    assert (first["threshold"], first["quality"]) == (None, 1.0)
    costs = [point["usd"]["value"] for point in found["points"]]
    assert costs == sorted(costs, reverse=True)
    assert all(0 <= point["threshold"] <= 1 for point in others)
    assert set(found["policies"]) == {"bound", "utility", "deadline"}
    # A threshold of 0.9 was in force.
    assert found["policies"]["bound"]["student_share"] == found["operating"]["student_share"]
    assert others[-1]["quality"] <= found["random_aiq"] < found["aiq"] <= 1


def test_names_are_shown_as_callers_gave_them(data: Path) -> None:
    store = Store(data)
    store.write([replace(each, id=f"2{each.id}", task="[/]\x1b[2J") for each in fill(store)])
    store.close()
    _, shown, _ = call("frontier", "[/]\x1b[2J", "--data", str(data))
    assert "[/] [2J: 400 requests" in shown
    _, shown, _ = call("explain", "2req_1", "--data", str(data))
    assert "[/] [2J\n" in shown


@pytest.mark.parametrize("asked", [("frontier", "task"), ("replay",)])
def test_no_figure_is_cut_where_there_is_little_room(
    log: list[Exchange], data: Path, asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TTY_COMPATIBLE": "1", "TERM": "dumb", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    _, shown, _ = call(*asked, "--data", str(data))
    assert "…" not in shown
    assert "No room for: mean s" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_explain(log: list[Exchange], data: Path) -> None:
    served = next(e for e in log if e.route == "student" and e.agreed is not None)
    code, shown, errors = call("explain", served.id, "--data", str(data))
    assert (code, errors) == (0, [])
    assert served.decision is not None
    decision = json.loads(served.decision)
    for words in (
        "student_confident: the student is sure enough",
        f"{decision['threshold']:.4f}",
        f"{decision['student']['agreement']:.4g}",
        "the teacher agrees" if served.agreed else "the teacher disagrees",
    ):
        assert words in shown
    code, shown, _ = call("explain", served.id, "--json", "--data", str(data))
    found = json.loads(shown)
    assert (found["id"], found["route"], found["agreed"]) == (served.id, "student", served.agreed)
    assert found["decision"] == decision
    code, shown, errors = call("explain", "req_unknown", "--data", str(data))
    assert (code, shown, errors) == (1, "", ["protege: there is no exchange req_unknown"])


def test_explain_what_no_policy_chose_or_what_came_otherwise(data: Path) -> None:
    store = Store(data)
    unsure = next(exchange for exchange in fill(store) if exchange.route == "teacher")
    down = replace(unsure, id="down", route="student", reason="teacher_down", teacher_answer=None)
    forced = replace(
        unsure, id="forced", reason="forced", decision=None, propensity=None, student=None
    )
    store.write([down, forced])
    store.close()
    _, shown, _ = call("explain", "down", "--data", str(data))
    assert "teacher_down: the teacher could not be reached" in shown
    assert "teacher (student_unsure: the student is not sure enough)" in shown
    _, shown, _ = call("explain", "forced", "--data", str(data))
    for words in (
        "forced: the caller named the model",
        "No policy chose.",
        "No student was asked.",
    ):
        assert words in shown


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--policy", "best"), "--policy: expected one of bound, teacher, student, random,"),
        (("--policy", "random:x"), "--policy: expected random:SHARE, in a number from 0 to 1"),
        (("--policy", "random:1,2"), "--policy: expected random:SHARE, in a number from 0 to 1"),
        (("--policy", "random:2"), "--policy: expected random:SHARE, in a number from 0 to 1"),
        (("--policy", "cascade:nan"), "--policy: expected cascade:THRESHOLD, in a number from"),
        (("--policy", "deadline:inf"), "--policy: expected deadline:SECONDS, in numbers of 0"),
        (("--policy", "teacher:1"), "--policy: expected teacher, in numbers of 0 or more"),
        (("--policy", "budget"), "--policy: expected one of bound"),
        (("--threshold", "2"), "--threshold: expected a number from 0 to 1 (got 2)"),
        (("--alpha", "-1"), "--alpha: expected a number from 0 to 1 (got -1)"),
        (("--policy", "teacher", "--alpha", "0.1"), "--alpha: is for --policy bound alone"),
        (("--alpha", "0.1", "--threshold", "0.5"), "--alpha: chooses the threshold"),
        (("--since", "soon"), "--since: expected a number and s, m, h or d"),
        ((), "no request in this time can be replayed."),
    ],
)
def test_mistakes_are_told_in_one_line(
    data: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    Store(data).close()
    code, shown, errors = call("replay", *arguments, "--data", str(data))
    assert (code, shown) == (1, "")
    (line,) = errors
    assert line.startswith(f"protege: {complaint}")


def test_a_file_that_cannot_be_written(data: Path) -> None:
    store = Store(data)
    fill(store)
    store.close()
    code, _, errors = call("replay", "--data", str(data), "--json", "/nowhere/out.json")
    assert (code, errors) == (
        1,
        ["protege: cannot write to /nowhere/out.json: No such file or directory"],
    )


@pytest.mark.parametrize(
    "arguments",
    [("replay", "--json"), ("frontier", "task", "--json"), ("frontier", "task", "--png")],
)
def test_a_full_disk_is_that_of_the_file(data: Path, arguments: tuple[str, ...]) -> None:
    store = Store(data)
    fill(store)
    store.close()
    code, _, errors = call(*arguments, "/dev/full", "--data", str(data))
    assert (code, errors) == (1, ["protege: cannot write to /dev/full: No space left on device"])


@given(st.text(max_size=12))
def test_no_name_of_a_policy_breaks_anything(text: str) -> None:
    with pytest.raises(UnknownPolicyError, match=r"^expected [^\n]*$"):
        named(f"best{text}", PolicySettings())
    with pytest.raises(UnknownPolicyError, match=r"^expected random:SHARE[^\n]*$"):
        named(f"random:{text}x", PolicySettings())


def test_parameters_that_are_not_given_are_the_settings() -> None:
    settings = PolicySettings.model_validate({"random": {"share": 0.25}})
    assert named("random", settings) == Random(0.25)
    assert named("random:0.75", settings) == Random(0.75)
    assert named("utility:1,2,3", settings) == Utility(1.0, 2.0, 3.0)


# Against a server that is really run


def moody(text: str) -> str:
    """A teacher that no student can learn altogether."""
    return opposite(text) if zlib.crc32(text.encode()) % 5 == 0 else label(text)


def asked(exchange: Exchange) -> str:
    text: str = json.loads(exchange.request or "")["messages"][0]["content"]
    return text


async def serve(server: Server, prompts: list[str]) -> list[str]:
    """Send all of them; the ids of their exchanges."""
    gate = asyncio.Semaphore(8)

    async def ask(client: Any, text: str) -> str:
        async with gate:
            answer = await client.chat.completions.with_raw_response.create(
                model="auto",
                messages=[{"role": "user", "content": text}],
                metadata={"task": TASK},
            )
        return str(answer.headers["x-request-id"])

    async with server.async_client(timeout=60) as client:
        return await asyncio.gather(*(ask(client, text) for text in prompts))


async def really_run(data: Path, upstream: StubUpstream, threshold: float) -> list[str]:
    store = Store(data)
    promote(store, data, f"animals-{threshold}", teacher=moody, threshold=threshold)
    environment = {
        "PROTEGE_LOOP__ENABLED": "false",
        "PROTEGE_POLICY__AUDIT_RATE": "0.4",
        # Nobody is demoted in between.
        "PROTEGE_POLICY__DELTA": "1e-300",
    }
    with Server(data, *teacher_flags(upstream), **environment) as server:
        identifiers = await serve(server, random.Random(5).choices(SENTENCES, k=REQUESTS))
        await asyncio.to_thread(eventually, lambda: store.exchange(identifiers[-1]) is not None)
    store.close()
    return identifiers


async def test_a_replay_covers_what_really_running_the_policy_shows(
    upstream: StubUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.answer = moody
    logged, other = tmp_path / "logged", tmp_path / "other"
    identifiers = await really_run(logged, upstream, threshold=0.85)
    others = await really_run(other, upstream, threshold=0.8)

    monkeypatch.setenv("PROTEGE_POLICY__AUDIT_RATE", "0.4")
    out = tmp_path / "out.json"
    foretold = ("replay", "--threshold", "0.8", "--data", str(logged), "--json", str(out))
    assert call(*foretold)[0] == 0
    replayed = json.loads(out.read_text())["replayed"]
    assert call("replay", "--data", str(other), "--json", str(out))[0] == 0
    happened = json.loads(out.read_text())["happened"]

    assert happened["student_share"] == replayed["student_share"]
    assert 0.2 < happened["student_share"]["value"] < 1
    for figure in ("usd", "disagreement", "disagreement_of_all"):
        low, high = replayed[figure]["low"], replayed[figure]["high"]
        # Both runs draw their audits anew: one in twenty values is to be outside, but not far.
        slack = high - low
        assert low - slack <= happened[figure]["value"] <= high + slack
    # Whatever the audits drew of it, there is something to disagree about.
    store = Store(other)
    served = [each for each in map(store.exchange, others) if each and each.route == "student"]
    store.close()
    assert any(each.answer != moody(asked(each)) for each in served)

    process = run_cli("policy", "explain", identifiers[0], "--data", str(logged))
    shown, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    for words in (identifiers[0], "animals-0.85", "passed its test", "0.8500", "Decision"):
        assert words in shown
