"""What was spent, and what students saved."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from config.dashboards.board import Section, Variable, board
from config.dashboards.events import PRICES, STUDENTS
from config.dashboards.panels import (
    Column,
    Levels,
    Query,
    at_least,
    bars,
    between,
    lines,
    number,
    rows,
)
from config.dashboards.queries import MODEL, TASK, gained, or_zero, per_hour, rate

_COST = "protege_cost_usd_total"
_AUDITS = "protege_audit_cost_usd_total"
_TRYOUTS = "protege_tryout_cost_usd_total"
_TEACHER = "protege_teacher_only_cost_usd_total"
_AUDITED = "protege_audited_teacher_cost_usd_total"
_SQUARES = "protege_audited_teacher_cost_usd_squared_total"
_REQUESTS = "protege_requests_total"
_TOKENS = "protege_tokens_total"
_BY_STUDENT = 'route="student"'
_BY_OTHERS = 'route!="student"'

_BESIDE = f"{or_zero(gained(_AUDITS, TASK))} + {or_zero(gained(_TRYOUTS, TASK))}"
_SPENT = f"({gained(_COST, TASK)} + {_BESIDE})"
_SAVED = f"({gained(_TEACHER, TASK)} - {_SPENT})"
_UNKNOWN = gained("protege_student_teacher_cost_usd_total", TASK)
_REAL = gained(_AUDITED, TASK, 'kind="real"')
_PREDICTED = gained(_AUDITED, TASK, 'kind="predicted"')
_A_MONTH = 30 * 24 * 3600

_WORTH = at_least(0.2, 0.0)
"""Red where students cost more than they save."""
_SIGN = Levels("red", ((0.0, "green"),))
_OFF = Levels("red", ((-0.2, "yellow"), (-0.05, "green"), (0.05, "yellow"), (0.2, "red")))


def dashboard() -> Dashboard:
    return board(
        "protege-cost",
        "Protege: cost & savings",
        "What answers cost, what they would have cost had the teacher given them all, and what "
        "students saved, audits deducted.",
        [Variable("task", _REQUESTS), Variable("model", _COST)],
        [
            Section(
                "In the chosen time",
                [
                    number(
                        "Spent",
                        "Answers to callers and audits, all models.",
                        _SPENT,
                        "currencyUSD",
                    ),
                    number(
                        "Saved",
                        "What the teacher alone would have cost, less what was spent. Audits count "
                        "as spent.",
                        _SAVED,
                        "currencyUSD",
                        _SIGN,
                    ),
                    number(
                        "Saved share",
                        "Saved, as a share of what the teacher alone would have cost.",
                        f"{_SAVED} / {gained(_TEACHER, TASK)}",
                        "percentunit",
                        _WORTH,
                        decimals=1,
                    ),
                    number(
                        "The teacher alone",
                        "What the same answers would have cost, had the teacher given them all. Of "
                        "a student's answer it is an estimate: its tokens at the teacher's price.",
                        gained(_TEACHER, TASK),
                        "currencyUSD",
                    ),
                    number(
                        "Audits",
                        "Spent on asking the teacher about answers that students gave. It buys the "
                        "quality figures, and examples to learn from.",
                        or_zero(gained(_AUDITS, TASK)),
                        "currencyUSD",
                    ),
                    number(
                        "Spent a month, at this rate",
                        "What 30 days would cost if they all went as the chosen time has. Too low "
                        "while Protege has run for less than the chosen time.",
                        f"{_SPENT} * {_A_MONTH} / $__range_s",
                        "currencyUSD",
                    ),
                    number(
                        "Requests",
                        "Requests answered, failed ones included.",
                        gained(_REQUESTS, TASK),
                        "short",
                    ),
                    number(
                        "Answered by students",
                        "Share of requests that a student answered.",
                        f"{or_zero(gained(_REQUESTS, TASK, _BY_STUDENT))}"
                        f" / {gained(_REQUESTS, TASK)}",
                        "percentunit",
                        decimals=1,
                    ),
                    number(
                        "A thousand requests",
                        "What a thousand requests cost, audits included.",
                        f"1000 * {_SPENT} / {gained(_REQUESTS, TASK)}",
                        "currencyUSD",
                    ),
                    number(
                        "A thousand by a student",
                        "What a thousand of the students' answers cost: their computing time, at "
                        "the configured price.",
                        f"1000 * {gained(_COST, TASK, _BY_STUDENT)}"
                        f" / {gained(_REQUESTS, TASK, _BY_STUDENT)}",
                        "currencyUSD",
                    ),
                    number(
                        "A thousand by others",
                        "What a thousand answers of the teacher and of other models cost.",
                        f"1000 * {gained(_COST, TASK, _BY_OTHERS)}"
                        f" / {gained(_REQUESTS, TASK, _BY_OTHERS)}",
                        "currencyUSD",
                    ),
                    number(
                        "Tokens",
                        "Tokens of prompts and answers, all models.",
                        gained(_TOKENS, TASK, MODEL),
                        "short",
                    ),
                ],
            ),
            Section(
                "How sure the saving is",
                [
                    between(
                        "Saved, by audits",
                        "Where the saving lies, with about 95% confidence. What the teacher would "
                        "have cost for students' answers is predicted; audits, in which it was "
                        "asked too, tell how far that is off.",
                        _likely("-"),
                        _likely("+"),
                        "currencyUSD",
                        _SIGN,
                    ).span(8),
                    number(
                        "Predicted",
                        "The part of what the teacher alone would have cost that nobody knows: of "
                        "the answers that students gave.",
                        _UNKNOWN,
                        "currencyUSD",
                    ).span(8),
                    number(
                        "Prediction off by",
                        "Of audited answers, how much more the teacher took than it was predicted "
                        "to; below zero, less.",
                        f"{_REAL} / {_PREDICTED} - 1",
                        "percentunit",
                        _OFF,
                        decimals=1,
                    ).span(8),
                ],
            ),
            Section(
                "Over time",
                [
                    lines(
                        "Spent an hour",
                        "By who answered, and audits, at the rate of the moment.",
                        [
                            Query(per_hour(_COST, TASK, MODEL, by="route"), "{{route}}"),
                            Query(per_hour(_AUDITS, TASK), "audits"),
                            Query(or_zero(per_hour(_TRYOUTS, TASK)), "try-outs"),
                        ],
                        "currencyUSD",
                        stacked=True,
                    ),
                    lines(
                        "With and without students",
                        "What is spent an hour, audits included, and what the teacher alone would "
                        "cost. The gap is what is saved.",
                        [
                            Query(per_hour(_TEACHER, TASK), "the teacher alone"),
                            Query(
                                f"{per_hour(_COST, TASK)} + {or_zero(per_hour(_AUDITS, TASK))} + "
                                f"{or_zero(per_hour(_TRYOUTS, TASK))}",
                                "spent",
                            ),
                        ],
                        "currencyUSD",
                    ),
                    lines(
                        "Saved an hour",
                        "By task, the ten that save most. Below zero, audits cost more than the "
                        "student saves.",
                        [Query(f"topk(10, {_saved_by_task()})", "{{task}}")],
                        "currencyUSD",
                        _SIGN,
                    ),
                    lines(
                        "Share of students",
                        "Of a task's requests, the ten tasks with the largest.",
                        [
                            Query(
                                f"topk(10, {per_hour(_REQUESTS, TASK, _BY_STUDENT, by='task')}"
                                f" / {per_hour(_REQUESTS, TASK, by='task')})",
                                "{{task}}",
                            )
                        ],
                        "percentunit",
                    ),
                ],
            ),
            Section("By task", [_tasks()]),
            Section(
                "By model",
                [
                    bars(
                        "Spent by model",
                        "In the chosen time, the ten dearest. All students are one.",
                        Query(f"topk(10, {gained(_COST, TASK, MODEL, by='model')})", "{{model}}"),
                        "currencyUSD",
                    ),
                    lines(
                        "Tokens a second",
                        "Of prompts and of answers.",
                        [Query(rate(_TOKENS, TASK, MODEL, by="model, kind"), "{{model}} {{kind}}")],
                        "short",
                    ),
                ],
            ),
        ],
        (*STUDENTS, PRICES),
    )


def _likely(sign: str) -> str:
    """The least that was saved with 95% confidence, or with ``+`` the most: the ratio estimator, as
    ``protege report`` has it, but for a normal distribution where that has Student's."""
    audits = gained("protege_audits_total", TASK)
    answers = gained(_REQUESTS, TASK, _BY_STUDENT)
    ratio = f"({_REAL} / {_PREDICTED})"
    real_squared, predicted_squared, product = (
        gained(_SQUARES, TASK, f'kind="{kind}"') for kind in ("real", "predicted", "product")
    )
    squares = f"{real_squared} - 2 * {ratio} * {product} + {ratio} ^ 2 * {predicted_squared}"
    unknown = f"clamp_min(1 - {audits} / {answers}, 0)"
    variance = f"{unknown} * {audits} / ({audits} - 1) * clamp_min({squares}, 0)"
    spread = f"1.96 * {_UNKNOWN} / {_PREDICTED} * sqrt({variance})"
    students = f"clamp_min({ratio} * {_UNKNOWN} {sign} {spread}, 0)"
    return f"{_SAVED} - {_UNKNOWN} + {students}"


