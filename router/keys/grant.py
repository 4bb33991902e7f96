"""What an operator says of a key, checked; and a key as it is shown, without its secret."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from telemetry.exchange import PICO
from telemetry.keys import Key, Period

_Name = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]
_Count = Annotated[int, Field(ge=1, le=10**12)]


class Grant(BaseModel):
    """What a key may do. None means without a limit."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: _Name = "key"
    admin: bool = False
    budget_usd: float | None = Field(default=None, gt=0, le=10**6, allow_inf_nan=False)
    period: Period = "month"
    requests_per_minute: _Count | None = None
    tokens_per_minute: _Count | None = None
    models: list[_Name] | None = Field(default=None, min_length=1, max_length=1000)
    tasks: list[_Name] | None = Field(default=None, min_length=1, max_length=1000)
    expires_at: float | None = Field(default=None, ge=0, le=10**11, allow_inf_nan=False)
    """Unix time in seconds."""

    def fields(self) -> dict[str, Any]:
        """What was said, as fields of a key."""
        said = self.model_dump(exclude_unset=True)
        if "expires_at" in said:
            said["expires"] = said.pop("expires_at")
        if "budget_usd" in said:
            usd = said.pop("budget_usd")
            said["budget"] = None if usd is None else round(usd * PICO)
        return said


def mistake_in(error: ValidationError) -> tuple[str, str]:
    """The parameter that is wrong, and what it should be."""
    first = error.errors()[0]
    return str(first["loc"][0]), first["msg"][0].lower() + first["msg"][1:]


def shown(key: Key, spent: int) -> dict[str, Any]:
    """A key that has spent so many picodollars in the period under way, as JSON has it."""
    return {
        "id": key.id,
        "object": "key",
        "name": key.name,
        "hint": key.hint,
        "created_at": int(key.created),
        "expires_at": key.expires,
        "revoked_at": key.revoked,
        "admin": key.admin,
        "budget_usd": None if key.budget is None else key.budget / PICO,
        "period": key.period,
        "spent_usd": spent / PICO,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "models": key.models,
        "tasks": key.tasks,
    }
