"""What worker processes count, in files on a disk that may be full."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from telemetry.metrics.allocated import Allocated
from telemetry.metrics.labels import Labels

KEYS = [f"a key that is as long as those are which have labels in them: {n}" for n in range(2000)]


@contextmanager
def no_room() -> Iterator[None]:
    """No file can be made longer, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def read(file: Path) -> dict[str, float]:
    """What another process sees."""
    found = MmapedDict.read_all_values_from_file(str(file))
    return {key: value for key, value, _, _ in found}


def test_every_page_is_there_before_it_is_touched(tmp_path: Path) -> None:
    assert values.MmapedDict is Allocated
    file = tmp_path / "counter_1.db"
    counted = Allocated(str(file))
    for number, key in enumerate(KEYS):
        assert counted.read_value(key) == (0.0, 0.0)
        counted.write_value(key, number, 0.0)
        assert file.stat().st_blocks * 512 >= file.stat().st_size
    assert read(file) == {key: number for number, key in enumerate(KEYS)}
    counted.close()


def test_what_is_counted_while_there_is_no_room_shows_later(tmp_path: Path) -> None:
    file = tmp_path / "counter_1.db"
    counted = Allocated(str(file))
    with no_room():
        counted.write_value(KEYS[0], 1.0, 0.0)
        assert not file.exists()
    counted.write_value(KEYS[0], 2.0, 0.0)
    with no_room():
        for key in KEYS:
            counted.write_value(key, 3.0, 0.0)
        some = read(file)
        assert 0 < len(some) < len(KEYS)
        assert set(some.values()) == {3.0}
    for key in KEYS:
        counted.write_value(key, 4.0, 0.0)
    assert read(file) == dict.fromkeys(KEYS, 4.0)
    counted.close()


def test_a_name_that_there_is_no_room_for_has_no_label_yet(tmp_path: Path) -> None:
    labels = Labels(10, tmp_path / "tasks")
    with no_room():
        assert labels.admit("a") == "other"
    assert labels.admit("a") == "a"
    assert "a" in Labels(10, tmp_path / "tasks")
