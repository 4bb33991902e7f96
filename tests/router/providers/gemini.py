"""Google's Gemini API (https://ai.google.dev/api/generate-content)."""

from __future__ import annotations

import json
from typing import Any

from tests.router.providers.stub import ProviderStub, Received, Reply, require

Part = dict[str, Any]

USAGE = {
    "promptTokenCount": 40,
    "cachedContentTokenCount": 15,
    "candidatesTokenCount": 9,
    "thoughtsTokenCount": 6,
    "totalTokenCount": 55,
}

_FIELDS = {
    "cachedContent",
    "contents",
    "generationConfig",
    "labels",
    "safetySettings",
    "serviceTier",
    "systemInstruction",
    "system_instruction",
    "toolConfig",
    "tools",
}


def text(said: str) -> Part:
    return {"text": said}


def thought(said: str) -> Part:
    return {"text": said, "thought": True}


def function_call(name: str, args: dict[str, Any], signature: str | None = None) -> Part:
    part: Part = {"functionCall": {"name": name, "args": args}}
    return {**part, "thoughtSignature": signature} if signature else part


def content(*parts: Part, finish_reason: str = "STOP") -> Reply:
    """A candidate of these parts, whole and as a stream of one part an event."""
    whole = _response(list(parts), finish_reason, USAGE)
    pieces = [_response([part], None, None) for part in parts[:-1]]
    pieces.append(_response([parts[-1]], finish_reason, USAGE))
    return Reply(whole, [event(piece) for piece in pieces])


def error(status: int, type: str, message: str, **headers: str) -> Reply:
    said = {"error": {"code": status, "message": message, "status": type}}
    return Reply(said, status=status, headers=headers)


def event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\r\n\r\n".encode()


def _response(
    parts: list[Part], finish_reason: str | None, usage: dict[str, int] | None
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish_reason is not None:
        candidate["finishReason"] = finish_reason
    response: dict[str, Any] = {
        "candidates": [candidate],
        "modelVersion": "gemini-2.5-flash",
        "responseId": "resp_01",
    }
    if usage is not None:
        response["usageMetadata"] = usage
    return response


class GeminiStub(ProviderStub):
    """As strict as the real one about what it does not know and what it needs."""

    plain = content(text("a "), text("cat"))
    compresses = True

    def check(self, received: Received) -> None:
        stem, _, method = received.path.rpartition(":")
        require(stem.startswith("/v1beta/models/"), f"no such path: {received.path}")
        if method == "streamGenerateContent":
            require(received.query.get("alt") == "sse", "the stub streams with alt=sse alone")
        else:
            require(method == "generateContent", f"no such method: {method}")
        require("contents" in received.body, "contents is not specified")
        for name in received.body.keys() - _FIELDS:
            require(False, f'Unknown name "{name}": Cannot find field.')
        for said in received.body["contents"]:
            require(said.get("role") in ("user", "model"), "Please use a valid role: user, model.")

    def is_stream(self, received: Received) -> bool:
        return received.path.endswith(":streamGenerateContent")

    def refusal(self, message: str) -> Reply:
        return error(400, "INVALID_ARGUMENT", message)
