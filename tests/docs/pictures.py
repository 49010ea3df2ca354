"""`python -m tests.docs.pictures`: draws the pictures of docs/pictures anew: a chart, and pages in a real browser.

What they show comes from the code that draws and words: the made-up hour of `doctor --send-test`, and the message of an
opened incident that the golden files have, too. What a back-test says is that of a made-up week.
"""

from __future__ import annotations

import asyncio
import base64
import io
import random
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import numpy as np
from PIL import Image

from tests.docs.pages import ROOT
from tests.eventually import eventually
from tests.servers.chromium import Chromium
from watchdog.channels.rendering import Rendering
from watchdog.channels.specimens import NOW, specimens
from watchdog.charts.draw import draw
from watchdog.charts.picture import Mark, sample
from watchdog.core.message import MessageKind
from watchdog.core.rule import Evidence, Ratio, Rule, Thresholds, Unit
from watchdog.engine.charting import picture_of
from watchdog.engine.history import Point
from watchdog.lab.backtest import Stretch, Subject, check
from watchdog.lab.report import Report
from watchdog.lab.report_html import html_of
from watchdog.lab.track import Track

FOLDER = ROOT / "docs/pictures"
#: The largest picture in bytes: pages are read on telephones, too.
LARGEST = 150_000
#: The window of the mail program in points, and pixels for each.
_WIDTH, _SCALE = 700, 1.5
_WIDE = 1000


def chart() -> bytes:
    """The chart of `doctor --send-test`."""
    return draw(sample())


def mail_page() -> str:
    """The mail of an opened incident as a page of its own, its chart in it."""
    message = specimens()[MessageKind.INCIDENT_OPENED]
    evidence = message.evidence
    assert evidence is not None
    picture = picture_of(evidence, _half_an_hour(), marks=(_DEPLOYED,))
    png = base64.b64encode(draw(picture)).decode()
    html = Rendering().of(message, chart=True).html
    assert html.count("cid:chart") == 1
    return html.replace("cid:chart", f"data:image/png;base64,{png}")


def backtest_page() -> str:
    """What a back-test says of a made-up week: a bad deployment, a silence, and one sample that was bad by chance."""
    rng = np.random.default_rng(1)
    count = 7 * 2880
    events = np.full(count, 600.0)
    share = np.full(count, 0.0017)
    share[12_000:12_080] = 0.12
    bad = rng.binomial(600, share).astype(np.float64)
    bad[5_000] = 25.0
    events[16_000:16_400] = bad[16_000:16_400] = np.nan
    week = Track(
        name="trips",
        times=_WEEK_BEGAN + 30.0 * np.arange(count, dtype=np.float64),
        values=bad / events,
        step=30.0,
        events=events,
        bad=bad,
    )
    rule = Rule(
        name="error-rate",
        summary="share of requests answered 5xx",
        form=Ratio(bad="bad", total="total"),
        unit=Unit.RATIO,
        thresholds=Thresholds(warning=0.005, critical=0.01, rollback=0.015),
        evidence=Evidence(),
    )
    deployments = tuple(_WEEK_BEGAN + 30.0 * at for at in (3_000, 11_970))
    told = check(
        Subject(service="trips", rule=rule, stretches=(Stretch(track=week),), deployments=deployments)
    )
    return html_of(Report(made_at=NOW, checks=(told,)))


_WEEK_BEGAN = 1_769_212_800.0
_DEPLOYED = Mark(at=NOW - timedelta(seconds=75), label="v1.4.2 deployed")


def _half_an_hour() -> tuple[Point, ...]:
    """Well, until a deployment: what the specimen's words and numbers say."""
    rng = random.Random(1)
    quiet = [
        (NOW - timedelta(seconds=seconds), 0.002 + 0.0015 * rng.random()) for seconds in range(1800, 60, -15)
    ]
    bad = [(50, 0.004), (42, 0.019), (34, 0.047), (26, 0.068), (18, 0.079), (10, 0.081), (2, 0.0825)]
    return (*quiet, *((NOW - timedelta(seconds=seconds), value) for seconds, value in bad))


async def mail(folder: Path) -> bytes:
    """The mail as a browser shows it. Needs Chromium."""
    ready = "document.readyState === 'complete' && document.images[0]?.complete"
    return await _shot(folder, mail_page(), ready, width=_WIDTH)


async def backtest(folder: Path) -> bytes:
    """The report of a back-test as a browser shows it. Needs Chromium."""
    return await _shot(folder, backtest_page(), "document.readyState === 'complete'", width=_WIDE)


async def _shot(folder: Path, html: str, ready: str, *, width: int) -> bytes:
    page_file = folder / "page.html"
    page_file.write_text(html, encoding="utf-8")
    with Chromium(folder) as browser:
        async with browser.page(page_file.as_uri()) as page:
            await page.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=600,
                deviceScaleFactor=_SCALE,
                mobile=False,
            )
            await eventually(lambda: page.run(ready), within=20.0, what="the whole page")
            height = await page.run("document.documentElement.scrollHeight")
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            shot = await page.call(
                "Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True
            )
    return _smaller(base64.b64decode(shot["data"]))


def _smaller(png: bytes) -> bytes:
    out = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(192, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        out, "png", optimize=True
    )
    return out.getvalue()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        made = {
            "backtest.png": asyncio.run(backtest(Path(folder))),
            "chart.png": chart(),
            "email.png": asyncio.run(mail(Path(folder))),
        }
    for name, png in made.items():
        (FOLDER / name).write_bytes(png)
        sys.stdout.write(f"docs/pictures/{name} written, {len(png)} bytes\n")


if __name__ == "__main__":
    main()
