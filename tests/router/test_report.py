"""``protege report``: figures by hand, their intervals in simulation, and every format."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from config.settings import PolicySettings
from router.commands.report import report
from router.report.estimate import saved, student_teacher_cost
from router.report.report import read
from router.report.shown import table
from telemetry.exchange import PICO
from telemetry.figures import Sum, sums
from telemetry.keys import Keys, new_secret
from telemetry.store import Store
from tests.telemetry.test_store import exchange

NOW = time.time()
HOSTILE = '<script>alert("x")</script>'
HOUR_S = 3600.0


app = Typer()
"""A program of this command alone."""
app.callback()(lambda: None)
app.command()(report)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    store = Store(folder)
    secret = new_secret()
    key = Keys(store).create(secret, NOW, name="support")
    rows = []
    for number in range(60):
        created = NOW - 24 * HOUR_S * (number % 5) - 3 * HOUR_S
        by_student = number % 2 == 0
        rows.append(
            exchange(
                f"req_{number}",
                created=created,
                task=HOSTILE if number % 3 else "=1+1",
                route="student" if by_student else "teacher",
                model="v1" if by_student else "gpt-5.4",
                reason="student_confident" if by_student else "no_student",
                cost=0 if by_student else PICO,
                teacher_cost=PICO,
                agreed=number != 8 if by_student and number < 40 else None,
                audit_cost=2 * PICO if by_student and number < 40 else 0,
                key=key.id if number % 2 else None,
                status=502 if number == 1 else 200,
            )
        )
    store.write(rows)
    store.close()
    return folder


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["report", "--data", str(folder), *arguments])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def as_json(folder: Path, *arguments: str) -> Any:
    return json.loads(run(folder, "--format", "json", *arguments))


def test_figures_in_total(folder: Path) -> None:
    total = as_json(folder)["total"]
    # 30 answers of the teacher, and 20 audits at twice the price that was predicted.
    assert (total["requests"], total["by_student"], total["errors"]) == (60, 30, 1)
    assert (total["spent_usd"], total["audit_cost_usd"]) == (70, 40)
    assert (total["teacher_only_usd"], total["saved_usd"]) == (60, -10)
    assert total["saved_corrected_usd"] == pytest.approx(20)
    assert total["saved_low_usd"] == pytest.approx(20)
    assert (total["audits"], total["disagreements"]) == (20, 1)
    assert total["agreement"] == pytest.approx(0.95)
    assert total["agreement_low"] < 0.95 < total["agreement_high"]


@pytest.mark.parametrize("by", ["task", "key", "model", "day", "route"])
def test_every_grouping_adds_up(folder: Path, by: str) -> None:
    made = as_json(folder, "--by", by)
    for figure in ("requests", "spent_usd", "saved_usd", "audits", "disagreements"):
        assert sum(line[figure] for line in made["lines"]) == made["total"][figure]
    names = [line["name"] for line in made["lines"]]
    if by == "day":
        assert names == sorted(names)
        assert len(names) in (5, 6)
    elif by == "key":
        assert sorted(names)[0] == "no key"
        assert re.fullmatch(r"support \(key_\w+\)", sorted(names)[1])
    else:
        spent = [line["spent_usd"] for line in made["lines"]]
        assert spent == sorted(spent, reverse=True)


def test_a_part_of_the_time(folder: Path) -> None:
    assert as_json(folder, "--since", "20h")["total"]["requests"] == 12
    assert as_json(folder, "--since", "50h", "--until", "20h")["total"]["requests"] == 12
    date = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(NOW - 20 * HOUR_S))
    assert as_json(folder, "--since", date)["total"]["requests"] == 12
    whole = [as_json(folder, "--since", since)["total"] for since in ("999999d", "1970-01-01")]
    assert whole[0]["requests"] == whole[1]["requests"] > 12
    empty = as_json(folder, "--since", "2001-01-01", "--until", "2001-02-01T12:00+02:00")
    assert empty["total"]["requests"] == 0
    assert empty["total"]["agreement"] is None
    assert empty["lines"] == []


def test_the_report_is_what_the_store_says(folder: Path) -> None:
    store = Store(folder)
    (found,) = sums(store.engine, 0, NOW)
    made = read(store, 0, NOW, "task", PolicySettings())
    store.close()
    assert made.total.spent == (found.cost + found.audit_cost) / PICO
    assert made.total.saved == found.saved / PICO


def test_table(folder: Path) -> None:
    text = run(folder)
    assert "teacher: gpt-5.4" in text
    assert HOSTILE in text
    (total,) = (line for line in text.splitlines() if line.startswith("│ all"))
    assert "-10.00" in total
    assert "95.0%" in total


def test_a_mistyped_folder_is_no_empty_store(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    result = CliRunner().invoke(app, ["report", "--data", str(missing)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"protege: there is no store in {missing}: --data names a server's folder\n"
    )
    assert not missing.exists()


def test_what_is_wider_than_a_small_terminal_is_left_out(folder: Path) -> None:
    store = Store(folder)
    made = read(store, NOW - 30 * 86400, NOW, "task", PolicySettings())
    store.close()
    console = Console(width=60)
    with console.capture() as capture:
        console.print(table(made, 60))
    rows = [line for line in capture.get().splitlines() if line.startswith("│")]
    assert rows
    assert all(line.endswith("│") for line in rows)


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_no_figure_is_cut_where_there_is_little_room(folder: Path, width: int) -> None:
    store = Store(folder)
    made = read(store, NOW - 30 * 86400, NOW, "task", PolicySettings())
    store.close()
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table(made, width))
    text = capture.get()
    assert "…" not in text
    (total,) = (line for line in text.splitlines() if line.startswith("│ all"))
    for figure in ("60", "70.00", "-10.00", "95.0%"):
        assert f" {figure} " in total
    assert ("No room for:" in text) == (width < 160)
    # Names are folded, not lost.
    assert "".join(line[2:17].strip() for line in text.splitlines()).count("<script>") == 1


def test_csv(folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run(folder, "--format", "csv"))))
    assert {row["task"] for row in rows} == {HOSTILE, "'=1+1"}
    assert sum(float(row["spent_usd"]) for row in rows) == 70


class Page(HTMLParser):
    """The tags and attributes of a document."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


