"""What a key may ask for."""

from __future__ import annotations

from router.errors import ForbiddenError
from telemetry.keys import Key


def check_access(key: Key | None, model: str, task: str) -> None:
    """Raises ForbiddenError if the key may not ask for ``model``, by the name that the caller
    used, or not for ``task``. It does not say whether there is such a model."""
    if key is None:
        return
    if key.models is not None and not key.may_ask(model):
        raise ForbiddenError(
            f"The key has no access to the model '{model}', only to: {', '.join(key.models)}.",
            "model",
        )
    if key.tasks is not None and task not in key.tasks:
        raise ForbiddenError(
            f"The key has no access to the task '{task}', only to: {', '.join(key.tasks)}.", "task"
        )


def check_admin(key: Key | None) -> None:
    """Raises ForbiddenError if the key is not an admin's. Nobody is one without a key."""
    if key is None or not key.admin:
        raise ForbiddenError(
            "This needs an admin key: 'protege keys create --admin' makes the first one."
        )


def check_operator(key: Key | None) -> None:
    """Raises ForbiddenError if the key is not an admin's. Where there are no keys at all, everybody
    who is let in operates the server."""
    if key is not None:
        check_admin(key)
