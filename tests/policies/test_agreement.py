"""What is the same answer."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.agreement import agree

decimals = st.decimals(1, 1000, places=3)


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ("refund", " refund\n"),
        ('{"a": 1, "b": true}', '{"b":true,"a":1}'),
        ("6.6", "6.600000000000001"),
        ("0.30000000000000004", "0.3"),
        ("29.999999999999996", "30"),
        ("9.000000000000002", "9.0"),
        ("1.1999999999999999e-05", "1.2e-05"),
        ('{"total": 0.30000000000000004}', '{"total": 0.3}'),
        ('{"total": 9.0}', '{"total": 9.000000000000002}'),
    ],
)
def test_answers_that_agree(student, teacher):
    assert agree(student, teacher)
    assert agree(teacher, student)


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ("refund", "Refund"),
        ("6.6", "6.7"),
        # A version, or a price, may mean what it shows.
        ("1.1", "1.10"),
        ("30", "30.0"),
        ("007", "7"),
        # Many digits may be meant, as long as floating point keeps them all.
        ("4111111111111111", "4111111111111112"),
        ("3.14159265358979", "3.14159265358978"),
        ("1.0000000000000000e999", "2.0000000000000000e999"),
        ("6.6 ohm", "6.600000000000001 ohm"),
        ('{"total": 6.6}', '{"total": 6.7}'),
        ('{"total": 6.6}', "6.6"),
    ],
)
def test_answers_that_do_not(student, teacher):
    assert not agree(student, teacher)
    assert not agree(teacher, student)


@given(decimals, decimals)
def test_a_sum_in_floating_point_is_the_sum(one, other):
    added = repr(float(one) + float(other))
    exact = one + other
    assert agree(added, repr(float(exact)))
    assert not agree(added, repr(float(exact + Decimal("0.001"))))


@given(st.text("0123456789.e-+", max_size=20), st.text("0123456789.e-+", max_size=20))
def test_whatever_is_said_of_numbers_is_said_both_ways(one, other):
    assert agree(one, one)
    assert agree(one, other) == agree(other, one)
