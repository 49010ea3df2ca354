"""A picture as a PNG: the value over time, the thresholds that judge it, and what happened meanwhile.

Drawn for somebody who was woken and looks at a telephone: white paper whatever the mail program's colours are, lines
that differ in more than their colour, numbers in the rule's unit, all times in UTC. Equal pictures give equal pixels.
This module must never run in the daemon: drawing takes a tenth of a second, and matplotlib tens of megabytes. It keeps
no state (no pyplot) and believes no text: nothing from outside is read as a formula or moves anything else.
"""

from __future__ import annotations

import io
import math
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from matplotlib import get_data_path
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image

from watchdog.charts.picture import HEIGHT, LARGEST, WIDTH, Picture
from watchdog.core.quantity import format_quantity
from watchdog.core.rule import Direction, Unit

#: Colours that stay apart for the colour-blind (Okabe and Ito, "Color Universal Design", 2008), and dashes as well.
_VALUE: Final = "#0072b2"
_LEVELS: Final = (
    ("warning", "#b07d00", (0, (1.5, 2))),
    ("critical", "#d55e00", (0, (6, 2.5))),
    ("rollback", "#a3195b", "-"),
)
_INK, _FAINT, _PAPER, _BREACH, _HAPPENED = "#1f2933", "#d5dae0", "#ffffff", "#d55e00", "#52606d"
#: Where the axes lie, as shares of the figure: left, bottom, width, height.
_PLACE: Final = (0.085, 0.125, 0.755, 0.665)
#: Labels beside the axes keep this share of the axes' height between them.
_APART: Final = 0.088
#: A threshold further away than so many times what is shown would press the line flat: it is told, not drawn.
_FAR: Final = 4.0
_LONGEST_TITLE, _LONGEST_LABEL, _MOST_MARKS = 78, 22, 6
#: Distances of the ticks of time, in minutes: the first that gives at most seven of them.
_STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 360, 720, 1440)


class _Label(msgspec.Struct):
    """A text at the right edge; `at` is its height as a share of the axes."""

    at: float
    text: str
    colour: str
    bold: bool = False


def draw(picture: Picture) -> bytes:
    """The picture as a PNG of twice 720 times 320 pixels and at most 256 KiB. Raises `ValueError` without any value."""
    for scale in (2.0, 1.0, 0.5):
        png = _drawn(picture, scale)
        if len(png) <= LARGEST:
            return png
    raise ValueError("the chart is too large")


def figure_of(picture: Picture, scale: float = 2.0) -> Figure:
    """The picture before it is made of pixels. Raises `ValueError` without any value."""
    values = [value for _, value in picture.points if value is not None and math.isfinite(value)]
    if not values:
        raise ValueError("there is no value to draw")
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100 * scale, facecolor=_PAPER)
    axes = figure.add_axes(_PLACE, facecolor=_PAPER)
    began, ended = (
        picture.points[0][0],
        max(picture.points[-1][0], picture.points[0][0] + timedelta(minutes=2)),
    )
    span = (ended - began).total_seconds()
    axes.set_xlim(began.timestamp(), ended.timestamp() + span * 0.01)
    low, high = _range(picture, values)
    axes.set_ylim(low, high)
    _frame(axes, picture, low, high)
    _hours(axes, began, ended)
    _happened(axes, picture, began, ended)
    labels = list(_thresholds(axes, picture, low, high))
    _values(axes, picture)
    last = values[-1]
    labels.append(_Label((last - low) / (high - low), _number(last, picture.unit), _VALUE, bold=True))
    _beside(axes, labels)
    _text(figure, 0.012, 0.965, picture.title, size=11.5, weight="bold", va="top")
    _text(figure, 0.988, 0.025, f"{ended.astimezone(UTC):%Y-%m-%d} UTC", size=8, color=_HAPPENED, ha="right")
    figure.add_artist(Rectangle((0, 0), 1, 1, fill=False, edgecolor=_FAINT, linewidth=2))
    return figure


def _drawn(picture: Picture, scale: float) -> bytes:
    canvas = FigureCanvasAgg(figure_of(picture, scale))
    canvas.draw()  # type: ignore[no-untyped-call]
    # A fixed number of colours makes the file a third as large, and is quicker than to write all of them.
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    image = Image.fromarray(pixels).convert("RGB")
    out = io.BytesIO()
    image.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(out, "png")
    return out.getvalue()


