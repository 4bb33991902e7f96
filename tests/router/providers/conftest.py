"""One server with every shipped provider example, before servers that speak as the providers do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import openai
import pytest
import yaml

from telemetry.exchange import Exchange
from tests.router.providers.anthropic import AnthropicStub
from tests.router.providers.gemini import GeminiStub
from tests.router.providers.openai import OpenAIStub, VllmStub
from tests.router.providers.stub import ProviderStub
from tests.router.providers.turns import HI, put_together
from tests.router.server import ROOT, Server

EXAMPLES = sorted((ROOT / "config" / "providers").glob("*.yaml"))
KEY = "sk-of-the-operator-alone"
"""The operator's key: no caller may ever see it."""

_STUBS: dict[str, tuple[type[ProviderStub], str]] = {
    "anthropic": (AnthropicStub, ""),
    "gemini": (GeminiStub, "/v1beta"),
    "llama": (OpenAIStub, "/v1"),
    "openai": (OpenAIStub, "/v1"),
    "vllm": (VllmStub, "/v1"),
}
"""The stub for an example's models, and where the root of its API is."""


@dataclass
class Providers:
    """The server and the stubs behind it."""

    server: Server
    stubs: dict[str, ProviderStub]

    def client(self) -> openai.OpenAI:
        return self.server.client()

    def ask(self, model: str, **parameters: Any) -> Any:
        body: Any = {"model": model, "messages": HI, **parameters}
        return self.client().chat.completions.create(**body)

    def streamed(self, model: str, **parameters: Any) -> dict[str, Any]:
        """What a stream says, put together."""
        options: Any = {"stream": True, "stream_options": {"include_usage": True}}
        return put_together(self.ask(model, **options, **parameters))

    def exchange(self, identifier: str) -> Exchange:
        return self.server.exchange(identifier)


@pytest.fixture(scope="session")
def shared_providers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Providers]:
    stubs = {name: stub().start() for name, (stub, _) in _STUBS.items()}
    folder = tmp_path_factory.mktemp("providers")
    config = folder / "protege.yaml"
    config.write_text(yaml.safe_dump(_config(stubs)))
    with Server(
        folder / "data", "--config", str(config), ANTHROPIC_API_KEY=KEY, GEMINI_API_KEY=KEY
    ) as server:
        yield Providers(server, stubs)
    for stub in stubs.values():
        stub.stop()


@pytest.fixture
def providers(shared_providers: Providers) -> Providers:
    for stub in shared_providers.stubs.values():
        stub.reset()
    return shared_providers


def _config(stubs: dict[str, ProviderStub]) -> dict[str, Any]:
    """Every example's models under the example's name, and under ``example-name`` those that it
    has beside its teacher. Anthropic's teacher is the teacher; ``opus`` is a model of Anthropic's
    that thinks as long as it likes, and ``gone`` is where nobody listens."""
    models = {}
    for example in EXAMPLES:
        content = yaml.safe_load(example.read_text())
        before = _before(stubs[example.stem].url + _STUBS[example.stem][1], example.stem)
        models[example.stem] = {**content["teacher"], **before}
        for name, model in content.get("models", {}).items():
            models[f"{example.stem}-{name}"] = {**model, **before}
    models["opus"] = {
        **models["anthropic"],
        "model": "anthropic/claude-opus-4-6",
        "price_as": "anthropic/claude-haiku-4-5",
    }
    models["gone"] = {**models["anthropic"], "base_url": "http://127.0.0.1:9"}
    return {
        "teacher": models["anthropic"],
        # Claude gives none: it is not to be asked for them.
        "teacher_logprobs": 5,
        "models": models,
        "policy": {"audit_rate": 0.000001},
        "loop": {"enabled": False},
    }


def _before(base_url: str, example: str) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "base_url": base_url,
        "retries": 0,
        # Errors to order are not to shut a provider out.
        "breaker_failures": 10**6,
    }
    # The others' keys are in the environment, where litellm looks for them.
    return {**settings, "api_key": KEY} if example in ("openai", "llama", "vllm") else settings
