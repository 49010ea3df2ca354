from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.docs.pages import ROOT
from tests.docs.pictures import FOLDER, LARGEST, backtest, chart, mail

ANEW = "`python -m tests.docs.pictures` draws them anew"
_PAGES = (ROOT / "docs/how-to/notifications.md", ROOT / "docs/how-to/backtest.md")
_SHOWN = re.compile(r"!\[([^\]]*)\]\(([^)]+\.png)\)")
#: How far pictures may be apart that show the same (mean of 0 to 255): fonts of a browser differ between machines.
_CHART, _MAIL = 1.0, 9.0


def coarse(png: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """What is seen from afar: where there is much ink, and of which colour."""
    image = Image.open(io.BytesIO(png)).convert("RGB").resize((24, 24), Image.Resampling.BOX)
    return np.asarray(image).astype(np.float64)


def apart(made: bytes, kept: bytes) -> float:
    ours, theirs = Image.open(io.BytesIO(made)), Image.open(io.BytesIO(kept))
    assert ours.width == theirs.width
    assert abs(ours.height - theirs.height) <= 0.2 * theirs.height
    return float(np.abs(coarse(made) - coarse(kept)).mean())


def test_pictures_are_small_and_each_is_shown_with_words_that_say_the_same() -> None:
    files = sorted(FOLDER.iterdir())
    assert [file.name for file in files] == ["backtest.png", "chart.png", "email.png"]
    shown = {
        (page.parent / target).resolve(): said
        for page in _PAGES
        for said, target in _SHOWN.findall(page.read_text())
    }
    for file in files:
        assert file.stat().st_size <= LARGEST
        assert file.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert len(shown[file.resolve()]) > 40


def test_the_chart_is_drawn_as_it_is_shown() -> None:
    assert apart(chart(), (FOLDER / "chart.png").read_bytes()) <= _CHART, ANEW


@pytest.mark.timeout(90)
async def test_the_mail_looks_as_it_is_shown(tmp_path: Path) -> None:
    assert apart(await mail(tmp_path), (FOLDER / "email.png").read_bytes()) <= _MAIL, ANEW


@pytest.mark.timeout(90)
async def test_the_report_looks_as_it_is_shown(tmp_path: Path) -> None:
    assert apart(await backtest(tmp_path), (FOLDER / "backtest.png").read_bytes()) <= _MAIL, ANEW


def test_another_picture_is_not_taken_for_the_same() -> None:
    for name, far in (("chart.png", _CHART), ("email.png", _MAIL), ("backtest.png", _MAIL)):
        kept = (FOLDER / name).read_bytes()
        image = Image.open(io.BytesIO(kept)).convert("RGB")
        for other in (
            Image.new("RGB", image.size, "black"),
            image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        ):
            made = io.BytesIO()
            other.save(made, "png")
            assert apart(made.getvalue(), kept) > far