def _limits(picture: Picture) -> tuple[tuple[str, float, str, Any], ...]:
    """The thresholds there are: name, value, colour, dashes."""
    found = ((name, getattr(picture, name), colour, dashes) for name, colour, dashes in _LEVELS)
    return tuple(one for one in found if one[1] is not None and math.isfinite(one[1]))


def _near(picture: Picture, values: Sequence[float]) -> tuple[float, float]:
    """What must be seen: all values, the mildest threshold, and nothing where more is worse."""
    shown = [*values, *(limit for _, limit, _, _ in _limits(picture)[:1])]
    if picture.direction is Direction.ABOVE and min(shown) >= 0 and min(shown) < max(shown) / 2:
        shown.append(0.0)
    return min(shown), max(shown)


def _far(limit: float, near: tuple[float, float]) -> bool:
    low, high = near
    return high > low and max(low - limit, limit - high) > (high - low) * _FAR


def _range(picture: Picture, values: Sequence[float]) -> tuple[float, float]:
    """The lower and the upper end of the axis of values."""
    near = _near(picture, values)
    limits = [limit for _, limit, _, _ in _limits(picture) if not _far(limit, near)]
    low, high = min(near[0], *limits, near[1]), max(near[0], *limits, near[1])
    room = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
    bottom = 0.0 if low == 0 else low - room
    top = high + room
    if picture.unit is Unit.RATIO and high <= 1:
        top = min(top, 1.0 + room / 4)
    if not (math.isfinite(top - bottom) and top > bottom):
        raise ValueError("the values are too large to draw")
    return bottom, top


