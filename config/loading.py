"""Reads the settings from flags, environment, YAML file and defaults, in that order.

The environment uses the prefix ``PROTEGE_`` and two underscores between levels, for example
``PROTEGE_POLICY__ALPHA=0.02``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource, SettingsError

from config.settings import Settings

_SECRET = frozenset({"api_key", "database", "headers", "redis"})
"""Settings whose values are never shown."""


class ConfigError(Exception):
    """The configuration is not valid. ``lines`` holds one sentence per mistake."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def load(config: Path | None = None, flags: dict[str, Any] | None = None) -> Settings:
    """Merge ``flags`` over ``PROTEGE_…`` over the YAML file ``config`` over the defaults.

    ``flags`` is nested as the settings are. Raises ConfigError, one line per mistake.
    """
    environment = EnvSettingsSource(Settings, case_sensitive=False, env_parse_none_str="null")
    try:
        from_environment = environment()
    except SettingsError as error:
        raise ConfigError([f"environment: {error}"]) from error
    if flat := _flat(os.environ):
        raise ConfigError([f"{name}: two underscores go between levels" for name in flat])
    merged = _merge(_merge(_read_yaml(config), from_environment), flags or {})
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise ConfigError([_sentence(mistake) for mistake in error.errors()]) from error


def _flat(names: Iterable[str]) -> list[str]:
    """The variables that name a setting of a section with a single underscore, and so none."""
    sections = {
        f"PROTEGE_{section}_{name}".upper()
        for section, field in Settings.model_fields.items()
        if isinstance(field.default, BaseModel)
        for name in type(field.default).model_fields
    }
    return sorted(name for name in names if name.upper() in sections)


def _read_yaml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except yaml.MarkedYAMLError as error:
        raise ConfigError([f"{path}: not valid YAML: {_complaint(error)}"]) from error
    # The last two are a date that there is none of, and a depth that nobody writes.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([f"{path}: not valid YAML: {' '.join(str(error).split())}"]) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError([f"{path}: must be a mapping of settings"])
    if strange := [key for key in content if not isinstance(key, str)]:
        raise ConfigError([f"{path}: {key!r}: unknown setting" for key in strange])
    return content


class _Loader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, of which YAML would drop the first."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                said = f"{key.value!r} is there twice"
                raise yaml.MarkedYAMLError(problem=said, problem_mark=key.start_mark)
            seen.add(key.value)
        return node


def _complaint(error: yaml.MarkedYAMLError) -> str:
    """What is wrong and where. The line itself is left out: it may have a secret in it."""
    said = error.problem or error.context or "unreadable"
    mark = error.problem_mark or error.context_mark
    return said if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {said}"


def _merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """``high`` over ``low``, section by section."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _sentence(mistake: ErrorDetails) -> str:
    key = ".".join(str(part) for part in mistake["loc"])
    if mistake["type"] == "extra_forbidden":
        return f"{key}: unknown setting"
    value = mistake["input"]
    # A mapping or a list may have a secret in it.
    hidden = isinstance(value, (dict, list)) or not _SECRET.isdisjoint(key.split("."))
    shown = "" if hidden else f" (got {value!r})"
    said = mistake["msg"].removeprefix("Value error, ")
    if mistake["type"] == "model_type":
        said = "must be a section of settings"
    return f"{key}: {said[0].lower()}{said[1:]}{shown}"
