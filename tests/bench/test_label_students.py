"""The comparison of label students: what could be answered in hindsight."""

import numpy as np

from bench.label_students import answerable


def test_the_surest_are_answered_while_few_of_them_are_wrong():
    agreed = np.ones(100, dtype=bool)
    assert answerable([0.5] * 100, agreed) == 1
    sure = np.linspace(0.99, 0.01, 100)
    agreed[60:] = False
    # Three wrong ones of 63, but not four of 64.
    assert answerable(sure.tolist(), agreed) == 0.63
    assert answerable(sure[::-1].tolist(), agreed) == 0


def test_a_mistake_among_the_surest_can_be_made_up_for():
    agreed = np.ones(40, dtype=bool)
    agreed[0] = False
    assert answerable(np.linspace(1, 0, 40).tolist(), agreed) == 1
