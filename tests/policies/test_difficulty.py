"""The difficulty model, on outcomes whose cause is known."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.difficulty.model import Difficulty
from policies.difficulty.shape import shapes

TOPICS = ["river", "engine", "novel", "planet", "recipe", "treaty"]
texts = st.text(st.characters(exclude_categories=()), max_size=80)


def prompt(rng, *words):
    return " ".join([*words, *rng.choices(TOPICS, k=6), str(rng.randrange(100))])


def outcomes(count, seed=0):
    """Only the strong model knows theorems, only the weak one limericks; of riddles neither, of
    colours both."""
    rng = Random(seed)
    gains = {"theorem": 1.0, "limerick": -1.0, "riddle": 0.0, "colour": 0.0}
    words = rng.choices(list(gains), k=count)
    return [prompt(rng, word) for word in words], [gains[word] for word in words], words


@pytest.fixture(scope="module")
def model():
    prompts, gains, _ = outcomes(400)
    return Difficulty.fit(prompts, gains)


def test_it_learns_where_the_strong_model_is_better(model):
    prompts, _, words = outcomes(200, seed=1)
    mean = {
        word: np.mean([s for s, w in zip(model.score(prompts), words, strict=True) if w == word])
        for word in set(words)
    }
    assert mean["theorem"] > 0.6
    assert mean["limerick"] < -0.6
    # The weak model fails at riddles, and it would be a waste to ask the strong one.
    assert abs(mean["riddle"]) < 0.2
    assert abs(mean["colour"]) < 0.2


def test_noise_shrinks_scores_towards_the_mean():
    prompts, _, _ = outcomes(300)
    gains = Random(2).choices([1.0, 0.0], k=300)
    scores = Difficulty.fit(prompts, gains).score(outcomes(300, seed=1)[0])
    assert scores.mean() == pytest.approx(np.mean(gains), abs=0.05)
    assert scores.std() < 0.15


def test_shape_carries_over_to_words_never_seen():
    rng = Random(0)

    def short():
        return " ".join(rng.choices(TOPICS, k=4))

    def long():
        return ". ".join(f"{rng.randrange(10**6)} {rng.choice(TOPICS)}" for _ in range(20))

    prompts = [make() for _ in range(150) for make in (short, long)]
    model = Difficulty.fit(prompts, [0.0, 1.0] * 150)
    brief, lengthy = model.score(
        ["gleam bramble", ". ".join(f"{n} bramble" for n in range(10**5, 20 * 10**5, 10**5))]
    )
    assert lengthy > brief + 0.1


@given(st.lists(texts, max_size=6))
def test_any_text_has_a_score_that_depends_on_it_alone(model, prompts):
    scores = model.score(prompts)
    assert scores.shape == (len(prompts),)
    assert np.all(np.abs(scores) <= 1)
    alone = [float(model.score([text])[0]) for text in prompts]
    assert scores == pytest.approx(alone, abs=1e-9)


def test_fitting_is_deterministic(model):
    prompts, gains, _ = outcomes(400)
    again = Difficulty.fit(prompts, gains)
    unseen, _, _ = outcomes(20, seed=1)
    assert np.array_equal(again.score(unseen), model.score(unseen))


@pytest.mark.parametrize("gain", [-1.0, 0.0, 0.5])
def test_equal_gains_are_the_score_of_everything(gain):
    prompts, _, _ = outcomes(20)
    scores = Difficulty.fit(prompts, [gain] * 20).score(["anything", "", "theorem"])
    assert scores == pytest.approx([gain] * 3)


def test_equal_prompts_score_their_mean_gain():
    scores = Difficulty.fit(["same"] * 10, [1.0, 0.0] * 5).score(["same"])
    assert scores == pytest.approx([0.5], abs=1e-6)


@pytest.mark.parametrize(
    ("prompts", "gains", "said"),
    [
        (["a"] * 6, [1.0] * 5, "as many gains"),
        (["a"] * 4, [1.0] * 4, "too few"),
        ([], [], "too few"),
        (["a"] * 5, [0.0, 0.0, 0.0, 0.0, 1.5], "must lie"),
        (["a"] * 5, [0.0, 0.0, 0.0, 0.0, float("nan")], "must lie"),
    ],
)
def test_bad_outcomes_are_refused(prompts, gains, said):
    with pytest.raises(ValueError, match=said):
        Difficulty.fit(prompts, gains)


@given(st.lists(texts, min_size=1, max_size=6))
def test_every_text_has_a_finite_shape(prompts):
    found = shapes(prompts)
    assert found.shape == (len(prompts), 25)
    assert np.isfinite(found).all()
    assert (found >= 0).all()


def test_shape_is_blind_to_which_letters_there_are():
    one, other = shapes(["Which abcde is rstuv?\nlmno", "Which vwxyz is ghijk?\nbcdf"])
    # Compression alone sees letters.
    assert np.array_equal(one[:-1], other[:-1])


def test_an_endless_prompt_is_read_in_part():
    assert np.array_equal(*shapes(["word " * 2000, "word " * 200_000]))
