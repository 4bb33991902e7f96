"""Virtual keys through the real server: who is let in, to what, and who may say so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemetry.keys import Key, Keys, new_secret
from telemetry.store import Store
from tests.router.conftest import TEACHER, teacher_flags
from tests.router.server import Server, eventually
from tests.router.taught import promote
from tests.router.upstream import StubUpstream

BODY: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "a cat"}]}
WITHIN_S = 2.0
"""A second is promised; another is for a machine that is busy with tests."""

WRONG = "sk-protege-canary-that-nobody-may-see-again"


class Guarded:
    """A server that needs a key, and the keys of its store."""

    def __init__(self, server: Server, admin: str) -> None:
        self.server = server
        self.store = Store(server.data)
        self.keys = Keys(self.store)
        self.admin = admin
        """The secret of an admin's key."""
        self.http = httpx.Client(verify=False, timeout=20)

    def new(self, **fields: Any) -> tuple[Key, str]:
        """A key that the server knows, and its secret."""
        secret = new_secret()
        key = self.keys.create(secret, time.time(), **{"name": "app", **fields})
        assert eventually(lambda: self.status(secret.text) == 200, WITHIN_S)
        return key, secret.text

    def get(self, path: str, secret: str | None = None) -> httpx.Response:
        return self.http.get(f"{self.server.url}{path}", headers=bearer(secret))

    def status(self, secret: str) -> int:
        return self.get("/models", secret).status_code

    def client(self, secret: str) -> openai.OpenAI:
        return self.server.client(api_key=secret, http_client=self.http)

    def ask(self, secret: str, **more: Any) -> Any:
        return self.client(secret).chat.completions.with_raw_response.create(**{**BODY, **more})

    def admin_call(self, method: str, path: str, **more: Any) -> httpx.Response:
        url = f"{self.server.url}{path}"
        return self.http.request(method, url, headers=bearer(self.admin), **more)


def bearer(secret: str | None) -> dict[str, str]:
    return {} if secret is None else {"authorization": f"Bearer {secret}"}


@pytest.fixture(scope="module")
def running(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    data = tmp_path_factory.mktemp("guarded")
    store, secret = Store(data), new_secret()
    Keys(store).create(secret, time.time(), name="admin", admin=True)
    store.close()
    with Server(data, *teacher_flags(shared_upstream), PROTEGE_LOOP__ENABLED="false") as server:
        yield Guarded(server, secret.text)
    assert not server.complaints()


@pytest.fixture
def guarded(running: Guarded, upstream: StubUpstream) -> Guarded:
    return running


# Who is let in


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": f"Bearer {WRONG}"},
        {"authorization": f"Basic {WRONG}"},
        {"x-api-key": WRONG},
        {"x-api-key": ""},
        {"authorization": b"Bearer \xff\xfe"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/chat/completions"),
        ("POST", "/completions"),
        ("POST", "/responses"),
        ("POST", "/embeddings"),
        ("GET", "/models"),
        ("GET", "/chat/completions"),
        ("POST", "/feedback"),
        ("GET", "/tasks"),
        ("GET", "/keys"),
        ("GET", "/no-such-path"),
    ],
)
def test_nobody_is_let_in_without_a_key(
    guarded: Guarded, upstream: StubUpstream, method: str, path: str, headers: Any
) -> None:
    url = f"{guarded.server.url}{path}"
    json = BODY if method == "POST" else None
    answer = guarded.http.request(method, url, headers=headers, json=json)
    assert answer.status_code == 401
    assert answer.headers["x-request-id"].startswith("req_")
    error = answer.json()["error"]
    assert (error["type"], error["code"], error["param"]) == (
        "invalid_request_error",
        "invalid_api_key",
        None,
    )
    assert WRONG not in answer.text
    assert not upstream.requests


def test_every_client_has_its_own_header_for_a_key(guarded: Guarded) -> None:
    for name, value in (*bearer(guarded.admin).items(), ("x-api-key", guarded.admin)):
        assert httpx.get(f"{guarded.server.url}/models", headers={name: value}).is_success
    azure = openai.AzureOpenAI(
        base_url=guarded.server.url, api_key=guarded.admin, api_version="2024-10-21"
    )
    assert azure.models.list().data


