"""Charts as SVG, drawn on the server. Colours come from the style sheet, by class.

Every chart has its figures beside it as a table, for whoever reads no pictures, and names what is
under the pointer without any script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup, escape

from router.console import words

_WIDTH, _HEIGHT = 640.0, 232.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 10.0, 12.0, 28.0
_TICKS = 4
_DATES = 6
"""Most labels below a chart."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture and what it says."""

    title: str
    svg: Markup
    legend: tuple[tuple[str, str], ...]
    """Class of the style sheet and name of everything that is drawn."""
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One figure for each of a chart's slots of time."""

    name: str
    css: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Counted:
    """A share that was counted, with its interval."""

    share: float
    low: float
    high: float
    trials: int


@dataclass(frozen=True, slots=True)
class Audited:
    """The audits of one slot of time."""

    agreed: int
    trials: int
    running: Counted | None
    """The share of all up to its end that agree; None without any."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of a plane: what it costs and how good it is."""

    name: str
    cost: float
    """Picodollars."""
    low: float
    quality: float
    high: float


Unit = Callable[[float], str]


def stacked(
    title: str,
    slots: Sequence[str],
    parts: Sequence[Series],
    unit: Unit,
    line: Series | None = None,
) -> Chart:
    """Parts of a whole over time as bars, maybe under a line that they are compared with."""
    totals = [sum(each) for each in zip(*(part.values for part in parts), strict=True)]
    axis = _Axis.of(0.0, max([*totals, *(line.values if line else ())], default=0.0))
    columns = _Columns(len(slots))
    drawn = [_grid(axis, unit), _dates(slots, columns)]
    bases = [0.0] * len(slots)
    for part in parts:
        for number, value in enumerate(part.values):
            if value > 0:
                top, base = axis.y(bases[number] + value), axis.y(bases[number])
                drawn.append(
                    _element(
                        "rect",
                        part.css,
                        x=columns.left(number),
                        y=top,
                        width=columns.bar,
                        height=base - top,
                    )
                )
                bases[number] += value
    if line is not None:
        points = [(columns.middle(n), axis.y(value)) for n, value in enumerate(line.values)]
        drawn.append(_path(f"{line.css} line", points))
    every = [*parts, *([line] if line else [])]
    rows = tuple(
        (slot, *(unit(each.values[number]) for each in every)) for number, slot in enumerate(slots)
    )
    names = tuple(each.name for each in every)
    drawn.append(_hover(rows, names, columns))
    legend = tuple((each.css, each.name) for each in every)
    return Chart(title, _svg(title, drawn), legend, ("When", *names), rows)


def agreement(
    title: str, slots: Sequence[str], audited: Sequence[Audited], promise: float, confidence: float
) -> Chart:
    """The share of audited answers that agree, from the first slot up to each, with its interval at
    ``confidence``, and what is promised."""
    running = [(number, each.running) for number, each in enumerate(audited) if each.running]
    # At first the interval is nearly everything there is: the picture is of what it comes to.
    lowest = min([promise, *(each.share for _, each in running), *(e.low for _, e in running[-1:])])
    axis = _Axis.of(max(0.0, floor(20 * (lowest - 0.02)) / 20), 1.0)
    columns = _Columns(len(slots))
    drawn = [_grid(axis, words.share), _dates(slots, columns)]
    drawn.append(_path("promise line", [(_LEFT, axis.y(promise)), (_end(), axis.y(promise))]))
    drawn.append(_path("band", _band(running, columns, axis), closed=True))
    points = [(columns.middle(number), axis.y(each.share)) for number, each in running]
    drawn.append(_path("student line", points))
    drawn += [_element("circle", "student dot", cx=x, cy=y, r=3.5) for x, y in points[-1:]]
    interval = f"interval, {words.share(confidence)} confidence"
    names = ("agree so far", interval, "audits so far", "agree in this time")
    said = [(slot, *_said(each)) for slot, each in zip(slots, audited, strict=True)]
    drawn.append(_hover(said, names, columns))
    legend = (
        ("student", "answers that agree, so far"),
        ("band", interval),
        ("promise", f"promised: {words.share(promise)}"),
    )
    headings = ("When", *(name.capitalize() for name in names))
    rows = tuple(row for row, each in zip(said, audited, strict=True) if each.running)
    return Chart(title, _svg(title, drawn), legend, headings, rows)


