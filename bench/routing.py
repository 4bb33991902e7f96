"""Routing between a strong and a weak model where no student exists yet.

    python -m bench.routing --data FILE --json routing.json

The difficulty model learns from part of the prompts, with the correctness of both models, and
routes the rest: with 10%, 30% and 70% of the prompts to learn from, and on subjects it never saw.
"""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
import numpy.typing as npt
import orjson
import typer
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student_t
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from bench.routing_metrics import Routing, routing
from policies.difficulty.model import Difficulty

Array = npt.NDArray[np.float64]

SHARES = (0.1, 0.3, 0.7)
"""Of the prompts, to learn from."""
DOMAIN_SHARE = 0.5
"""Of the domains, to learn from."""
CONFIDENCE = 0.95
PUBLISHED = 0.60
"""RouteLLM's best published APGR on these prompts, about; its routers learnt from other data."""

_COLUMNS = ("domain", "prompt", "weak_correct", "strong_correct")
_TRUTH = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt and what became of it."""

    domain: str
    prompt: str
    gain: float
    """Correctness of the strong model less that of the weak one."""


@dataclass(frozen=True, slots=True)
class Split:
    """Examples to learn from, and others to route."""

    train: Sequence[Example]
    test: Sequence[Example]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over splits and the half-width of its interval."""

    mean: float
    half_width: float


@dataclass(frozen=True, slots=True)
class Row:
    """One way to score, on one kind of split."""

    split: str
    score: str
    apgr: Estimate
    cpt50: Estimate
    cpt80: Estimate


Scorer = Callable[[Split, int], Array]
"""Scores [n] of a split's test prompts; the seed is for those that are random."""


class DataError(Exception):
    """The file of outcomes is missing or is not one."""


def read(path: Path) -> list[Example]:
    """The outcomes in a CSV file (``.gz``: compressed) with the columns ``domain``, ``prompt``,
    ``weak_correct`` and ``strong_correct``. Raises DataError."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(
            path, "rt", encoding="utf-8", newline=""
        ) as file:
            rows = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise DataError(f"{path} has no column {missing[0]!r}")
            return [_example(row, f"{path}, line {rows.line_num}") for row in rows]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {path}: {reason}") from error


def _example(row: dict[str, str], place: str) -> Example:
    try:
        weak, strong = (_TRUTH[(row[name] or "").lower()] for name in _COLUMNS[2:])
    except KeyError as error:
        raise DataError(f"{place}: {error.args[0]!r} is neither true nor false") from None
    return Example(row["domain"], row["prompt"], strong - weak)


def by_prompt(examples: Sequence[Example], share: float, seed: int) -> Split:
    """Learn from a random ``share`` of the prompts. Equal prompts are on the same side."""
    return _split(examples, [example.prompt for example in examples], share, seed)


def by_domain(examples: Sequence[Example], share: float, seed: int) -> Split:
    """Learn from a random ``share`` of the domains."""
    return _split(examples, [example.domain for example in examples], share, seed)


def _split(examples: Sequence[Example], groups: Sequence[str], share: float, seed: int) -> Split:
    names = sorted(set(groups))
    Random(seed).shuffle(names)
    chosen = set(names[: round(share * len(names))])
    pairs = list(zip(examples, groups, strict=True))
    return Split(
        [example for example, group in pairs if group in chosen],
        [example for example, group in pairs if group not in chosen],
    )


def learnt(split: Split, _seed: int) -> Array:
    """The product's difficulty model."""
    model = Difficulty.fit(_prompts(split.train), _gains(split.train))
    return model.score(_prompts(split.test))


