"""``protege student tune`` against a server of OpenAI's fine-tuning API."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import typer
from typer.testing import CliRunner

from config.settings import ModelSettings, Settings
from distill import tuning
from distill.tuning import EXAMPLES, Plan, Tuning, TuningError
from router.commands.tune import tune
from router.models import Models
from telemetry.store import Store
from tests.distill.synthetic import exchange, stream
from tests.router.fine_tuning import FineTuning
from tests.router.server import eventually, run_cli

TASK = "support"
BASE = "gpt-4o-mini-2024-07-18"


@pytest.fixture
def provider() -> Iterator[FineTuning]:
    upstream = FineTuning().start()
    yield upstream
    upstream.stop()


@pytest.fixture
def flags(provider: FineTuning, data: Path) -> list[str]:
    data.mkdir()
    store = Store(data)
    store.write([exchange(i, *pair) for i, pair in enumerate(stream(20))])
    store.close()
    config = data / "protege.yaml"
    models = [
        {"model": name, "base_url": provider.url, "api_key": "k"} for name in (BASE, "unknown")
    ]
    models.append({"model": "queried", "base_url": f"{provider.url}?a=1&b=2", "api_key": "k"})
    config.write_text(json.dumps({"hosted": {"models": models}}))
    return ["--data", str(data), "--config", str(config), "--poll-s", "0.01"]


def started(flags: list[str], *more: str, model: str = BASE) -> Any:
    priced = ("--usd-per-million", "3")
    return run_cli("student", "tune", TASK, "--model", model, *priced, *flags, *more)


def ran(flags: list[str], *more: str, model: str = BASE) -> tuple[int, str, str]:
    """The same in this process."""
    alone = typer.Typer()
    alone.command()(tune)
    priced = ("--usd-per-million", "3")
    ended = CliRunner().invoke(alone, [TASK, "--model", model, *priced, *flags, *more])
    return ended.exit_code, ended.stdout, ended.stderr


def test_what_it_would_cost_is_said_before_anything_is_begun(
    flags: list[str], provider: FineTuning
) -> None:
    code, out, _ = ran(flags)
    tokens = sum(21 + len(text) // 4 for text, _ in stream(20))
    assert code == 0
    assert f"20 answers of {tokens:,} tokens, read 3 times: about" in out
    assert "Nothing is begun" in out
    code, out, err = ran(flags, "--most-usd", "0.0001")
    assert code == 1
    assert "more than --most-usd 0.0001" in err
    assert not provider.files


def test_a_model_comes_back(flags: list[str], provider: FineTuning, data: Path) -> None:
    provider.fail_looks = 1
    code, out, err = ran(flags, "--most-usd", "1", "--epochs", "2")
    assert (code, err) == (0, "")
    assert f'- {{model: "ft:{BASE}:acme::1", tasks: ["{TASK}"]}}' in out
    assert "1,234 tokens" in out
    assert [f"Step {n}" in out for n in (1, 2, 3)] == [True] * 3
    (asked,) = provider.asked
    assert asked["model"] == BASE
    assert asked["suffix"] == TASK
    assert asked["method"]["supervised"]["hyperparameters"] == {"n_epochs": 2}
    (examples,) = provider.files.values()
    assert len(examples) == 20
    text, label = stream(20)[0]
    assert examples[0]["messages"][-2:] == [
        {"role": "user", "content": text},
        {"role": "assistant", "content": label},
    ]
    # Nothing is left of it: the next one begins anew.
    assert not [path for path in (data / "tuning").rglob("*") if path.is_file()]


def test_the_query_of_its_base_url_is_kept(flags: list[str], provider: FineTuning) -> None:
    code, _, err = ran(flags, "--most-usd", "1", model="queried")
    assert (code, err) == (0, "")
    assert provider.queries == ["a=1&b=2"]


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
def test_a_job_that_makes_no_model(flags: list[str], provider: FineTuning, outcome: str) -> None:
    provider.outcome = outcome
    code, _, err = ran(flags, "--most-usd", "1")
    assert code == 1
    assert ("The examples are bad." if outcome == "failed" else "cancelled") in err
    assert err.count("\n") == 1


def test_what_the_provider_refuses_is_told_in_one_line(flags: list[str]) -> None:
    code, _, err = ran(flags, "--most-usd", "1", model="unknown")
    assert (code, err.count("\n")) == (1, 1)
    assert "The model does not exist." in err


def test_what_was_forgotten_before_it_could_be_uploaded_is_not(
    flags: list[str], provider: FineTuning, data: Path
) -> None:
    config = data / "protege.yaml"
    told = config.read_text()
    config.write_text(told.replace(provider.url, "http://127.0.0.1:9/v1"))
    code, _, err = ran(flags, "--most-usd", "1")
    assert (code, provider.files) == (1, {})
    config.write_text(told)
    store = Store(data)
    store.forget_before(1005.0)
    store.close()
    code, _, err = ran(flags, "--most-usd", "1")
    assert (code, err) == (0, "")
    (examples,) = provider.files.values()
    assert len(examples) == 15


def test_whoever_was_killed_goes_on_with_the_same_job(
    flags: list[str], provider: FineTuning, data: Path
) -> None:
    provider.looks = 10**9
    process = started(flags, "--most-usd", "1")
    assert eventually(lambda: any(job["looked_at"] for job in provider.jobs.values()))
    process.kill()
    process.communicate()
    # Where callers' words are is the store, and nowhere else.
    assert not list((data / "tuning").rglob(EXAMPLES))
    provider.looks = 0
    code, out, _ = ran(flags)
    assert code == 0
    assert "ft:" in out
    assert len(provider.jobs) == len(provider.files) == 1


def test_a_job_is_cancelled(flags: list[str], provider: FineTuning) -> None:
    provider.looks = 10**9
    process = started(flags, "--most-usd", "1")
    assert eventually(lambda: any(job["looked_at"] for job in provider.jobs.values()))
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert "--cancel stops it" in process.communicate()[1]
    code, out, _ = ran(flags, "--cancel")
    assert (code, out) == (0, "The job is cancelled.\n")
    assert [job["status"] for job in provider.jobs.values()] == ["cancelled"]
    code, _, err = ran(flags, "--cancel")
    assert (code, err) == (1, "protege: no job is under way\n")


def test_no_job_is_paid_for_twice(provider: FineTuning, tmp_path: Path) -> None:
    """The job was created, but nobody heard of it."""
    client = openai.OpenAI(api_key="k", base_url=provider.url, max_retries=0)
    (tmp_path / EXAMPLES).write_text('{"messages": []}\n')
    told: list[str] = []
    provider.lose_creations = True
    with pytest.raises(TuningError):
        tuning.run(client, Tuning(Plan(TASK, BASE, 3, TASK)), tmp_path, told.append, 0.01)
    kept = Tuning.load(tmp_path)
    assert kept is not None
    assert (kept.file, kept.job) == ("file-0", None)
    provider.lose_creations = False
    job = tuning.run(client, kept, tmp_path, told.append, 0.01)
    assert job.fine_tuned_model is not None
    assert len(provider.asked) == 1
    assert Tuning.load(tmp_path) is None


def test_too_few_answers(flags: list[str], data: Path) -> None:
    store = Store(data)
    store.forget_before(1011.0)
    store.close()
    code, _, err = ran(flags)
    assert (code, err) == (1, "protege: 9 answers to learn from are too few: at least 10\n")


def test_a_fine_tuned_model_has_its_kinds_price() -> None:
    settings = Settings(teacher=ModelSettings(model=f"ft:{BASE}:acme::1"))
    assert Models(settings).teacher.price.input == 300_000