@pytest.mark.parametrize("by", ["task", "day"])
def test_html_is_one_file_without_script(folder: Path, tmp_path: Path, by: str) -> None:
    file = tmp_path / "report.html"
    assert run(folder, "--by", by, "--format", "html", "--output", str(file)) == ""
    text = file.read_text()
    page = Page(text)
    assert {"svg", "table", "style"} <= set(page.tags)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on")} | ({"src", "href"} & names)
    assert "url(" not in text
    assert page.tags.count("rect") == 2 * text.count("<g>")
    assert "prefers-color-scheme: dark" in text
    if by == "task":
        assert "&lt;script&gt;" in text


def test_days_without_requests_have_their_place_in_the_chart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    noon = NOW // 86400 * 86400 - 43200
    for days in (8, 6, 0):
        store.write([exchange(f"e{days}", created=noon - 86400 * days, cost=PICO)])
    store.close()
    text = run(tmp_path, "--format", "html")
    xs = [float(x) for x in re.findall(r'<rect class="spent" x="([\d.]+)"', text)]
    first, second, third = xs
    assert third - second == pytest.approx(3 * (second - first), abs=0.5)


def test_little_money_is_shown_to_four_digits_throughout(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for task, cost in (("a", 2 * PICO), ("b", PICO // 1000)):
        store.write([exchange(task, task=task, created=NOW - 60, cost=cost, teacher_cost=cost)])
    store.close()
    text = run(tmp_path)
    assert "2.0000" in text
    assert "0.0010" in text


def test_html_of_no_requests(folder: Path) -> None:
    text = run(folder, "--since", "2001-01-01", "--until", "2001-02-01", "--format", "html")
    assert "There were no requests." in text


def test_a_replayed_teacher_is_called_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write([exchange("e", created=NOW - 60, model="replay-of-gpt-5.4")])
    store.close()
    assert as_json(tmp_path)["replayed_teacher"]
    assert "nobody was paid" in run(tmp_path, "--format", "html")
    assert "nobody was paid" in run(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "yesterday"], "--since: expected 12h, 30d or a date"),
        (["--since", "9y"], "--since: expected a number and s, m, h or d"),
        (["--until", "2026-13-01"], "--until: expected"),
        (["--since", "0001-01-01T00:00+05:00"], "--since: expected"),
        (["--until", "9999-12-31T23:59-05:00"], "--until: expected"),
        (["--since", "1h", "--until", "2h"], "--since must be before --until"),
        (["--output", "/nowhere/at/all.html"], "cannot write to /nowhere/at/all.html"),
        (["--config", "/nowhere.yaml"], "No such file"),
    ],
)
def test_mistakes_are_told_in_a_line(folder: Path, arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["report", "--data", str(folder), *arguments])
    assert done.exit_code != 0
    assert done.stderr.startswith("protege: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


# The counterfactual's uncertainty


def group(pairs: list[tuple[float, float]], everything: float, by_student: int) -> Sum:
    """Audits with predicted and real costs in USD, among what students answered."""
    zero = dict.fromkeys(Sum.__slots__, 0)
    return Sum(
        **{
            **zero,
            "group": (),
            "by_student": by_student,
            "teacher_cost": round(everything * PICO),
            "student_teacher_cost": round(everything * PICO),
            "audit_cost": round(sum(real for _, real in pairs) * PICO),
            "pairs": len(pairs),
            "pair_teacher_cost": round(sum(predicted for predicted, _ in pairs) * PICO),
            "pair_audit_cost": round(sum(real for _, real in pairs) * PICO),
            "predicted_squared": sum(predicted**2 for predicted, _ in pairs),
            "real_squared": sum(real**2 for _, real in pairs),
            "predicted_times_real": sum(predicted * real for predicted, real in pairs),
        }  # type: ignore[arg-type]
    )


def test_an_estimate_by_hand() -> None:
    # Ratio 9/6; residuals 0.5, 0 and -0.5; a tenth of 30 is known; t of two degrees is 4.303.
    found = group([(1, 2), (2, 3), (3, 4)], everything=60, by_student=30)
    made = student_teacher_cost(found, 0.95)
    assert made is not None
    assert made.usd == pytest.approx(90)
    spread = 4.302653 * (60 / 6) * (0.9 * 3 / 2 * 0.5) ** 0.5
    assert made.high - made.usd == pytest.approx(spread, rel=1e-5)
    assert made.low == pytest.approx(90 - spread, rel=1e-5)
    of_savings = saved(found, 0.95)
    assert of_savings is not None
    assert of_savings.usd == pytest.approx(90 - 9)


def test_what_is_asked_again_does_not_correct_the_prediction() -> None:
    """It is spent, but nothing was predicted for it."""
    found = group([(1, 2), (2, 3), (3, 4)], everything=60, by_student=30)
    more = replace(found, audit_cost=found.audit_cost + 5 * PICO)
    assert student_teacher_cost(more, 0.95) == student_teacher_cost(found, 0.95)
    before, after = saved(found, 0.95), saved(more, 0.95)
    assert before is not None
    assert after is not None
    assert after.usd == pytest.approx(before.usd - 5)


@pytest.mark.parametrize("pairs", [[], [(1.0, 2.0)], [(0.0, 2.0), (0.0, 1.0)]])
def test_too_few_audits_for_an_estimate(pairs: list[tuple[float, float]]) -> None:
    assert student_teacher_cost(group(pairs, 10, 100), 0.95) is None


def test_what_is_all_known_is_certain() -> None:
    made = student_teacher_cost(group([(1, 2), (2, 3)], everything=3, by_student=2), 0.95)
    assert made is not None
    assert (made.low, made.high) == (pytest.approx(5), pytest.approx(5))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = random.Random(1)
    held, runs = 0, 400
    for _ in range(runs):
        population = []
        for _ in range(400):
            predicted = rng.lognormvariate(0, 0.5)
            population.append((predicted, predicted * rng.lognormvariate(0.1, 0.4)))
        audited = [each for each in population if rng.random() < 0.1]
        everything = sum(predicted for predicted, _ in population)
        made = student_teacher_cost(group(audited, everything, len(population)), 0.95)
        truth = sum(real for _, real in population)
        held += made is not None and made.low <= truth <= made.high
    assert 0.9 <= held / runs <= 0.99
