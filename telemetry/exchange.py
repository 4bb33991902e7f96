"""The record of one request and its answer, and the record of one student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Route = Literal["teacher", "student", "model", "imported"]
"""``model``: another configured model that the caller named. It teaches nobody. ``imported``: no
request at all, but a pair of a prompt and its answer to learn from."""

Stage = Literal["shadow", "canary"]
"""A student that has passed its test is first asked in the background, then for a part of its
task's requests."""

Dialect = Literal["chat", "responses", "messages", "completions", "embeddings"]

PICO = 10**12
"""Money is kept in whole picodollars (1e-12 USD), so that sums are exact."""

CALLER_GONE = "caller_gone"
"""The error of a request whose caller hung up."""


# Not frozen: every request makes one, and that would take it five times as long.
@dataclass(slots=True)
class Exchange:
    """One request, who answered it and what that took. Money is in picodollars."""

    id: str
    created: float
    """Unix time in seconds."""
    task: str
    route: Route
    """Who answered the caller."""
    model: str
    """The model that answered: the upstream's name, or the student's version."""
    reason: str
    status: int
    """HTTP status that the caller received."""
    stream: bool
    sampled: bool
    """Whether the teacher's answer was to be had whatever the policy decided: the exchanges so
    marked are a uniform random sample of the task's traffic."""
    confidence: float | None = None
    """The student's probability of agreement, where a student was asked."""
    student: str | None = None
    """Version of the student that was asked."""
    student_answer: str | None = None
    """What it said, whoever answered the caller; None with ``store: false``."""
    stratum: str | None = None
    """The slice that the request belongs to, where each slice must keep the promise on its own."""
    propensity: float | None = None
    """Probability that the teacher was asked, at once or in an audit, given all that was known when
    the route was chosen; None where no policy chose."""
    decision: str | None = None
    """The scores and the rule behind the route, as JSON; None where no policy chose."""
    dialect: Dialect = "chat"
    """The API that the caller spoke."""
    request: str | None = None
    """The request as the JSON body of a chat completion; None with ``store: false``."""
    original: str | None = None
    """The body that the caller sent, where it spoke another dialect than chat."""
    metadata: str | None = None
    """The request's metadata as JSON; it may be changed later."""
    answer: str | None = None
    """Text that the caller received; None with ``store: false`` and for tool calls alone."""
    teacher_answer: str | None = None
    """The teacher's text: ``answer`` on the teacher route, the audit's on the student route."""
    choices: str | None = None
    """All choices of the completion as a JSON array, where they are more than one text: several of
    them, tool calls, reasoning, log-probabilities."""
    repeats: str | None = None
    """What the teacher said when it was asked again, as a JSON array of texts."""
    completion_id: str | None = None
    """The completion's id as the caller saw it."""
    agreed: bool | None = None
    """On an audited student answer, whether the teacher gave the same; None where its own answer
    was cut off, filtered or no text."""
    audited: float | None = None
    """Unix time at which the audit was recorded; None too where nobody wrote it down."""
    finish_reason: str | None = None
    """None where the answer never finished: such an exchange teaches nobody."""
    error: str | None = None
    """Code of what went wrong, if anything did."""
    attempts: int = 0
    """Calls that were made to upstreams for the caller's answer."""
    key: str | None = None
    """Id of the virtual key that was used."""
    score: float | None = None
    """What a person thought of the answer, from 0 (wrong) to 1 (right)."""
    right_answer: str | None = None
    """What a person said the answer should be: it outranks the teacher's."""
    comment: str | None = None
    """What else a person said of the answer."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt's."""
    reasoning_tokens: int = 0
    """Of the completion's."""
    cost: int = 0
    """What the caller's answer cost."""
    teacher_cost: int = 0
    """What it costs, or would have cost, from the teacher."""
    audit_cost: int = 0
    audit_latency_s: float | None = None
    """Seconds that the audit's answer took."""
    tryout_cost: int = 0
    """What it cost to ask hosted models too, for the comparison alone."""
    latency_s: float = 0.0
    first_token_s: float | None = None

    @property
    def hosted(self) -> bool:
        """Whether a student has had a provider's model answer, which is the ``model`` then."""
        return self.route == "student" and self.student not in (None, self.model)

    @property
    def broke_off(self) -> bool:
        """Whether it failed when part of its answer had gone out, and that not by its caller."""
        return self.status == 200 and self.error not in (None, CALLER_GONE)

    @property
    def failed(self) -> bool:
        """Whether there is no whole answer, and that by no fault of its caller."""
        return self.status >= 500 or self.broke_off

    @property
    def inconclusive(self) -> bool:
        """Whether an audit is back in which the teacher gave no answer to compare with."""
        return self.agreed is None and self.audited is not None

    @property
    def lesson(self) -> str:
        """The answer to learn from, where there is one."""
        return self.right_answer or self.teacher_answer or ""


@dataclass(frozen=True, slots=True)
class StudentRecord:
    """One trained student: where it lies and what became of it."""

    version: str
    task: str
    created: float
    path: str
    """Folder of its files, relative to the data folder."""
    serving: bool
    verdict: str
    """Why it serves or does not, in words."""
    card: str
    """Its card as JSON: data, metrics, threshold, lineage."""
    earned: float | None = None
    """Unix time at which it last took over its task, replaced or not; None where it never has, and
    where it has lost its place to a demotion or a rollback."""
    stage: Stage | None = None
    """How far it is on its way into service; None where it is not on it."""

    @property
    def placed(self) -> bool:
        """Whether it serves, or is about to."""
        return self.serving or self.stage is not None


@dataclass(frozen=True, slots=True)
class TaskState:
    """What the learning loop remembers of a task between runs."""

    task: str
    epoch: float = 0.0
    """Unix time from which exchanges count as evidence: moved forward by a demotion."""
    attempts: int = 0
    """Gate tests made in the task's life: each spends part of the error budget."""
    tested_on: int = 0
    """Teacher answers that the last gate test was made on."""
    trained_on: int = 0
    """Teacher answers that the last training run saw."""
    trained_at: float = 0.0
    """Unix time of the last training run."""
