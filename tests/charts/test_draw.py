from __future__ import annotations

import io
import itertools
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text
from msgspec.structs import replace
from PIL import Image

from watchdog.charts.draw import draw, figure_of
from watchdog.charts.picture import LARGEST, Mark, Picture, sample
from watchdog.core.rule import Direction, Unit

pytestmark = pytest.mark.timeout(120)

_NOW = datetime(2026, 11, 21, 14, 30, tzinfo=UTC)
_VALUE, _WARNING, _CRITICAL, _ROLLBACK = (0, 114, 178), (176, 125, 0), (213, 94, 0), (163, 25, 91)


def pixels(png: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.int16)


def places_of(png: bytes, colour: tuple[int, int, int], *, within: int = 12) -> tuple[list[int], list[int]]:
    """Rows and columns of the pixels of about that colour."""
    close = np.abs(pixels(png) - np.array(colour)).max(axis=2) <= within
    rows, columns = np.nonzero(close)
    return rows.tolist(), columns.tolist()


def of_text(figure: Figure) -> list[Text]:
    found: list[Text] = figure.findobj(Text)
    return found


def texts(figure: Figure) -> list[str]:
    found = [str(one.get_text()) for one in of_text(figure)]
    return [text for text in found if text]


def line(values: Sequence[float | None], **changes: object) -> Picture:
    begin = _NOW - timedelta(minutes=len(values) - 1)
    points = tuple((begin + timedelta(minutes=number), value) for number, value in enumerate(values))
    return replace(Picture(title="trips", unit=Unit.NONE, points=points), **changes)


def test_a_chart_is_a_small_png_of_twice_720_by_320_pixels_on_white_paper() -> None:
    png = draw(sample())
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    assert image.size == (1440, 640)
    assert len(png) <= LARGEST
    assert image.mode == "P", "nothing shows through in a dark mail program"
    assert "transparency" not in image.info
    assert (pixels(png)[60:110, 700:900] >= 250).all()


def test_equal_pictures_give_equal_pixels() -> None:
    assert (pixels(draw(sample())) == pixels(draw(sample()))).all()


def test_other_values_give_another_picture() -> None:
    other = replace(sample(), points=tuple((at, 0.001) for at, _ in sample().points))
    assert not (pixels(draw(sample())) == pixels(draw(other))).all()


def test_each_threshold_has_a_line_at_its_height_and_a_label_in_the_unit_of_the_rule() -> None:
    picture = line([0.2, 0.3], unit=Unit.SECONDS, warning=0.5, critical=0.85, rollback=1.2)
    png = draw(picture)
    heights = [np.median(places_of(png, colour)[0]) for colour in (_WARNING, _CRITICAL, _ROLLBACK)]
    assert heights == sorted(heights, reverse=True)
    shown = texts(figure_of(picture))
    assert {"warning 500ms", "critical 850ms", "rollback 1.2s"} <= set(shown)
    assert "300ms" in shown, "the newest value is named"


@pytest.mark.parametrize(
    ("unit", "value", "said"),
    [
        (Unit.RATIO, 0.012, "critical 1.2%"),
        (Unit.BYTES, 500 * 2.0**20, "critical 500Mi"),
        (Unit.COUNT, 3.0, "critical 3"),
        (Unit.NONE, 0.5, "critical 0.5"),
    ],
)
def test_labels_read_in_the_unit_of_the_rule(unit: Unit, value: float, said: str) -> None:
    assert said in texts(figure_of(line([value, value / 2, value * 1.1], unit=unit, critical=value)))


def test_a_threshold_that_is_not_set_is_not_drawn() -> None:
    png = draw(line([0.2, 0.3], critical=0.5))
    assert places_of(png, _CRITICAL)[0]
    assert not places_of(png, _ROLLBACK)[0]


