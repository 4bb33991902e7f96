"""LiteLLM's proxy as the bench runs it: its own environment, one worker, no database, no logs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENV = ROOT / ".venv-bench"
LOCK = ROOT / "bench" / "requirements.lock"

MODEL = "bench"

ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    # The price table that the package ships, not the one on the web.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    # Callers are not authenticated, which spares the proxy some work.
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
}


def version() -> str:
    """The release of litellm that the lock names."""
    pinned = re.search(r"^litellm==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    return pinned[1]


def install() -> None:
    """Build the proxy's environment from its lock if it is not there or older than the lock.

    Raises CalledProcessError if that fails; pip has then said why.
    """
    stamp = VENV / ".installed"
    if stamp.exists() and stamp.stat().st_mtime > LOCK.stat().st_mtime:
        return
    print(f"Installing LiteLLM's proxy into {VENV.name} (a minute or more) ...", file=sys.stderr)
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-qq"]
    subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(LOCK)], check=True)
    stamp.touch()


def command(upstream: str, port: int, config: Path) -> list[str]:
    """The proxy on ``port`` before the API whose root is ``upstream``; writes ``config``."""
    upstream_model = {"model": "openai/gpt-5.4", "api_base": upstream, "api_key": "bench"}
    models = [{"model_name": MODEL, "litellm_params": upstream_model}]
    # JSON is YAML.
    config.write_text(json.dumps({"model_list": models}), encoding="utf-8")
    program = str(VENV / "bin" / "litellm")
    return [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