def _band(
    running: Sequence[tuple[int, Counted]], columns: _Columns, axis: _Axis
) -> list[tuple[float, float]]:
    """The outline of the intervals of some slots; that of a single one is as wide as a bar."""
    places = [(columns.middle(number), each) for number, each in running]
    if len(places) == 1:
        ((middle, each),) = places
        places = [(middle - columns.bar / 2, each), (middle + columns.bar / 2, each)]
    highs = [(x, axis.y(each.high)) for x, each in places]
    lows = [(x, axis.y(max(each.low, axis.least))) for x, each in places]
    return [*highs, *lows[::-1]]


def curve(
    title: str, points: Sequence[Mark], operating: Mark, confidence: float, share_of: str
) -> Chart:
    """Cost against quality for every threshold, and where the task is now.

    ``share_of`` says what quality is the share of.
    """
    every = [*points, operating]
    lowest = min(each.low for each in every)
    axis = _Axis.of(max(0.0, floor(20 * (lowest - 0.01)) / 20), 1.0)
    costs = _Axis.of(
        min(each.cost for each in every),
        max(each.cost for each in every),
        begin=_LEFT + 8,
        end=_end() - 8,
    )
    drawn = [_grid(axis, words.share)]
    for cost in costs.ticks:
        label = words.usd(cost)
        drawn.append(_text(label, costs.along(cost), _HEIGHT - 8, "middle"))
    placed = sorted(points, key=lambda each: each.cost)
    band = [(costs.along(each.cost), axis.y(each.high)) for each in placed]
    band += [(costs.along(each.cost), axis.y(each.low)) for each in reversed(placed)]
    drawn.append(_path("band", band, closed=True))
    drawn.append(
        _path("student line", [(costs.along(each.cost), axis.y(each.quality)) for each in placed])
    )
    for each in placed:
        said = f"{each.name}: {words.usd(each.cost)}, {words.share(each.quality)} {share_of}"
        x, y = costs.along(each.cost), axis.y(each.quality)
        drawn.append(_element("circle", "student point", said, cx=x, cy=y, r=3))
    now = f"{operating.name}: {words.usd(operating.cost)}, {words.share(operating.quality)}"
    x, y = costs.along(operating.cost), axis.y(operating.quality)
    drawn.append(_element("circle", "operating", now, cx=x, cy=y, r=7))
    interval = f"interval, {words.share(confidence)} confidence"
    legend = (
        ("student", "what each threshold would have come to"),
        ("band", interval),
        ("operating", "what happened"),
    )
    rows = tuple(
        (
            each.name,
            words.usd(each.cost),
            words.share(each.quality),
            f"{words.share(each.low)} to {words.share(each.high)}",
        )
        for each in (operating, *_some(placed, 12))
    )
    headings = ("Threshold", "Cost", share_of.capitalize(), interval.capitalize())
    return Chart(title, _svg(title, drawn), legend, headings, rows)


def meter(value: float | None, css: str = "student") -> Markup:
    """A share as a small bar, beside which it stands as a number."""
    width = 64 * min(max(value or 0.0, 0.0), 1.0)
    return Markup(
        '<svg class="meter" viewBox="0 0 64 6" aria-hidden="true">'
        '<rect class="trough" width="64" height="6" rx="3"/>'
        '<rect class="{}" width="{}" height="6" rx="3"/></svg>'
    ).format(css, f"{width:.1f}")


