"""What every page has: its visitor, the parts of the server, and the templates."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from router.console import charts, words
from router.console.access import FORM_TOKEN, Visitor
from router.console.application import ROOT, Parts
from router.errors import NotFoundError

_HERE = Path(__file__).parent

DONE = {
    "promoted": "The student serves its task now.",
    "rolled-back": "The student is out of service.",
    "feedback": "Thank you: it counts from the next training run on.",
    "changed": "The key is changed.",
    "revoked": "The key is revoked. Nobody can use it any more.",
}
"""What is said at the top of a page after something was done."""


class Desk:
    """What all pages share."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    @cached_property
    def templates(self) -> Environment:
        loader = FileSystemLoader(_HERE / "templates")
        environment = Environment(
            loader=loader,
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        figures = (words.usd, words.share, words.count, words.seconds, words.moment)
        for word in (*figures, words.model, words.short, words.rungs):
            environment.filters[word.__name__] = word
        environment.globals.update(
            root=ROOT,
            version=_version(),
            meter=charts.meter,
            ratio=words.ratio,
            is_replay=words.is_replay,
            link=link,
            teacher=self.parts.settings.teacher.model,
            promise=1 - self.parts.settings.policy.alpha,
            delta=self.parts.settings.policy.delta,
        )
        return environment


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to one visitor."""

    request: Request
    visitor: Visitor
    desk: Desk

    @property
    def parts(self) -> Parts:
        return self.desk.parts

    def asked(self, name: str) -> str:
        """A parameter of the query, without white space around it; empty where it is missing.
        Raises NotFoundError."""
        return self.exactly(name).strip()

    def exactly(self, name: str) -> str:
        """A parameter as it stands, as `asked`: the name of a task may begin or end in a space."""
        value = self.request.query_params.get(name, "")
        if "\0" in value:
            raise NotFoundError("There is no such page.")
        return value

    def render(self, template: str, status: int = 200, **content: Any) -> Response:
        now = time.time()
        html = self.desk.templates.get_template(template).render(
            **content,
            visitor=self.visitor,
            form_token_name=FORM_TOKEN,
            path=self.request.url.path,
            done=DONE.get(self.request.query_params.get("done", "")),
            ago=lambda time_s: words.ago(time_s, now),
        )
        return HTMLResponse(html, status)

    def back(self, path: str, done: str, **query: str) -> Response:
        """To the page where what was done can be seen."""
        return RedirectResponse(link(path, **query, done=done), 303)


def link(path: str, **query: object) -> str:
    """The URL of a page; parameters that are empty or None are left out."""
    said = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{ROOT}{path}" + (f"?{urlencode(said, quote_via=quote)}" if said else "")


def _version() -> str:
    """Changes with the files that browsers keep."""
    files = sorted((_HERE / "static").iterdir())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
