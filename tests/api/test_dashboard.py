"""The dashboard in a real browser, over the scripted daemon; and what its three files must never contain."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from msgspec.structs import replace

from tests.api.conftest import Serve
from tests.api.daemon import BROKEN, HOTELS, NOW, ROLLED, TRIPS, Daemon
from tests.eventually import Eventually
from tests.servers.chromium import Chromium, Page
from tests.servers.process import ROOT
from watchdog.api.dashboard import MEDIA_TYPES
from watchdog.channels.rendering import NAMES
from watchdog.channels.specimens import specimens
from watchdog.config.loaded import Server
from watchdog.core.message import MessageKind
from watchdog.core.rollback import Veto
from watchdog.core.traffic import TrafficState, VariantState
from watchdog.core.turn import Pause
from watchdog.core.view import SourceView
from watchdog.core.wording import linked

pytestmark = pytest.mark.timeout(60)

OPEN = Server(port=0)
FILES = {"/": "dashboard.html", "/dashboard.js": "dashboard.js", "/dashboard.css": "dashboard.css"}
EVIL = "<img src=x onerror=\"window.pwned='yes'\"><script>window.pwned='yes'</script>"
#: The smallest ratio of a text's brightness to its ground's, over all texts (WCAG 2, 1.4.3).
CONTRAST = """(() => {
  const light = (rgb) => rgb.map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const found = parse(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found.slice(0, 3);
    }
    return [255, 255, 255];
  };
  let worst = 99;
  for (const node of document.querySelectorAll("main *, header *")) {
    if (![...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim())) continue;
    if (!node.offsetParent) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color).slice(0, 3)), light(ground(node))];
    worst = Math.min(worst, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return worst;
})()"""


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Chromium]:
    with Chromium(tmp_path) as browser:
        yield browser


async def shows(eventually: Eventually, page: Page, words: str, *, selector: str = "body") -> None:
    async def there() -> bool:
        return words in await page.text(selector)

    await eventually(there, within=20, what=f"{words!r} on the page")


# The files


@pytest.mark.parametrize(("path", "name"), FILES.items())
async def test_the_files_are_served_to_everybody_and_may_do_nothing_else(
    serve: Serve, anybody: aiohttp.ClientSession, path: str, name: str
) -> None:
    url = await serve()
    async with anybody.get(url + path) as answer:
        assert answer.status == 200
        assert answer.content_type == MEDIA_TYPES[name]
        assert await answer.read() == (ROOT / "watchdog" / "api" / name).read_bytes()
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    async with anybody.head(url + path) as answer:
        assert answer.status == 200


def test_the_files_hold_no_inline_script_and_nothing_of_other_places() -> None:
    texts = {name: (ROOT / "watchdog" / "api" / name).read_text() for name in MEDIA_TYPES}
    for text in texts.values():
        assert not re.search(r"https?://|//[a-z]+\.", text)
    page = texts["dashboard.html"]
    assert re.findall(r"<script(.*?)</script>", page) == [' src="dashboard.js" defer>']
    assert not re.search(r"\son\w+=|\sstyle=|javascript:", page)
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "localStorage",
    ):
        assert forbidden not in texts["dashboard.js"]


def test_the_wheel_has_the_files(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=50,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"watchdog/api/{name}" for name in MEDIA_TYPES} <= names
    assert {f"watchdog/channels/templates/{name}.j2" for name in NAMES} <= names


# In a browser


async def test_everything_that_matters_stands_on_the_page(
    serve: Serve, daemon: Daemon, chromium: Chromium, eventually: Eventually
) -> None:
    assert daemon.shown is not None
    down = SourceView(name="prometheus", up=False, error="connection refused", failing_since=NOW)
    daemon.shown = replace(daemon.shown, paused_by_file=True, sources={"prometheus": down})
    async with chromium.page(await serve(OPEN) + "/") as page:
        await shows(eventually, page, "trips", selector="#services")
        services = await page.text("#services")
        for words in (
            "critical",
            "production",
            "green: v2, 2 of 2 ready",
            "100",
            "blue: v1, 1 of 1 ready",
            "Paused by ana: load test",
            "Rollback in progress: v2 on green → v1 on blue: applied",
            "A rollback would work: to v1 on blue.",
            "hotels",
            "unknown",
            "A rollback would not work: mode: hotels is only observed.",
        ):
            assert words in services
        incidents = await page.text("#incidents")
        assert "trips: error-rate 20% beyond 1.5%" in incidents
        assert "since 2026-03-14 15:09:26 UTC" in incidents
        assert "nobody has acknowledged it" in incidents
        notices = await page.text("#notices")
        assert "Source prometheus is down since 2026-03-14 15:09:26 UTC: connection refused" in notices
        assert "the pause file stops every automatic rollback" in notices
        assert "error-rate beyond rollback" in await page.text("#rollbacks")
        assert "service=trips" in await page.text("#silences")
        assert await page.text("#summary") == "2 services, 2 not ok; 1 open incident; version 0.1.0"
        assert page.complaints == []


async def test_a_message_s_link_leads_to_its_incident(
    serve: Serve, daemon: Daemon, chromium: Chromium, eventually: Eventually
) -> None:
    """`watchdog.core.wording.linked` makes such links."""
    assert daemon.shown is not None
    url = await serve(OPEN)
    known = linked(specimens()[MessageKind.INCIDENT_OPENED], url).dashboard or ""
    assert known.endswith("/#incident=inc-245e0dc489")
    identity = next(iter(daemon.shown.services["trips"].incidents))
    async with chromium.page(known.replace("inc-245e0dc489", identity)) as page:
        await shows(eventually, page, identity, selector=".linked")
        assert "not open any more" not in await page.text("body")
    async with chromium.page(f"{url}/#incident={quote(EVIL)}") as page:
        await shows(eventually, page, f"Incident {EVIL} is not open any more", selector="#notices")
        assert await page.run("window.pwned") is None
        assert page.complaints == []


async def test_what_changes_is_shown_without_a_reload(
    serve: Serve, daemon: Daemon, chromium: Chromium, eventually: Eventually
) -> None:
    async with chromium.page(await serve(OPEN) + "/") as page:
        await shows(eventually, page, "Paused by ana", selector="#services")
        assert daemon.shown is not None
        daemon.shown = replace(daemon.shown, services={"hotels": replace(HOTELS, paused=None)})
        await shows(eventually, page, "1 services, 1 not ok", selector="#summary")
        assert "trips" not in await page.text("#services")


async def test_what_others_wrote_is_text_and_nothing_else(
    serve: Serve, daemon: Daemon, chromium: Chromium, eventually: Eventually
) -> None:
    evil = replace(
        TRIPS,
        name=EVIL,
        environment=EVIL,
        labels={"team": EVIL},
        paused=Pause(by=EVIL, at=NOW, reason=EVIL),
        traffic=TrafficState(
            variants={EVIL: VariantState(weight=100, version=EVIL, note=EVIL)}, revision="1", read_at=NOW
        ),
        traffic_error=EVIL,
        rollback_ready=False,
        not_ready=(Veto(guard=EVIL, reason=EVIL, detail=EVIL),),
    )
    assert daemon.shown is not None
    daemon.shown = replace(daemon.shown, services={"evil": evil}, breaker=EVIL)
    daemon.rolled = (replace(ROLLED, reason=EVIL, from_version=EVIL, service=EVIL),)
    async with chromium.page(await serve(OPEN) + "/") as page:
        await shows(eventually, page, "onerror", selector="#services")
        await shows(eventually, page, "onerror", selector="#rollbacks")
        await shows(eventually, page, "onerror", selector="#notices")
        assert await page.run("document.querySelectorAll('img, main script').length") == 0
        assert await page.run("window.pwned") is None
        assert page.complaints == []


async def test_a_token_is_asked_for_and_stays_in_the_tab(
    serve: Serve, chromium: Chromium, eventually: Eventually
) -> None:
    async def enter(token: str) -> None:
        await page.run(f"document.getElementById('token').value = '{token}'")
        await page.run("document.querySelector('#ask button').click()")

    async with chromium.page(await serve() + "/") as page:
        await shows(eventually, page, "This daemon wants a token")
        assert "trips" not in await page.text()
        await enter("nonsense")
        await shows(eventually, page, "The daemon does not know this token.", selector="#trouble")
        await enter("viewer-token")
        await shows(eventually, page, "trips", selector="#services")
        assert "wants a token" not in await page.text()
        assert "viewer-token" not in str(await page.run("document.documentElement.outerHTML + location.href"))
        await page.call("Page.reload")
        await shows(eventually, page, "trips", selector="#services")
        await page.run("document.getElementById('forget').click()")
        await shows(eventually, page, "This daemon wants a token")
        assert await page.run("sessionStorage.length + localStorage.length + document.cookie.length") == 0


async def test_a_daemon_that_cannot_be_reached_is_said_with_since_when(
    serve: Serve, chromium: Chromium, eventually: Eventually
) -> None:
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    async with chromium.page(await serve(OPEN) + "/") as page:
        await shows(eventually, page, "trips", selector="#services")
        await page.call("Network.emulateNetworkConditions", **offline)
        await shows(eventually, page, "The daemon is unreachable since 20", selector="#trouble")
        assert "What is shown is of 20" in await page.text("#trouble")
        assert "trips" in await page.text("#services")
        await page.call("Network.emulateNetworkConditions", **{**offline, "offline": False})
        await eventually(lambda: hidden(page), within=30, what="no trouble any more")


async def hidden(page: Page) -> bool:
    return await page.text("#trouble") == ""


async def test_a_failing_store_is_said_as_the_daemon_says_it(
    serve: Serve, daemon: Daemon, chromium: Chromium, eventually: Eventually
) -> None:
    async with chromium.page(await serve(OPEN) + "/") as page:
        await shows(eventually, page, "trips", selector="#services")
        daemon.fault = BROKEN
        await shows(eventually, page, "The daemon answers 503 since", selector="#trouble")
        assert "the disk is full; free some space" in await page.text("#trouble")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_it_can_be_read_on_a_phone_by_day_and_by_night(
    serve: Serve, daemon: Daemon, chromium: Chromium, eventually: Eventually, scheme: str, width: int
) -> None:
    assert daemon.shown is not None
    long = replace(TRIPS, labels={"team": "x" * 190})
    daemon.shown = replace(daemon.shown, services={"trips": long, "hotels": HOTELS}, paused_by_file=True)
    async with chromium.page(await serve(OPEN) + "/") as page:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        await page.call("Emulation.setDeviceMetricsOverride", **size)
        await page.call(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        await shows(eventually, page, "trips", selector="#services")
        assert await page.run("document.documentElement.scrollWidth") <= width
        ground = await page.run("getComputedStyle(document.body).backgroundColor")
        assert (sum(int(part) for part in re.findall(r"\d+", ground)[:3]) > 380) == (scheme == "light")
        assert await page.run(CONTRAST) >= 4.5