@dataclass(frozen=True, slots=True)
class _Axis:
    """Numbers from ``least`` to ``most`` between two edges of the picture."""

    least: float
    most: float
    ticks: tuple[float, ...]
    begin: float
    end: float

    @classmethod
    def of(
        cls,
        least: float,
        most: float,
        *,
        begin: float = _HEIGHT - _BOTTOM,
        end: float = _TOP,
    ) -> _Axis:
        """With round ticks, and room for a value where all are the same."""
        if most - least <= 1e-9 * max(abs(least), abs(most), 1e-3):
            most = least + max(abs(least), 1.0)
        step = _round_step((most - least) / _TICKS)
        first, last = ceil(least / step - 1e-9), floor(most / step + 1e-9)
        return cls(least, most, tuple(n * step for n in range(first, last + 1)), begin, end)

    def along(self, value: float) -> float:
        return self.begin + (value - self.least) / (self.most - self.least) * (
            self.end - self.begin
        )

    y = along


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where slots of time are."""

    number: int

    @property
    def step(self) -> float:
        return (_end() - _LEFT) / max(self.number, 1)

    @property
    def bar(self) -> float:
        return self.step * 0.72

    def left(self, number: int) -> float:
        return _LEFT + self.step * (number + 0.14)

    def middle(self, number: int) -> float:
        return _LEFT + self.step * (number + 0.5)


def _round_step(least: float) -> float:
    """The next number of the form 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * 0.999)


def _end() -> float:
    return _WIDTH - _RIGHT


def _grid(axis: _Axis, unit: Unit) -> Markup:
    lines = []
    for value in axis.ticks:
        y = axis.y(value)
        lines.append(_element("line", "grid", x1=_LEFT, x2=_end(), y1=y, y2=y))
        lines.append(_text(unit(value), _LEFT - 8, y + 4, "end"))
    return Markup("").join(lines)


def _dates(slots: Sequence[str], columns: _Columns) -> Markup:
    every = max(1, ceil(len(slots) / _DATES))
    # Counted from the end: what is now is what is looked for first.
    return Markup("").join(
        _text(slot, columns.middle(number), _HEIGHT - 8, "middle")
        for number, slot in enumerate(slots)
        if (len(slots) - 1 - number) % every == every // 2
    )


def _hover(rows: Sequence[tuple[str, ...]], names: Sequence[str], columns: _Columns) -> Markup:
    """What is said of a slot while the pointer is over it."""
    areas = []
    for number, (slot, *values) in enumerate(rows):
        said = "\n".join(
            [slot, *(f"{name}: {value}" for name, value in zip(names, values, strict=True))]
        )
        areas.append(
            _element(
                "rect",
                "hover",
                said,
                x=_LEFT + columns.step * number,
                y=_TOP,
                width=columns.step,
                height=_HEIGHT - _BOTTOM - _TOP,
            )
        )
    return Markup("").join(areas)


def _said(audited: Audited) -> tuple[str, ...]:
    counted = audited.running
    if counted is None:
        return (words.NONE,) * 4
    interval = f"{words.share(counted.low)} to {words.share(counted.high)}"
    own = f"{audited.agreed:,} of {audited.trials:,}" if audited.trials else words.NONE
    return words.share(counted.share), interval, words.count(counted.trials), own


def _some(marks: Sequence[Mark], most: int) -> list[Mark]:
    """At most so many of them, evenly."""
    step = max(1, ceil(len(marks) / most))
    return list(marks[::step])


def _svg(title: str, drawn: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(f"{_WIDTH:g}", f"{_HEIGHT:g}", title, Markup("").join(drawn))


def _element(tag: str, css: str, title: str | None = None, **numbers: float) -> Markup:
    given = Markup(" ").join(
        Markup('{}="{}"').format(name, f"{value:.2f}") for name, value in numbers.items()
    )
    inside = Markup("<title>{}</title>").format(title) if title is not None else Markup("")
    return Markup('<{0} class="{1}" {2}>{3}</{0}>').format(tag, css, given, inside)


def _path(css: str, points: Sequence[tuple[float, float]], *, closed: bool = False) -> Markup:
    if not points:
        return Markup("")
    steps = " L".join(f"{x:.2f} {y:.2f}" for x, y in points)
    return Markup('<path class="{}" d="M{}{}"/>').format(css, steps, " Z" if closed else "")


def _text(words_: str, x: float, y: float, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        f"{x:.2f}", f"{y:.2f}", anchor, escape(words_)
    )
