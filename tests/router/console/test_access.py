"""Who may see the console, and from where it may be told to do something."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from router.console import key_form
from router.console import site as console_site
from telemetry.exchange import PICO
from telemetry.keys import Key, Keys, new_secret
from telemetry.sessions import Sessions
from telemetry.store import Store
from tests.router.console.conftest import Site, open_site, post
from tests.router.console.traffic import SERVING
from tests.router.server import eventually
from tests.router.taught import promote
from tests.router.test_startup import loaded
from tests.router.upstream import StubUpstream

PAGES = ("", "/tasks", "/task?name=support-triage", "/students", "/exchanges", "/keys")


@pytest.mark.parametrize("page", PAGES)
def test_without_a_key_there_is_the_sign_in_page_alone(site: Site, page: str) -> None:
    with site.visitor() as visitor:
        answer = visitor.get(f"/console{page}")
        assert answer.status_code == 303
        where = httpx.URL(answer.headers["location"])
        assert where.path == "/console/sign-in"
        assert where.params["next"] == f"/console{page}" or page == ""
        shown = visitor.get(str(where))
        assert shown.status_code == 200
        assert "support-triage<" not in shown.text


def test_the_figures_and_forms_want_a_session_too(site: Site) -> None:
    with site.visitor() as visitor:
        assert visitor.get("/console/live").status_code == 403
        refused = post(visitor, "/console/keys/create", "/console/sign-in", name="mine")
        assert refused.status_code == 403
    # Keys of the API are for the API.
    bearer = {"authorization": f"Bearer {site.admin}"}
    assert httpx.get(site.url, headers=bearer).status_code == 303


def test_the_figures_end_with_the_session(site: Site) -> None:
    with site.visitor() as visitor:
        assert post(visitor, "/console/sign-in", key=site.admin).status_code == 303
        with visitor.stream("GET", "/console/live", timeout=20) as feed:
            lines = feed.iter_lines()
            assert next(lines) == "event: figures"
            assert post(visitor, "/console/sign-out", "/console/").status_code == 303
            # An end: it would go on for minutes.
            began = time.monotonic()
            list(lines)
            assert time.monotonic() - began < 15


def test_an_admin_signs_in_and_out(site: Site) -> None:
    with site.visitor() as visitor:
        answer = post(
            visitor, "/console/sign-in", "/console/sign-in?next=/console/keys", key=site.admin
        )
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Path=/console" in cookie
        assert site.admin not in cookie
        assert visitor.get("/console").status_code == 200
        copied = dict(visitor.cookies)
        assert post(visitor, "/console/sign-out", "/console").status_code == 303
        assert visitor.get("/console").status_code == 303
    # Whoever has a copy of the cookie is out as well.
    assert httpx.get(site.url, cookies=copied).status_code == 303


@pytest.mark.parametrize(
    ("secret", "status", "words"),
    [
        ("sk-protege-guessed", 401, "Incorrect API key"),
        ("", 401, "No API key"),
        ("é\n", 401, "Incorrect API key"),
        ("plain", 403, "admin key"),
    ],
)
def test_no_other_key_does(site: Site, secret: str, status: int, words: str) -> None:
    with site.visitor() as visitor:
        key = site.plain if secret == "plain" else secret
        answer = post(visitor, "/console/sign-in", key=key)
        assert answer.status_code == status
        assert words in answer.text
        assert visitor.get("/console").status_code == 303


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ("/console/keys?a=b", "/console/keys?a=b"),
        ("https://elsewhere.example/console", "/console"),
        ("//elsewhere.example", "/console"),
        ("/console/\\elsewhere.example", "/console"),
        ("/consoles", "/console"),
        ("/v1/models", "/console"),
        ("", "/console"),
    ],
)
def test_signing_in_leads_nowhere_else(site: Site, wanted: str, got: str) -> None:
    with site.visitor() as visitor:
        answer = post(visitor, "/console/sign-in", key=site.admin, next=wanted)
        assert answer.headers["location"] == got


def test_a_session_begins_with_a_token_of_its_own(site: Site) -> None:
    """Else whoever has set a visitor's cookie before would be signed in with it."""
    with site.visitor() as visitor:
        visitor.cookies.set("protege_console", "planted", path="/console")
        assert post(visitor, "/console/sign-in", key=site.admin).status_code == 303
    planted = httpx.get(site.url, cookies={"protege_console": "planted"})
    assert planted.status_code == 303


def test_forms_from_elsewhere_are_refused(site: Site) -> None:
    with site.signed_in() as visitor, site.signed_in() as other:
        shown = visitor.get("/console/keys").text
        token = shown.split('name="form_token" value="')[1].split('"')[0]
        good = {"form_token": token, "name": "forged"}
        before = keys_of(site)
        for headers, fields in (
            ({"origin": "https://elsewhere.example"}, good),
            ({"origin": "null"}, good),
            ({"origin": ""}, good),
            ({}, {"name": "forged"}),
            ({}, {**good, "form_token": "0" * 64}),
        ):
            refused = visitor.post("/console/keys/create", data=fields, headers=headers)
            assert refused.status_code == 403
        # The token of somebody else's session.
        assert other.post("/console/keys/create", data=good).status_code == 403
        assert keys_of(site) == before
        assert visitor.post("/console/keys/create", data=good).status_code == 200
        assert len(keys_of(site)) == len(before) + 1


