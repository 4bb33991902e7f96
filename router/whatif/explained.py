"""One exchange: who answered and why, with the scores, the threshold and the rule behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from distill.card import Card, as_written
from router.terminal.words import printable
from router.turn import usd
from telemetry.exchange import Exchange, StudentRecord
from telemetry.store import Store

_REASONS = {
    "student_confident": "the student is sure enough",
    "student_unsure": "the student is not sure enough",
    "no_student": "the task has no student",
    "student_error": "the student failed",
    "hosted_down": "the hosted model that should have answered failed",
    "forced": "the caller named the model",
    "teacher_down": "the teacher could not be reached",
    "policy": "the policy looks at no score",
    "cascade": "the student is, or is not, as sure as the operator wants",
    "utility": "the route has the greater expected utility",
    "deadline": "the teacher would be, or was, too late",
    "budget": "what may be spent decides",
    "tools": "rule: the request has tools",
    "modality": "rule: the request is not text alone",
    "n": "rule: the request wants several answers",
    "logit_bias": "rule: the request makes some tokens likelier than others",
    "bound": "rule: the request wants a stricter bound than the student was tested for",
    "stop": "rule: the student's answer has a stop sequence in it",
    "max_tokens": "rule: the student's answer is longer than the request allows",
    "response_format": "rule: the student's answer is not in the required format",
    "pinned": "the conversation stays where it began",
    "barred": "rule: students may not answer this task",
    "length": "rule: the request is longer than those that the student learnt from",
    "instruction": "rule: the student has not learnt what this instruction asks for",
}

_FIELDS = {
    "agreement": "probability of the teacher's answer",
    "cost": "cost, USD",
    "cost_p95": "cost, USD, 95%",
    "latency_s": "time, s",
    "latency_p95_s": "time, s, 95%",
    "first_token_s": "to the first token, s",
    "first_token_p95_s": "to the first token, s, 95%",
    "load": "under way then",
}
_INCONCLUSIVE = "the teacher gave no answer to compare"
_LABEL = 36
"""Columns for what a line is about."""


@dataclass(frozen=True, slots=True)
class Explained:
    """An exchange with all that is known of its decision."""

    exchange: Exchange
    decision: Mapping[str, Any] | None
    """None where no policy chose."""
    student: StudentRecord | None
    """The student that was asked."""

    @classmethod
    def find(cls, store: Store, identifier: str) -> Explained | None:
        """The exchange of this id, or whose completion has it."""
        exchange = store.named(identifier)
        if exchange is None:
            return None
        decision = orjson.loads(exchange.decision) if exchange.decision else None
        records = store.roster.students(exchange.task) if exchange.student else []
        asked = (record for record in records if record.version == exchange.student)
        return cls(exchange, decision, next(asked, None))

    def as_json(self) -> dict[str, Any]:
        exchange = self.exchange
        student = None
        if self.student is not None:
            student = {
                "version": self.student.version,
                "serving": self.student.serving,
                "verdict": self.student.verdict,
                "card": as_written(self.student),
            }
        return {
            "id": exchange.id,
            "created": exchange.created,
            "task": exchange.task,
            "key": exchange.key,
            "route": exchange.route,
            "model": exchange.model,
            "reason": exchange.reason,
            "why": _why(exchange.reason),
            "status": exchange.status,
            "error": exchange.error,
            "decision": self.decision,
            "propensity": exchange.propensity,
            "sampled": exchange.sampled,
            "student": student,
            "slice": exchange.stratum,
            "confidence": exchange.confidence,
            "student_answer": exchange.student_answer,
            "answer": exchange.answer,
            "teacher_answer": exchange.teacher_answer,
            "agreed": exchange.agreed,
            "cost_usd": usd(exchange.cost),
            "teacher_cost_usd": usd(exchange.teacher_cost),
            "audit_cost_usd": usd(exchange.audit_cost),
            "tryout_cost_usd": usd(exchange.tryout_cost),
            "latency_s": exchange.latency_s,
            "first_token_s": exchange.first_token_s,
            "attempts": exchange.attempts,
        }

    def lines(self) -> list[str]:
        """For people to read."""
        exchange = self.exchange
        said = [
            f"Exchange {exchange.id}, {_date(exchange.created)} UTC",
            _line("task", exchange.task),
            _line("answered by", f"{exchange.route} ({exchange.model})"),
            _line("because", f"{exchange.reason}: {_why(exchange.reason)}"),
            _line("status", f"{exchange.status} {exchange.error or ''}".strip()),
        ]
        if exchange.key is not None:
            said.append(_line("key", exchange.key))
        said += self._decision()
        said += self._student()
        said += self._after()
        return said

    @property
    def why(self) -> str:
        """Why the caller got its answer from where it came, in words."""
        return _why(self.exchange.reason)

    def scores(self) -> list[tuple[str, str, str]]:
        """What the decision was made on: each score by name, the teacher's and the student's."""
        if self.decision is None:
            return []
        student = self.decision["student"] or {}
        return [
            (
                _FIELDS.get(name, name),
                _score(name, value),
                _score(name, student[name]) if name in student else "not asked",
            )
            for name, value in self.decision["teacher"].items()
        ]

    def _decision(self) -> list[str]:
        decision = self.decision
        if decision is None:
            return ["", "No policy chose."]
        said = ["", f"Decision of the policy {decision.get('policy', 'bound')}"]
        if decision["route"] != self.exchange.route:
            chosen = f"{decision['route']} ({decision['reason']}: {_why(decision['reason'])})"
            said.append(_line("chose at first", chosen))
        said.append(_line("", f"{'teacher':>14}{'student':>14}"))
        said += [_line(words, f"{ours:>14}{other:>14}") for words, ours, other in self.scores()]
        if self.student is not None or decision["student"]:
            threshold = decision["threshold"]
            said.append(_line("threshold", f"{threshold:.4f}"))
        if self.exchange.stratum is not None:
            said.append(_line("slice", f"{self.exchange.stratum}: {self.floor}"))
        propensity = self.exchange.propensity
        if propensity is not None:
            said.append(_line("probability of asking the teacher", f"{propensity:.4g}"))
        known = {"route", "reason", "teacher", "student", "threshold", "propensity", "policy"}
        said += [_line(name, str(value)) for name, value in decision.items() if name not in known]
        return said

    @property
    def floor(self) -> str:
        """What the student's card says of the slice."""
        card = Card() if self.student is None else Card.parse(self.student.card)
        threshold = card.gate.floors.get(self.exchange.stratum or "")
        if threshold is None:
            return "left to the teacher"
        return f"a threshold of its own, {threshold:.4f}"

    def _student(self) -> list[str]:
        exchange = self.exchange
        if exchange.student is None:
            return ["", "No student was asked."]
        said = ["", f"Student {exchange.student}"]
        if self.student is not None:
            said.append(_line("serves now", "yes" if self.student.serving else "no"))
            said.append(_line("verdict", self.student.verdict))
        if exchange.student_answer is not None:
            said.append(_line("said", _short(exchange.student_answer)))
        return said

    def _after(self) -> list[str]:
        exchange = self.exchange
        said = ["", "What came of it"]
        if exchange.teacher_answer is not None:
            said.append(_line("the teacher said", _short(exchange.teacher_answer)))
        if exchange.route == "student":
            audit = {None: "none", True: "the teacher agrees", False: "the teacher disagrees"}
            waits = " yet" if exchange.sampled and exchange.agreed is None else ""
            found = _INCONCLUSIVE if exchange.inconclusive else audit[exchange.agreed] + waits
            said.append(_line("audit", found))
        cost = f"{usd(exchange.cost)} USD; the teacher's {usd(exchange.teacher_cost)} USD"
        if exchange.audit_cost:
            cost += f"; its audit {usd(exchange.audit_cost)} USD"
        if exchange.tryout_cost:
            cost += f"; its try-outs {usd(exchange.tryout_cost)} USD"
        said.append(_line("cost", cost))
        seconds = f"{exchange.latency_s:.3f} s"
        if exchange.first_token_s is not None:
            seconds += f", {exchange.first_token_s:.3f} s to the first token"
        said.append(_line("took", seconds))
        return said


def _why(reason: str) -> str:
    return _REASONS.get(reason, "another rule of the policy")


def _line(what: str, said: str) -> str:
    return f"  {what:<{_LABEL}}{printable(said)}"


def _score(name: str, value: Any) -> str:
    if name.startswith("cost"):
        return usd(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(text: str, most: int = 80) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def _date(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M:%S}"
