"""How much is asked, how fast it is answered, and what fails."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from config.dashboards.board import Section, Variable, board
from config.dashboards.panels import (
    Levels,
    Query,
    at_most,
    lines,
    number,
    spread,
    states,
)
from config.dashboards.queries import (
    MODEL,
    ROUTE,
    TASK,
    gained,
    latest,
    or_zero,
    quantile,
    rate,
)

_REQUESTS = "protege_requests_total"
_DURATION = "protege_request_duration_seconds"
_FIRST_TOKEN = "protege_time_to_first_token_seconds"
_OWN = "protege_router_seconds"
_UPSTREAM = 'gen_ai_request_model=~"$model"'
_FAILED = 'status=~"5.."'

_ERRORS = at_most(0.01, 0.05)
_WAIT = at_most(2.0, 10.0)
_OWN_TIME = at_most(0.01, 0.05)
_LAG = at_most(5.0, 30.0)
_NONE_IS_BEST = Levels("green", ((1.0, "red"),))


def dashboard() -> Dashboard:
    return board(
        "protege-traffic",
        "Protege: latency & traffic",
        "Requests, how long they take, how long of that is Protege's own, and what fails.",
        [Variable("task", _REQUESTS), Variable("route", _REQUESTS), Variable("model", _REQUESTS)],
        [
            Section(
                "Now",
                [
                    number(
                        "Requests a second",
                        "Requests answered, failed ones included.",
                        rate(_REQUESTS, TASK, ROUTE, MODEL),
                        "reqps",
                    ),
                    number(
                        "Failed",
                        "Share of requests answered with a status of 500 or more.",
                        f"{or_zero(rate(_REQUESTS, TASK, ROUTE, MODEL, _FAILED))}"
                        f" / {rate(_REQUESTS, TASK, ROUTE, MODEL)}",
                        "percentunit",
                        _ERRORS,
                        decimals=2,
                    ),
                    number(
                        "Answered within",
                        "95 of 100 requests had all of their answer within this time.",
                        _within(0.95, _DURATION),
                        "s",
                        _WAIT,
                    ),
                    number(
                        "First token within",
                        "95 of 100 streams had their first token within this time.",
                        _within(0.95, _FIRST_TOKEN),
                        "s",
                        _WAIT,
                    ),
                    number(
                        "Protege's own time",
                        "99 of 100 requests spent less than this in Protege itself.",
                        _within(0.99, _OWN),
                        "s",
                        _OWN_TIME,
                    ),
                    number(
                        "In flight",
                        "Requests being answered.",
                        "sum(protege_in_flight_requests)",
                        "short",
                        at_most(500.0, 900.0),
                    ),
                ],
            ),
            Section(
                "Traffic",
                [
                    lines(
                        "By route",
                        "Requests a second, by who answered.",
                        [Query(rate(_REQUESTS, TASK, ROUTE, MODEL, by="route"), "{{route}}")],
                        "reqps",
                        stacked=True,
                    ),
                    lines(
                        "By task",
                        "Requests a second, the ten busiest tasks.",
                        [
                            Query(
                                f"topk(10, {rate(_REQUESTS, TASK, ROUTE, MODEL, by='task')})",
                                "{{task}}",
                            )
                        ],
                        "reqps",
                    ),
                    lines(
                        "By status",
                        "Requests a second, by the HTTP status of their answer; and answers that "
                        "broke off after a status of 200, whatever the route and model.",
                        [
                            Query(rate(_REQUESTS, TASK, ROUTE, MODEL, by="status"), "{{status}}"),
                            Query(rate("protege_broken_answers_total", TASK), "broke off"),
                        ],
                        "reqps",
                    ),
                    lines(
                        "Turned away",
                        "Requests a second that ended before anybody was asked: bad requests, "
                        "unknown keys (401), limits and budgets (429), overload (503).",
                        [Query(rate("protege_rejected_requests_total", by="status"), "{{status}}")],
                        "reqps",
                        at_most(1.0, 10.0),
                    ),
                ],
            ),
            Section(
                "Latency",
                [
                    spread(
                        "Spread",
                        "Requests a second by how long they took to the end of their answer.",
                        rate(f"{_DURATION}_bucket", ROUTE, by="le"),
                        "s",
                    ),
                    lines(
                        "Time to the end of the answer",
                        "Half of the requests took less than the median, 95 of 100 less than p95. "
                        "Points are single exchanges, where Prometheus keeps exemplars.",
                        [
                            Query(_within(0.5, _DURATION, by="le, route"), "{{route}} median"),
                            Query(_within(0.95, _DURATION, by="le, route"), "{{route}} p95"),
                            Query(
                                _within(0.99, _DURATION, by="le, route"),
                                "{{route}} p99",
                                exemplars=True,
                            ),
                        ],
                        "s",
                        _WAIT,
                    ),
                    lines(
                        "Time to the first token",
                        "Of streams.",
                        [
                            Query(_within(0.5, _FIRST_TOKEN, by="le, route"), "{{route}} median"),
                            Query(_within(0.95, _FIRST_TOKEN, by="le, route"), "{{route}} p95"),
                        ],
                        "s",
                        _WAIT,
                    ),
                    lines(
                        "Time in Protege itself",
                        "What a request spends in Protege itself, upstreams not counted.",
                        [
                            Query(_within(0.5, _OWN, by="le, route"), "{{route}} median"),
                            Query(_within(0.99, _OWN, by="le, route"), "{{route}} p99"),
                        ],
                        "s",
                        _OWN_TIME,
                    ),
                ],
            ),
            Section(
                "Models",
                [
                    lines(
                        "Operation",
                        "How long a model is waited for, retries included; 95 of 100 take less.",
                        [_of_model("gen_ai_client_operation_duration_seconds")],
                        "s",
                        _WAIT,
                    ),
                    lines(
                        "First token",
                        "How long a model takes for its first token; 95 of 100 streams take less.",
                        [_of_model("gen_ai_server_time_to_first_token_seconds")],
                        "s",
                        _WAIT,
                    ),
                    lines(
                        "Tokens",
                        "A second, of prompts and answers.",
                        [
                            Query(
                                rate(
                                    "gen_ai_client_token_usage_sum",
                                    _UPSTREAM,
                                    by="gen_ai_request_model, gen_ai_token_type",
                                ),
                                "{{gen_ai_request_model}} {{gen_ai_token_type}}",
                            )
                        ],
                        "short",
                    ),
                    states(
                        "Circuit breakers",
                        "Open: the upstream failed so often that it is left alone for a while.",
                        Query(latest("protege_breaker_open", by="upstream"), "{{upstream}}"),
                        {0: ("closed", "green"), 1: ("open", "red")},
                    ),
                ],
            ),
            Section(
                "Store",
                [
                    lines(
                        "Lag",
                        "How long the oldest exchange that is still to be written has waited.",
                        [Query("max by (instance) (protege_store_lag_seconds)", "{{instance}}")],
                        "s",
                        _LAG,
                        span=8,
                    ),
                    lines(
                        "Queue",
                        "Exchanges that wait to be written.",
                        [
                            Query(
                                "sum by (instance) (protege_store_queue_exchanges)", "{{instance}}"
                            )
                        ],
                        "short",
                        at_most(1000.0, 10000.0),
                        span=8,
                    ),
                    number(
                        "Lost",
                        "Answers of the chosen time that could not be stored. They are in no "
                        "figure of cost or quality.",
                        or_zero(gained("protege_lost_exchanges_total", ROUTE)),
                        "short",
                        _NONE_IS_BEST,
                    )
                    .span(8)
                    .height(8),
                ],
            ),
        ],
    )


def _within(share: float, histogram: str, by: str = "le") -> str:
    """The time that so large a share of requests stay within."""
    return quantile(share, rate(f"{histogram}_bucket", ROUTE, by=by))


def _of_model(histogram: str) -> Query:
    model = "gen_ai_request_model"
    buckets = rate(f"{histogram}_bucket", _UPSTREAM, by=f"le, {model}")
    return Query(quantile(0.95, buckets), f"{{{{{model}}}}}")
