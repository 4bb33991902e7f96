"""Training of the rung that copies its answers: the one place of it that needs scikit-learn."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from distill.students import fitting, linear, novelty
from distill.students.extraction.answers import Found
from distill.students.extraction.marking import marks
from distill.students.extraction.rung import ExtractionRung, copy
from distill.students.extraction.shape import Extraction
from distill.students.extraction.tagger import OUTSIDE, Tagger, mean
from distill.students.extraction.tokens import BUCKETS, Tokens, features
from distill.students.label import Trained
from policies.agreement import agree
from policies.ngrams import TfIdf, count_ngrams

_EPOCHS = 10
_PENALTY = 3e-5
"""Less of it finds a little more, but is as sure of what it has by chance."""
_SEED = 0
_MOST_TAUGHT = 4000
"""Newest texts that are learnt from: there are many tokens in each."""
_NEVER = -30.0
"""Score of a tag that nothing had."""


def train(
    texts: Sequence[str],
    answers: Sequence[str],
    found: Found,
    groups: Sequence[Hashable],
) -> Trained[ExtractionRung]:
    """Train a rung on ``texts`` [n] and the teacher's ``answers`` [n], of which that was ``found``.

    No test parts one of the ``groups`` [n].
    """
    counts = count_ngrams(texts)
    new, surprise = novelty.fit(texts, counts)
    tfidf = TfIdf.fit(counts)
    extraction = found.extraction
    pairs = zip(texts, found.values, strict=True)
    rows = [_tagged(text, extraction, values) for text, values in pairs]
    folds = fitting.folds_of(groups)
    taught = np.array([tags is not None for _, tags in rows])
    values: list[list[str]] = [[] for _ in texts]
    shares = np.zeros((len(texts), len(extraction.copied)))
    taggers = []
    for held in np.unique(folds):
        test = np.flatnonzero(folds == held).tolist()
        tagger = _fit(rows, (folds != held) & taught, extraction)
        taggers.append(tagger)
        copied = copy(extraction, tagger, [texts[row] for row in test])
        shares[test] = copied.shares
        for row, one in zip(test, copied.values, strict=True):
            values[row] = one
    ngrams = tfidf(counts)
    heads = [
        fitting.fit(ngrams, _values(found, field), labels, surprise, groups)
        for field, labels in enumerate(extraction.fields)
        if isinstance(labels, tuple)
    ]
    said = [
        extraction.write(extraction.in_order(values[row], [head.said[row] for head in heads]))
        for row in range(len(texts))
    ]
    chosen = [head.probabilities.max(axis=1, keepdims=True) for head in heads]
    raw = np.concatenate([shares, *chosen], axis=1).prod(axis=1)
    agreed = np.array([agree(*pair) for pair in zip(said, answers, strict=True)], dtype=bool)
    calibration = fitting.calibrate(raw, surprise, agreed)
    rung = ExtractionRung(
        extraction,
        # What was tested, as in ``fitting``.
        mean(taggers) if len(taggers) > 1 else _fit(rows, taught, extraction),
        tuple(head.classifier for head in heads),
        tfidf,
        new,
        calibration,
    )
    every = np.ones((len(texts), len(np.unique(folds)) + 1), dtype=bool)
    nothing = np.zeros((len(texts), 0))
    confidences = calibration(raw, surprise)
    return Trained(rung, confidences, agreed, said, nothing, every, surprise)


def _values(found: Found, field: int) -> list[str]:
    """What each answer says in a field; what has no values says nothing that is known."""
    return ["" if one is None else one[field] for one in found.values]


def _tagged(
    text: str, extraction: Extraction, values: Sequence[str] | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64] | None]:
    """The features [n, features] of a text's tokens, and their tags [n]: those of what its
    answer is copied from. None where that is not there: the tags are not known then."""
    tokens = Tokens.of(text)
    found = features(tokens.words)
    if values is None:
        return found, None
    tags = np.full(len(tokens), OUTSIDE)
    pairs = zip(extraction.fields, values, strict=True)
    copied = [(field, value) for field, value in pairs if not isinstance(field, tuple)]
    for (field, value), first_tag in zip(copied, extraction.tags, strict=False):
        spans = marks(field, value, tokens)
        if spans is None:
            return found, None
        for first, last, sort in spans:
            tag = first_tag + 2 * sort
            tags[first : last + 1] = tag + 1
            tags[first] = tag
    return found, tags


def _fit(
    rows: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64] | None]],
    which: npt.NDArray[np.bool_],
    extraction: Extraction,
) -> Tagger:
    """A tagger of those of the texts."""
    tags_count = extraction.tags[-1]
    weights = np.zeros((BUCKETS, tags_count), dtype=np.float32)
    intercepts = np.full(tags_count, _NEVER, dtype=np.float32)
    used = [rows[row] for row in np.flatnonzero(which).tolist()[-_MOST_TAUGHT:]]
    tags = np.concatenate([tags for _, tags in used if tags is not None] or [np.zeros(0, int)])
    seen = np.unique(tags)
    if len(seen) < 2:
        # Nothing to tell apart.
        intercepts[seen if len(seen) else OUTSIDE] = 0.0
        return Tagger(weights, intercepts)
    # Only here: commands that fit nothing start at once.
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(
        loss="log_loss",
        alpha=_PENALTY,
        max_iter=_EPOCHS,
        tol=None,
        average=True,
        random_state=_SEED,
    )
    model.fit(_matrix([found for found, _ in used]), tags)
    coefficients, offsets = linear.rows(model)
    weights[:, seen] = coefficients.T
    intercepts[seen] = offsets
    return Tagger(weights, intercepts)


def _matrix(found: Sequence[npt.NDArray[np.int64]]) -> sparse.csr_matrix:
    """[tokens of all texts, buckets]: how often a token has a feature of each bucket."""
    stacked = np.concatenate([each for each in found if len(each)])
    count, width = stacked.shape
    ends = np.arange(count + 1) * width
    values = np.ones(count * width)
    matrix = sparse.csr_matrix((values, stacked.ravel(), ends), shape=(count, BUCKETS))
    matrix.sum_duplicates()
    return matrix
