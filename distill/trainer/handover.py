"""What a server hands over to the trainer beside it. Nothing heavy is imported: the server reads
this too."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, SecretStr, field_serializer

from config.settings import (
    DatasetSettings,
    HostedSettings,
    LogSettings,
    LoopSettings,
    PolicySettings,
    Settings,
)

SETTINGS_VARIABLE = "PROTEGE_TRAINER"
"""The environment variable that the trainer finds its settings in, as JSON."""

PARENT_VARIABLE = "PROTEGE_TRAINER_OF"
"""And the one with the id of the server's process, which may be gone before the trainer has
loaded anything."""


class TrainerSettings(BaseModel):
    """What the trainer needs of the server's settings."""

    data: Path
    database: SecretStr | None = None
    policy: PolicySettings
    loop: LoopSettings
    log: LogSettings = LogSettings()
    dataset: DatasetSettings = DatasetSettings()
    compute_usd_per_hour: float = 0.0
    hosted: HostedSettings = HostedSettings()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those of a server, but for the keys of its models, which are none of a trainer's
        business."""
        models = [model.model_copy(update={"api_key": None}) for model in settings.hosted.models]
        hosted = settings.hosted.model_copy(update={"models": models})
        every = {name: getattr(settings, name) for name in cls.model_fields}
        return cls(**every | {"hosted": hosted})

    @field_serializer("database", when_used="json")
    def _shown(self, database: SecretStr | None) -> str | None:
        return None if database is None else database.get_secret_value()