def test_pages_in_a_browser_may_ask_with_a_key(guarded: Guarded, upstream: StubUpstream) -> None:
    url, page = f"{guarded.server.url}/chat/completions", {"origin": "http://pages.example"}
    wanted = "authorization,content-type,x-stainless-os"
    allowed = httpx.options(
        url,
        headers={
            **page,
            "access-control-request-method": "POST",
            "access-control-request-headers": wanted,
        },
    )
    assert allowed.status_code == 204
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert allowed.headers["access-control-allow-headers"] == wanted
    answers = [
        httpx.post(url, json=BODY, headers={**page, **bearer(secret)})
        for secret in (guarded.admin, WRONG)
    ]
    assert [answer.status_code for answer in answers] == [200, 401]
    for answer in (allowed, *answers):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-expose-headers"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
    console = httpx.get(f"{guarded.server.url.removesuffix('/v1')}/console", headers=page)
    assert "access-control-allow-origin" not in console.headers


def test_a_server_with_keys_may_have_any_name(guarded: Guarded, upstream: StubUpstream) -> None:
    named = {"host": "protege.example"}
    for more in ({}, {"origin": "null"}, {"origin": "http://protege.example"}):
        url, headers = f"{guarded.server.url}/chat/completions", {**named, **more}
        answer = httpx.post(url, json=BODY, headers={**headers, **bearer(guarded.admin)})
        assert answer.status_code == 200
        assert httpx.post(url, json=BODY, headers=headers).status_code == 401
    console = f"{guarded.server.url.removesuffix('/v1')}/console"
    assert httpx.get(f"{console}/sign-in", headers=named).status_code == 200


def test_probes_need_no_key(guarded: Guarded) -> None:
    root = guarded.server.url.removesuffix("/v1")
    for path in ("/healthz", "/readyz", "/metrics"):
        assert httpx.get(root + path).status_code == 200


def test_clients_see_their_own_errors(guarded: Guarded) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        guarded.ask(WRONG)
    assert caught.value.code == "invalid_api_key"
    claude = anthropic.Anthropic(
        base_url=guarded.server.url.removesuffix("/v1"), api_key=WRONG, max_retries=0
    )
    with pytest.raises(anthropic.AuthenticationError) as refused:
        claude.messages.create(
            model="auto", max_tokens=9, messages=[{"role": "user", "content": "a cat"}]
        )
    assert refused.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]


def test_a_key_lets_in_and_goes_no_further(guarded: Guarded, upstream: StubUpstream) -> None:
    key, secret = guarded.new()
    answers = [guarded.ask(secret)]
    claude = anthropic.Anthropic(
        base_url=guarded.server.url.removesuffix("/v1"), api_key=secret, max_retries=0
    )
    answers.append(
        claude.messages.with_raw_response.create(
            model="auto", max_tokens=9, messages=[{"role": "user", "content": "a cat"}]
        )
    )
    events = guarded.client(secret).chat.completions.create(**BODY, stream=True)
    assert list(events)
    assert len(upstream.requests) == 3
    for received in upstream.requests:
        assert secret not in str(received)
        assert "authorization" not in received.headers
    for answer in answers:
        exchange = guarded.store.exchange(answer.headers["x-request-id"])
        assert exchange is not None
        assert exchange.key == key.id
        assert secret not in str(exchange)


def test_the_upstream_gets_the_key_of_the_settings(upstream: StubUpstream, data: Path) -> None:
    upstream.key = "of-the-settings"
    store, secret = Store(data), new_secret()
    Keys(store).create(secret, time.time(), name="app")
    store.close()
    environment = {"PROTEGE_TEACHER__API_KEY": "of-the-settings", "PROTEGE_LOOP__ENABLED": "false"}
    with Server(data, *teacher_flags(upstream), **environment) as server:
        assert server.client(api_key=secret.text).chat.completions.create(**BODY).choices


@pytest.mark.parametrize("stream", [False, True])
def test_the_router_answers_for_its_own_key(
    guarded: Guarded, upstream: StubUpstream, stream: bool
) -> None:
    _, secret = guarded.new()
    upstream.key = "another"
    with pytest.raises(openai.InternalServerError) as caught:
        guarded.ask(secret, stream=stream)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_key_refused")


