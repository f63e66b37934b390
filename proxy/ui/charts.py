"""Charts, drawn on the server. Widths are shares of the page, heights pixels: text is never stretched."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from proxy.core.money import NANO_PER_USD
from proxy.ui import svg, words

HEIGHT = 232
_TOP, _BOTTOM = 10, 24
_PLOT = HEIGHT - _TOP - _BOTTOM
_BAR = 0.74  # of its slot
_LABELS = 8  # under the axis at most
_COLOURS = 7  # and one for the rest
_AXIS, _CHARACTER = 52, 7  # pixels: of an axis at least, of a character


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a chart: a value for each step."""

    name: str
    values: Sequence[int]

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.values)


def rest_together(series: Sequence[Series]) -> list[Series]:
    """The largest, by total, and the others as one."""
    ordered = sorted(series, key=lambda s: (-s.total, s.name))
    if len(ordered) <= _COLOURS + 1:
        return ordered
    rest = ordered[_COLOURS:]
    sums = [sum(values) for values in zip(*(s.values for s in rest), strict=True)]
    return [*ordered[:_COLOURS], Series(f"{len(rest)} others", sums)]


def stacked_bars(steps: Sequence[str], series: Sequence[Series], title: str) -> Markup:
    """Money by day or hour, in nano-dollars, one bar a step. A bar's words are its ``title``."""
    totals = [sum(s.values[n] for s in series) for n in range(len(steps))]
    top = nice_top(max(totals, default=0))
    grid = svg.join(_grid_line(part, top) for part in range(5))
    bars = svg.join(_bar(n, steps, series, totals[n], top) for n in range(len(steps)))
    plot = svg.element(
        "svg",
        grid,
        bars,
        _step_names(steps),
        class_="plot",
        width="100%",
        height=HEIGHT,
        role="img",
        aria_label=title,
    )
    return svg.element("div", _axis(top), plot, class_="chart")


