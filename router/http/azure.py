"""Azure's paths for OpenAI's API, as OpenAI's own clients for it send them.

Sources: ``lib/azure.py`` of OpenAI's client for Python, and
https://learn.microsoft.com/azure/ai-foundry/openai/reference. What a deployment is called there is
a model's name here; the version of the API, in the query, means nothing.
"""

from __future__ import annotations

import re

from starlette.types import Scope

from router.checks import written
from router.http.paths import API
from router.request import read_object

_PREFIX = "/openai/"

# A deployment's name may have slashes, which not every client encodes. A client that was given a
# base URL that ends in /v1 adds the deployment to that.
_OF_DEPLOYMENT = re.compile(
    r"/(?:openai|openai/v1|v1)/deployments/(.+?)/(chat/completions|completions|embeddings)",
    re.DOTALL,
)


def as_openais(scope: Scope) -> Scope:
    """The same request with OpenAI's path, and with the ``deployment`` that Azure's named."""
    path = scope["path"]
    named = _OF_DEPLOYMENT.fullmatch(path)
    if named is not None:
        return {**scope, "path": f"{API}/{named[2]}", "deployment": named[1]}
    if path.startswith(_PREFIX):
        rest = path.removeprefix(_PREFIX).removeprefix("v1/")
        return {**scope, "path": f"{API}/{rest}"}
    return scope


def with_model(raw: bytes, scope: Scope) -> bytes:
    """The body ``raw`` of a request, with its deployment as the model: which one the body names
    means nothing to Azure.

    Raises InvalidRequestError if it is no JSON object.
    """
    deployment = scope.get("deployment")
    if deployment is None:
        return raw
    body = read_object(raw)
    return raw if body.get("model") == deployment else written({**body, "model": deployment})