def test_nothing_is_free_because_its_price_is_unknown(guarded: Guarded) -> None:
    _, secret = guarded.new(budget=10**6)
    assert guarded.ask(secret, model="a-model-nobody-has-heard-of")
    with pytest.raises(openai.RateLimitError) as caught:
        guarded.ask(secret, model="a-model-nobody-has-heard-of")
    assert caught.value.code == "insufficient_quota"


def test_no_secret_is_ever_written(guarded: Guarded) -> None:
    _, secret = guarded.new()
    with pytest.raises(openai.NotFoundError) as unknown:
        guarded.ask(secret, model="nonsense")
    with pytest.raises(openai.BadRequestError) as invalid:
        guarded.ask(secret, messages="nonsense")
    root = guarded.server.url.removesuffix("/v1")
    said = [unknown.value.response.text, invalid.value.response.text]
    said += [httpx.get(f"{root}/metrics").text, *guarded.server.errors]
    said.append(guarded.admin_call("GET", "/keys", params={"limit": 100}).text)
    assert not [text for text in said if secret in text or WRONG in text]
    files = [file for file in guarded.server.data.rglob("*") if file.is_file()]
    assert files
    for file in files:
        content = file.read_bytes()
        assert secret.encode() not in content, file
        assert WRONG.encode() not in content, file


# Changes take effect while the server runs


def test_a_revoked_key_is_dead_within_a_second(guarded: Guarded) -> None:
    key, secret = guarded.new()
    guarded.keys.revoke(key.id, time.time())
    assert eventually(lambda: guarded.status(secret) == 401, WITHIN_S)
    assert "revoked" in guarded.get("/models", secret).json()["error"]["message"]


def test_a_key_expires(guarded: Guarded) -> None:
    expires = time.time() + 1.5
    _, secret = guarded.new(expires=expires)
    assert eventually(lambda: time.time() > expires)
    assert guarded.status(secret) == 401
    assert "expired" in guarded.get("/models", secret).json()["error"]["message"]


def test_an_old_secret_dies_at_once(guarded: Guarded) -> None:
    key, old = guarded.new()
    rotated = guarded.admin_call("POST", f"/keys/{key.id}/rotate").json()
    assert rotated["id"] == key.id
    assert eventually(lambda: guarded.status(rotated["secret"]) == 200, WITHIN_S)
    assert guarded.status(old) == 401
    assert "replaced" in guarded.get("/models", old).json()["error"]["message"]


def test_an_old_secret_may_have_its_grace(guarded: Guarded) -> None:
    key, old = guarded.new()
    body = {"grace_s": 2.5}
    ends = time.time() + 2.5
    new = guarded.admin_call("POST", f"/keys/{key.id}/rotate", json=body).json()["secret"]
    assert eventually(lambda: guarded.status(new) == 200, WITHIN_S)
    if time.time() < ends - 0.5:
        assert guarded.get("/models", old).status_code == 200
    assert eventually(lambda: guarded.status(old) == 401)
    assert time.time() >= ends
    assert guarded.status(new) == 200


def test_a_secret_before_the_last_is_dead(guarded: Guarded) -> None:
    key, first = guarded.new()
    for _ in range(2):
        guarded.admin_call("POST", f"/keys/{key.id}/rotate", json={"grace_s": 60})
    assert eventually(lambda: guarded.status(first) == 401, WITHIN_S)


# What a key may ask for


def test_models(guarded: Guarded, upstream: StubUpstream) -> None:
    _, secret = guarded.new(models=["auto", "no-such-model"])
    assert guarded.ask(secret).parse().choices
    for model in ("teacher", TEACHER, "student", "nonsense"):
        with pytest.raises(openai.PermissionDeniedError) as caught:
            guarded.ask(secret, model=model)
        assert caught.value.param == "model"
        assert caught.value.code == "permission_denied"
    with pytest.raises(openai.PermissionDeniedError):
        guarded.client(secret).embeddings.create(model="teacher", input="a cat")
    assert len(upstream.requests) == 1
    client = guarded.client(secret)
    assert [model.id for model in client.models.list()] == ["auto"]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("teacher")


