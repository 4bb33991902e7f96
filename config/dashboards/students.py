"""Which students serve, and how the next ones are made."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from config.dashboards.board import Section, Variable, board
from config.dashboards.events import STUDENTS
from config.dashboards.panels import (
    Column,
    Levels,
    Query,
    at_most,
    lines,
    number,
    rows,
    states,
)
from config.dashboards.queries import TASK, gained, latest, or_zero, per_hour, quantile, rate

_REQUESTS = "protege_requests_total"
_BY_STUDENT = 'route="student"'
_SERVING = latest("protege_student_serving", TASK)
_AGE = f"(time() - {latest('protege_student_promoted_timestamp_seconds', TASK)})"
_RUNS = "protege_training_runs_total"
_OF_RUN = "task, outcome"
_FAILED = 'outcome="failed"'
_TRAINING = gained("protege_training_seconds_bucket", by="le", of="le")
_EXAMPLES = latest("protege_dataset_examples", TASK)

_DAY = 24 * 3600.0
_OLD = at_most(30 * _DAY, 90 * _DAY)
_LONG = at_most(600.0, 3600.0)
_NONE_IS_BEST = Levels("green", ((1.0, "red"),))


def dashboard() -> Dashboard:
    return board(
        "protege-students",
        "Protege: students & training",
        "Which tasks a student serves, how old it is, and how training goes.",
        [Variable("task", _REQUESTS)],
        [
            Section(
                "Now, and in the chosen time",
                [
                    number(
                        "Students serving",
                        "Tasks that a student serves.",
                        or_zero(f"sum({_SERVING})"),
                        "short",
                        Levels("yellow", ((1.0, "green"),)),
                    ),
                    number(
                        "On their way",
                        "Students in the shadow or canaries: tested, and not yet in full service.",
                        or_zero(f"sum({latest('protege_student_coming', TASK)})"),
                        "short",
                    ),
                    number(
                        "Oldest student",
                        "Since the oldest of the students that serve took over its task.",
                        f"max({_AGE})",
                        "s",
                        _OLD,
                    ),
                    number(
                        "Promotions",
                        "Students put into service in the chosen time.",
                        or_zero(gained("protege_promotions_total", TASK, of="task, cause")),
                        "short",
                    ),
                    number(
                        "Demotions",
                        "Students taken out of service by their audits in the chosen time.",
                        or_zero(gained("protege_demotions_total", TASK, of="task")),
                        "short",
                        _NONE_IS_BEST,
                    ),
                    number(
                        "Training runs",
                        "Of the chosen time, whatever came of them.",
                        or_zero(gained(_RUNS, TASK, of=_OF_RUN)),
                        "short",
                    ),
                    number(
                        "Failed runs",
                        "Training runs of the chosen time that ended in an error. One that made "
                        "no better student has not failed.",
                        or_zero(gained(_RUNS, TASK, _FAILED, of=_OF_RUN)),
                        "short",
                        _NONE_IS_BEST,
                    ),
                ],
            ),
            Section("By task", [_tasks()]),
            Section(
                "Students",
                [
                    states(
                        "In service",
                        "When a student served the task.",
                        Query(_SERVING, "{{task}}"),
                        {0: ("teacher alone", "blue"), 1: ("student", "green")},
                    ),
                    lines(
                        "Answered by the student",
                        "Share of the task's requests.",
                        [
                            Query(
                                f"{rate(_REQUESTS, TASK, _BY_STUDENT, by='task')}"
                                f" / {rate(_REQUESTS, TASK, by='task')}",
                                "{{task}}",
                            )
                        ],
                        "percentunit",
                    ),
                ],
            ),
            Section(
                "Training",
                [
                    lines(
                        "Runs",
                        "An hour, by what came of them: promoted, kept (the champion stays, or the "
                        "teacher does), failed.",
                        [Query(per_hour(_RUNS, TASK, by="outcome", of=_OF_RUN), "{{outcome}}")],
                        "short",
                        span=8,
                    ),
                    lines(
                        "Duration",
                        "Of the training runs in the time before, as long as the chosen time. Half "
                        "took less than the median, 95 of 100 less than p95.",
                        [
                            Query(quantile(0.5, _TRAINING), "median"),
                            Query(quantile(0.95, _TRAINING), "p95"),
                        ],
                        "s",
                        _LONG,
                        span=8,
                    ),
                    lines(
                        "Examples",
                        "In the dataset that the task's last training run learnt from.",
                        [Query(f"topk(20, {_EXAMPLES})", "{{task}}")],
                        "short",
                        span=8,
                    ),
                ],
            ),
        ],
        STUDENTS,
    )


def _tasks() -> Builder[Panel]:
    requests = gained(_REQUESTS, TASK, by="task")
    by_student = gained(_REQUESTS, TASK, _BY_STUDENT, by="task")
    return rows(
        "Tasks",
        "The student of each task, and its requests and training runs of the chosen time.",
        [
            Column("Version", latest("protege_student_info", TASK, by="task, version"), "none"),
            Column("Serving", _SERVING, "bool_yes_no", Levels("blue", ((1.0, "green"),))),
            Column("Age", _AGE, "s", _OLD),
            Column("Answered", f"{by_student} / {requests}", "percentunit"),
            Column("Examples", _EXAMPLES, "short"),
            Column("Runs", gained(_RUNS, TASK, by="task", of=_OF_RUN), "short"),
            Column(
                "Failed",
                gained(_RUNS, TASK, _FAILED, by="task", of=_OF_RUN),
                "short",
                _NONE_IS_BEST,
            ),
            Column(
                "Demotions", gained("protege_demotions_total", TASK, by="task", of="task"), "short"
            ),
        ],
        beside=["version"],
    )
