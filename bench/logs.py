"""What a line a request costs: requests per second with them and without, in one run.

python -m bench.logs --seconds 1.5 --rounds 10
"""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

from bench.machine import two_cores
from bench.metrics import compared
from bench.subjects import PROTEGE, WORK, stub
from router.demo.errors import DemoError


def main(
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one measurement.")] = 1.5,
    rounds: Annotated[int, typer.Option(min=1, help="How often it is measured.")] = 10,
    format_: Annotated[str, typer.Option("--format", help="json or text.")] = "json",
) -> None:
    """Measure a server that logs at the level info beside one that logs at warning."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    programs = {
        level: ["env", f"PROTEGE_LOG__LEVEL={level}", f"PROTEGE_LOG__FORMAT={format_}", *PROTEGE]
        for level in ("info", "warning")
    }
    cores = two_cores()
    try:
        with stub(cores) as upstream:
            cost = compared(upstream, cores, seconds, rounds, programs)
    except (DemoError, OSError) as error:
        sys.exit(f"bench: {error}")
    typer.echo(
        f"{format_}: with a line a request {cost.requests_per_s[0]:,.0f} requests/s, without "
        f"{cost.requests_per_s[1]:,.0f}: {cost.throughput_lost:.1%} lost. Processor time of a "
        f"request {cost.cpu_ms[0]:.3f} ms against {cost.cpu_ms[1]:.3f} ms: {cost.cpu_more:.1%} "
        f"more. {cost.failures} failed."
    )


if __name__ == "__main__":
    typer.run(main)
