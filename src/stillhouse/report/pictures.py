"""The drawing parts: inline SVG that is as wide as its place, with text that stays as large as the page's.

scale = Scale.over([0.81, 0.86])
whisker(scale, Mark("shipped", 0.83, 0.81, 0.85), reference=0.86)     # one line of a table
axis(scale, metric)                                                   # its heading

All places are shares of the width, so nothing is stretched and nothing has to be drawn twice for a phone. Kinds of
models differ in shape as well as in color. What a picture of a row shows stands in that row as text, too, so such
pictures are hidden from whoever listens; others carry a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from stillhouse.report.markup import Html, element
from stillhouse.report.words import Metric, signed

Role = Literal["teacher", "shipped", "export", "baseline", "control"]
ROLES: dict[Role, str] = {
    "teacher": "teacher",
    "shipped": "what ships",
    "export": "the student in another form",
    "baseline": "baseline",
    "control": "control",
}
# around (0, 0), about 11 pixels wide
_SHAPES: dict[Role, str] = {
    "teacher": "M-5.5,0a5.5,5.5 0 1,0 11,0a5.5,5.5 0 1,0 -11,0z",
    "shipped": "M0,-7L7,0L0,7L-7,0z",
    "export": "M-4.5,-4.5H4.5V4.5H-4.5z",
    "baseline": "M0,-6L6,4.5H-6z",
    "control": "M0,6L6,-4.5H-6z",
}
_LEFT, _RIGHT = 3.0, 97.0  # percent of the width: room for half a mark
ROW = 24  # pixels
_LETTER = 7.0  # pixels that a letter of a label takes, at most
_NARROW = 112.0  # pixels of the narrowest column of pictures
_PLANE = 340.0  # pixels of the narrowest plane: what does not cover anything there does not on a wider one


@dataclass(frozen=True)
class Mark:
    """One figure with its interval, if it has one."""

    role: Role
    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` over the width; log: by their logarithm."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def over(cls, values: Iterable[float | None], *, log: bool = False) -> Scale:
        """A scale that holds all of them."""
        found = [value for value in values if value is not None and math.isfinite(value) and (value > 0 or not log)]
        low, high = min(found, default=0.0), max(found, default=1.0)
        if low == high:
            room = abs(low) / 2
            # of nothing but zeros there is no less to be shown
            low, high = (low / 2, high * 2) if log else (low - room, high + (room or 0.5))
        return cls(low, high, log)

    def share(self, value: float) -> float:
        """Where a value lies, 0 to 1."""
        low, high, value = (math.log(one) if self.log else one for one in (self.low, self.high, value))
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def at(self, value: float) -> str:
        """Where a value lies, in percent of the width."""
        return f"{_LEFT + (_RIGHT - _LEFT) * self.share(value):.2f}%"

    def ticks(self) -> list[float]:
        """Two to five round values."""
        if self.log:
            steps = [
                mantissa * 10.0**power
                for power in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
                for mantissa in (1, 2, 5)
            ]
            round_ones = [step for step in steps if self.low <= step <= self.high]
            return round_ones[:: max(1, math.ceil(len(round_ones) / 4))] or [self.low, self.high]
        power = 10.0 ** math.floor(math.log10((self.high - self.low) / 2))
        inside: list[float] = []
        for step in (5 * power, 2 * power, power, power / 2):
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            inside = [place * step for place in range(first, last + 1)]
            if len(inside) > 1:
                break
        return inside


def symbols() -> Html:
    """The shapes and hatchings, once a page."""
    shapes = [
        element("symbol", element("path", d=path), id=f"mark-{role}", overflow="visible")
        for role, path in _SHAPES.items()
    ]
    hatching = {
        "head": element("path", d="M-1,1L1,-1M0,6L6,0M5,7L7,5", class_="hatch"),
        "tail": element("circle", cx=3, cy=3, r=1.1, class_="dots"),
    }
    fills = [
        element(
            "pattern",
            element("rect", width=6, height=6, class_=kind),
            drawn,
            id=f"fill-{kind}",
            width=6,
            height=6,
            patternUnits="userSpaceOnUse",
        )
        for kind, drawn in hatching.items()
    ]
    return element("svg", *shapes, *fills, class_="symbols", aria_hidden="true", width=0, height=0)


def mark(role: Role, x: str, y: str | float) -> Html:
    """One shape at a place of a picture."""
    return element("use", href=f"#mark-{role}", x=x, y=y, class_=f"mark {role}")


def glyph(role: Role) -> Html:
    """The shape as a sign before a name; its meaning is in the text beside it."""
    return element(
        "svg",
        element("use", href=f"#mark-{role}", x=8, y=8, class_=f"mark {role}"),
        class_="glyph",
        aria_hidden="true",
        width=16,
        height=16,
    )


def whisker(scale: Scale, *marks: Mark, reference: float | None = None, limit: float | None = None) -> Html:
    """Dots with their intervals on one line. reference: a thin line, as of the teacher's value. limit: a dashed one."""
    parts = [element("line", x1=scale.at(scale.low), x2=scale.at(scale.high), y1=ROW / 2, y2=ROW / 2, class_="base")]
    for place, kind in ((reference, "reference"), (limit, "limit")):
        if place is not None and scale.low <= place <= scale.high:
            parts.append(element("line", x1=scale.at(place), x2=scale.at(place), y1=0, y2=ROW, class_=kind))
    apart = 0 if len(marks) < 2 else 8
    for number, one in enumerate(marks):
        y = ROW / 2 + apart * (number - (len(marks) - 1) / 2)
        if one.lower is not None and one.upper is not None:
            parts.append(
                element("line", x1=scale.at(one.lower), x2=scale.at(one.upper), y1=y, y2=y, class_=f"span {one.role}")
            )
        parts.append(mark(one.role, scale.at(one.value), y))
    return element("svg", *parts, class_="whisker", height=ROW, aria_hidden="true")


