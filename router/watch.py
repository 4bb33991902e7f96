"""Keeps the metrics told of what nobody counts: how much waits, what is down, how all stands."""

from __future__ import annotations

import asyncio
import logging

from router.load import Load
from router.models import Models
from router.polling import Background, keep_fresh
from router.standing import Standings
from telemetry.metrics import Metrics
from telemetry.writer import Writer

SAMPLE_S = 0.25
"""Seconds between two looks at this process, for scrapes that another one answers."""
PATIENCE_S = 1.0
"""How long a scrape waits for the store: beyond it, it is shown what was known before."""

_log = logging.getLogger(__name__)


class Watch:
    """Watches one process, and the store for whoever scrapes it."""

    def __init__(
        self, metrics: Metrics, load: Load, writer: Writer, models: Models, standings: Standings
    ) -> None:
        self._metrics = metrics
        self._load = load
        self._writer = writer
        self._models = models
        self._standings = standings
        self._sampling = Background()
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._sampling.start(keep_fresh(self.sample, SAMPLE_S, "what a process knows"))

    async def stop(self) -> None:
        await self._sampling.stop()
        await self.sample()

    async def sample(self) -> None:
        """Tell what this process alone knows, and show what it has counted."""
        self._metrics.flush()
        self._metrics.load(self._load.inside)
        self._metrics.backlog(self._writer.waiting, self._writer.lag_s())
        self._metrics.breakers(self._models.open_circuits())

    async def look(self) -> None:
        """Tell how all stands, as far as that is known within ``PATIENCE_S``."""
        await self.sample()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        await asyncio.wait([self._looking], timeout=PATIENCE_S)

    async def _look(self) -> None:
        try:
            self._metrics.stand(await self._standings.now())
        except Exception as error:
            _log.error("metrics show what was known before: %s", error)
