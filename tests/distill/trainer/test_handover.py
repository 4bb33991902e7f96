"""What a server hands over to its trainer."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from config.settings import (
    DatasetSettings,
    HostedModelSettings,
    HostedSettings,
    LogSettings,
    LoopSettings,
    PolicySettings,
    Settings,
)
from distill.trainer.handover import TrainerSettings


def test_all_that_a_trainer_needs_is_handed_over_but_no_key(tmp_path: Path) -> None:
    hosted = HostedSettings(models=[HostedModelSettings(model="m", api_key=SecretStr("sk-secret"))])
    settings = Settings(
        data=tmp_path,
        database=SecretStr("postgresql://u:password@host/name"),
        policy=PolicySettings(alpha=0.2),
        loop=LoopSettings(first=12),
        log=LogSettings(level="info"),
        dataset=DatasetSettings(repeats=0.5),
        compute_usd_per_hour=3.0,
        hosted=hosted,
    )
    json = TrainerSettings.of(settings).model_dump_json()
    assert "sk-secret" not in json
    received = TrainerSettings.model_validate_json(json)
    keyless = HostedSettings(models=[HostedModelSettings(model="m")])
    for name in TrainerSettings.model_fields:
        handed_over = getattr(received, name)
        assert handed_over == (keyless if name == "hosted" else getattr(settings, name)), name
        assert handed_over != getattr(Settings(), name), name
    assert settings.hosted.models[0].api_key is not None, "the server keeps it"


def test_what_never_ends_is_handed_over() -> None:
    loop = LoopSettings.model_validate({"interval_s": "inf", "rollout": {"latency_s": "inf"}})
    json = TrainerSettings.of(Settings(loop=loop)).model_dump_json()
    assert TrainerSettings.model_validate_json(json).loop == loop
