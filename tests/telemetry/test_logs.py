"""What is left out of log lines: everybody's words but ours."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from config.settings import LogSettings
from telemetry.logs import RequestLog, nameless
from tests.telemetry.test_store import exchange

PROGRAM = """
import asyncio, logging, sqlite3, sys, threading, warnings
from config.settings import LogSettings
from telemetry import logs
from sqlalchemy.exc import IntegrityError, OperationalError

logs.configure(LogSettings(level=sys.argv[1], format=sys.argv[2]))
ours = logging.getLogger("router.endpoint")

class Own(Exception):
    pass

try:
    try:
        int("canary 1")
    except ValueError as error:
        raise Own("canary 2") from error
except Own:
    ours.exception("request %s failed", "req_1")
ours.error("cannot be stored: %s", IntegrityError("canary 3", {}, Exception("canary 4")))
locked = sqlite3.OperationalError("locked")
ours.error("cannot be read: %s", OperationalError("canary 5", {}, locked))
ours.warning("of no use: %s", ConnectionRefusedError(111, "Connection refused"))
ours.warning("100% plain")
ours.warning("%(kind)s", {"kind": "by name"})
ours.warning("too few: %s %s", "canary 12")
ours.info("for information")
logging.getLogger("LiteLLM").error("failed for canary 6: %s", "canary 7")
logging.getLogger("httpx").info("GET canary 8")
uvicorn = logging.getLogger("uvicorn.error")
uvicorn.error("Exception in ASGI application\\n", exc_info=Own("canary 9"))
warnings.warn("canary 10")

async def forget():
    async def fail():
        raise Own("canary 11")
    task = asyncio.create_task(fail())
    await asyncio.sleep(0.01)
    del task

asyncio.run(forget())
thread = threading.Thread(target=lambda: int("canary 13"), name="worker")
thread.start()
thread.join()
raise Own("canary 14")
"""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("triage", "triage"),
        ("say-it-in-french-3d22ef98", "3d22ef98"),
        ("say-3d22ef98-0a1b2c3d", "3d22ef98-0a1b2c3d"),
        ("task say-3d22ef98: failed", "task 3d22ef98: failed"),
        ("3d22ef98", "3d22ef98"),
        ("Say-3d22ef98", "Say-3d22ef98"),
    ],
)
def test_names_that_are_made_of_prompts(name: str, shown: str) -> None:
    assert nameless(name) == shown


def said(level: str, format_: str) -> str:
    command = [sys.executable, "-c", PROGRAM, level, format_]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("level", ["info", "warning"])
def test_only_kinds_and_places_of_what_others_say(level: str) -> None:
    text = said(level, "json")
    assert "canary" not in text
    lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    first = lines[0]
    assert (first["level"], first["logger"]) == ("error", "router.endpoint")
    assert first["message"] == "request req_1 failed"
    assert [each["said"] for each in first["exceptions"]] == ["Own", "ValueError"]
    assert all(each["at"] for each in first["exceptions"])
    messages = [line["message"] for line in lines]
    assert messages[1:6] == [
        "cannot be stored: IntegrityError",
        "cannot be read: OperationalError: locked",
        "of no use: ConnectionRefusedError: [Errno 111] Connection refused",
        "100% plain",
        "by name",
    ]
    assert ("for information" in messages) == (level == "info")
    assert "Exception in ASGI application" in messages
    assert "Task exception was never retrieved" in messages
    assert [line["logger"] for line in lines].count("LiteLLM") == 1
    assert messages[-2:] == ["stopped", "stopped"]


def test_text_is_a_line_and_its_places() -> None:
    text = said("warning", "text")
    assert "canary" not in text
    first, kind, place, *_ = text.splitlines()
    assert first.endswith(" error router.endpoint request req_1 failed")
    assert kind == "  Own"
    assert place.startswith("    ")
    assert place.endswith(" in <module>")


def test_a_value_in_text_passes_for_no_other_field(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    log = RequestLog()
    log.open(LogSettings(level="warning"))
    model = 'gpt" key=key_2\nwarning request'
    log.exchange(exchange("req_1", task="two words", model=model, key="", status=500))
    (line,) = capfdbinary.readouterr().err.decode().splitlines()
    assert ' request request=req_1 task="two words" route=teacher ' in line
    assert r' model="gpt\" key=key_2\nwarning request" ' in line
    assert ' key="" ' in line


def test_a_developer_may_see_it_all() -> None:
    text = said("debug", "json")
    for number in (1, 2, 4, 9, 14):
        assert f"canary {number}" in text
