"""``protege serve`` as an operator sees it: flags, errors, workers and the trainer."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.router.conftest import teacher_flags
from tests.router.server import PROTEGE, START_S, Server, children, eventually, run_cli
from tests.router.upstream import StubUpstream

BODY: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "a cat"}]}


def fails(*arguments: str, **environment: str) -> tuple[int, list[str]]:
    """Exit code and lines of a ``protege`` that does not start."""
    process = run_cli(*arguments, **environment)
    out, errors = process.communicate(timeout=60)
    assert out == ""
    assert "Traceback" not in errors
    return process.returncode, errors.splitlines()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_one_line_for_each_mistake(tmp_path: Path) -> None:
    config = tmp_path / "protege.yaml"
    config.write_text("policy: {alpha: 2}\nworkerz: 3\n")
    code, lines = fails("serve", "--config", str(config), "--data", str(tmp_path / "data"))
    assert code == 2
    assert len(lines) == 2
    assert "policy.alpha: input should be less than 1 (got 2)" in lines[0]
    assert "workerz: unknown setting" in lines[1]


def test_a_reserved_model_name(tmp_path: Path) -> None:
    config = tmp_path / "protege.yaml"
    config.write_text("models: {auto: {model: gpt-5.4}}\n")
    code, lines = fails("serve", "--config", str(config), "--data", str(tmp_path / "data"))
    assert (code, lines) == (2, ["protege: models.auto: this name is the router's own"])


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, lines = fails("serve", "--port", str(port), "--data", str(tmp_path / "data"))
    assert code == 1
    assert lines == [f"protege: cannot listen on 127.0.0.1:{port}: Address already in use"]


def test_a_data_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, lines = fails("serve", "--port", "0", "--data", str(tmp_path / "file"))
    assert code == 1
    assert len(lines) == 1
    assert "cannot" in lines[0]


def test_a_store_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "protege.db").write_text("not a database " * 100)
    code, lines = fails("serve", "--port", "0", "--data", str(tmp_path))
    assert code == 1
    assert lines == [f"protege: cannot open the store in {tmp_path}: file is not a database"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_disk_without_room(tmp_path: Path, workers: str) -> None:
    # Room for the store, and for nothing that is as large as what the processes share.
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)); "
    flags = ("--port", "0", "--data", str(tmp_path), "--workers", workers)
    process = run_cli("serve", *flags, program=full + PROTEGE)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == f"protege: cannot write to {tmp_path}: File too large\n"


def test_workers(upstream: StubUpstream, data: Path) -> None:
    flags = (*teacher_flags(upstream), "--workers", "2")
    with Server(data, *flags, PROTEGE_LOOP__ENABLED="false") as server:
        assert len(server.workers()) == 2
        for _ in range(20):
            # A connection each, so that both workers get some.
            assert httpx.post(f"{server.url}/chat/completions", json=BODY).status_code == 200

        def counted() -> float:
            text = httpx.get(f"{server.url.removesuffix('/v1')}/metrics").text
            lines = [line for line in text.splitlines() if line.startswith("protege_requests_t")]
            return sum(float(line.rpartition(" ")[2]) for line in lines)

        assert eventually(lambda: counted() == 20)
        assert server.stop() == 0
    assert not server.complaints()


def test_a_worker_that_is_killed_is_replaced_and_told_of(
    upstream: StubUpstream, data: Path
) -> None:
    flags = (*teacher_flags(upstream), "--workers", "2")
    with Server(data, *flags, PROTEGE_LOOP__ENABLED="false") as server:
        killed, other = server.workers()
        killed.kill()

        def is_replaced() -> bool:
            pids = {worker.pid for worker in server.workers()}
            return len(pids) == 2 and killed.pid not in pids and other.pid in pids

        assert eventually(is_replaced)
        assert server.stop() == 0
    (line,) = server.complaints()
    assert line.endswith("a worker ended with -9; another takes its place\n")


def test_a_worker_that_does_not_survive_its_start_leaves_the_server_a_trainer(data: Path) -> None:
    flags = ("--port", "0", "--data", str(data), "--workers", "2")
    with run_cli("serve", *flags) as process:

        def beside(command: str) -> list[int]:
            return [each.pid for each in children(process.pid) if command in each.command]

        assert eventually(lambda: bool(beside("spawn_main")))
        os.kill(beside("spawn_main")[0], signal.SIGKILL)
        watchdog = threading.Timer(START_S, process.kill)
        watchdog.start()
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Protege serves on")
        watchdog.cancel()
        assert eventually(lambda: len(beside("distill.trainer")) == 1)
        process.terminate()
        assert process.wait(20) == 0


def test_workers_end_with_a_parent_that_is_killed(upstream: StubUpstream, data: Path) -> None:
    flags = (*teacher_flags(upstream), "--workers", "2")
    with Server(data, *flags, PROTEGE_LOOP__ENABLED="false") as server:
        workers = server.workers()
        server.kill()
        assert eventually(lambda: not any(is_alive(worker.pid) for worker in workers))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_trainer_lives_and_ends_with_the_server(
    upstream: StubUpstream, data: Path, workers: str
) -> None:
    def trainers(pid: int) -> list[int]:
        return [child.pid for child in children(pid) if "distill.trainer" in child.command]

    with Server(data, *teacher_flags(upstream), "--workers", workers) as server:
        assert eventually(lambda: len(trainers(server.process.pid)) == 1)
        (trainer,) = trainers(server.process.pid)
        assert os.getpriority(os.PRIO_PROCESS, trainer) == 10
        os.kill(trainer, signal.SIGKILL)
        assert eventually(lambda: trainers(server.process.pid) not in ([], [trainer]))
        (restarted,) = trainers(server.process.pid)
        assert server.stop() == 0
        assert not is_alive(restarted)


def test_a_trainer_whose_server_is_killed_before_it_has_loaded_ends(
    upstream: StubUpstream, data: Path
) -> None:
    with Server(data, *teacher_flags(upstream)) as server:
        parent, loading = server.process.pid, list[int]()

        def begins() -> bool:
            found = children(parent)
            loading[:] = [child.pid for child in found if "distill.trainer" in child.command]
            return bool(loading)

        assert eventually(begins)
        server.kill()
        assert eventually(lambda: not is_alive(loading[0]))


@pytest.mark.parametrize("key", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_quietly(upstream: StubUpstream, data: Path, key: int) -> None:
    with Server(data, *teacher_flags(upstream), PROTEGE_LOOP__ENABLED="false") as server:
        server.process.send_signal(key)
        assert server.process.wait(20) == 0
    assert not server.complaints()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nobody_is_kept_waiting_by_a_server_that_stops(
    upstream: StubUpstream, data: Path, workers: str
) -> None:
    upstream.hold = threading.Event()
    flags = (*teacher_flags(upstream), "--workers", workers)
    with Server(data, *flags, PROTEGE_LOOP__ENABLED="false") as server:
        stream = server.client().chat.completions.create(
            model="auto", messages=BODY["messages"], stream=True
        )
        said = [next(stream).choices[0].delta.content]
        server.process.send_signal(signal.SIGTERM)

        def is_refused() -> bool:
            try:
                httpx.get(f"{server.url.removesuffix('/v1')}/healthz", timeout=2)
            except httpx.ConnectError:
                return True
            except httpx.TransportError:
                return False
            return False

        assert eventually(is_refused)
        assert is_alive(server.process.pid)
        upstream.hold.set()
        said += [chunk.choices[0].delta.content for chunk in stream]
        assert "".join(part or "" for part in said) == "cat"
        assert server.stop() == 0


def test_the_teachers_key_comes_from_the_environment(upstream: StubUpstream, data: Path) -> None:
    upstream.key = "from-environment"
    environment = {"PROTEGE_LOOP__ENABLED": "false", "OPENAI_API_KEY": "from-environment"}
    with Server(data, *teacher_flags(upstream), **environment) as server:
        assert server.client().chat.completions.create(**BODY).choices
    upstream.key = "from-settings"
    environment["PROTEGE_TEACHER__API_KEY"] = "from-settings"
    with Server(data, *teacher_flags(upstream), **environment) as server:
        assert server.client().chat.completions.create(**BODY).choices


def test_other_providers_go_through_litellm(upstream: StubUpstream, data: Path) -> None:
    environment = {
        "PROTEGE_LOOP__ENABLED": "false",
        "HOSTED_VLLM_API_BASE": upstream.url,
        "HOSTED_VLLM_API_KEY": "vllm-key",
        "PROTEGE_TEACHER__TIMEOUT_S": "6",
    }
    with Server(data, "--teacher", "hosted_vllm/llama", **environment) as server:
        client = server.client()
        create = client.chat.completions.with_raw_response.create
        answer = create(**BODY, metadata={"task": "vllm"})
        assert answer.parse().choices[0].message.content == "cat"
        assert upstream.requests[0].headers["authorization"] == "Bearer vllm-key"
        chunks = list(client.chat.completions.create(**BODY, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "cat"
        assert chunks[-1].choices[0].finish_reason == "stop"
        store = server.store()
        exchange = store.exchange(answer.headers["x-request-id"])
        store.close()
        assert exchange is not None
        assert (exchange.model, exchange.teacher_answer) == ("hosted_vllm/llama", "cat")
        assert exchange.prompt_tokens > 0
        for fault, status in ((429, 429), (500, 500), (401, 502)):
            upstream.status = fault
            refused = httpx.post(f"{server.url}/chat/completions", json=BODY)
            assert refused.status_code == status
            assert refused.json()["error"]["message"]
        upstream.reset()
        upstream.delay_s = 9.0
        slow = httpx.post(f"{server.url}/chat/completions", json=BODY, timeout=30)
        assert slow.json()["error"]["code"] == "upstream_timeout"
