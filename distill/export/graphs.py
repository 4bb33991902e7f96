"""Label rungs, rungs that copy, and the confidence of rungs that write, as ONNX graphs.

A graph takes one text: its n-grams as ``policies.hashing.count`` gives them, and its embedding
where the rung reads one; or the features of its tokens. It computes what ``policies.ngrams``,
``distill.students.classifier``, ``distill.students.novelty`` and the tagger of
``distill.students.extraction`` do, in float64; the weights of the classifier are rounded to
float32, which halves the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper, parser

from distill.students.classifier import STRANGEST, SURE, Calibration, Classifier
from distill.students.extraction.rung import ExtractionRung
from distill.students.extraction.tagger import Tagger
from distill.students.label import LabelRung
from distill.students.novelty import FOUND, TAIL, Novelty
from policies.hashing import BUCKETS
from policies.ngrams import TfIdf

# What runtimes of the last years can read.
_OPSET = 18
_IR_VERSION = 9

_ROUNDING = 1e-9
"""What is as strange as a training text was is no stranger, however a runtime rounds logarithms."""

_FROM_NGRAMS = """
    column = Gather (columns, buckets)
    known = GreaterOrEqual (column, none)
    kept = Compress <axis = 0> (column, known)
    kept_counts = Compress <axis = 0> (counts, known)
    kept_buckets = Compress <axis = 0> (buckets, known)
    log_counts = Log (kept_counts)
    sublinear = Add (log_counts, one)
    weight = Gather (idf, kept)
    value = Mul (sublinear, weight)
    squared = Mul (value, value)
    kept_is_character = GreaterOrEqual (kept_buckets, first_character)
    kept_character = Cast <to = 11> (kept_is_character)
    kept_word = Sub (one, kept_character)
    squared_character = Mul (squared, kept_character)
    squared_word = Mul (squared, kept_word)
    sum_character = ReduceSum <keepdims = 0> (squared_character)
    sum_word = ReduceSum <keepdims = 0> (squared_word)
    square = Where (kept_is_character, sum_character, sum_word)
    norm = Sqrt (square)
    feature = Div (value, norm)
    feature_column = Unsqueeze (feature, last)
    rows_single = Gather (weights, kept)
    rows = Cast <to = 11> (rows_single)
    parts = Mul (feature_column, rows)
    from_ngrams = ReduceSum <keepdims = 0> (parts, first)
"""

_FROM_EMBEDDING = """
    embedding_double = Cast <to = 11> (embedding)
    dense_double = Cast <to = 11> (dense_weights)
    from_embedding = MatMul (embedding_double, dense_double)
"""

# Of one field's values; the last of what is given may be for answers that are none of them.
_FIELD = """
    scores_{0} = Slice (scores, start_{0}, end_{0}, first)
    softmax_{0} = Softmax <axis = 0> (scores_{0})
    given_{0} = Slice (softmax_{0}, first, known_{0}, first)
    top_{0} = ReduceMax <keepdims = 0> (given_{0})
"""

_SURPRISE = """
    bucket_seen = Gather (seen, buckets)
    found = Cast <to = 11> (bucket_seen)
    is_character = GreaterOrEqual (buckets, first_character)
    character = Cast <to = 11> (is_character)
    word = Sub (one, character)
    characters = ReduceSum <keepdims = 0> (character)
    words = ReduceSum <keepdims = 0> (word)
    found_character = Mul (found, character)
    found_word = Mul (found, word)
    found_characters = ReduceSum <keepdims = 0> (found_character)
    found_words = ReduceSum <keepdims = 0> (found_word)
    some_characters = Max (characters, one)
    some_words = Max (words, one)
    character_share = Div (found_characters, some_characters)
    word_share = Div (found_words, some_words)
    has_characters = Greater (characters, zero)
    has_words = Greater (words, zero)
    character_known = Where (has_characters, character_share, one)
    word_known = Where (has_words, word_share, one)
    both_known = Add (character_known, word_known)
    share = Mul (both_known, half)
    share_found = Add (share, least_found)
    log_share = Log (share_found)
    strangeness = Neg (log_share)
    is_below = Less (usual, strangeness)
    below_each = Cast <to = 11> (is_below)
    below = ReduceMean <keepdims = 0> (below_each)
    excess = Sub (strangeness, tail_begins)
    some_excess = Max (excess, zero)
    beyond = Div (some_excess, scale)
    below_body = Mul (below, body)
    above = Sub (one, below_body)
    log_above = Log (above)
    surprise = Sub (beyond, log_above)
