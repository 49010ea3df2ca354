"""Series in their compact notation: what each item stands for, and where a mistake is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchdog.core.rule import Unit
from watchdog.lab.notation import MOST_SAMPLES, Drawn, Form, NotationError, drawn

RATIO = Form(unit=Unit.RATIO, ratio=True)
SECONDS = Form(unit=Unit.SECONDS)
PROBE = Form(probe=True)


def values(text: str, form: Form = RATIO) -> list[float | str | None]:
    """Values, `None` for no data, `error` for a failed question."""
    return ["error" if one.failed else one.value for one in drawn(text, form)]


def test_every_form_of_the_issue_is_read_together() -> None:
    found = values("0.01 x5, 0.08 x4, none x2, error x1, 0.01+0.005 x10")
    steps = [0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.045, 0.05, 0.055]
    assert found == [0.01] * 5 + [0.08] * 4 + [None] * 2 + ["error"] + steps


@given(st.integers(1, 2000))
def test_x_n_is_exactly_n_samples(times: int) -> None:
    assert len(drawn(f"0.5 x{times}, none x{times}, 0+0.1 x{times}", RATIO)) == 3 * times


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("1%", RATIO, [0.01]),
        ("1%x3", RATIO, [0.01] * 3),
        ("0x2", RATIO, [0.0, 0.0]),
        ("1% - 0.1% x3", RATIO, [0.01, 0.009, 0.008]),
        ("1e-3+1e-3 x2", RATIO, [0.001, 0.002]),
        ("-5 x2", Form(), [-5.0, -5.0]),
        ("-5--5", Form(), None),
        ("500ms+250ms x3", SECONDS, [0.5, 0.75, 1.0]),
        ("2s-500ms x2", SECONDS, [2.0, 1.5]),
        ("5k", Form(unit=Unit.COUNT), [5000.0]),
        ("1Mi+1Mi x2", Form(unit=Unit.BYTES), [2.0**20, 2.0**21]),
        ("ok x2, fail, none, error", PROBE, [1.0, 1.0, 0.0, None, "error"]),
        (" 0.1 ,0.2x2 ", RATIO, [0.1, 0.2, 0.2]),
    ],
)
def test_numbers_steps_units_and_answers(text: str, form: Form, expected: list[object] | None) -> None:
    if expected is None:
        with pytest.raises(NotationError):
            drawn(text, form)
    else:
        assert values(text, form) == expected


def test_bad_of_total_is_a_ratio_of_so_many_events() -> None:
    assert drawn("12/400 x2, 0/50", RATIO) == (Drawn(0.03, 400.0), Drawn(0.03, 400.0), Drawn(0.0, 50.0))


def test_bad_of_nothing_is_no_data() -> None:
    assert drawn("0/0", RATIO) == (Drawn(),)


@pytest.mark.parametrize(
    ("text", "form", "offset", "words"),
    [
        ("", RATIO, 0, "a sample is missing here"),
        ("0.1,,0.2", RATIO, 4, "a sample is missing here"),
        ("0.1,", RATIO, 3, "a sample is missing here"),
        ("0.1, noen x3", RATIO, 5, "'noen' is no sample; did you mean 'none'?"),
        ("0.1, nan", RATIO, 5, "did you mean 'none'?"),
        ("0.1 x", RATIO, 4, "'x' with nothing behind it is no count"),
        ("0.1 x0", RATIO, 4, "'x0' is no sample at all"),
        ("0.1 x2.5", RATIO, 4, "'x2.5' is no count"),
        ("0.1 x-3", RATIO, 4, "'x-3' is no count"),
        ("x5", RATIO, 0, "a sample is missing before 'x5'"),
        ("0.1, 500ms x2", RATIO, 5, "'500ms' has ms, which does not fit unit ratio"),
        ("0.1+500ms x2", RATIO, 4, "'500ms' has ms, which does not fit unit ratio"),
        ("5/4", RATIO, 0, "more bad events than there are"),
        ("5/40", SECONDS, 0, "this rule is none"),
        ("ok", RATIO, 0, "this rule is no probe"),
        ("ok, 0.5", PROBE, 4, "'0.5' is no sample"),
        ("okay", PROBE, 0, "did you mean 'ok'?"),
        ("0.1 x5 x3", RATIO, 0, "is no sample"),
        ("0.1 0.2", RATIO, 0, "is no sample"),
    ],
)
def test_a_mistake_says_where_it_is(text: str, form: Form, offset: int, words: str) -> None:
    with pytest.raises(NotationError) as caught:
        drawn(text, form)
    assert words in str(caught.value)
    assert caught.value.offset == offset


@pytest.mark.parametrize("text", [f"0.1 x{MOST_SAMPLES + 1}", "0.1 x999999999", "0.1 x60000, 0.2 x60000"])
def test_more_samples_than_any_test_may_have_are_refused_before_they_are_made(text: str) -> None:
    with pytest.raises(NotationError, match="too many samples: a test may have 100000"):
        drawn(text, RATIO)


def test_as_many_samples_as_a_test_may_have_are_made() -> None:
    assert len(drawn(f"0.1+0.1 x{MOST_SAMPLES}", RATIO)) == MOST_SAMPLES


@given(st.text(max_size=40))
def test_no_text_is_anything_but_samples_or_a_mistake_within_it(text: str) -> None:
    assert all(0 <= mistake(text, form) <= len(text) for form in (RATIO, SECONDS, PROBE))


def mistake(text: str, form: Form) -> int:
    """Where the mistake is; 0 when there is none, and there are samples."""
    try:
        return 0 if drawn(text, form) else -1
    except NotationError as fault:
        return fault.offset
