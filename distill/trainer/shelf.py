"""The files of students, in a folder beside the store: what was trained is written there, and what
has served is loaded again to be asked."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from secrets import token_hex

from config.settings import RolloutSettings
from distill.data import reach
from distill.data.dataset import Dataset
from distill.data.reach import Former, weighted
from distill.leftovers import abandoned
from distill.runs.run import Run
from distill.students.damaged import DamagedError
from distill.students.encoder import SentenceEncoder
from distill.students.ladder import Ladder
from policies import rollout
from policies.rules import NEVER_ASKED
from telemetry.exchange import Exchange, StudentRecord
from telemetry.store import Store
from telemetry.turnout import asked_first, turnouts, without_student

logger = logging.getLogger("protege.trainer")

_STUDENTS = "students"
"""Their folder, below that of the data."""
_CARD = "card.json"
"""Written last: a folder without it is of a student that is not registered, or not yet."""


class Shelf:
    """The students of one store; may be used from several threads."""

    def __init__(
        self, store: Store, data: Path, open_encoder: Callable[[str], SentenceEncoder]
    ) -> None:
        """``data`` is the folder that students' paths are relative to."""
        self._store = store
        self._data = data
        self._open_encoder = open_encoder
        self._formers: dict[str, dict[str, Former]] = {}
        """Students that have served, by task and version, as far as they still count."""

    def champion(self, task: str) -> Ladder | None:
        """The task's serving ladder; None where there is none, or its files are damaged."""
        # One that is on its way into service is the one to beat.
        for record in (*self._store.roster.coming(), *self._store.roster.serving()):
            if record.task == task:
                try:
                    return Ladder.load(self._data / record.path, self._open_encoder)
                except DamagedError:
                    logger.exception("student %s cannot be loaded", record.version)
        return None

    def former(self, version: str) -> Former:
        """A student and what it said when it was tested. Raises DamagedError."""
        folder = self._data / _STUDENTS / version
        return Former(Ladder.load(folder, self._open_encoder), reach.load(folder))

    def weighted(
        self, task: str, data: Dataset, exchanges: Sequence[Exchange], since: float
    ) -> Dataset:
        """``data``, weighted by what every student since then would have answered; as it is where
        the files of one are gone."""
        engine = self._store.engine
        known = self._formers.get(task, {})
        try:
            formers = {
                version: known.get(version) or self.former(version)
                for version in asked_first(engine, task, since)
            }
        except DamagedError as error:
            logger.info("%s: weighted by the time of each answer alone (%s)", task, error)
            return data
        self._formers[task] = formers
        thresholds = {version: each.ladder.threshold for version, each in formers.items()}
        for version, turnout in turnouts(engine, task, since, thresholds).items():
            formers[version].turnout = turnout
            formers[version].recall(exchanges)
            formers[version].forget_others(exchanges)
        alone = without_student(engine, task, since, NEVER_ASKED)
        return weighted(data, list(formers.values()), alone)

    def record(
        self, task: str, version: str, run: Run, card: str, steps: RolloutSettings
    ) -> StudentRecord:
        """The student of a ``run``, to be rolled out in these ``steps`` if it was promoted."""
        if run.hosted is not None:
            # In the shadow it has been already: that is what try-outs are.
            steps = steps.model_copy(update={"shadow": 0})
        stage = rollout.first(steps)
        return StudentRecord(
            version=version,
            task=task,
            created=time.time(),
            path=str(Path(_STUDENTS) / version) if run.ladder else "",
            serving=run.verdict.promoted and stage is None,
            verdict=run.verdict.reason,
            card=card,
            stage=stage if run.verdict.promoted else None,
        )

    @contextlib.contextmanager
    def written(self, version: str, run: Run) -> Iterator[Callable[[], None]]:
        """The files of a ``run``, all but its card, if there is any use for them.

        What is yielded puts them in their place: for who registers the student alone, as another
        run may have made the same. Where it is not called, they are gone afterwards.
        """
        if run.ladder is None:
            yield lambda: None
            return
        folder = self._data / _STUDENTS / version
        scratch = folder.with_name(f".{version}-{token_hex(4)}")

        def place() -> None:
            # A run that was killed before it registered its student may have left files here.
            shutil.rmtree(folder, ignore_errors=True)
            scratch.rename(folder)

        try:
            run.ladder.save(scratch)
            reach.save(scratch, run.sure)
            yield place
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def keep(self, record: StudentRecord) -> None:
        """Complete the files of a student that has been registered."""
        if record.path:
            (self._data / record.path / _CARD).write_text(record.card, encoding="utf-8")

    def clear(self, now: float) -> None:
        """Delete what runs have left that were ended, by Unix time ``now`` long ago, before they
        registered their students, or before they deleted the files that others had given up."""
        for folder in abandoned((self._data / _STUDENTS).glob("*"), now):
            record = self._store.roster.student(folder.name)
            unfinished = record is None and not (folder / _CARD).exists()
            if unfinished or (record is not None and not record.path):
                shutil.rmtree(folder, ignore_errors=True)
