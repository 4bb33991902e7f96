"""What the teacher charged, or would have charged, for logged answers."""

from __future__ import annotations

from collections import Counter

from config.settings import Settings
from router.estimate.logged import EstimateError, Logged
from router.models import FREE
from router.tokens import usage_of
from telemetry.prices import Price, Prices, Usage


class Pricing:
    """Prices answers as those of one model, or of the model that each request names."""

    def __init__(self, settings: Settings, price_as: str | None) -> None:
        """Raises EstimateError where no price of ``price_as`` is known."""
        self._prices = Prices(settings.prices)
        self._teacher = settings.teacher.price_as or settings.teacher.model
        self._given = price_as
        self._known: dict[str, Price | None] = {}
        if price_as is not None and self._price(price_as) is None:
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
        return (self._price(model) or FREE).cost(usage)

    @property
    def unknown(self) -> list[str]:
        """Models whose answers count as free, since nobody knows their price."""
        return sorted(model for model, price in self._known.items() if price is None)

    def _model(self, logged: Logged) -> str:
        named = logged.body["model"]
        return self._given or (self._teacher if named in ("auto", "teacher") else named)

    def _price(self, model: str) -> Price | None:
        if model not in self._known:
            self._known[model] = self._prices.of(model)
        return self._known[model]
