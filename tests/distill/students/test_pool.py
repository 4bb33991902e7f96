"""Two classifiers as one."""

import numpy as np
import pytest

from distill.students.fitting import fit, frequent_labels
from distill.students.pool import pooled

ROWS = 300


@pytest.fixture(params=[False, True], ids=["closed", "with others"])
def fitted(request):
    """Classifiers of different features, each of which tells what the other does not; and what they
    were fitted to."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, ROWS)
    seen = np.eye(3)[truth] + rng.normal(scale=0.2, size=(ROWS, 3))
    half = rng.random(ROWS) < 0.5
    one = np.where(half[:, None], seen, 0.0)
    other = np.hstack([np.where(half[:, None], 0.0, seen), rng.normal(size=(ROWS, 2))])
    answers = ["abc"[i] for i in truth]
    if request.param:
        answers[::10] = [f"something else {i}" for i in range(len(answers[::10]))]
    labels, surprise = frequent_labels(answers), np.ones(ROWS)
    parts = [fit(each, answers, labels, surprise, range(ROWS)) for each in (one, other)]
    return (one, other), parts, answers, surprise


def test_it_is_right_where_one_of_them_is(fitted):
    _, (one, other), answers, surprise = fitted
    both = pooled(one, other, answers, surprise)
    assert max(one.agreed.mean(), other.agreed.mean()) < 0.75
    assert both.agreed.mean() > 0.85
    assert both.loss < min(one.loss, other.loss)
    assert [said == answer for said, answer in zip(both.said, answers, strict=True)] == list(
        both.agreed
    )


def test_it_gives_each_label_what_both_give_it_to_some_power(fitted):
    features, (one, other), answers, surprise = fitted
    classifier = pooled(one, other, answers, surprise).classifier
    parts = (one.classifier, other.classifier)

    def ratios(made, features):
        """Of what each label is given to what the first is."""
        scores = features @ made.weights + made.intercepts
        return (scores[:, 1:] - scores[:, :1]).ravel()

    given = np.column_stack([ratios(*each) for each in zip(parts, features, strict=True)])
    told = ratios(classifier, np.hstack(features))
    powers, *_ = np.linalg.lstsq(given, told, rcond=None)
    assert given @ powers == pytest.approx(told)
    # Even where both are always right.
    assert (powers > 0.1).all()
    assert (powers < 3).all()


def test_what_tells_nothing_is_left_out(fitted):
    _, (one, _), answers, surprise = fitted
    noise = np.random.default_rng(1).normal(size=(ROWS, 4))
    labels = one.classifier.labels
    blind = fit(noise, answers, labels, surprise, range(ROWS))
    both = pooled(one, blind, answers, surprise)
    assert both.agreed.mean() > one.agreed.mean() - 0.03