def _saved_by_task() -> str:
    teacher = per_hour(_TEACHER, TASK, by="task")
    audits = per_hour(_AUDITS, TASK, by="task")
    tryouts = per_hour(_TRYOUTS, TASK, by="task")
    spent = per_hour(_COST, TASK, by="task")
    return f"({teacher} - {spent} - ({audits} or 0 * {teacher}) - ({tryouts} or 0 * {teacher}))"


def _tasks() -> Builder[Panel]:
    requests = gained(_REQUESTS, TASK, by="task")
    cost = gained(_COST, TASK, by="task")
    teacher = gained(_TEACHER, TASK, by="task")
    audits = f"({gained(_AUDITS, TASK, by='task')} or 0 * {teacher})"
    tryouts = f"({gained(_TRYOUTS, TASK, by='task')} or 0 * {teacher})"
    saved = f"({teacher} - {cost} - {audits} - {tryouts})"
    by_student = f"({gained(_REQUESTS, TASK, _BY_STUDENT, by='task')} or 0 * {requests})"
    return rows(
        "Tasks",
        "In the chosen time. Tasks too rare for a name of their own are in the row other.",
        [
            Column("Requests", requests, "short"),
            Column("By students", f"{by_student} / {requests}", "percentunit"),
            Column("Answers", cost, "currencyUSD"),
            Column("Audits", audits, "currencyUSD"),
            Column("Try-outs", tryouts, "currencyUSD"),
            Column("The teacher alone", teacher, "currencyUSD"),
            Column("Saved", saved, "currencyUSD", _SIGN),
            Column("Saved share", f"{saved} / {teacher}", "percentunit", _WORTH),
        ],
    )
