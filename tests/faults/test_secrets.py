"""Every secret of a configuration is a canary, every server throws it back, and it is looked for in all that leaves.

One daemon, one story: a source, a probe, a channel and a switch that repeat in their errors what they were sent, a
rollback, a file that is misspelt, a person's questions. What is written, sent, answered and printed on the way holds
no canary.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from tests.channels.fake_pagerduty import API_TOKEN, ROUTING_KEY, FakePagerDuty, pagerduty
from tests.channels.mail_server import MailServer, mail_serving
from tests.e2e.daemon import TOKEN
from tests.e2e.people import SECRET
from tests.eventually import eventually
from tests.faults.fake_prometheus import FakePrometheus
from tests.faults.fleet import Fleet
from tests.servers.certificates import Certificate
from tests.servers.raw import RawRequest, RawServer, packed
from watchdog.telemetry.redact import MASK

pytestmark = pytest.mark.timeout(120)

BEARER, PASSWORD, TENANT = "canary-1f0a-bearer", "canary-2e1b-password", "canary-3d2c-tenant"
PROBE, HOOK, SWITCH = "canary-4c3d-probe", "canary-5b4e-hook", "canary-6a5f-switch"
VIEWER = "canary-7960-viewer-token"
SMS, TEAMS, MAIL = "canary-8a6d-sms-token", "canary-9b5c-teams-signature", "canary-ac4b-mail-password"
NUMBER = "+12025550111"
BEAT = "canary-bd3a-heartbeat"
CANARIES = (
    *(BEARER, PASSWORD, TENANT, PROBE, HOOK, SWITCH, VIEWER, TOKEN, SECRET, SMS, TEAMS, MAIL, NUMBER),
    *(ROUTING_KEY, API_TOKEN, BEAT),
)
#: What they look like on their way: Basic authentication is no hiding place.
BASIC = [base64.b64encode(text.encode()).decode() for text in (f"watchdog:{PASSWORD}", f"AC1:{SMS}", MAIL)]
FORMS = (*CANARIES, *BASIC)
PATHS = ("services", "rules", "deployments", "incidents", "rollbacks", "audit", "silences", "services/trips")


def thrown_back(request: RawRequest) -> str:
    number = request.form.get("To", "")
    return " ".join([request.path, number, *(f"{name}: {value}" for name, value in request.headers.items())])


class Echo(FakePrometheus):
    """A Prometheus whose faulty sources answer with what they were sent."""

    async def _answer(self, request: RawRequest, writer: asyncio.StreamWriter) -> None:
        if self.faults.get(request.path.split("/")[1]) == "echo":
            said = {"status": "error", "errorType": "internal", "error": f"no: {thrown_back(request)}"}
            writer.write(packed(json.dumps(said), status=500))
            return
        await super()._answer(request, writer)


async def refuse(request: RawRequest, writer: asyncio.StreamWriter) -> None:
    """Not well, and here is what you sent."""
    writer.write(packed(thrown_back(request), status=200 if request.path == "/health" else 500))


def kept(fleet: Fleet, name: str, secret: str) -> str:
    """Put a secret into a file beside the configuration."""
    path = fleet.daemon.folder / f"{name}.secret"
    path.write_text(secret)
    path.chmod(0o600)
    return f"!file {path.name}"


def asked(server: RawServer, start: str) -> bool:
    return any(it.path.startswith(start) for it in server.requests)


async def opened(fleet: Fleet, outside: str) -> None:
    """Three services, each with secrets everywhere."""
    basic = {"username": "watchdog", "password": kept(fleet, "password", PASSWORD)}
    tenant = {"X-Tenant": kept(fleet, "tenant", TENANT)}
    trips = fleet.fake.settings("trips") | {"basic_auth": basic, "headers": tenant}
    blind = fleet.fake.settings("blind") | {"bearer_token": kept(fleet, "bearer", BEARER)}
    fleet.add("trips", settings=trips)
    fleet.add("blind", settings=blind)
    lost = fleet.add("lost", source="trips")
    lost["traffic"] = {
        "kind": "command",
        "read": [sys.executable, "-c", "import os, sys; sys.exit('no: ' + os.environ['KEY'])"],
        "apply": ["false", "{variant}"],
        "environment": {"KEY": kept(fleet, "switch", SWITCH)},
    }
    settings = fleet.daemon.settings
    settings["server"]["tokens"].append(
        {"name": "eyes", "role": "viewer", "token": kept(fleet, "viewer", VIEWER)}
    )
    settings["channels"]["deaf"] = {
        "kind": "webhook",
        "url": f"{outside}/hook",
        "headers": {"Authorization": kept(fleet, "hook", HOOK)},
        "timeout": "2s",
    }
    settings["channels"]["texts"] = {
        "kind": "sms",
        "url": outside,
        "account": "AC1",
        "token": kept(fleet, "sms", SMS),
        "from": "watchdog",
        "to": [NUMBER],
    }
    address = f"{outside}/workflows/{TEAMS}/invoke?sig={TEAMS}"
    settings["channels"]["cards"] = {"kind": "teams", "url": kept(fleet, "teams", address)}
    settings["heartbeat"] = {"url": kept(fleet, "beat", f"{outside}/ping/{BEAT}?as={BEAT}"), "every": "1s"}


async def post(fleet: Fleet) -> MailServer:
    """A mail server that repeats the password of whoever signs in."""
    certificate = await asyncio.to_thread(Certificate, fleet.daemon.folder / "tls")
    server = MailServer(tls=certificate.context, wrong={"AUTH": f"535 no: {MAIL} {BASIC[-1]}"})
    await fleet.stack.enter_async_context(mail_serving(server))
    fleet.daemon.settings["channels"]["mails"] = {
        "kind": "email",
        "host": "127.0.0.1",
        "port": server.port,
        "username": "watchdog",
        "password": kept(fleet, "mail", MAIL),
        "from": "watchdog@example.com",
        "to": ["ops@example.com"],
        "ca_file": str(certificate.file),
    }
    return server


async def page(fleet: Fleet) -> FakePagerDuty:
    """A PagerDuty that repeats its keys."""
    folder = fleet.daemon.folder / "pages"
    folder.mkdir()
    certificate = await asyncio.to_thread(Certificate, folder)
    there = await fleet.stack.enter_async_context(pagerduty(certificate))
    there.answer = web.Response(status=400, text=f"no: {ROUTING_KEY} {API_TOKEN}")
    fleet.daemon.settings["channels"]["pages"] = {
        "kind": "pagerduty",
        "routing_key": kept(fleet, "pages", ROUTING_KEY),
        "api_token": kept(fleet, "asks", API_TOKEN),
        "url": there.url,
        "ca_file": str(certificate.file),
    }
    return there


async def misspelt(fleet: Fleet) -> None:
    """A mistake right beside every secret, taken in by nobody."""
    good = fleet.daemon.config.read_text()
    fleet.daemon.config.write_text(good.replace('"token": !file', '"tokn": !file'))
    os.kill(fleet.daemon.pid, signal.SIGHUP)
    await fleet.told("config_broken", within=30)
    fleet.daemon.config.write_text(good)
    os.kill(fleet.daemon.pid, signal.SIGHUP)
    await fleet.told("config_repaired", within=30)


async def everything(fleet: Fleet, rollback: dict[str, Any]) -> dict[str, str]:
    """All that was written, sent, answered and printed, by where it was found."""
    found = {}
    for path in PATHS:
        found[f"API {path}"] = json.dumps(await fleet.daemon.get(path))
    for one in await fleet.daemon.get("incidents"):
        found[f"API incident {one['id']}"] = json.dumps(await fleet.daemon.get(f"incidents/{one['id']}"))
    for path in ("/metrics", "/healthz", "/readyz", "/", "/api/v1/openapi.json"):
        _, found[path] = await fleet.daemon.page(path)
    found["messages"] = json.dumps(fleet.people.messages)
    asked = (["status"], ["explain", rollback["id"]]), (["doctor"], ["audit", "export"])
    said = await asyncio.gather(
        *(fleet.daemon.says(*words) for words in asked[0]),
        *(fleet.daemon.says(*words, config=True) for words in asked[1]),
    )
    found |= {str(words): repr(one) for words, one in zip([*asked[0], *asked[1]], said, strict=True)}
    return found


async def test_no_secret_is_in_anything_that_a_whole_run_writes_sends_answers_or_prints(fleet: Fleet) -> None:
    echo = await fleet.stack.enter_async_context(Echo())
    fleet.fake = echo
    outside = await fleet.stack.enter_async_context(RawServer(refuse))
    await opened(fleet, outside.url)
    (fleet.daemon.folder / "tls").mkdir()
    mails = await post(fleet)
    pages = await page(fleet)
    await fleet.launch(stable=False)
    ready = {
        "kind": "http",
        "url": f"{outside.url}/health",
        "headers": {"Authorization": kept(fleet, "probe", PROBE)},
    }
    fleet.fleet["trips"]["traffic"]["ready"] = ready
    fleet.daemon.settings["routes"] = [{"to": ["hook", "log", "deaf", "texts", "cards", "mails", "pages"]}]
    fleet.daemon.write()
    os.kill(fleet.daemon.pid, signal.SIGHUP)
    await fleet.until_stable("blue", within=30)

    echo.faults["blind"] = "echo"
    await fleet.deploy_bad()
    rollback = await fleet.rollback("completed", within=40)
    await eventually(
        lambda: any(one["labels"].get("source") == "blind" for one in fleet.people.messages), within=30
    )
    for start in ("/hook", "/2010-04-01/", "/workflows/", "/ping/"):
        await eventually(partial(asked, outside, start), within=30)
    await eventually(lambda: "AUTH" in mails.steps, within=30)
    await eventually(lambda: bool(pages.events), within=30)
    await misspelt(fleet)
    found = await everything(fleet, rollback)
    await asyncio.to_thread(fleet.daemon.stop)
    for path in sorted(fleet.daemon.folder.iterdir()):
        if path.is_file() and path.suffix != ".secret" and path.name not in {"secret", "token"}:
            found[path.name] = path.read_bytes().decode("latin-1")

    # The number is no secret where a person wrote it.
    found["watchdog.yaml"] = found["watchdog.yaml"].replace(NUMBER, "")
    leaks = [f"{form} in {where}" for where, text in found.items() for form in FORMS if form in text]
    assert leaks == []
    # They were thrown back, and something stands where they would have stood.
    assert MASK in found["watchdog.log"]
    assert MASK in found["watchdog.db"] + found.get("watchdog.db-wal", "")
    assert {HOOK, PROBE} <= {it.headers.get("authorization") for it in outside.requests}
