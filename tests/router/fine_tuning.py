"""A server of OpenAI's fine-tuning API, for tests: files, jobs and their events, in its shapes
(https://platform.openai.com/docs/api-reference/fine-tuning)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.router.threaded import Threaded


@dataclass
class FineTuning(Threaded):
    """A job runs for as many looks at it as ``looks``, and then ends as ``outcome`` says."""

    outcome: str = "succeeded"
    looks: int = 2
    fail_looks: int = 0
    """How many looks at a job fail first."""
    lose_creations: bool = False
    """Whether the answers to the creation of jobs are lost, though jobs are created."""
    files: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    """What jobs were asked for."""
    queries: list[str] = field(default_factory=list)
    """And with which queries."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/files", self._upload)
        router.add_post("/v1/fine_tuning/jobs", self._create)
        router.add_get("/v1/fine_tuning/jobs", self._list)
        router.add_get("/v1/fine_tuning/jobs/{id}", self._retrieve)
        router.add_get("/v1/fine_tuning/jobs/{id}/events", self._events)
        router.add_post("/v1/fine_tuning/jobs/{id}/cancel", self._cancel)

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "fine-tune"
        uploaded: Any = form["file"]
        content = uploaded.file.read()
        identifier = f"file-{len(self.files)}"
        self.files[identifier] = [json.loads(line) for line in content.splitlines()]
        return web.json_response(
            {
                "id": identifier,
                "object": "file",
                "bytes": len(content),
                "created_at": 1,
                "filename": uploaded.filename,
                "purpose": "fine-tune",
                "status": "processed",
            }
        )

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        self.queries.append(request.query_string)
        if body["model"] == "unknown":
            error = {"message": "The model does not exist.", "type": "invalid_request_error"}
            return web.json_response(
                {"error": {**error, "param": "model", "code": None}}, status=400
            )
        identifier = f"ftjob-{len(self.jobs)}"
        self.jobs[identifier] = {
            "id": identifier,
            "object": "fine_tuning.job",
            "created_at": 1,
            "model": body["model"],
            "training_file": body["training_file"],
            "validation_file": None,
            "organization_id": "org-1",
            "hyperparameters": body["method"]["supervised"]["hyperparameters"],
            "method": body["method"],
            "seed": 0,
            "status": "running",
            "error": None,
            "fine_tuned_model": None,
            "finished_at": None,
            "result_files": [],
            "trained_tokens": None,
            "looked_at": 0,
        }
        if self.lose_creations:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(self.jobs[identifier])

    async def _list(self, _request: web.Request) -> web.Response:
        data = list(self.jobs.values())
        return web.json_response({"object": "list", "data": data, "has_more": False})

    async def _retrieve(self, request: web.Request) -> web.Response:
        if self.fail_looks:
            self.fail_looks -= 1
            return web.json_response({"error": {"message": "Out of order."}}, status=500)
        job = self.jobs[request.match_info["id"]]
        job["looked_at"] += 1
        if job["looked_at"] > self.looks and job["status"] == "running":
            job["status"] = self.outcome
            if self.outcome == "succeeded":
                job |= {"fine_tuned_model": f"ft:{job['model']}:acme::1", "trained_tokens": 1234}
            elif self.outcome == "failed":
                job["error"] = {"code": "bad", "message": "The examples are bad.", "param": None}
        return web.json_response(job)

    async def _events(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        events = [
            {
                "id": f"ftevent-{number}",
                "object": "fine_tuning.job.event",
                "created_at": number,
                "level": "info",
                "message": f"Step {number}",
                "type": "message",
            }
            for number in range(job["looked_at"], 0, -1)
        ]
        return web.json_response({"object": "list", "data": events, "has_more": False})

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        job["status"] = "cancelled"
        return web.json_response(job)