def _frame(axes: Axes, picture: Picture, low: float, high: float) -> None:
    """Quiet axes, and a scale that reads in the rule's unit."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_HAPPENED)
    axes.tick_params(length=0, colors=_INK)
    scale = 1024.0 ** int(math.log(max(abs(low), abs(high)), 1024)) if picture.unit is Unit.BYTES else 1.0
    whole = picture.unit is Unit.COUNT
    places = MaxNLocator(nbins=5, integer=whole).tick_values(low / scale, high / scale)
    ticks = [tick for place in places if low <= (tick := float(place) * scale) <= high]
    axes.set_yticks(
        ticks, [_number(tick, picture.unit) for tick in ticks], fontproperties=_font(8.5), color=_INK
    )
    axes.grid(visible=True, axis="y", color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def _hours(axes: Axes, began: datetime, ended: datetime) -> None:
    """Ticks at whole minutes of UTC."""
    minutes = (ended - began).total_seconds() / 60
    step = next((step for step in _STEPS if minutes / step <= 7), math.ceil(minutes / 7)) * 60
    first = math.ceil(began.timestamp() / step)
    ticks = [number * step for number in range(first, math.floor(ended.timestamp() / step) + 1)]
    texts = [f"{datetime.fromtimestamp(tick, UTC):%H:%M}" for tick in ticks]
    axes.set_xticks(ticks, texts, fontproperties=_font(8.5), color=_INK)


def _values(axes: Axes, picture: Picture) -> None:
    """The line, broken where there was nothing; what is beyond the mildest threshold is shaded."""
    times = [at.timestamp() for at, _ in picture.points]
    values = [math.nan if value is None else value for _, value in picture.points]
    axes.plot(times, values, color=_VALUE, linewidth=1.8, solid_joinstyle="round", zorder=4)
    alone = list(_alone(values))
    axes.plot(
        [times[index] for index in alone],
        [values[index] for index in alone],
        linestyle="none",
        marker="o",
        markersize=2.6,
        color=_VALUE,
        zorder=4,
    )
    last = next(index for index in reversed(range(len(values))) if math.isfinite(values[index]))
    axes.plot(times[last], values[last], marker="o", markersize=5, color=_VALUE, clip_on=False, zorder=5)
    limits = _limits(picture)
    if not limits:
        return
    limit = limits[0][1]
    above = picture.direction is Direction.ABOVE
    beyond = [value > limit if above else value < limit for value in values]
    axes.fill_between(
        times, values, limit, where=beyond, interpolate=True, color=_BREACH, alpha=0.22, linewidth=0, zorder=3
    )


def _alone(values: Sequence[float]) -> Iterator[int]:
    """Values between two gaps, which no line shows."""
    padded = [math.nan, *values, math.nan]
    for index, value in enumerate(values):
        if math.isfinite(value) and math.isnan(padded[index]) and math.isnan(padded[index + 2]):
            yield index


def _thresholds(axes: Axes, picture: Picture, low: float, high: float) -> Iterator[_Label]:
    """A line for each, and its label; one far away is only told, at the edge behind which it lies."""
    for name, limit, colour, dashes in _limits(picture):
        text = f"{name} {_number(limit, picture.unit)}"
        if low <= limit <= high:
            axes.axhline(limit, color=colour, linewidth=1.2, linestyle=dashes, zorder=2)
            yield _Label((limit - low) / (high - low), text, colour)
        elif limit > high:
            yield _Label(1.0, f"{text} ↑", colour)
        else:
            yield _Label(0.0, f"{text} ↓", colour)


def _beside(axes: Axes, labels: list[_Label]) -> None:
    """Labels at the right, at their heights as far as they do not lie on each other."""
    ordered = sorted(labels, key=lambda label: (label.at, label.text))
    heights = [label.at for label in ordered]
    for _ in range(50):
        crowded = False
        for index in range(len(heights) - 1):
            lacking = _APART - (heights[index + 1] - heights[index])
            if lacking > 1e-6:
                heights[index] -= lacking / 2
                heights[index + 1] += lacking / 2
                crowded = True
        if not crowded:
            break
    for label, at in zip(ordered, heights, strict=True):
        weight = "bold" if label.bold else "normal"
        axes.text(
            1.018,
            at,
            label.text,
            transform=axes.transAxes,
            color=label.colour,
            va="center",
            fontproperties=_font(9.5 if label.bold else 8.5, weight),
            parse_math=False,
        )


def _happened(axes: Axes, picture: Picture, began: datetime, ended: datetime) -> None:
    """An upright line for each deployment and switch of that time, the newest ones, named above it in two rows."""
    marks = sorted((mark for mark in picture.marks if began <= mark.at <= ended), key=lambda mark: mark.at)
    span = (ended - began).total_seconds()
    for number, mark in enumerate(marks[-_MOST_MARKS:]):
        at = mark.at.timestamp()
        axes.axvline(at, color=_HAPPENED, linewidth=1.1, linestyle=(0, (4, 2, 1, 2)), zorder=1)
        share = (at - began.timestamp()) / span
        _text(
            axes,
            at,
            1.025 if number % 2 == 0 else 1.095,
            f"▼ {mark.label}" if share < 0.75 else f"{mark.label} ▼",
            longest=_LONGEST_LABEL,
            size=8,
            color=_HAPPENED,
            ha="left" if share < 0.75 else "right",
            transform=axes.get_xaxis_transform(),
        )


def _number(value: float, unit: Unit) -> str:
    return format_quantity(value, unit)


def _text(
    place: Axes | Figure,
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    longest: int = _LONGEST_TITLE,
    **how: Any,
) -> None:
    weight = how.pop("weight", "normal")
    how.setdefault("color", _INK)
    place.text(x, y, _written(text, longest), fontproperties=_font(size, weight), parse_math=False, **how)


def _written(text: str, longest: int) -> str:
    """One line of what the font has, cut to so many characters."""
    known = _known()
    plain = " ".join(unicodedata.normalize("NFC", text).split())
    kept = "".join(one if ord(one) in known else "?" for one in plain if not unicodedata.combining(one))
    return kept if len(kept) <= longest else kept[: longest - 1] + "…"


@lru_cache(maxsize=1)
def _known() -> frozenset[int]:
    return frozenset(get_font(str(_file("normal"))).get_charmap())


@lru_cache(maxsize=32)
def _font(size: float, weight: str = "normal") -> FontProperties:
    """The font that comes with matplotlib, so that a chart looks the same on every machine."""
    return FontProperties(fname=_file(weight), size=size)


def _file(weight: str) -> Path:
    name = "DejaVuSans-Bold.ttf" if weight == "bold" else "DejaVuSans.ttf"
    return Path(get_data_path()) / "fonts" / "ttf" / name
