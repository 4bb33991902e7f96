"""Divergences of a student from its teacher: what holds of any two distributions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.students.text.losses import (
    NEVER,
    divergence,
    forward_kl,
    jensen_shannon,
    reverse_kl,
    softened,
    told,
    with_tail,
)

OUTCOMES = 6
LOGITS = st.lists(st.floats(-8, 8), min_size=OUTCOMES, max_size=OUTCOMES)
BOTH = st.tuples(LOGITS, LOGITS)
BETA = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.05, 0.95))


def logprobs(logits):
    return torch.log_softmax(torch.tensor([logits], dtype=torch.float64), -1)


def likeliest(teacher, count):
    """The teacher's ``count`` likeliest tokens and their log-probabilities."""
    top = teacher.topk(count, dim=-1)
    return top.indices, top.values


@given(BOTH, BETA)
def test_no_divergence_is_negative(both, beta):
    teacher, student = map(logprobs, both)
    assert divergence(teacher, student, beta).item() >= -1e-9


@given(BOTH, BETA)
def test_none_is_left_where_both_are_the_same_and_only_there(both, beta):
    teacher, student = map(logprobs, both)
    assert divergence(teacher, teacher, beta).item() == pytest.approx(0, abs=1e-9)
    apart = (teacher.exp() - student.exp()).abs().sum().item()
    # Pinsker's inequality, and that either is at most as far from the mixture as from the other.
    least = beta * (1 - beta) / 2 * apart**2 if 0 < beta < 1 else apart**2 / 2
    assert divergence(teacher, student, beta).item() >= least - 1e-9


@given(BOTH)
def test_they_are_what_torch_computes(both):
    teacher, student = map(logprobs, both)
    other = torch.nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
    assert forward_kl(teacher, student).item() == pytest.approx(other.item(), abs=1e-9)
    assert reverse_kl(student, teacher).item() == pytest.approx(other.item(), abs=1e-9)


@given(BOTH)
def test_jensen_shannon_is_symmetric_and_bounded_at_a_half(both):
    teacher, student = map(logprobs, both)
    found = jensen_shannon(teacher, student, 0.5).item()
    assert found == pytest.approx(jensen_shannon(student, teacher, 0.5).item(), abs=1e-9)
    assert found <= math.log(2) + 1e-9


@given(BOTH)
def test_jensen_shannon_tends_to_either_divergence(both):
    teacher, student = map(logprobs, both)
    small = 1e-9
    forward = jensen_shannon(teacher, student, small).item() / small
    assert forward == pytest.approx(divergence(teacher, student, 0).item(), rel=1e-3, abs=1e-3)
    reverse = jensen_shannon(teacher, student, 1 - small).item() / small
    assert reverse == pytest.approx(divergence(teacher, student, 1).item(), rel=1e-3, abs=1e-3)


@given(BOTH, st.integers(1, OUTCOMES - 1), BETA)
def test_outcomes_that_are_taken_together_tell_less(both, count, beta):
    """The inequality of data processing; and what is kept is a distribution."""
    teacher, student = map(logprobs, both)
    ids, said = likeliest(teacher, count)
    some, same = told(said, student, ids)
    for kept in (some, same):
        assert kept.shape[-1] == count + 1
        assert kept.exp().sum().item() == pytest.approx(1, abs=1e-6)
    whole = divergence(teacher, student, beta).item()
    assert divergence(some, same, beta).item() <= whole + 1e-6


@given(BOTH, BETA)
def test_all_tokens_told_are_the_full_distribution(both, beta):
    teacher, student = map(logprobs, both)
    ids, said = likeliest(teacher, OUTCOMES)
    whole = divergence(teacher, student, beta).item()
    assert divergence(*told(said, student, ids), beta).item() == pytest.approx(whole, abs=1e-6)


@given(BOTH, st.integers(1, OUTCOMES - 1), BETA)
def test_a_place_without_a_token_changes_nothing(both, count, beta):
    teacher, student = map(logprobs, both)
    ids, said = likeliest(teacher, count)
    filled = torch.cat([said, torch.full((1, 2), NEVER, dtype=said.dtype)], -1)
    more = torch.cat([ids, ids[:, :1].expand(1, 2)], -1)
    found = divergence(*told(filled, student, more), beta).item()
    assert found == pytest.approx(divergence(*told(said, student, ids), beta).item(), abs=1e-9)


@pytest.mark.parametrize("partly", [False, True])
@given(BOTH, st.integers(2, OUTCOMES), BETA)
def test_gradients_are_finite_and_lead_nearer(partly, both, count, beta):
    teacher = logprobs(both[0])
    ids, said = likeliest(teacher, count)
    said[0, -1] = NEVER

    def loss(logits):
        student = torch.log_softmax(logits, -1)
        one, other = told(said, student, ids) if partly else (teacher, student)
        return divergence(one, other, beta)

    logits = torch.tensor([both[1]], dtype=torch.float64, requires_grad=True)
    before = loss(logits)
    (gradient,) = torch.autograd.grad(before, logits)
    assert torch.isfinite(gradient).all()
    assert loss(logits - 1e-4 * gradient).item() <= before.item() + 1e-9


def test_single_precision_bears_the_surest_teacher():
    sure = torch.tensor([[200.0, 0.0, -200.0]])
    unsure = torch.tensor([[-200.0, 0.0, 200.0]], requires_grad=True)
    for beta in (0.0, 0.1, 1.0):
        loss = divergence(softened(sure, 1.0), softened(unsure, 1.0), beta)
        (gradient,) = torch.autograd.grad(loss, unsure)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


def test_a_tail_of_nothing_has_a_logarithm():
    assert torch.isfinite(with_tail(torch.tensor([[0.0]]))).all()


def test_a_token_that_the_teacher_never_says_costs_nothing():
    teacher = torch.tensor([[0.0, NEVER]])
    student = torch.tensor([[0.5, 0.5]]).log()
    assert forward_kl(teacher, student).item() == pytest.approx(math.log(2))


@given(LOGITS, st.floats(1, 20))
def test_a_higher_temperature_tells_more_of_the_unlikely(logits, temperature):
    plain, soft = softened(torch.tensor(logits), 1.0), softened(torch.tensor(logits), temperature)
    assert soft.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert soft.min().item() >= plain.min().item() - 1e-5