def _step_names(steps: Sequence[str]) -> Markup:
    """Under the axis: some of them, and half of those where the page is narrow."""
    every = -(-len(steps) // _LABELS)
    shown = range(every // 2, len(steps), every)
    return svg.join(
        svg.element(
            "text",
            steps[n].split(",")[0],
            x=svg.percent(n + 0.5, len(steps)),
            y=HEIGHT - 6,
            class_="tick between" if number % 2 else "tick",
            text_anchor="middle",
        )
        for number, n in enumerate(shown)
    )


def nice_top(most: int) -> int:
    """A round number for the top of an axis, a little above the highest value and divisible by four."""
    if most <= 0:
        return 4 * NANO_PER_USD
    step = int(10 ** max(0, len(str(most)) - 2))
    for factor in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10):
        top = round(factor * step * 10)
        if top >= most:
            return top
    return most


def _axis(top: int) -> Markup:
    said = _axis_words([top * part // 4 for part in range(5)])
    labels = svg.join(
        svg.element("text", text, x="100%", y=_y(part / 4) + 4, class_="tick", text_anchor="end")
        for part, text in enumerate(said)
    )
    width = max(_AXIS, _CHARACTER * max(map(len, said)))
    return svg.element("svg", labels, class_="axis", width=width, height=HEIGHT, aria_hidden="true")


def _axis_words(values: Sequence[int]) -> list[str]:
    """Cents for all of them, or for none."""
    whole = all(nano % NANO_PER_USD == 0 for nano in values)
    return [_axis_money(nano, whole=whole) for nano in values]


def _axis_money(nano: int, *, whole: bool) -> str:
    value = nano / NANO_PER_USD
    if value >= 1000:  # noqa: PLR2004 - from here thousands are written as k
        return f"${words.short(value)}"
    if nano and value < 1:
        return words.fine(nano)
    return f"${value:.0f}" if whole or not nano else f"${value:.2f}"


def _y(share: float) -> float:
    return _TOP + _PLOT * (1 - share)


def _grid_line(part: int, _top: int) -> Markup:
    y = round(_y(part / 4)) + 0.5
    return svg.element("line", x1=0, x2="100%", y1=y, y2=y, class_="grid" if part else "base")


def _bar(n: int, steps: Sequence[str], series: Sequence[Series], total: int, top: int) -> Markup:
    slot = len(steps)
    said = [f"{steps[n]}: {words.dollars(total)}"]
    said += [f"{s.name}: {words.dollars(s.values[n])}" for s in series if s.values[n]]
    parts = [svg.element("title", "\n".join(said))]
    parts.append(
        svg.element(
            "rect",
            x=svg.percent(n, slot),
            width=svg.percent(1, slot),
            y=_TOP,
            height=_PLOT,
            class_="hit",
        )
    )
    under = 0
    for number, one in enumerate(series):
        value = max(0, one.values[n])
        if value:
            parts.append(
                svg.element(
                    "rect",
                    x=svg.percent(n + (1 - _BAR) / 2, slot),
                    width=svg.percent(_BAR, slot),
                    y=_y((under + value) / top),
                    height=_PLOT * value / top,
                    class_=f"s{number}",
                )
            )
            under += value
    return svg.element("g", *parts, class_="col")


# Small ones


def months(this: Sequence[int], last: Sequence[int], forecast: int | None, title: str) -> Markup:
    """Two months' spend as it adds up day by day, and where this one is going."""
    days = max(len(this), len(last), 31)
    now, before = _adding_up(this), _adding_up(last)
    top = max([*now, *before, forecast or 0, 1]) * 1.06

    def points(values: Sequence[int], first: int = 1) -> str:
        return " ".join(
            f"{100 * (first + n) / days:.2f},{100 - 100 * v / top:.2f}"
            for n, v in enumerate(values)
        )

    lines = [svg.element("polyline", points=points([0, *before], 0), class_="last")]
    if forecast is not None and now:
        ahead = f"{100 * len(now) / days:.2f},{100 - 100 * now[-1] / top:.2f} 100,{100 - 100 * forecast / top:.2f}"
        lines.append(svg.element("polyline", points=ahead, class_="ahead"))
    lines.append(svg.element("polyline", points=points([0, *now], 0), class_="now"))
    return svg.element(
        "svg",
        *lines,
        class_="months",
        viewBox="0 0 100 100",
        preserveAspectRatio="none",
        role="img",
        aria_label=title,
    )


def _adding_up(values: Sequence[int]) -> list[int]:
    sums, total = [], 0
    for value in values:
        total += value
        sums.append(total)
    return sums


def spark(values: Sequence[int]) -> Markup:
    """A line in a table cell. It says nothing that the cells beside it do not."""
    top = max([*values, 1])
    step = 100 / max(1, len(values) - 1)
    points = " ".join(f"{n * step:.1f},{22 - 20 * v / top:.1f}" for n, v in enumerate(values))
    return svg.element(
        "svg",
        svg.element("polyline", points=points),
        class_="spark",
        viewBox="0 0 100 24",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def budget_bar(spent: int, held: int, limit: int) -> Markup:
    """Spent, held and left of a limit. Past the limit, the mark shows where it was."""
    whole = max(limit, spent + held, 1)
    said = (
        f"{words.dollars(spent)} spent, {words.dollars(held)} held, of {words.dollars(limit)} "
        f"({words.percent(spent + held, limit, 0)})"
    )
    level = "over" if spent + held > limit else "near" if 10 * (spent + held) >= 8 * limit else "ok"
    parts = [svg.element("rect", width="100%", height=10, rx=5, class_="track")]
    if spent:
        parts.append(
            svg.element("rect", width=svg.percent(spent, whole), height=10, rx=5, class_="spent")
        )
    if held:
        x, width = svg.percent(spent, whole), svg.percent(held, whole)
        parts.append(svg.element("rect", x=x, width=width, height=10, class_="held"))
    if limit < spent + held:
        x = svg.percent(limit, whole)
        parts.append(svg.element("line", x1=x, x2=x, y1=0, y2=10, class_="limit"))
    return svg.element(
        "svg",
        *parts,
        class_=f"bar {level}",
        width="100%",
        height=10,
        role="img",
        aria_label=said,
    )


def share_bar(value: int, most: int) -> Markup:
    """How one row of a table compares with the largest. It says nothing that the cell does not."""
    width = svg.percent(max(0, value), most)
    return svg.element(
        "svg",
        svg.element("rect", width=width, height=4, rx=2),
        class_="share",
        width="100%",
        height=4,
        aria_hidden="true",
    )


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a call's time, in milliseconds since it began."""

    from_ms: float
    until_ms: float
    kind: str  # own | wait | answer | failed


def waterfall(phases: Sequence[Phase], whole_ms: float) -> Markup:
    """One row of a waterfall; what it shows is also told in words beside it."""
    whole = max(whole_ms, 0.001)
    bars = [
        svg.element(
            "rect",
            x=svg.percent(phase.from_ms, whole),
            width=svg.percent(max(phase.until_ms - phase.from_ms, whole / 400), whole),
            y=3,
            height=12,
            rx=2,
            class_=phase.kind,
        )
        for phase in phases
    ]
    return svg.element("svg", *bars, class_="fall", width="100%", height=18, aria_hidden="true")