def test_a_threshold_far_away_is_told_and_does_not_press_the_line_flat() -> None:
    picture = line([0.2, 0.5], warning=0.4, rollback=50.0)
    assert "rollback 50 ↑" in texts(figure_of(picture))
    rows, _ = places_of(draw(picture), _VALUE)
    assert max(rows) - min(rows) > 150
    below = line([0.99, 0.995], direction=Direction.BELOW, warning=0.992, rollback=0.1)
    assert "rollback 0.1 ↓" in texts(figure_of(below))


def test_labels_do_not_lie_on_each_other() -> None:
    figure = figure_of(line([1.0, 1.01], warning=1.0, critical=1.01, rollback=1.02))
    beside = [one for one in of_text(figure) if one.get_position()[0] == 1.018]
    heights = sorted(one.get_position()[1] for one in beside)
    assert len(heights) == 4
    assert all(upper - lower > 0.08 for lower, upper in itertools.pairwise(heights))


def test_a_gap_is_a_gap() -> None:
    some = [0.0, 1.0] * 5
    whole, broken = line([*some, *[0.5] * 11, *some]), line([*some, *[None] * 11, *some])
    _, columns = places_of(draw(broken), _VALUE)
    middle = [column for column in columns if 560 < column < 760]
    assert not middle
    assert [column for column in places_of(draw(whole), _VALUE)[1] if 560 < column < 760]


def test_a_value_between_two_gaps_is_seen() -> None:
    _, columns = places_of(draw(line([None, 1.0, None, None, 2.0])), _VALUE)
    assert [column for column in columns if column < 500]


@pytest.mark.parametrize("direction", [Direction.ABOVE, Direction.BELOW])
def test_only_what_is_beyond_the_mildest_threshold_is_shaded(direction: Direction) -> None:
    png = draw(line([1.0] * 10 + [3.0] * 10, warning=2.0, direction=direction))
    _, shaded = places_of(png, (246, 220, 199), within=14)
    right = sum(column > 700 for column in shaded)
    assert (right > len(shaded) * 0.9) == (direction is Direction.ABOVE)
    assert len(shaded) > 5000


def test_deployments_and_switches_are_marked_and_named() -> None:
    shown = texts(figure_of(sample()))
    assert any("v2 deployed" in text for text in shown)
    assert any("back to v1" in text for text in shown)
    outside = Mark(at=_NOW - timedelta(days=1), label="long ago")
    assert not any("long ago" in text for text in texts(figure_of(replace(sample(), marks=(outside,)))))


def test_times_are_utc_whatever_zone_they_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    time.tzset()
    try:
        shown = texts(figure_of(sample()))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert "14:00" in shown
    assert "2026-11-21 UTC" in shown


def test_text_from_outside_is_text() -> None:
    title = "$\\frac{1}{0}$ \n\t<b>\U0001f525 " + "x" * 10_000
    picture = replace(sample(), title=title, marks=(Mark(at=_NOW, label="$\\bad$"),))
    draw(picture)
    shown = max(texts(figure_of(picture)), key=len)
    assert shown.startswith("$\\frac{1}{0}$ <b>? xxx")
    assert len(shown) == 78
    assert shown.endswith("…")


def test_without_any_value_there_is_no_chart() -> None:
    for values in ([], [None, None], [float("nan"), float("inf")]):
        with pytest.raises(ValueError, match="no value"):
            draw(line(values))


_NUMBERS = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=15, deadline=None)
@given(
    values=st.lists(_NUMBERS, max_size=30),
    limits=st.tuples(_NUMBERS, _NUMBERS, _NUMBERS),
    unit=st.sampled_from(Unit),
    direction=st.sampled_from(Direction),
    title=st.text(max_size=100),
)
def test_whatever_was_measured_gives_a_chart_or_a_reason(
    values: list[float | None],
    limits: tuple[float | None, float | None, float | None],
    unit: Unit,
    direction: Direction,
    title: str,
) -> None:
    picture = line(values, unit=unit, direction=direction, title=title)
    picture = replace(picture, warning=limits[0], critical=limits[1], rollback=limits[2])
    try:
        png = draw(picture)
    except ValueError:
        return
    assert len(png) <= LARGEST