def test_tasks(guarded: Guarded, upstream: StubUpstream) -> None:
    _, secret = guarded.new(tasks=["animals"])
    assert guarded.ask(secret, metadata={"task": "animals"}).parse().choices
    assert guarded.ask(secret, extra_headers={"x-protege-task": "animals"}).parse().choices
    for more in ({}, {"metadata": {"task": "plants"}}):
        with pytest.raises(openai.PermissionDeniedError) as caught:
            guarded.ask(secret, **more)
        assert caught.value.param == "task"
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/messages/count_tokens", {"messages": [{"role": "user", "content": "a cat"}]}),
        ("/responses/input_tokens", {"input": "a cat"}),
    ],
)
def test_counting_tokens_says_nothing_of_what_is_for_others(
    guarded: Guarded, path: str, body: dict[str, Any]
) -> None:
    _, secret = guarded.new(models=["auto"], tasks=["animals"])

    def count(model: str, task: str) -> int:
        headers = {**bearer(secret), "x-protege-task": task}
        asked = {"model": model, **body}
        url = guarded.server.url + path
        return guarded.http.post(url, json=asked, headers=headers).status_code

    assert count("auto", "animals") == 200
    for model, task in (("teacher", "animals"), ("nonsense", "animals"), ("auto", "plants")):
        assert count(model, task) == 403


def test_students_of_other_tasks_do_not_exist(guarded: Guarded) -> None:
    for task in ("mine", "others"):
        promote(guarded.store, guarded.server.data, f"{task}-1", task=task)
    _, secret = guarded.new(tasks=["mine"])
    client = guarded.client(secret)

    def students() -> set[str]:
        return {model.id for model in client.models.list()} & {"mine-1", "others-1"}

    assert eventually(lambda: students() == {"mine-1"}, WITHIN_S)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("others-1")
    assert guarded.ask(secret, model="mine-1").parse().model == "mine-1"
    with pytest.raises(openai.PermissionDeniedError):
        guarded.ask(secret, model="others-1")


def test_others_exchanges_do_not_exist(guarded: Guarded) -> None:
    (_, mine), (_, other) = guarded.new(), guarded.new()
    completion = guarded.ask(mine, store=True).parse()
    assert guarded.client(mine).chat.completions.retrieve(completion.id).id == completion.id
    assert guarded.client(guarded.admin).chat.completions.retrieve(completion.id).id
    with pytest.raises(openai.NotFoundError):
        guarded.client(other).chat.completions.retrieve(completion.id)


# Administration


def test_only_an_admin_administers(guarded: Guarded) -> None:
    key, secret = guarded.new()
    for method, path in (
        ("POST", "/keys"),
        ("GET", "/keys"),
        ("GET", f"/keys/{key.id}"),
        ("PATCH", f"/keys/{key.id}"),
        ("DELETE", f"/keys/{key.id}"),
        ("POST", f"/keys/{key.id}/rotate"),
        ("POST", "/files"),
        ("GET", "/files"),
        ("GET", "/files/file-1"),
        ("GET", "/files/file-1/content"),
        ("DELETE", "/files/file-1"),
        ("POST", "/fine_tuning/jobs"),
        ("GET", "/fine_tuning/jobs"),
        ("GET", "/fine_tuning/jobs/ftjob-1"),
        ("POST", "/fine_tuning/jobs/ftjob-1/cancel"),
        ("GET", "/fine_tuning/jobs/ftjob-1/events"),
        ("GET", "/fine_tuning/jobs/ftjob-1/checkpoints"),
    ):
        url = f"{guarded.server.url}{path}"
        answer = guarded.http.request(method, url, headers=bearer(secret))
        assert answer.status_code == 403, (method, path)
        assert answer.json()["error"]["code"] == "permission_denied"
    assert guarded.keys.find(key.id) == key


