"""Linear classifiers in one form."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from distill.students import linear


@pytest.mark.parametrize("classes", [2, 3])
def test_the_rows_say_what_the_model_says(classes):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 4))
    model = LogisticRegression().fit(features, np.arange(60) % classes)
    weights, intercepts = linear.rows(model)
    assert weights.shape == (classes, 4)
    said = softmax(features @ weights.T + intercepts, axis=1)
    assert said == pytest.approx(model.predict_proba(features))
