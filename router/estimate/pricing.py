"""What the teacher charged, or would have charged, for logged answers."""

from __future__ import annotations

import time
from collections import Counter

from config.settings import Settings
from router.estimate.logged import EstimateError, Logged
from router.tokens import usage_of
from telemetry.prices import FREE, Prices, Tariff, Usage


class Pricing:
    """Prices answers as those of one model, or of the model that each request names."""

    def __init__(self, settings: Settings, price_as: str | None) -> None:
        """Raises EstimateError where no price of ``price_as`` is known."""
        self._prices = Prices(settings.prices)
        self._teacher = settings.teacher.price_as or settings.teacher.model
        self._given = price_as
        self._known: dict[str, Tariff | None] = {}
        if price_as is not None and self._tariff(price_as) is None:
            raise EstimateError(f"no price is known for {price_as}")
        self.used: Counter[str] = Counter()
        """Models priced as, with the number of their answers."""

    def usage(self, logged: Logged) -> Usage:
        """The tokens that the log says; else as OpenAI counts them."""
        return logged.usage or usage_of(logged.body["messages"], logged.answer or "")

    def cost(self, logged: Logged, usage: Usage) -> int:
        """Picodollars; none where no price is known."""
        model = self._model(logged)
        self.used[model] += 1
        if self._given is None and logged.cost is not None:
            return logged.cost
        tariff = self._tariff(model) or Tariff.always(FREE)
        # What was answered before a price changed has its old one.
        return tariff.at(time.time() if logged.created is None else logged.created).cost(usage)

    @property
    def unknown(self) -> list[str]:
        """Models whose answers count as free, since nobody knows their price."""
        return sorted(model for model, tariff in self._known.items() if tariff is None)

    def _model(self, logged: Logged) -> str:
        named = logged.body["model"]
        return self._given or (self._teacher if named in ("auto", "teacher") else named)

    def _tariff(self, model: str) -> Tariff | None:
        if model not in self._known:
            self._known[model] = self._prices.tariff(model)
        return self._known[model]
