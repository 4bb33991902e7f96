"""``protege keys``, and what a server without keys does."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from router.commands.keys import keys_app
from telemetry.keys import Key, Keys, Secret
from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually, run_cli
from tests.router.upstream import StubUpstream


def run(*arguments: str) -> tuple[int, str, list[str]]:
    """Exit code, output and lines on standard error of ``protege keys``, run in this process."""
    result = CliRunner().invoke(keys_app, arguments, catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr.splitlines()


def stored(data: Path) -> list[Key]:
    store = Store(data)
    keys = Keys(store).all()
    store.close()
    return keys


def test_create_prints_the_secret_alone(data: Path) -> None:
    process = run_cli("keys", "create", "--name", "shop", "--data", str(data))
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0
    (key,) = stored(data)
    assert key.hash == Secret(out.strip()).hash
    assert said == f"{key.id} (shop) is created. Keep its secret: it is not shown again.\n"
    assert (key.admin, key.limited, key.models, key.expires) == (False, False, None, None)


def test_create_with_everything(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "protege.yaml"
    config.write_text(f"data: {data}\n")
    limits = ("--budget", "2.5", "--period", "week", "--rpm", "60", "--tpm", "9000")
    rights = ("--admin", "--model", "auto", "--model", "teacher", "--task", "triage")
    more = ("--expires", "30d", "--json", "--config", str(config))
    code, out, errors = run("create", *limits, *rights, *more)
    assert (code, errors) == (0, [])
    shown = json.loads(out)
    (key,) = stored(data)
    assert key.hash == Secret(shown["secret"]).hash
    assert shown["id"] == key.id
    assert key.admin
    assert (key.budget, key.period) == (25 * 10**11, "week")
    assert (key.requests_per_minute, key.tokens_per_minute) == (60, 9000)
    assert (key.models, key.tasks) == (["auto", "teacher"], ["triage"])
    assert key.expires == pytest.approx(time.time() + 30 * 86400, abs=60)


def test_list_rotate_and_revoke(data: Path) -> None:
    where = ("--data", str(data))
    _, first, _ = run("create", "--name", "shop", *where)
    (key,) = stored(data)

    code, listed, _ = run("list", *where)
    assert code == 0
    assert listed.splitlines()[1].split()[:4] == [key.id, "shop", key.hint, "valid"]
    assert first.strip() not in listed

    code, second, _ = run("rotate", key.id, "--grace", "10m", *where)
    assert code == 0
    (rotated,) = stored(data)
    assert rotated.hash == Secret(second.strip()).hash
    assert rotated.old_hash == Secret(first.strip()).hash
    assert rotated.old_expires == pytest.approx(time.time() + 600, abs=60)

    assert run("revoke", key.id, *where)[0] == 0
    assert "revoked" in run("list", *where)[1]
    shown: list[dict[str, Any]] = json.loads(run("list", "--json", *where)[1])
    assert shown[0]["revoked_at"] == pytest.approx(time.time(), abs=60)
    code, _, errors = run("rotate", key.id, *where)
    assert (code, errors) == (1, [f"protege: {key.id} has been revoked"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("create", "--budget", "-1"), "--budget: input should be greater than 0"),
        (("create", "--budget", "nan"), "--budget: input should be a finite number"),
        (("create", "--period", "year"), "--period: input should be 'day', 'week' or 'month'"),
        (("create", "--rpm", "0"), "--rpm: input should be greater than or equal to 1"),
        (("create", "--name", ""), "--name: string should have at least 1 character"),
        (("create", "--model", ""), "--model: string should have at least 1 character"),
        (
            ("create", "--expires", "soon"),
            "--expires: expected a number and s, m, h or d, such as 30d (got 'soon')",
        ),
        (("rotate", "key_1"), "there is no key key_1"),
        (("revoke", "key_1"), "there is no key key_1"),
    ],
)
def test_mistakes_are_one_line(data: Path, arguments: tuple[str, ...], complaint: str) -> None:
    Store(data).close()
    assert run(*arguments, "--data", str(data)) == (1, "", [f"protege: {complaint}"])


def test_names_are_shown_as_they_were_given(data: Path) -> None:
    where = ("--data", str(data))
    assert run("create", "--name", "[/] [red]shop", "--task", "[/b]", *where)[0] == 0
    assert "[/] [red]shop" in run("list", *where)[1]


def test_a_store_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "protege.db").write_text("not a database " * 100)
    code, _, errors = run("list", "--data", str(tmp_path))
    assert code == 1
    assert errors == [f"protege: cannot open the store in {tmp_path}: file is not a database"]


# A server without keys


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost.localdomain"])
def test_it_is_open_to_nobody_from_beyond(data: Path, host: str) -> None:
    process = run_cli("serve", "--host", host, "--port", "0", "--data", str(data))
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert errors.splitlines() == [
        f"protege: without any key it may listen on loopback only, not on {host}: "
        f"protege keys create --data {data}"
    ]


def test_it_is_open_to_this_machine_until_there_is_a_key(
    upstream: StubUpstream, data: Path
) -> None:
    body: Any = {"model": "auto", "messages": [{"role": "user", "content": "a cat"}]}
    with Server(data, *teacher_flags(upstream), PROTEGE_LOOP__ENABLED="false") as server:
        assert eventually(lambda: bool(server.errors))
        (notice,) = server.errors
        assert notice.startswith("protege: no keys: all of this machine may use it")
        client = server.client(api_key="my-own-key")
        assert client.chat.completions.create(**body).choices
        assert upstream.requests[-1].headers["authorization"] == "Bearer my-own-key"
        # Not even an open server lets anybody administer keys.
        assert _status(server, "my-own-key", "/keys") == 403

        code, out, _ = run("create", "--data", str(data))
        assert code == 0
        assert eventually(lambda: _status(server, "my-own-key") == 401, 2.0)
        assert _status(server, out.strip()) == 200
        (key,) = stored(data)
        assert run("revoke", key.id, "--data", str(data))[0] == 0
        # It does not open again.
        assert eventually(lambda: _status(server, out.strip()) == 401, 2.0)
        assert _status(server, "my-own-key") == 401
    with Server(data, *teacher_flags(upstream), PROTEGE_LOOP__ENABLED="false") as server:
        assert _status(server, "my-own-key") == 401


def _status(server: Server, secret: str, path: str = "/models") -> int:
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.get(server.url + path, headers=headers, verify=False).status_code