def axis(scale: Scale, metric: Metric) -> Html:
    """The scale of a column of :func:`whisker`."""
    parts, end = [], -math.inf
    for tick in scale.ticks():
        share = scale.share(tick)
        anchor = "start" if share < 0.1 else "end" if share > 0.9 else "middle"
        written = _tick(100 * tick if metric.points else tick)
        width = _LETTER * len(written)
        start = _NARROW * share - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
        if start > end:
            parts.append(element("text", written, x=scale.at(tick), y=13, text_anchor=anchor))
            end = start + width + _LETTER
        parts.append(element("line", x1=scale.at(tick), x2=scale.at(tick), y1=17, y2=22))
    return element("svg", *parts, class_="axis", height=22, aria_hidden="true")


def _tick(value: float) -> str:
    return signed(f"{round(value, 10):,.6g}")


@dataclass(frozen=True)
class Point:
    """One model in a plane. y is ``None`` where only x is known: it is drawn as a line."""

    name: str
    role: Role
    x: float
    y: float | None
    lower: float | None = None
    upper: float | None = None


def scatter(points: Sequence[Point], *, name: str, x: tuple[str, str], height: int = 220) -> Html:
    """Points with the intervals of y. name: the sentence for whoever cannot see it. x: the words below the axis, and
    the form of its ticks. Of two points that would cover each other the labels step apart."""
    across = Scale.over([point.x for point in points], log=True)
    across = Scale(across.low / 1.6, across.high * 1.6, log=True)
    up = Scale.over([value for point in points for value in (point.y, point.lower, point.upper)])
    floor = height - 40
    top, bottom = 26, floor - 14  # room for a name above the highest and below the lowest

    def y_of(value: float) -> float:
        return round(bottom - (bottom - top) * up.share(value), 1)

    parts: list[Html] = []
    for tick in up.ticks():
        y = y_of(tick)
        parts.append(element("line", x1="0%", x2="100%", y1=y, y2=y, class_="grid"))
        parts.append(element("text", _tick(tick), x="0%", y=y - 4, class_="tick"))
    for tick in across.ticks():
        parts.append(
            element("line", x1=across.at(tick), x2=across.at(tick), y1=floor + 6, y2=floor + 11, class_="tickmark")
        )
        parts.append(
            element("text", _form(tick, x[1]), x=across.at(tick), y=floor + 24, text_anchor="middle", class_="tick")
        )
    parts.append(element("text", x[0], x="100%", y=height - 2, text_anchor="end", class_="words"))
    drawn: list[tuple[Point, float, Box]] = []
    for point in sorted(points, key=lambda one: (one.y is None, one.x)):
        place, x_of = across.at(point.x), _PLANE * across.share(point.x)
        if point.y is None:
            parts.append(element("line", x1=place, x2=place, y1=top, y2=floor, class_=f"only-x {point.role}"))
            drawn.append((point, float(top), Box(x_of - 2, top, x_of + 2, floor)))
            continue
        y = y_of(point.y)
        low, high = (y if value is None else y_of(value) for value in (point.lower, point.upper))
        if low != high:
            parts.append(element("line", x1=place, x2=place, y1=low, y2=high, class_=f"span {point.role}"))
        parts.append(mark(point.role, place, y))
        drawn.append((point, y, Box(x_of - 7, min(high, y - 7), x_of + 7, max(low, y + 7))))
    taken = [box for _, _, box in drawn]
    for point, y, own in drawn:
        label = _label(point.name, y, own, taken, lowest=float(floor))
        taken.append(label.box)
        parts.append(
            element("text", point.name, x=across.at(point.x), y=round(label.box.bottom - 3, 1), dx=label.shift,
                    text_anchor=label.anchor, class_="name")
        )  # fmt: skip
    return element("svg", *parts, class_="scatter", height=height, role="img", aria_label=name)


