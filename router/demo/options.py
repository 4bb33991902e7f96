"""What the caller of the demo asked for, and where the run keeps its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from router.demo import replay


@dataclass(frozen=True, slots=True)
class Options:
    """One run of the demo."""

    tasks: tuple[str, ...]
    """Paths in the OpenAI Evals data."""
    data: Path | None
    """Own traffic instead of ``tasks``."""
    requests: int
    alpha: float
    seed: int
    teacher: str | None
    """A real model instead of the replay."""
    out: Path
    concurrency: int
    json_file: Path | None
    keep: bool
    """Whether the server stays up at the end."""

    @property
    def replayed(self) -> bool:
        return self.teacher is None

    @property
    def teacher_name(self) -> str:
        return self.teacher or replay.MODEL

    @property
    def title(self) -> str:
        replayed = f"replay of recorded answers, priced as {replay.REPLAYED}"
        return f"Protege demo; teacher: {self.teacher or replayed}"

    @property
    def server_data(self) -> Path:
        return self.out / "data"

    @property
    def server_log(self) -> Path:
        return self.out / "server.log"

    @property
    def replay_log(self) -> Path:
        return self.out / "replay.log"

    @property
    def recording(self) -> Path:
        """What the replay teacher answers from."""
        return self.out / "recording.jsonl"

    @property
    def stream(self) -> Path:
        """The requests that were answered, in the order sent, for the baseline."""
        return self.out / "stream.jsonl"

    @property
    def baseline_log(self) -> Path:
        return self.out / "baseline.log"

    @property
    def picture(self) -> Path:
        return self.out / "demo.png"
