"""The licence of a model that a student started from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path

_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
_IN_CARD = re.compile(r"\A---\n(?:.*\n)*?license: *[\"']?([\w.+-]+)")


@dataclass(frozen=True, slots=True)
class Licence:
    """``name`` and ``text`` are None where nothing is said."""

    name: str | None
    text: str | None


def find(model: Path) -> Licence:
    """The licence of the model in a folder or a file: what lies beside it says, or its card, as
    Hugging Face has them, or else the package that carries it."""
    folder = model if model.is_dir() else model.parent
    text = _first(folder / name for name in _FILES)
    card = _first([folder / "README.md"])
    named = _IN_CARD.match(card) if card else None
    if named is not None:
        # Not the package's text: its code may be under another licence.
        return Licence(named[1], text)
    package = _package(folder)
    if package is None:
        return Licence(None, text)
    about = package.metadata.json
    name = about.get("license_expression") or about.get("license")
    if text is None:
        texts = [file for file in package.files or () if file.name in _FILES]
        text = _first(Path(str(file.locate())) for file in texts)
    return Licence(str(name) if name else None, text)


def carry(model: Path, folder: Path) -> None:
    """Write the licence of ``model`` down in ``folder``, for what is made of it there."""
    found = find(model)
    if found.name is not None:
        (folder / "README.md").write_text(f"---\nlicense: {found.name}\n---\n", encoding="utf-8")
    if found.text is not None:
        (folder / _FILES[0]).write_text(found.text, encoding="utf-8")


def _package(folder: Path) -> Distribution | None:
    """The installed package that ``folder`` is part of."""
    known = packages_distributions()
    for part in (folder, *folder.parents):
        if part.parent.name == "site-packages":
            names = known.get(part.name, ())
            return distribution(names[0]) if names else None
    return None


def _first(files: Iterable[Path]) -> str | None:
    """What the first of ``files`` that exists says."""
    for file in files:
        if file.is_file():
            return file.read_text(encoding="utf-8", errors="replace")
    return None
