"""The two servers of a run: the product, and the replay where the teacher is one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from router.demo import replay
from router.demo.options import Options
from router.demo.processes import free_port, running
from router.demo.samples import Sample

_PROTEGE = [sys.executable, "-m", "router.cli"]


@contextmanager
def serving(options: Options, stream: Sequence[Sample]) -> Iterator[str]:
    """The product is up, its teacher too; gives the root of its API."""
    port = free_port()
    command = [*_PROTEGE, "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--data", str(options.server_data), "--teacher", options.teacher_name]
    environment = {"PROTEGE_POLICY__ALPHA": str(options.alpha), "PROTEGE_DATABASE": "null"}
    # It takes minutes: of a run that is over by then it would only take the processor.
    environment["PROTEGE_LOOP__TUNING_MINUTES"] = "0"
    with ExitStack() as stack:
        if options.replayed:
            url = stack.enter_context(_replaying(options, stream))
            command += ["--teacher-base-url", url]
            environment["PROTEGE_TEACHER__PRICE_AS"] = replay.REPLAYED
            environment["PROTEGE_TEACHER__API_KEY"] = "replay"
        ready = f"http://127.0.0.1:{port}/readyz"
        stack.enter_context(running(command, options.server_log, ready, environment))
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def _replaying(options: Options, stream: Sequence[Sample]) -> Iterator[str]:
    options.recording.write_bytes(b"".join(sample.as_line() for sample in stream))
    port = free_port()
    command = [sys.executable, "-m", "router.demo.replay", str(options.recording), str(port)]
    command += ["--seed", str(options.seed)]
    url = f"http://127.0.0.1:{port}/v1"
    with running(command, options.replay_log, f"{url}/models"):
        yield url
