"""Log files: JSON lines or CSV, as they are or compressed by gzip."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from router.estimate.jsonl import read_line
from router.estimate.logged import Bad, EstimateError, Logged
from router.estimate.table import NEEDED, read_row

LONGEST_LINE = 32 * 10**6
"""Bytes of a JSON line; as many as the server takes of a request's body."""

_BOM = b"\xef\xbb\xbf"


class Files:
    """Several files, one after the other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises EstimateError for a file that is not there or is empty."""
        self._paths = paths
        self._sizes = [_size(path) for path in paths]
        self._before = 0
        self._open: BinaryIO | None = None

    @property
    def title(self) -> str:
        return ", ".join(str(path) for path in self._paths)

    @property
    def size(self) -> int:
        return sum(self._sizes)

    @property
    def read(self) -> int:
        return self._before + (self._open.tell() if self._open else 0)

    @contextmanager
    def rows(self) -> Generator[Iterator[Logged | Bad], None, None]:
        yield self._rows()

    def _rows(self) -> Iterator[Logged | Bad]:
        for path, size in zip(self._paths, self._sizes, strict=True):
            try:
                with path.open("rb") as self._open:
                    yield from read_file(path, self._open)
            except (OSError, EOFError, zlib.error) as error:
                raise _unreadable(path, error) from error
            finally:
                self._open = None
            self._before += size


def read_file(path: Path, file: BinaryIO) -> Iterator[Logged | Bad]:
    """The rows of an open file, read in the format that the name of its ``path`` tells.

    Raises OSError, EOFError or zlib.error where it is damaged, EstimateError where it is none of
    the formats.
    """
    compressed = path.suffix.lower() == ".gz"
    name = Path(path.stem) if compressed else path
    content: BinaryIO = gzip.GzipFile(fileobj=file) if compressed else file  # type: ignore[assignment]
    if name.suffix.lower() == ".csv":
        yield from _read_csv(path, content, default_task=name.stem)
    else:
        yield from _read_jsonl(path, content)


def _read_jsonl(path: Path, file: BinaryIO) -> Iterator[Logged | Bad]:
    for number, line in enumerate(_lines(file), start=1):
        text = line.removeprefix(_BOM) if number == 1 else line
        if not text.strip():
            continue
        if len(line) > LONGEST_LINE:
            yield Bad(f"{path}:{number}", f"longer than {LONGEST_LINE:,} bytes")
            continue
        try:
            yield read_line(text)
        except ValueError as error:
            yield Bad(f"{path}:{number}", str(error))


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Its lines, of which the first ``LONGEST_LINE`` bytes and one more are kept."""
    while line := file.readline(LONGEST_LINE + 1):
        rest = line
        while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST_LINE + 1)
        yield line


def _read_csv(path: Path, file: BinaryIO, default_task: str) -> Iterator[Logged | Bad]:
    csv.field_size_limit(LONGEST_LINE)
    # Bytes that are no UTF-8 are found again row by row.
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    rows = csv.DictReader(text, restval=None, strict=True)
    try:
        missing = [name for name in NEEDED if name not in (rows.fieldnames or ())]
    except csv.Error as error:
        raise EstimateError(f"{path}: not valid CSV: {error}") from error
    if missing:
        raise EstimateError(f"{path}: no column {' and no column '.join(missing)} in its first row")
    while True:
        line = rows.line_num + 1
        try:
            yield read_row(next(rows), default_task)
        except StopIteration:
            return
        except (ValueError, csv.Error) as error:
            yield Bad(f"{path}:{line}", str(error))


def _size(path: Path) -> int:
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise _unreadable(path, error) from error
    if size == 0:
        raise EstimateError(f"{path}: the file is empty")
    return size


def _unreadable(path: Path, error: Exception) -> EstimateError:
    reason = error.strerror if isinstance(error, OSError) else None
    return EstimateError(f"{path}: {reason or error}")
