from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchdog.channels.cutting import cut

FAMILY, FLAG, WAVE, ACCENT = "👨‍👩‍👧", "🇩🇪", "👋🏽", "e\u0301"


@given(st.text(max_size=60), st.integers(min_value=-2, max_value=70), st.sampled_from(["…", "...", ""]))
def test_never_more_than_was_asked_for_and_nothing_made_up(text: str, limit: int, mark: str) -> None:
    made = cut(text, limit, mark=mark)
    assert len(made) <= max(limit, 0) or made == text
    if len(text) <= limit:
        assert made == text
    elif limit > len(mark):
        assert made.endswith(mark)
        assert text.startswith(made.removesuffix(mark))


@pytest.mark.parametrize("sign", [FAMILY, FLAG, WAVE, ACCENT], ids=["family", "flag", "wave", "accent"])
def test_no_cut_goes_through_what_people_see_as_one_sign(sign: str) -> None:
    text = f"ok {sign} and more"
    for limit in range(4, len(text)):
        kept = cut(text, limit).removesuffix("…").rstrip()
        assert kept in {"ok", f"ok {sign}"} or kept.startswith(f"ok {sign} "), limit


def test_what_has_no_place_to_cut_is_cut_anywhere() -> None:
    assert len(cut("a" + "\u0301" * 200, 50)) == 50