"""

_CONFIDENCE = (
    _SURPRISE
    + """
    sure = Clip (probability, least, most)
    doubt = Sub (one, sure)
    ratio = Div (sure, doubt)
    log_odds = Log (ratio)
    scaled = Mul (log_odds, slope)
    shifted = Add (scaled, offset)
    cautious = Mul (surprise, caution)
    odds = Sub (shifted, cautious)
    agrees = Sigmoid (odds)
    is_familiar = LessOrEqual (surprise, strangest)
    familiar = Cast <to = 11> (is_familiar)
    confidence = Mul (agrees, familiar)
"""
)

_TAGS = """
    row = Gather (rows, features)
    parts_single = Gather (weights, row)
    parts = Cast <to = 11> (parts_single)
    summed = ReduceSum <keepdims = 0> (parts, features_axis)
    scores = Add (summed, intercepts)
    told = LogSoftmax <axis = 1> (scores)
"""

_SHAPED = "(int64[m] buckets{inputs}) => (double[labels] probabilities, double confidence)"
_BARE = "(int64[m] buckets, double probability) => (double confidence)"
_COPIED = "(int64[m] buckets, double copied) => (double confidence)"
_TAGGED = "(int64[n, f] features) => (double[n, tags] told)"
_RARE = "(int64[m] buckets) => (double surprise)"

Arrays = Mapping[str, npt.NDArray[Any]]


def label_graph(rung: LabelRung) -> bytes:
    """The graph of a rung.

    ``buckets`` and ``counts`` [m], unless it reads no n-grams for its answer, and ``embedding`` [d]
    where it reads one, to the ``probabilities`` of its labels, or of all fields' values one field
    after the other, and the ``confidence`` in the likeliest.
    """
    return _label_graph(
        fields_of(rung),
        rung.tfidf,
        rung.encoder is not None,
        _calibration(rung.classifier.calibration, rung.novelty),
    )


def tagger_graph(tagger: Tagger) -> bytes:
    """The graph from the ``features`` [n, features] of the tokens of a text to the logarithms of
    the probabilities of their tags, ``told`` [n, tags]."""
    kept = np.flatnonzero(tagger.weights.any(axis=1))
    # All others have one row of zeros, the last.
    rows = np.full(len(tagger.weights), len(kept), dtype=np.int32)
    rows[kept] = np.arange(len(kept))
    nothing = np.zeros((1, tagger.weights.shape[1]), dtype=np.float32)
    arrays = {
        "rows": rows,
        "weights": np.concatenate([tagger.weights[kept], nothing]),
        "intercepts": tagger.intercepts.astype(np.float64),
        "features_axis": np.array([1]),
    }
    return _written(_TAGGED, _TAGS, arrays)


def copied_graph(rung: ExtractionRung) -> bytes:
    """The graph from the ``buckets`` and, where some fields of its answers are not copied,
    ``counts`` [m] of a text, and what is ``copied`` from it was given as a whole, to the
    ``probabilities`` of the values of these fields, one field after the other, and the
    ``confidence`` in the likeliest answer."""
    calibration = _calibration(rung.calibration, rung.novelty)
    if rung.heads:
        return _label_graph(rung.heads, rung.tfidf, False, calibration, copies=True)
    body = "    probability = Identity (copied)\n" + _CONFIDENCE
    return _written(_COPIED, body, calibration)


def _label_graph(
    heads: Sequence[Classifier],
    tfidf: TfIdf | None,
    embeds: bool,
    calibration: Arrays,
    *,
    copies: bool = False,
) -> bytes:
    weights = np.concatenate([head.weights for head in heads], axis=1).astype(np.float32)
    ends = np.cumsum([len(head.intercepts) for head in heads]).tolist()
    arrays: dict[str, npt.NDArray[Any]] = {
        **calibration,
        "first": np.array([0]),
        "intercepts": np.concatenate([head.intercepts for head in heads]),
    }
    for i, head in enumerate(heads):
        arrays[f"start_{i}"] = np.array([ends[i] - len(head.intercepts)])
        arrays[f"end_{i}"] = np.array([ends[i]])
        arrays[f"known_{i}"] = np.array([len(head.labels)])
    columns = 0 if tfidf is None else len(tfidf.weights)
    body, inputs, sources = "", "", ["intercepts"]
    if tfidf is not None:
        arrays |= {"columns": tfidf.columns, "idf": tfidf.weights}
        arrays |= {"weights": weights[:columns], "last": np.array([1])}
        arrays["none"] = np.array(0, dtype=np.int32)
        body += _FROM_NGRAMS
        inputs += ", double[m] counts"
        sources.append("from_ngrams")
    if embeds:
        arrays["dense_weights"] = weights[columns:]
        body += _FROM_EMBEDDING
        inputs += ", float[d] embedding"
        sources.append("from_embedding")
    fields = range(len(heads))
    body += f"    scores = Sum ({', '.join(sources)})\n"
    body += "".join(_FIELD.format(i) for i in fields)
    body += f"    probabilities = Concat <axis = 0> ({', '.join(f'given_{i}' for i in fields)})\n"
    if copies:
        inputs += ", double copied"
    body += f"    whole_0 = {'Mul (copied, top_0)' if copies else 'Identity (top_0)'}\n"
    body += "".join(f"    whole_{i} = Mul (whole_{i - 1}, top_{i})\n" for i in fields[1:])
    body += f"    probability = Identity (whole_{fields[-1]})\n" + _CONFIDENCE
    return _written(_SHAPED.format(inputs=inputs), body, arrays)


def fields_of(rung: LabelRung) -> tuple[Classifier, ...]:
    """What says the value of each field of a rung's answers; an answer as a whole is one field."""
    classifier = rung.classifier
    return (classifier,) if isinstance(classifier, Classifier) else classifier.heads