@dataclass(frozen=True)
class Box:
    """A place in a plane, in pixels, the top being 0."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area that both cover."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, across) * max(0.0, down)


@dataclass(frozen=True)
class _Label:
    box: Box
    anchor: Literal["start", "middle", "end"]
    shift: int


def _label(name: str, y: float, own: Box, taken: Sequence[Box], *, lowest: float) -> _Label:
    """Where a point's name covers nothing: beside it, above or below it, or further off; else where it covers least.

    own: the place of the point with its interval.
    """
    width, x = _LETTER * len(name), (own.left + own.right) / 2

    def beside(away: float) -> list[_Label]:
        low = y + away + 7
        return [
            _Label(Box(x + 11, low - 15, x + 11 + width, low), "start", 11),
            _Label(Box(x - 11 - width, low - 15, x - 11, low), "end", -11),
        ]

    over = [_Label(Box(x - width / 2, low - 15, x + width / 2, low), "middle", 0) for low in (own.top, own.bottom + 15)]
    places = [*beside(0), *over, *(one for away in (15, -15, 30, -30, 45, -45) for one in beside(away))]
    inside = [one for one in places if one.box.top >= 0 and one.box.bottom <= lowest + 4]

    def cost(one: _Label) -> float:
        beyond = max(0.0, -one.box.left) + max(0.0, one.box.right - _PLANE)
        return sum(one.box.overlap(other) for other in taken) + 15 * beyond

    return min(inside, key=cost)  # of equals the first


def _form(value: float, form: str) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}{form}"
    return f"{value:.3g}{' ' + form if form else ''}"


def stacked(parts: Sequence[tuple[str, int]], total: int) -> Html:
    """A bar of segments, each (class, number), as wide as ``total`` rows; the numbers stand in the text beside it."""
    segments = [
        element("span", class_=f"segment {kind}", style=f"width:{100 * number / total:.3f}%")
        for kind, number in parts
        if number
    ]
    return element("div", *segments, class_="stacked", aria_hidden="true")
