"""What becomes of a student on its way into service."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import PolicySettings, RolloutSettings
from policies.rollout import Step, first, share, step
from telemetry.exchange import Stage
from telemetry.trials import TrialTally

POLICY = PolicySettings()
ROLLOUT = RolloutSettings(shadow=30, canary=20, audit_rate=0.5, latency_s=2)


def seen(**figures: int) -> TrialTally:
    nothing = {"asked": 0, "failed": 0, "slow": 0, "answered": 0, "compared": 0, "disagreements": 0}
    return TrialTally(**{**nothing, **figures})


def test_the_first_stage() -> None:
    assert first(ROLLOUT) == "shadow"
    assert first(RolloutSettings()) == "canary"
    assert first(RolloutSettings(canary=0)) is None


def test_a_canary_is_asked_for_more_as_it_answers() -> None:
    shares = [share(RolloutSettings(), answered) for answered in (0, 4, 5, 9, 10, 15, 20, 99)]
    assert shares == [0.25, 0.25, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0]


@given(
    st.floats(0.0001, 1), st.integers(0, 50), st.lists(st.integers(0, 200), min_size=2, max_size=9)
)
def test_a_canarys_share_only_grows(part: float, canary: int, answered: list[int]) -> None:
    settings = RolloutSettings(share=part, canary=canary)
    shares = [share(settings, each) for each in sorted(answered)]
    assert shares == sorted(shares)
    assert part <= shares[0]
    assert shares[-1] <= min(1.0, 16 * part)


@pytest.mark.parametrize("stage", ["shadow", "canary"])
def test_what_fails_or_is_slow_is_turned_back(stage: Stage) -> None:
    def what(**figures: int) -> Step | None:
        return step(stage, seen(**figures), ROLLOUT, POLICY)

    assert what(asked=1, failed=1) is None
    assert what(asked=2, failed=2) == Step("out", "2 of 2 requests failed")
    assert what(asked=100, failed=2) is None
    assert what(asked=30, slow=2) == Step("out", "2 of 30 requests took longer than 2 s")


def test_the_shadow_ends_with_enough_answers_compared() -> None:
    assert step("shadow", seen(asked=99, answered=50, compared=29), ROLLOUT, POLICY) is None
    enough = seen(asked=99, answered=50, compared=30, disagreements=1)
    on = step("shadow", enough, ROLLOUT, POLICY)
    assert on == Step("canary", "1 of 30 compared answers disagree")
    at_once = step("shadow", enough, RolloutSettings(shadow=30, canary=0), POLICY)
    assert at_once is not None
    assert at_once.to == "full"


def test_a_shadow_that_contradicts_the_promise_is_demoted() -> None:
    bad = step("shadow", seen(asked=6, answered=5, compared=5, disagreements=4), ROLLOUT, POLICY)
    assert bad == Step("demoted", "4 of 5 compared answers disagree")


def test_a_canary_needs_answers_and_audits_of_them() -> None:
    assert step("canary", seen(asked=40, answered=19, compared=10), ROLLOUT, POLICY) is None
    assert step("canary", seen(asked=40, answered=30, compared=4), ROLLOUT, POLICY) is None
    on = step("canary", seen(asked=40, answered=20, compared=5), ROLLOUT, POLICY)
    assert on == Step("full", "20 answers, 0 of 5 compared answers disagree")
