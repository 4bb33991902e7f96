"""Loading the settings: who overrides whom, and one clear line for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import config.settings
from config.loading import ConfigError, load
from config.settings import Settings

EXAMPLE = Path(config.settings.__file__).parent / "protege.example.yaml"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("PROTEGE_"):
            monkeypatch.delenv(name)


def written(folder: Path, text: str) -> Path:
    file = folder / "protege.yaml"
    file.write_text(text)
    return file


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text))
    return caught.value.lines


def test_nothing_configured() -> None:
    settings = load()
    assert settings.teacher.model == "gpt-5.4"
    assert settings.policy.alpha == 0.05
    assert settings.loop.enabled


def test_the_example_shows_every_setting_with_its_default() -> None:
    assert load(EXAMPLE).model_dump() == Settings().model_dump()
    shown = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    every = Settings().model_dump()
    assert shown.keys() == every.keys()
    for section in ("teacher", "policy", "loop"):
        assert shown[section].keys() == every[section].keys()


def test_flags_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, "port: 1\nworkers: 2\npolicy: {alpha: 0.1, delta: 0.1}\nhost: a\n")
    monkeypatch.setenv("PROTEGE_PORT", "3")
    monkeypatch.setenv("PROTEGE_POLICY__ALPHA", "0.2")
    monkeypatch.setenv("PROTEGE_WORKERS", "4")
    settings = load(file, {"port": 5})
    assert (settings.port, settings.workers, settings.host) == (5, 4, "a")
    assert (settings.policy.alpha, settings.policy.delta) == (0.2, 0.1)


def test_models_and_prices(tmp_path: Path) -> None:
    text = """
    models: {small: {model: gpt-5.4-mini}, local: {model: llama, base_url: "http://x/v1"}}
    prices: {llama: {input: 0.1, output: 0.2}}
    """
    settings = load(written(tmp_path, text))
    assert settings.models["local"].base_url == "http://x/v1"
    assert settings.prices["llama"][0].output == 0.2


def test_one_line_a_mistake(tmp_path: Path) -> None:
    lines = mistakes(tmp_path, "port: 70000\npolicy: {alpha: 0}\nteecher: {}\nworkers: many\n")
    assert [line.partition(":")[0] for line in sorted(lines)] == [
        "policy.alpha",
        "port",
        "teecher",
        "workers",
    ]
    assert "teecher: unknown setting" in lines
    assert all("\n" not in line for line in lines)


def test_null_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROTEGE_LOOP__ENCODER", "null")
    assert load().loop.encoder is None


def test_a_mistake_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROTEGE_POLICY__AUDIT_RATE", "often")
    with pytest.raises(ConfigError, match=r"policy\.audit_rate: .*\(got 'often'\)"):
        load()


def test_a_single_underscore_between_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROTEGE_POLICY_ALPHA", "0.01")
    monkeypatch.setenv("PROTEGE_FALLBACK_MODEL", "the SDK's")
    monkeypatch.setenv("PROTEGE_COMPUTE_USD_PER_HOUR", "0.1")
    with pytest.raises(ConfigError) as error:
        load()
    assert error.value.lines == ["PROTEGE_POLICY_ALPHA: two underscores go between levels"]


def test_a_bare_off_is_off(tmp_path: Path) -> None:
    config = tmp_path / "protege.yaml"
    config.write_text("dataset: {private: off}\n")
    assert load(config).dataset.private == "off"


def test_a_key_in_a_list_is_never_shown(tmp_path: Path) -> None:
    config = tmp_path / "protege.yaml"
    config.write_text("hosted: {models: [{model: m, api_key: sk-secret}, {model: m}]}\npolicy: 5\n")
    with pytest.raises(ConfigError) as error:
        load(config)
    assert error.value.lines == [
        "hosted.models: needs models of different names",
        "policy: must be a section of settings (got 5)",
    ]


def test_a_key_is_never_shown(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "teacher: {api_key: [sk-secret]}")
    assert "sk-secret" not in line
    settings = load(written(tmp_path, "teacher: {api_key: sk-secret}"))
    assert "sk-secret" not in repr(settings)


def test_a_database_is_never_shown(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "database: [postgresql://u:secret@host/name]")
    assert "secret" not in line
    settings = load(written(tmp_path, "database: postgresql://u:secret@host/name"))
    assert "secret" not in repr(settings)


def test_a_line_that_is_no_yaml_is_not_shown(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "teacher:\n  api_key: sk-se: cret\n")
    assert line.endswith(": not valid YAML: line 2, column 17: mapping values are not allowed here")
    assert "sk-se" not in line


def test_what_is_said_twice(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "policy: {alpha: 0.01}\nport: 1\npolicy: {delta: 0.1}\n")
    assert line.endswith(": not valid YAML: line 3, column 1: 'policy' is there twice")
    (line,) = mistakes(tmp_path, "prices:\n  gpt-5.4: {input: 1, output: 2, input: 3}\n")
    assert line.endswith(": line 2, column 34: 'input' is there twice")


def test_what_is_shared_may_be_said_again(tmp_path: Path) -> None:
    shared = "teacher: &a {model: m, retries: 1}\nfallbacks: [{<<: *a, model: n}]\n"
    (fallback,) = load(written(tmp_path, shared)).fallbacks
    assert (fallback.model, fallback.retries) == ("n", 1)


def test_a_day_that_there_is_none_of(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "prices: {m: {from: 2026-02-30, input: 1, output: 1}}")
    assert line.endswith(": not valid YAML: day is out of range for month")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    lines = mistakes(tmp_path, "8080: port\non: 1\n")
    assert [line.rpartition("yaml: ")[2] for line in lines] == [
        "8080: unknown setting",
        "True: unknown setting",
    ]


@pytest.mark.parametrize("url", ["redis://:se#cret@host", "redis://u:secret@host:port"])
def test_a_redis_is_never_shown(tmp_path: Path, url: str) -> None:
    (line,) = mistakes(tmp_path, f"redis: {url}")
    assert line.startswith("redis: must be redis://user:password@host:port")
    assert "cret" not in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prices: {m: {input: .inf, output: 1}}", "prices.m.0.input: input should be a finite"),
        ("limits: {body_mb: .inf}", "limits.body_mb: input should be a finite number (got inf)"),
        ("teacher: {model: ''}", "teacher.model: string should have at least 1 character"),
    ],
)
def test_what_a_server_could_not_do_with(tmp_path: Path, text: str, said: str) -> None:
    (line,) = mistakes(tmp_path, text)
    assert line.startswith(said)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", "port: [1\n", "\0", "[" * 3000])
def test_what_is_no_mapping(tmp_path: Path, text: str) -> None:
    (line,) = mistakes(tmp_path, text)
    assert str(tmp_path / "protege.yaml") in line


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "nothing.yaml")


def test_an_empty_file(tmp_path: Path) -> None:
    assert load(written(tmp_path, "")) == Settings()