def test_no_form_from_elsewhere_changes_a_key(site: Site) -> None:
    with site.signed_in() as visitor:
        key = boss(site)
        for path in ("change", "rotate", "revoke"):
            fields = {"id": key.id, "name": "forged", "period": "day", "grace": "at once"}
            assert visitor.post(f"/console/keys/{path}", data=fields).status_code == 403
    assert boss(site) == key


FORMS = (
    *("sign-out", "sign-in", "student/promote", "student/roll-back", "exchange/feedback"),
    *("keys/create", "keys/change", "keys/rotate", "keys/revoke"),
)


def test_these_are_all_forms() -> None:
    source = inspect.getsource(console_site)
    assert set(re.findall(r'Route\("/([\w/-]+)", [^\n]*"POST"', source)) == set(FORMS)


@pytest.mark.parametrize("form", FORMS)
def test_no_form_is_taken_without_its_token_or_from_elsewhere(site: Site, form: str) -> None:
    with site.signed_in() as visitor:
        shown = visitor.get("/console/keys").text
        token = shown.split('name="form_token" value="')[1].split('"')[0]
        exchange = "req_support-triage-6-0"
        fields = {"id": exchange, "thumb": "down", "version": SERVING, "reason": "forged"}
        before = site.server.exchange(exchange)
        for origin, given in (
            (site.root, {}),
            (site.root, {"form_token": token[::-1]}),
            ("https://elsewhere.example", {"form_token": token}),
        ):
            if form == "sign-in":
                # Who is signed in has no use for it.
                visitor.cookies.clear()
            answer = visitor.post(
                f"/console/{form}", data={**fields, **given}, headers={"origin": origin}
            )
            assert answer.status_code == 403
        if form != "sign-in":
            assert visitor.get("/console").status_code == 200
    assert site.server.exchange(exchange) == before
    store = site.server.store()
    assert SERVING in {each.version for each in store.roster.serving()}
    store.close()


