"""Charts, and the slots of time that they are drawn of."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.console import charts, words
from router.console.charts import Audited, Counted, Mark, Series
from router.console.period import CHOICES, Course, Period, Total
from telemetry.figures import sums
from telemetry.store import Store
from tests.telemetry.test_store import exchange

amounts = st.floats(1e-3, 1e18) | st.just(0.0)
"""Picodollars, or as good as nothing."""


def drawn(chart: charts.Chart) -> ElementTree.Element:
    """The picture, if it is well-formed and has no number that is none."""
    assert "nan" not in chart.svg
    assert "inf" not in chart.svg.replace("interval", "")
    return ElementTree.fromstring(chart.svg)


def bars(picture: ElementTree.Element, css: str) -> list[float]:
    return [float(each.get("height", 0)) for each in picture.findall(f"rect[@class='{css}']")]


@given(st.lists(st.tuples(amounts, amounts), min_size=1, max_size=100))
def test_bars_are_as_high_as_what_they_stand_for(values: list[tuple[float, float]]) -> None:
    ours, others = zip(*values, strict=True)
    slots = [str(number) for number in range(len(values))]
    parts = [Series("ours", "student", ours), Series("others", "teacher", others)]
    picture = drawn(charts.stacked("t", slots, parts, words.count))
    most = max(a + b for a, b in values)
    for css, series in (("student", ours), ("teacher", others)):
        heights = bars(picture, css)
        shown = [value for value in series if value > 0]
        assert len(heights) == len(shown)
        for height, value in zip(heights, shown, strict=True):
            # Lengths are written to a hundredth.
            assert height == pytest.approx(192.0 * value / most, abs=0.011)


@given(
    st.lists(st.none() | st.tuples(st.integers(0, 50), st.integers(1, 50)), max_size=40),
    st.floats(0.5, 0.99),
)
def test_any_audits_can_be_drawn(found: list[tuple[int, int] | None], promise: float) -> None:
    audited, agreed, trials = [], 0, 0
    for each in found:
        own = (min(each), each[1]) if each else (0, 0)
        agreed, trials = agreed + own[0], trials + own[1]
        share = agreed / trials if trials else 0.0
        running = Counted(share, share / 2, (1 + share) / 2, trials) if trials else None
        audited.append(Audited(*own, running))
    slots = [str(number) for number in range(len(found))]
    chart = charts.agreement("t", slots, audited, promise, 0.95)
    drawn(chart)
    assert len(chart.rows) == sum(each.running is not None for each in audited)


def test_the_interval_of_a_single_day_is_seen() -> None:
    only = Audited(9, 9, Counted(1.0, 0.8, 1.0, 9))
    chart = charts.agreement("t", ["a", "b"], [Audited(0, 0, None), only], 0.95, 0.95)
    (band,) = drawn(chart).findall("path[@class='band']")
    xs = [float(x) for x in re.findall(r"[ML]([\d.]+)", band.get("d", ""))]
    assert max(xs) - min(xs) > 100


@given(st.lists(st.tuples(st.floats(0, 1e18), st.floats(0, 1)), min_size=1, max_size=60))
@example([(0.0, 1.0), (5e-324, 1.0)])
@example([(1e18, 1.0), (1e18 + 128, 0.0)])
def test_any_curve_can_be_drawn(points: list[tuple[float, float]]) -> None:
    marks = [Mark("m", cost, quality, quality, quality) for cost, quality in points]
    picture = drawn(charts.curve("t", marks, marks[0], 0.95, "are right"))
    assert len(picture.findall("circle")) == len(marks) + 1
    for circle in picture.findall("circle"):
        assert 0 <= float(circle.get("cx", "nan")) <= 640
        assert 0 <= float(circle.get("cy", "nan")) <= 232


def test_names_are_text() -> None:
    name = "<script>&\"'"
    series = [Series(name, "student", [1.0])]
    picture = drawn(charts.stacked(name, [name], series, words.count))
    assert picture.get("aria-label") == name
    assert name in "".join(picture.itertext())


@given(st.sampled_from(sorted(CHOICES)), st.floats(1e9, 4e9))
def test_a_period_ends_with_the_slot_under_way(name: str, now: float) -> None:
    period = Period.of(name, now)
    size = (period.until - period.since) / len(period.slots)
    assert size == (3600 if name == "24h" else 86400)
    assert period.until - size <= now < period.until
    first = datetime.fromtimestamp(period.since, UTC)
    assert period.slots[0] == first.strftime("%Y-%m-%dT%H:%M:%SZ" if size == 3600 else "%Y-%m-%d")
    assert len(set(period.slots)) == len(period.labels)


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_slots_are_those_that_sums_are_grouped_by(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    period = Period.of(name, 1.7e9)
    moments = [period.since, period.since + 5000.0, period.until - 1.0]
    store.write(
        [
            exchange(f"e{number}", created=created, cost=10**number, route=route)
            for number, created in enumerate(moments)
            for route in [("teacher", "student", "model")[number]]
        ]
    )
    found = sums(store.engine, period.since, period.until, (period.slot, "route"))
    store.close()
    course = Course(period, found)
    assert sum(total.cost for total in course.totals()) == 111 == Total.of(found).cost
    assert course.totals()[0].cost in (1, 11)
    assert course.totals()[-1].cost == 100
    assert [part.name for part in course.requests()] == [
        "teacher",
        "students",
        "models named by callers",
    ]


def test_every_colour_of_a_chart_is_in_the_style_sheet() -> None:
    style = (Path(charts.__file__).parent / "static" / "console.css").read_text()
    audited = [Audited(1, 1, Counted(1.0, 0.5, 1.0, 1))]
    mark = Mark("m", 1.0, 0.5, 0.5, 0.5)
    every = [
        charts.agreement("t", ["s"], audited, 0.95, 0.95),
        charts.curve("t", [mark], mark, 0.95, "are right"),
    ]
    names = {css for chart in every for css, _ in chart.legend}
    names |= {"teacher", "student", "named", "audits", "alone"}
    for name in names:
        assert re.search(rf"(rect|circle|path)(\.swatch)?\.{name}\b", style), name
