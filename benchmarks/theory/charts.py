"""Line charts as SVG that follow the reader's light or dark theme, and Markdown tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 640, 380
LEFT, RIGHT, TOP, BOTTOM = 74, 16, 38, 56
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("", "7 4", "2 3", "10 3 2 3", "4 2", "1 2")
STYLE = (
    "<style>text{font:13px sans-serif;fill:#222}.axis{stroke:#222}.grid{stroke:#ddd}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.axis{stroke:#ddd}.grid{stroke:#444}}"
    "</style>"
)


@dataclass(frozen=True)
class Axis:
    """One axis: its label with the unit, and whether it is logarithmic."""

    label: str
    log: bool = False


@dataclass(frozen=True)
class Scale:
    """Place numbers of a range on a line of pixels."""

    low: float
    high: float
    start: float
    length: float
    log: bool

    def __call__(self, value: float) -> float:
        """Give the place of a number."""
        low, high, value = (math.log10(x) if self.log else x for x in (self.low, self.high, value))
        return self.start + self.length * (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Give round numbers within the range: four to eight, or the powers of ten."""
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            step = max(1, (last - first) // 6)
            powers = [10.0**power for power in range(first, last + 1, step)]
            return powers if len(powers) > 1 else [self.low, self.high]
        rough = (self.high - self.low) / 5
        size = 10 ** math.floor(math.log10(rough))
        step = min((size * m for m in (1, 2, 5, 10)), key=lambda s: abs(s - rough))
        first = math.ceil(self.low / step - 1e-9)
        return [step * k for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def line_chart(title: str, x: Axis, y: Axis, series: Mapping[str, Points]) -> str:
    """Draw lines, one a name, with a legend; colours and dashes tell them apart.

    Args:
        title: Above the chart.
        x: The horizontal axis.
        y: The vertical axis.
        series: Points (x, y) of each line; on a logarithmic axis those of 0 and below are left out.
    """
    lines = {name: _drawable(points, x.log, y.log) for name, points in series.items()}
    points = [point for line in lines.values() for point in line]
    across = _scale([p[0] for p in points], LEFT, WIDTH - LEFT - RIGHT, x.log, padded=False)
    up = _scale([p[1] for p in points], HEIGHT - BOTTOM, TOP + BOTTOM - HEIGHT, y.log, padded=True)
    # The legend stands below, so it never hides a line.
    rows = math.ceil(len(lines) / 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + 20 * rows}">',
        STYLE,
        _text(LEFT, 20, title, "start", "font-weight:bold"),
        *_grid(across, up),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, x.label),
        f'<text transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
        f'text-anchor="middle">{_escape(y.label)}</text>',
    ]
    for place, (name, line) in enumerate(lines.items()):
        parts += _line(line, across, up, place)
        parts += _legend(name, place)
    return "\n".join([*parts, "</svg>\n"])


Row = list[str | float]


def table(head: Sequence[str], rows: Sequence[Row]) -> str:
    """Give a Markdown table; numbers with three significant digits."""
    body = [[cell if isinstance(cell, str) else number(cell) for cell in row] for row in rows]
    lines = [list(head), ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float) -> str:
    """Write a number with three significant digits, small ones as a power of ten."""
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) < 0.001 or abs(value) >= 1e5:
        digits, power = f"{value:.1e}".split("e")
        return f"{digits}·{_power_of_ten(int(power))}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _drawable(points: Points, log_x: bool, log_y: bool) -> Points:
    return [(x, y) for x, y in points if (x > 0.0 or not log_x) and (y > 0.0 or not log_y)]


def _scale(values: list[float], start: float, length: float, log: bool, padded: bool) -> Scale:
    low, high = min(values), max(values)
    if padded and log:
        low, high = low / 1.3, high * 1.3
    elif padded:
        room = 0.04 * (high - low)
        low, high = low - room, high + room
    return Scale(low, high, start, length, log)


def _grid(across: Scale, up: Scale) -> list[str]:
    parts = []
    bottom, top, right = HEIGHT - BOTTOM, TOP, WIDTH - RIGHT
    for tick in across.ticks():
        place = across(tick)
        parts.append(_segment(place, bottom, place, top, "grid"))
        parts.append(_text(place, bottom + 18, _tick(tick)))
    for tick in up.ticks():
        place = up(tick)
        parts.append(_segment(LEFT, place, right, place, "grid"))
        parts.append(_text(LEFT - 7, place + 4, _tick(tick), "end"))
    parts.append(_segment(LEFT, bottom, right, bottom, "axis"))
    return [*parts, _segment(LEFT, bottom, LEFT, top, "axis")]


def _power_of_ten(power: int) -> str:
    return "10" + f"{power}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _tick(value: float) -> str:
    """Write a tick; far powers of ten as such."""
    if value > 0.0 and not 0.001 <= value < 1e4:
        return _power_of_ten(round(math.log10(value)))
    return f"{value:.4g}"


def _line(points: Points, across: Scale, up: Scale, place: int) -> list[str]:
    path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
    return [f'<polyline points="{path}" fill="none" {_pen(place)}/>']


def _legend(name: str, place: int) -> list[str]:
    left = LEFT + (place % 2) * (WIDTH - LEFT) / 2
    height = HEIGHT + 4 + 20 * (place // 2)
    sample = f'<path d="M{left:.0f} {height} h34" {_pen(place)}/>'
    return [sample, _text(left + 42, height + 4, name, "start")]


def _pen(place: int) -> str:
    dash = f' stroke-dasharray="{DASHES[place]}"' if DASHES[place] else ""
    return f'stroke="{COLOURS[place]}" stroke-width="2.2"{dash}'


def _segment(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f} L{x2:.1f} {y2:.1f}" class="{kind}"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle", style: str = "") -> str:
    extra = f' style="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{_escape(text)}</text>'


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