def plain(split: Split, _seed: int) -> Array:
    """TF-IDF of words and two logistic regressions: strong better, less weak better."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    train = vectorizer.fit_transform(_prompts(split.train))
    test = vectorizer.transform(_prompts(split.test))
    gains = _gains(split.train)

    def probability(happened: npt.NDArray[np.bool_]) -> Array:
        if happened.all() or not happened.any():
            return np.full(len(split.test), float(happened.all()))
        model = LogisticRegression(solver="liblinear").fit(train, happened)
        return np.asarray(model.predict_proba(test)[:, 1])

    return probability(gains > 0) - probability(gains < 0)


def chance(split: Split, seed: int) -> Array:
    """Random routing."""
    return np.random.default_rng(seed).random(len(split.test))


def hindsight(split: Split, _seed: int) -> Array:
    """Routing that knows the outcomes."""
    return _gains(split.test)


SCORERS: dict[str, Scorer] = {
    "random": chance,
    "TF-IDF + logistic regression": plain,
    "difficulty model": learnt,
    "oracle": hindsight,
}


def _prompts(examples: Sequence[Example]) -> list[str]:
    return [example.prompt for example in examples]


def _gains(examples: Sequence[Example]) -> Array:
    return np.array([example.gain for example in examples])


def measure(examples: Sequence[Example], seeds: int) -> Iterator[Row]:
    """All rows, each over ``seeds`` splits."""
    kinds = {
        f"{share:.0%} of prompts": [by_prompt(examples, share, seed) for seed in range(seeds)]
        for share in SHARES
    }
    kinds["other domains"] = [by_domain(examples, DOMAIN_SHARE, seed) for seed in range(seeds)]
    for kind, splits in kinds.items():
        for name, scorer in SCORERS.items():
            found = [
                routing(scorer(split, seed), _gains(split.test))
                for seed, split in enumerate(splits)
            ]
            yield _row(kind, name, found)


def _row(kind: str, name: str, found: Sequence[Routing]) -> Row:
    return Row(
        kind,
        name,
        estimate([one.apgr for one in found]),
        estimate([one.cpt50 for one in found]),
        estimate([one.cpt80 for one in found]),
    )


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and interval by Student's t: how much the figure varies with the split."""
    quantile = float(student_t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return Estimate(
        float(np.mean(values)), quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    )


def table(rows: Sequence[Row]) -> Table:
    shown = Table(
        caption=f"{CONFIDENCE:.0%} intervals over splits; RouteLLM's best published APGR on MMLU, "
        f"with routers that learnt from other data: about {PUBLISHED:.2f}"
    )
    shown.add_column("learnt from")
    shown.add_column("score")
    for heading in ("APGR", "CPT(50%)", "CPT(80%)"):
        shown.add_column(heading, justify="right")
    for number, row in enumerate(rows):
        shown.add_row(
            row.split if number % len(SCORERS) == 0 else "",
            row.score,
            f"{row.apgr.mean:.3f} ± {row.apgr.half_width:.3f}",
            *(f"{one.mean:.0%} ± {one.half_width:.1%}" for one in (row.cpt50, row.cpt80)),
            end_section=number % len(SCORERS) == len(SCORERS) - 1,
        )
    return shown


def main(
    data: Annotated[Path, typer.Option(help="CSV file of outcomes.")],
    json: Annotated[Path | None, typer.Option(help="Write the figures here too.")] = None,
    seeds: Annotated[int, typer.Option(help="Splits of each kind.", min=2)] = 5,
) -> None:
    """Print APGR and CPT for each way to score and kind of split."""
    try:
        examples = read(data)
        with threadpool_limits(1):
            rows = list(measure(examples, seeds))
        if json is not None:
            json.write_bytes(_figures(rows, data, seeds))
    except (DataError, ValueError, OSError) as error:
        typer.echo(f"routing: {error}", err=True)
        raise typer.Exit(2) from None
    Console(width=110).print(table(rows))


def _figures(rows: Sequence[Row], data: Path, seeds: int) -> bytes:
    head = {"data": data.name, "seeds": seeds, "published_apgr": PUBLISHED}
    body = {"rows": [asdict(row) for row in rows]}
    return orjson.dumps(head | body, option=orjson.OPT_INDENT_2)


if __name__ == "__main__":
    typer.run(main)
