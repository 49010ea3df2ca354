"""The page about rules says the numbers of what is usual as they are in the code."""

from __future__ import annotations

from statistics import NormalDist

from tests.docs.pages import ROOT
from watchdog.core.baseline import LEAST_SAMPLES, USUAL_FLOOR, USUAL_OVER, USUAL_POINTS, USUAL_QUANTILE
from watchdog.core.two_samples import TwoSample, certain_from


def test_the_page_about_rules_says_how_what_is_usual_is_computed() -> None:
    page = " ".join((ROOT / "docs/rules.md").read_text().split())

    assert (
        f"that of up to {USUAL_POINTS} values over the time `over` (1h to 60d, {USUAL_OVER.days}d if" in page
    )
    assert f"their quantile {USUAL_QUANTILE} (with `below` {1 - USUAL_QUANTILE:g})" in page
    assert f"divided by {NormalDist().inv_cdf(USUAL_QUANTILE):.3f}".rstrip("0") in page
    assert f"at least {USUAL_FLOOR * 100:g} % of the median" in page
    assert f"but at least {LEAST_SAMPLES} others must be there" in page
    assert f"never {1 / USUAL_FLOOR:.2g} deviations below" in page


def test_the_page_about_rules_says_how_few_values_are_too_few() -> None:
    page = " ".join((ROOT / "docs/rules.md").read_text().split())
    assert f"(fewer than {certain_from(TwoSample().confidence)} for 99 %)" in page
