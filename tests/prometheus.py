"""A real Prometheus: Debian's, or whatever is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

START_S = 30


def program(name: str) -> str:
    """Where ``prometheus`` or ``promtool`` is; skips the test where it is not installed."""
    path = shutil.which(name)
    if path is None:
        assert not os.environ.get("CI"), f"{name} is not installed"
        pytest.skip(f"{name} is not installed (Debian's package prometheus)")
    return path


class Prometheus:
    """Runs a configuration, but for its target and how often; use as a context manager."""

    def __init__(self, configuration: Path, folder: Path, target: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        adapted = yaml.safe_load(configuration.read_text(encoding="utf-8"))
        adapted["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        adapted["rule_files"] = [str(configuration.parent / file) for file in adapted["rule_files"]]
        adapted["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        folder.mkdir()
        file = folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(adapted))
        self.process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            cwd=folder,
        )
        self._client = httpx.Client(base_url=f"http://{address}/api/v1", timeout=10)
        deadline = time.monotonic() + START_S
        while not self._ready(f"http://{address}/-/ready"):
            assert time.monotonic() < deadline, "Prometheus does not start"
            assert self.process.poll() is None, "Prometheus has ended"
            time.sleep(0.05)

    def __enter__(self) -> Prometheus:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._client.close()
        self.process.terminate()
        self.process.wait(20)

    def get(self, path: str, **parameters: str | float) -> Any:
        """The data of an answer of its API; an error is an AssertionError."""
        answer = self._client.get(path, params=parameters).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def value(self, expression: str) -> float:
        """The one value of an expression."""
        (result,) = self.get("query", query=expression)["result"]
        return float(result["value"][1])

    def _ready(self, url: str) -> bool:
        try:
            return self._client.get(url).status_code == 200
        except httpx.TransportError:
            return False
