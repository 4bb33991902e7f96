"""A task's students from cheapest to dearest, under one threshold."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from distill.data.private import Masked, mask
from distill.evaluation.strata import Floors, Place
from distill.students.base import EXTRACTION, HOSTED, TEXT, Prediction, Rung
from distill.students.damaged import reading
from distill.students.encoder import FOLDER, SentenceEncoder
from distill.students.extraction.rung import ExtractionRung
from distill.students.hosted import HostedRung
from distill.students.label import LabelRung
from distill.students.text.rung import TextRung
from distill.students.usage import UsageModel
from policies.promise import Promise
from policies.rules import Unfamiliar
from policies.tasks import Prompt

_MANIFEST = "ladder.json"

_MOST_MASKED = 4096
"""Characters of private data that a text may have beyond the longest one that was learnt from."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The first rung whose confidence reaches ``threshold`` answers; if none does, the teacher."""

    version: str
    task: str
    threshold: float
    share: float
    """Share of the task's requests that it answers, as it was foretold when it was promoted."""
    head: str
    """What the task's texts begin with, which no rung reads."""
    rungs: tuple[Rung, ...]
    usage: UsageModel
    masks: bool = False
    """Whether it reads placeholders in the place of private data, as it was taught."""
    barred: tuple[str, ...] = ()
    """Answers that are left to the teacher, however sure the rungs are of them."""
    trained: float = math.inf
    """Unix time of the newest request that it was trained on; infinite where nobody noted it."""
    saves: float | None = None
    """Share of the teacher's cost that it saves, foretold likewise; None where its answers cost
    next to nothing, so that it is the share of the requests."""
    floors: Floors | None = None
    """Thresholds of slices that keep the promise each on its own; ``threshold`` is the least."""
    promise: Promise | None = None
    """What it was tested for; None where it was not tested, or nobody noted it."""
    instructions: tuple[str, ...] | None = None
    """Those that it was taught and tested under, by their names; None where they were not told
    apart."""

    @property
    def worth(self) -> float:
        """What it saves: a challenger must save more."""
        return self.share if self.saves is None else self.saves

    @property
    def hosted(self) -> str | None:
        """The model of a provider that it has answer, by its name in the settings."""
        return next((rung.model for rung in self.rungs if isinstance(rung, HostedRung)), None)

    @property
    def quick(self) -> bool:
        """Whether it can be asked about many texts: one that writes takes seconds for an answer,
        one that is a provider's costs money."""
        return all(isinstance(rung, LabelRung | ExtractionRung) for rung in self.rungs)

    @property
    def strata(self) -> int:
        """How many slices it answers in, where each must keep the promise on its own; else 0."""
        return 0 if self.floors is None else len(self.floors.thresholds)

    def masked(self, text: str) -> Masked:
        """``text`` as it is read, and what its placeholders stand for."""
        return mask(text) if self.masks else Masked(text)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """What is said to each varying text by its cheapest rung that is sure enough, else by the
        surest of all."""
        first, *dearer = self.rungs
        floors = [self.place(text).floor for text in texts]
        surest = first.predict(texts)
        for rung in dearer:
            unsure = [i for i, said in enumerate(surest) if said.confidence < floors[i] < math.inf]
            for i, said in zip(unsure, rung.predict([texts[i] for i in unsure]), strict=True):
                surest[i] = max(surest[i], said, key=lambda prediction: prediction.confidence)
        return [self.settled(said, floor) for said, floor in zip(surest, floors, strict=True)]

    def place(self, text: str) -> Place:
        """Where a varying text stands."""
        return Place(None, self.threshold) if self.floors is None else self.floors.of(text)

    def settled(self, prediction: Prediction, floor: float) -> Prediction:
        """The deciding rung's ``prediction`` as the ladder's own, to a text with that ``floor``:
        below it, it is not sure enough."""
        if prediction.answer in self.barred:
            return replace(prediction, confidence=0.0)
        if self.threshold <= prediction.confidence < floor:
            return replace(prediction, confidence=math.nextafter(self.threshold, 0.0))
        return prediction

    def unfamiliar(self, prompt: Prompt) -> Unfamiliar | None:
        """What of a request is unlike all that it was trained and tested on; None if nothing is."""
        # To tell an instruction takes time where each request has its own.
        if self.instructions is not None and not self.knows(prompt.instruction):
            return "instruction"
        return "length" if self.is_too_long(prompt.text) else None

    def knows(self, instruction: str) -> bool:
        """Whether it was taught and tested under the ``instruction`` of that name."""
        return self.instructions is None or instruction in self.instructions

    def is_too_long(self, text: str) -> bool:
        """Whether ``text`` is longer than all that it was trained and tested on."""
        longest = self.usage.longest
        if longest is None:
            return False
        # To look for private data in a long text takes longer than callers can wait.
        if self.masks and len(text) > len(self.head) + longest + _MOST_MASKED:
            return True
        return len(self.varying(text)) > longest

    def varying(self, text: str) -> str:
        """``text`` as it is read, without the constant beginning."""
        return self.masked(text).text.removeprefix(self.head)

    @property
    def encoder(self) -> SentenceEncoder | None:
        """What its rungs read texts with; None where they do without."""
        labels = (rung for rung in self.rungs if isinstance(rung, LabelRung))
        return next((rung.encoder for rung in labels if rung.encoder is not None), None)

    def save(self, folder: Path) -> None:
        """Write the ladder's files."""
        folder.mkdir(parents=True, exist_ok=True)
        for rung in self.rungs:
            assert isinstance(rung, LabelRung | ExtractionRung | TextRung | HostedRung), (
                "an exported ladder stays as it is"
            )
            rung.save(folder)
        if self.floors is not None:
            self.floors.save(folder)
        manifest = {
            "version": self.version,
            "task": self.task,
            "threshold": self.threshold,
            "share": self.share,
            "head": self.head,
            "encoder": None if self.encoder is None else self.encoder.name,
            "masks": self.masks,
            "rungs": [rung.name for rung in self.rungs],
            "usage": dataclasses.asdict(self.usage),
            "barred": self.barred,
            "saves": self.saves,
            "trained": self.trained if math.isfinite(self.trained) else None,
            "promise": self.promise and dataclasses.asdict(self.promise),
            "instructions": self.instructions,
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=1)
        (folder / _MANIFEST).write_text(text, encoding="utf-8")

    @classmethod
    @reading()
    def load(
        cls, folder: Path, open_encoder: Callable[[str], SentenceEncoder] | None = None
    ) -> Ladder:
        """Read what ``save`` wrote. Raises DamagedError, also where its encoder is gone.

        ``open_encoder`` opens an encoder by its name; without one it is opened anew.
        """
        manifest = _manifest(folder)
        if open_encoder is None:
            open_encoder = partial(SentenceEncoder.open, cache=encoder_cache(folder))
        rungs: list[Rung] = []
        for name in manifest["rungs"]:
            if name == TEXT:
                rungs.append(TextRung.load(folder))
                continue
            if name == HOSTED:
                rungs.append(HostedRung.load(folder))
                continue
            if name == EXTRACTION:
                rungs.append(ExtractionRung.load(folder))
                continue
            encoder = None if name == "ngram" else open_encoder(manifest["encoder"])
            rungs.append(LabelRung.load(folder, name, encoder))
        return cls(
            manifest["version"],
            manifest["task"],
            manifest["threshold"],
            # One of before that was kept leaves its place to any that passes.
            manifest.get("share", 0.0),
            manifest["head"],
            tuple(rungs),
            UsageModel(**manifest["usage"]),
            manifest.get("masks", False),
            tuple(manifest.get("barred", ())),
            math.inf if manifest.get("trained") is None else manifest["trained"],
            manifest.get("saves"),
            Floors.load(folder),
            None if manifest.get("promise") is None else Promise(**manifest["promise"]),
            None if manifest.get("instructions") is None else tuple(manifest["instructions"]),
        )


@reading()
def encoder_named(folder: Path) -> str | None:
    """The name of the encoder that the ladder in ``folder`` reads texts with. Raises
    DamagedError."""
    name: str | None = _manifest(folder)["encoder"]
    return name


def _manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    return manifest


def encoder_cache(student: Path) -> Path:
    """Where the encoder of a student that lies in ``DATA/students/VERSION`` is kept."""
    return student.parent.parent / FOLDER