def confidence_graph(calibration: Calibration, novelty: Novelty) -> bytes:
    """The graph from the ``buckets`` [m] of a text and the ``probability`` that a language model
    gives its answer to the ``confidence`` in that."""
    return _written(_BARE, _CONFIDENCE, _calibration(calibration, novelty))


def surprise_graph(novelty: Novelty) -> bytes:
    """The graph from the ``buckets`` [m] of a text to the ``surprise`` at it."""
    return _written(_RARE, _SURPRISE, _novelty(novelty))


def _calibration(calibration: Calibration, novelty: Novelty) -> dict[str, npt.NDArray[Any]]:
    numbers = {
        "least": SURE,
        "most": 1 - SURE,
        "slope": calibration.slope,
        "offset": calibration.offset,
        "caution": calibration.caution,
        "strangest": STRANGEST,
    }
    return _numbers(numbers) | _novelty(novelty)


def _novelty(novelty: Novelty) -> dict[str, npt.NDArray[Any]]:
    numbers = {
        "zero": 0.0,
        "half": 0.5,
        "one": 1.0,
        "least_found": FOUND,
        "tail_begins": float(novelty.usual[-1]),
        "scale": novelty.scale,
        "body": 1 - TAIL,
    }
    return _numbers(numbers) | {
        "seen": novelty.seen,
        "usual": novelty.usual + _ROUNDING,
        "first_character": np.array(BUCKETS),
    }


def _numbers(numbers: Mapping[str, float]) -> dict[str, npt.NDArray[Any]]:
    return {name: np.array(number, dtype=np.float64) for name, number in numbers.items()}


def _written(shape: str, body: str, arrays: Arrays) -> bytes:
    graph = parser.parse_graph(f"student {shape} {{{body}}}")
    graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in sorted(arrays.items())
    )
    opset = onnx.helper.make_opsetid("", _OPSET)
    model = onnx.helper.make_model(graph, opset_imports=[opset], producer_name="protege")
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)
