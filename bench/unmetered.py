"""``protege`` without metrics, for the bench of what they cost.

python -m bench.unmetered serve --port 8080
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from router.cli import main
from router.turn import Turn
from router.watch import Watch
from telemetry.metrics import Metrics


def _nothing(*_arguments: object) -> None:
    pass


async def _no_sample(_watch: Watch) -> None:
    pass


def leave_out() -> None:
    """Take the metrics off the path of requests."""
    stubs: dict[type, dict[str, Callable[..., Any]]] = {
        Metrics: {"exchange": _nothing, "flush": _nothing},
        Watch: {"sample": _no_sample},
        Turn: {"waiting": lambda _turn: nullcontext()},
    }
    for owner, methods in stubs.items():
        for name, method in methods.items():
            setattr(owner, name, method)


if __name__ == "__main__":
    leave_out()
    main()