def test_a_key_is_created_shown_changed_and_revoked(guarded: Guarded) -> None:
    wanted = {
        "name": "shop",
        "budget_usd": 1.5,
        "period": "day",
        "requests_per_minute": 10,
        "tokens_per_minute": 1000,
        "models": ["auto"],
        "tasks": ["animals"],
        "expires_at": 4_000_000_000,
    }
    created = guarded.admin_call("POST", "/keys", json=wanted).json()
    secret = created.pop("secret")
    assert created.items() >= {**wanted, "object": "key", "admin": False, "spent_usd": 0}.items()
    assert secret.startswith(created["hint"].removesuffix("..."))
    path = f"/keys/{created['id']}"
    assert guarded.admin_call("GET", path).json() == created
    assert eventually(lambda: guarded.status(secret) == 200, WITHIN_S)

    answer = guarded.ask(secret, metadata={"task": "animals"})
    cost = float(answer.headers["x-protege-cost"])
    assert cost > 0
    shown = guarded.admin_call("GET", path).json()
    assert shown["spent_usd"] == pytest.approx(cost)

    changed = guarded.admin_call("PATCH", path, json={"tasks": None, "budget_usd": 2}).json()
    assert changed == {**shown, "tasks": None, "budget_usd": 2.0}
    assert eventually(lambda: guarded.ask(secret).parse().choices, WITHIN_S)

    revoked = guarded.admin_call("DELETE", path).json()
    assert revoked["revoked_at"] == pytest.approx(time.time(), abs=60)
    assert guarded.admin_call("DELETE", path).json() == revoked
    for method, target in (("PATCH", path), ("POST", f"{path}/rotate")):
        assert guarded.admin_call(method, target, json={}).status_code == 400
    assert eventually(lambda: guarded.status(secret) == 401, WITHIN_S)


def test_keys_are_listed_in_pages(guarded: Guarded) -> None:
    made = [guarded.new(name=f"listed {number}")[0].id for number in range(3)]
    every: list[str] = []
    page: dict[str, Any] = {"has_more": True, "last_id": None}
    while page["has_more"]:
        after = {} if page["last_id"] is None else {"after": page["last_id"]}
        page = guarded.admin_call("GET", "/keys", params={"limit": 2, **after}).json()
        assert len(page["data"]) <= 2
        assert not [key for key in page["data"] if "secret" in key or "hash" in str(key)]
        every += [key["id"] for key in page["data"]]
    assert len(every) == len(set(every))
    assert every[-3:] == made
    newest = guarded.admin_call("GET", "/keys", params={"order": "desc", "limit": 3}).json()
    assert [key["id"] for key in newest["data"]] == made[::-1]
    assert guarded.admin_call("GET", "/keys", params={"after": "key_1"}).status_code == 400


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 5}, "name"),
        ({"budget_usd": 0}, "budget_usd"),
        ({"budget_usd": "5"}, "budget_usd"),
        ({"budget_usd": 1e300}, "budget_usd"),
        ({"period": "year"}, "period"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"requests_per_minute": 1.5}, "requests_per_minute"),
        ({"tokens_per_minute": True}, "tokens_per_minute"),
        ({"models": []}, "models"),
        ({"models": "auto"}, "models"),
        ({"tasks": [None]}, "tasks"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"secret": "mine"}, "secret"),
    ],
)
def test_what_makes_no_key(guarded: Guarded, body: dict[str, Any], param: str) -> None:
    key, _ = guarded.new()
    for method, path in (("POST", "/keys"), ("PATCH", f"/keys/{key.id}")):
        answer = guarded.admin_call(method, path, json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param
    assert guarded.keys.find(key.id) == key


@pytest.mark.parametrize("grace_s", [-1, "5", 1e9, True, None])
def test_what_is_no_grace(guarded: Guarded, grace_s: Any) -> None:
    key, _ = guarded.new()
    answer = guarded.admin_call("POST", f"/keys/{key.id}/rotate", json={"grace_s": grace_s})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "grace_s"


def test_unknown_keys(guarded: Guarded) -> None:
    for method, path in (("GET", "/keys/key_1"), ("PATCH", "/keys/%00"), ("DELETE", "/keys/x")):
        answer = guarded.admin_call(method, path, json={} if method == "PATCH" else None)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
_fields = st.sampled_from(["name", "admin", "budget_usd", "period", "models", "expires_at", "x"])


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(body=st.dictionaries(_fields, _json) | _json)
def test_any_body_makes_a_key_or_a_clear_error(guarded: Guarded, body: Any) -> None:
    answer = guarded.admin_call("POST", "/keys", json=body)
    assert answer.status_code in (200, 400)
    assert "secret" in answer.json() or answer.json()["error"]["message"]
