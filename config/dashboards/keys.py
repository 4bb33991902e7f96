"""What is left of the budgets of keys and of the budget policy."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from config.dashboards.board import Section, Variable, board
from config.dashboards.panels import (
    Column,
    Levels,
    Query,
    at_most,
    bars,
    lines,
    number,
    rows,
)
from config.dashboards.queries import KEY, latest, or_zero, rate

_NAMED = "key, name"
_BUDGET = latest("protege_key_budget_usd", KEY, by=_NAMED)
_LEFT = latest("protege_key_budget_left_usd", KEY, by=_NAMED)
_SPENT = f"({_BUDGET} - {_LEFT})"
_USED = f"(1 - {_LEFT} / {_BUDGET})"
_POLICY = latest("protege_policy_budget_left_usd", by="task, key")

_SHARE = at_most(0.8, 1.0)
_MONEY = Levels("red", ((0.000001, "green"),))


def dashboard() -> Dashboard:
    return board(
        "protege-keys",
        "Protege: keys & budgets",
        "What keys may spend in their period, what is left of it, and who is turned away.",
        [Variable("name", "protege_key_budget_usd")],
        [
            Section(
                "Now",
                [
                    number(
                        "Keys with a budget",
                        "Keys that may spend only so much a day, week or month.",
                        or_zero(f"count({_BUDGET})"),
                        "short",
                    ),
                    number(
                        "Nearly spent",
                        "Keys that have spent 80% of their budget or more, but not all.",
                        f"count({_USED} >= 0.8 < 1) or vector(0)",
                        "short",
                        Levels("green", ((1.0, "yellow"),)),
                    ),
                    number(
                        "Spent",
                        "Keys without anything left. They are turned away until their next period.",
                        f"count({_LEFT} <= 0) or vector(0)",
                        "short",
                        Levels("green", ((1.0, "red"),)),
                    ),
                    number(
                        "Left of all budgets",
                        "Of the keys together.",
                        f"sum({_LEFT})",
                        "currencyUSD",
                        _MONEY,
                    ),
                    number(
                        "Used of all budgets",
                        "Of the keys together.",
                        f"1 - sum({_LEFT}) / sum({_BUDGET})",
                        "percentunit",
                        _SHARE,
                        decimals=1,
                    ),
                    number(
                        "Left for the budget policy",
                        "Of what the budget policy may spend in its period, where it is in force: "
                        "for all requests, or for those of a task or key.",
                        f"sum({_POLICY})",
                        "currencyUSD",
                        _MONEY,
                    ),
                ],
            ),
            Section(
                "By key",
                [
                    bars(
                        "Used",
                        "Share of the budget of the running period, the twenty with most used.",
                        Query(f"sort_desc(topk(20, {_USED}))", "{{name}}"),
                        "percentunit",
                        _SHARE,
                        most=1.0,
                    ),
                    lines(
                        "Left",
                        "Of the budget of the running period. It jumps back where a new period "
                        "begins.",
                        [Query(f"bottomk(20, {_LEFT})", "{{name}}")],
                        "currencyUSD",
                        _MONEY,
                    ),
                    rows(
                        "Keys",
                        "Of the running period. Keys without a budget are not here, nor are "
                        "keys beyond the first 200.",
                        [
                            Column("Budget", _BUDGET, "currencyUSD"),
                            Column("Spent", _by_key(_SPENT), "currencyUSD"),
                            Column("Left", _by_key(_LEFT), "currencyUSD", _MONEY),
                            Column("Used", _by_key(_USED), "percentunit", _SHARE),
                        ],
                        by="key",
                        beside=["name"],
                    ),
                ],
            ),
            Section(
                "Turned away",
                [
                    lines(
                        "By status",
                        "Requests a second that ended before anybody was asked: 401 for an unknown "
                        "key, 403 for a model or task that the key is not for, 429 for a limit or "
                        "a budget.",
                        [
                            Query(
                                rate(
                                    "protege_rejected_requests_total",
                                    'status=~"401|403|429"',
                                    by="status",
                                ),
                                "{{status}}",
                            )
                        ],
                        "reqps",
                        at_most(0.1, 1.0),
                    ),
                    lines(
                        "Left for the budget policy, over time",
                        "When it comes to nothing, the budget policy asks the teacher no more than "
                        "it must.",
                        [Query(_POLICY, "{{task}} {{key}}")],
                        "currencyUSD",
                        _MONEY,
                    ),
                ],
            ),
        ],
    )


def _by_key(query: str) -> str:
    """Without the name, which one column of a table brings."""
    return f"max by (key) ({query})"
