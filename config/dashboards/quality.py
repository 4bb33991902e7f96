"""Whether students keep what is promised of them."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from config.dashboards.board import Section, Variable, board
from config.dashboards.events import STUDENTS
from config.dashboards.panels import (
    Column,
    Levels,
    Query,
    at_least,
    at_most,
    bars,
    lines,
    number,
    rows,
)
from config.dashboards.queries import TASK, gained, latest, or_zero, per_hour

_AUDITS = "protege_audits_total"
_DISAGREEMENTS = "protege_audit_disagreements_total"
_AGREEMENT = latest("protege_agreement_ratio", TASK)
_LOWER = latest("protege_agreement_lower_ratio", TASK)
_UPPER = latest("protege_agreement_upper_ratio", TASK)
_PROMISED = latest("protege_bound_ratio", TASK)
_DRIFT = latest("protege_drift_score", TASK)

_RIGHT = at_least(0.95, 0.9)
_MARGIN = Levels("red", ((-0.05, "yellow"), (0.0, "green")))
"""Green where even the low end of the interval keeps the promise."""
_DRIFTED = at_most(0.5, 1.0)
_NONE_IS_BEST = Levels("green", ((1.0, "red"),))


def dashboard() -> Dashboard:
    return board(
        "protege-quality",
        "Protege: quality & promises",
        "How often students agree with the teacher, by audits of a random share of their answers, "
        "against what is promised.",
        [Variable("task", "protege_requests_total")],
        [
            Section(
                "Now, and in the chosen time",
                [
                    number(
                        "Promises broken",
                        "Tasks whose agreement is below what is promised, all of its interval. "
                        "Their students are taken out of service.",
                        f"count({_UPPER} < {_PROMISED}) or vector(0)",
                        "short",
                        _NONE_IS_BEST,
                    ),
                    number(
                        "Promises at risk",
                        "Tasks in which fewer audits agreed than are promised to. Chance may have "
                        "done that: the interval says how likely.",
                        f"count({_AGREEMENT} < {_PROMISED}) or vector(0)",
                        "short",
                        Levels("green", ((1.0, "yellow"),)),
                    ),
                    number(
                        "Least agreement",
                        "Of the tasks that were audited, the one whose student agrees least.",
                        f"min({_AGREEMENT})",
                        "percentunit",
                        _RIGHT,
                        decimals=1,
                    ),
                    number(
                        "Audits",
                        "Student answers that the teacher was asked about too, in the chosen time.",
                        or_zero(gained(_AUDITS, TASK)),
                        "short",
                    ),
                    number(
                        "Audits that disagreed",
                        "Share of the audits of the chosen time in which the teacher said "
                        "something else.",
                        f"{or_zero(gained(_DISAGREEMENTS, TASK))} / {gained(_AUDITS, TASK)}",
                        "percentunit",
                        at_most(0.05, 0.1),
                        decimals=1,
                    ),
                    number(
                        "Students taken out of service",
                        "By their audits, in the chosen time.",
                        or_zero(gained("protege_demotions_total", TASK, of="task")),
                        "short",
                        _NONE_IS_BEST,
                    ),
                ],
            ),
            Section("By task", [_tasks()]),
            Section(
                "Over time",
                [
                    lines(
                        "Agreement",
                        "Share of audits in which student and teacher said the same.",
                        [Query(_AGREEMENT, "{{task}}")],
                        "percentunit",
                        _RIGHT,
                    ),
                    lines(
                        "Margin",
                        "From what is promised to the low end of agreement's interval. Above zero "
                        "the audits alone prove the promise kept; a new student starts below.",
                        [Query(f"{_LOWER} - {_PROMISED}", "{{task}}")],
                        "percentunit",
                        _MARGIN,
                    ),
                    lines(
                        "Drift",
                        "Evidence that a student has become worse than promised; at 1 it is taken "
                        "out of service.",
                        [Query(_DRIFT, "{{task}}")],
                        "none",
                        _DRIFTED,
                    ),
                    lines(
                        "Disagreements an hour",
                        "Audits in which the teacher said something else, at the rate of the "
                        "moment.",
                        [Query(per_hour(_DISAGREEMENTS, TASK, by="task"), "{{task}}")],
                        "short",
                    ),
                ],
            ),
            Section(
                "Slices",
                [
                    bars(
                        "Slices with the least agreement",
                        "When the student was tested before it served: parts of a task, by the "
                        "length, language, age and rarity of its requests, in which it agreed with "
                        "the teacher least. A small slice may look worse than it is.",
                        Query(
                            "sort(bottomk(20, "
                            f"{latest('protege_slice_agreement_ratio', TASK, by='task, slice')}))",
                            "{{task}}: {{slice}}",
                        ),
                        "percentunit",
                        _RIGHT,
                        most=1.0,
                    ),
                    lines(
                        "What people said",
                        "Feedback an hour, by verdict.",
                        [
                            Query(
                                per_hour("protege_feedback_total", TASK, by="verdict"),
                                "{{verdict}}",
                            )
                        ],
                        "short",
                        span=6,
                    ),
                    lines(
                        "Outside the promise",
                        "Answers an hour that students gave, sure or not, because the teacher "
                        "could not be reached.",
                        [
                            Query(
                                per_hour("protege_fallbacks_total", TASK, by="task"),
                                "{{task}}",
                            )
                        ],
                        "short",
                        at_most(1.0, 60.0),
                        span=6,
                    ),
                ],
            ),
            Section(
                "$task",
                [
                    lines(
                        "Agreement and promise",
                        "Agreement by the audits, its interval, and what is promised. The promise "
                        "is broken where all of the interval lies below it.",
                        [
                            Query(_AGREEMENT, "agreement"),
                            Query(_UPPER, "at most"),
                            Query(_LOWER, "at least"),
                            Query(_PROMISED, "promised"),
                        ],
                        "percentunit",
                        _RIGHT,
                        span=24,
                    )
                ],
                repeats="task",
            ),
        ],
        STUDENTS,
    )


def _tasks() -> Builder[Panel]:
    return rows(
        "Tasks",
        "Tasks with a student that was audited. Agreement, its interval, the promise and drift are "
        "of now; audits are of the chosen time.",
        [
            Column("Agreement", _AGREEMENT, "percentunit", _RIGHT),
            Column("At least", _LOWER, "percentunit"),
            Column("At most", _UPPER, "percentunit"),
            Column("Promised", _PROMISED, "percentunit"),
            Column("Margin", f"{_LOWER} - {_PROMISED}", "percentunit", _MARGIN),
            Column("Drift", _DRIFT, "none", _DRIFTED),
            Column("Audits", gained(_AUDITS, TASK, by="task"), "short"),
            Column("Disagreed", gained(_DISAGREEMENTS, TASK, by="task"), "short"),
        ],
    )