def test_of_a_key_that_changes_only_what_is_said_otherwise(site: Site) -> None:
    store = site.server.store()
    limits = {"budget": PICO // 3, "expires": 2e9 + 0.5, "models": ["a"]}
    key = Keys(store).create(new_secret(), time.time(), name="exact", **limits)
    page = f"/console/key?id={key.id}"
    fields = {**key_form.said_of(key), "id": key.id}
    with site.signed_in() as visitor:
        shown = post(visitor, "/console/keys/change", page, **fields)
        assert shown.status_code == 303
        assert Keys(store).find(key.id) == key
        post(visitor, "/console/keys/change", page, **{**fields, "models": "", "tasks": "a,b"})
        changed = dataclasses.replace(key, models=None, tasks=["a", "b"])
        assert Keys(store).find(key.id) == changed
        for name, value, words in (
            ("name", "", "name: string should have at least 1"),
            ("budget_usd", "-1", "budget: input should be greater than 0"),
            ("tokens_per_minute", "many", "tokens a minute: expected a number"),
            ("expires_at", "soon", "ends: expected a date"),
        ):
            refused = post(visitor, "/console/keys/change", page, **{**fields, name: value})
            assert refused.status_code == 400
            assert words in refused.text
        refused = post(visitor, "/console/keys/rotate", page, id=key.id, grace="for ever")
        assert refused.status_code == 400
        assert Keys(store).find(key.id) == changed
        Keys(store).revoke(key.id, time.time())
        shown = visitor.get(page)
        assert "Change the key" not in shown.text
        refused = post(visitor, "/console/keys/rotate", "/console/keys", id=key.id, grace="a day")
        assert "has been revoked" in refused.text
        assert visitor.get("/console/key?id=key_gone").status_code == 404
    store.close()


def test_nobody_takes_their_own_right_away(site: Site) -> None:
    key = boss(site)
    fields = {**key_form.said_of(key), "id": key.id, "admin": ""}
    with site.signed_in() as visitor:
        refused = post(visitor, "/console/keys/change", f"/console/key?id={key.id}", **fields)
    assert refused.status_code == 400
    assert boss(site) == key


def test_what_changes_something_is_not_to_be_got(site: Site) -> None:
    with site.signed_in() as visitor:
        for path in (
            *("keys/create", "keys/change", "keys/rotate", "keys/revoke"),
            *("student/promote", "exchange/feedback"),
        ):
            assert visitor.get(f"/console/{path}").status_code == 405


def test_a_session_ends_with_its_key(site: Site) -> None:
    store = site.server.store()
    secret = new_secret()
    key = Keys(store).create(secret, time.time(), name="leaving", admin=True)
    with site.visitor() as visitor:

        def signs_in() -> bool:
            # The server has the new key within a second.
            return post(visitor, "/console/sign-in", key=secret.text).status_code == 303

        assert eventually(signs_in)
        assert visitor.get("/console").status_code == 200
        Keys(store).revoke(key.id, time.time())
        assert eventually(lambda: visitor.get("/console").status_code == 303)
    with site.visitor() as visitor:
        # Nor does one begin: a session in the table is worth nothing by itself.
        token = Sessions(store).open(key.id, time.time())
        visitor.cookies.set("protege_console", token, path="/console")
        assert visitor.get("/console").status_code == 303
    store.close()


@pytest.mark.parametrize("path", ["", "/sign-in", "/nowhere", "/static/console.js", "/live"])
def test_every_answer_forbids_what_it_does_not_need(site: Site, path: str) -> None:
    headers = httpx.get(site.url + path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert (headers.get("cache-control") == "no-store") == ("/static/" not in path)


def test_pages_that_there_are_not(site: Site) -> None:
    with site.signed_in() as visitor:
        for path in (
            "/nowhere",
            "/task?name=nobody",
            "/exchange?id=req_none",
            "/student?version=x",
        ):
            answer = visitor.get(f"/console{path}")
            assert answer.status_code == 404
            assert "Sorry" in answer.text
        assert visitor.get("/console/task?name=a%00b").status_code == 404
        assert visitor.get("/console/static/../site.py").status_code == 404
        assert visitor.get("/console/static/%2e%2e/site.py").status_code == 404
    # The API's own errors stay the API's.
    assert httpx.get(f"{site.root}/consoles").json()["error"]["code"] == "invalid_api_key"


def test_a_form_that_is_too_large_or_no_text(site: Site) -> None:
    with site.signed_in() as visitor:
        large = visitor.post("/console/keys/create", content=b"name=" + b"x" * 1_100_000)
        assert large.status_code == 413
        assert visitor.post("/console/keys/create", content=b"\xff\xfe=1").status_code == 400


def test_a_machine_of_ones_own_without_keys(upstream: StubUpstream, tmp_path: Path) -> None:
    with open_site(upstream, tmp_path) as server:
        pid = server.process.pid
        assert "markupsafe" not in loaded(pid), "nobody has looked yet"
        root = server.url.removesuffix("/v1")
        with httpx.Client(base_url=root, headers={"origin": root}) as visitor:
            assert visitor.get("/console").status_code == 200
            assert "markupsafe" in loaded(pid)
            # The first key ends all that, so it has to be one to go on with.
            useless = post(visitor, "/console/keys/create", "/console/keys", name="first")
            assert useless.status_code == 400
            made = post(visitor, "/console/keys/create", "/console/keys", name="a", admin="yes")
            assert made.status_code == 200
            secret = made.text.split('class="secret" tabindex="0">')[1].split("<")[0]
            assert visitor.get("/console").status_code == 303
            assert post(visitor, "/console/sign-in", key=secret).status_code == 303
            assert visitor.get("/console").status_code == 200


def test_a_roll_back_that_is_sent_twice_takes_out_one_student(
    upstream: StubUpstream, tmp_path: Path
) -> None:
    """As by a double click: both forms arrive at once, more often than not."""
    data, tasks = tmp_path / "data", [f"task{number}" for number in range(6)]
    store = Store(data)
    for task in tasks:
        for version in ("a", "b", "c"):
            promote(store, data, f"{task}-{version}", task=task)
    with open_site(upstream, tmp_path) as server, ThreadPoolExecutor() as pool:
        root = server.url.removesuffix("/v1")

        def click(task: str) -> int:
            page = f"/console/student?version={task}-c"
            with httpx.Client(base_url=root, headers={"origin": root}) as visitor:
                form = "/console/student/roll-back"
                return post(visitor, form, page, version=f"{task}-c").status_code

        for task in tasks:
            assert sorted(pool.map(click, [task, task])) == [303, 400]
    assert {one.version for one in store.roster.serving()} == {f"{task}-b" for task in tasks}
    store.close()


def test_a_new_server_says_how_it_is_asked(upstream: StubUpstream, tmp_path: Path) -> None:
    with open_site(upstream, tmp_path) as server:
        page = httpx.get(f"{server.url.removesuffix('/v1')}/console").text
        assert f"OpenAI(base_url=&#34;{server.url}&#34;)" in page.replace('"', "&#34;")
        # No axis of millionths of a millionth where nothing was spent.
        assert "Nothing was spent." in page


def test_a_server_stops_while_somebody_watches(upstream: StubUpstream, tmp_path: Path) -> None:
    with open_site(upstream, tmp_path) as server:
        root = server.url.removesuffix("/v1")
        with httpx.stream("GET", f"{root}/console/live", timeout=40) as feed:
            lines = feed.iter_lines()
            assert next(lines) == "event: figures"
            figures = json.loads(next(lines).removeprefix("data: "))
            assert figures["requests"] == "0"
            assert server.stop() == 0
            # An end, not a broken connection.
            list(lines)
        # The server says when its patience has ended instead.
        assert server.complaints() == []


def boss(site: Site) -> Key:
    """The admin's key."""
    store = site.server.store()
    (key,) = (each for each in Keys(store).all() if each.name == "boss")
    store.close()
    return key


def keys_of(site: Site) -> set[str]:
    store = site.server.store()
    every = {key.id for key in Keys(store).all()}
    store.close()
    return every
