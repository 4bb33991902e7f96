"""The arguments of the clients, for type checkers alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import httpx2
from openai import NotGiven, Timeout
from openai._data_residency import DataResidency
from openai._provider import _Provider
from openai.auth import WorkloadIdentity, X509WorkloadIdentity
from typing_extensions import TypedDict


class _Options(TypedDict, total=False):
    admin_api_key: str | None
    workload_identity: WorkloadIdentity | X509WorkloadIdentity | None
    organization: str | None
    project: str | None
    webhook_secret: str | None
    provider: _Provider | None
    base_url: str | httpx2.URL | None
    data_residency: DataResidency | None
    websocket_base_url: str | httpx2.URL | None
    timeout: float | Timeout | NotGiven | None
    max_retries: int
    default_headers: Mapping[str, str] | None
    default_query: Mapping[str, object] | None
    fallback_base_url: str | None
    fallback_api_key: str | None
    fallback_model: str | None


class ClientOptions(_Options, total=False):
    api_key: str | Callable[[], str] | None
    http_client: httpx2.Client | None


class AsyncClientOptions(_Options, total=False):
    api_key: str | Callable[[], Awaitable[str]] | None
    http_client: httpx2.AsyncClient | None
