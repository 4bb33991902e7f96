"""How trainings go on, and when they end."""

import itertools
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distill.students import pace
from distill.students.pace import paced

_PATIENCE_S = 30.0


def shares(steps, cpu_s=1e9, warm=0.5):
    return [share for share, _ in paced(range(steps), steps, cpu_s, warm)]


def test_the_rate_rises_then_falls_to_nothing():
    assert shares(8) == pytest.approx([0.25, 0.5, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])
    assert shares(1) == [1.0]


def test_every_batch_has_its_turn():
    assert [batch for _, batch in paced("abc", 3, 1e9, 0.1)] == ["a", "b", "c"]


def test_a_clock_that_is_ahead_ends_the_training_and_its_rate(monkeypatch):
    """Each of a thousand steps takes a second, of eleven that are allowed."""
    monkeypatch.setattr("time.process_time", itertools.count().__next__)
    falling = shares(1000, 11.0, warm=0.05)
    assert falling == pytest.approx([1 - second / 11 for second in range(1, 11)])


def test_what_has_no_time_for_a_step_says_so():
    with pytest.raises(ValueError, match="not enough for one step"):
        shares(5, cpu_s=1e-12)


def test_a_training_ends_once_nobody_wants_it(monkeypatch):
    training = paced(range(5), 5, 1e9, 0.1)
    next(training)
    monkeypatch.setattr(pace, "_PARENT", -1)
    with pytest.raises(SystemExit, match="gone"):
        next(training)


def test_a_training_whose_trainer_was_killed_while_it_loaded_does_not_begin(tmp_path):
    wants = f"from distill.students import apart; from pathlib import Path; \
apart.run('tests.distill.orphan', {{'folder': {str(tmp_path)!r}}}, Path({str(tmp_path)!r}))"
    with subprocess.Popen([sys.executable, "-c", wants]) as trainer:
        awaited(tmp_path / "loading")
        trainer.kill()
    assert awaited(tmp_path / "end").read_text() == "whoever wanted the training is gone"


def awaited(file: Path) -> Path:
    until = time.monotonic() + _PATIENCE_S
    while not file.exists():
        assert time.monotonic() < until, f"there is no {file.name}"
        time.sleep(0.01)
    return file
